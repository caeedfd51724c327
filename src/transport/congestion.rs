//! How much may be on its way to a participant.
//!
//! quinn asks a [`Controller`] for a window, in bytes, and tells it what was sent,
//! acknowledged and lost. It paces by the window as well, at 1.25 of it per smoothed round trip, in bursts of at least ten
//! packets; a rate of its own a controller cannot set. What it is told of a packet is when it was sent and how large it was. The
//! round trip is worked out from that. How long an acknowledgement had waited on the other side, for up to ten more packets and up to
//! 25 ms, is what is missing in quinn's smoothed round trip. `app_limited` is of the time of the acknowledgement,
//! not of the sending, and is not used here.
//!
//! [`Media`] is made for media, which seldom uses all that it may:
//!
//! - **Delay decides, not loss.** The window moves to where it makes a small delay in the bottleneck, as in FAST TCP (Wei, Jin,
//!   Low, Hegde, 2006): with the queue that it sees it scales by (least round trip + target) / (round trip). Losses by chance
//!   say nothing; Cubic and NewReno give way to each of them, and BBRv3 from 2 % on.
//! - **The target is small and falls with the rate**: 36 ms at 300 kbit/s, by the square root, 10 to 60 ms, as in Swift (Kumar
//!   et al., 2020). Of two flows at one queue, which see the same delay, the slower one wants more. So they become equal.
//! - **The queue that stands counts**: the least round trip of the last 50 to 100 ms, as in Copa (Arun, Balakrishnan, 2018).
//!   The burst of a large frame is none, nor is one late acknowledgement by itself: the one that was due may have been lost.
//! - **Use is evidence** (RFC 7661): the window grows to 1.5 times what was in flight, no further, and what is not used is
//!   kept. What arrives counts as well, since little is in flight of what is paced; and a burst whose end was late shows no more than a
//!   queue that stands.
//! - **TCP is met.** Where a cut does not drain the queue for a second, someone else fills it: then 0.9 of the rate of before
//!   is taken, less after losses, and less where the queue does not grow, for it may be filled by flows of this kind. Copa and GCC
//!   change sides in a like way.
//! - **The least round trip** is that of 10 to 20 seconds. The queue is drained for two rounds before it is forgotten, as in
//!   BBR's ProbeRTT and LEDBAT++ (RFC 9840).
//! - **Near, delay is no queue**: who acknowledges late there mostly waits for a processor. Where a round trip was ever below 2 ms, Cubic
//!   decides; on WebSocket, delay leaves at least 32 KiB of the window.
//! - **A queue too short to make a delay** shows by losses above 15 % for two seconds, or above 30 %.
//!
//! Why not one of these as it is: GCC and SCReAM (RFC 8298) need feedback that QUIC's acknowledgements are not (arrival times,
//! rates of the encoder); Copa counts in packets and takes ten milliseconds of jitter for a queue at media's rates; BBR holds a
//! window of two round trips, which without its own pacing is a standing queue of one.

mod media;
mod probing;
mod round;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use quinn::Connection;
use quinn::congestion::{BbrConfig, Controller, ControllerFactory, CubicConfig, NewRenoConfig};

pub use media::Media;
pub(crate) use probing::{VOICE_BYTES_MAX, VOICE_SHARE};
pub(crate) use window::Window;

use crate::limits::INITIAL_WINDOW_BYTES;
use media::MediaFactory;
use probing::{Probing, ProbingFactory};

/// What Tertulia's control knows of a connection's path that carries hardly more than is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    /// What it carries, in bytes a second.
    pub bytes_per_second: u64,
    /// What more may be on its way, in bytes. quinn sends nothing while that is not more than a whole packet.
    pub room_bytes: u64,
    /// Whether it takes no more than is sent. Otherwise it may carry far more: what is not used does not show.
    pub is_full: bool,
}

impl Estimate {
    /// That of a connection. `None`: something else decides, or nothing says that the path carries hardly more than is sent.
    pub fn of(connection: &Connection) -> Option<Self> {
        let probing: Box<Probing> = connection.congestion_state().into_any().downcast().ok()?;
        let in_flight = probing.in_flight();
        let media: Box<Media> = probing.into_inner().into_any().downcast().ok()?;
        // With nothing on its way nothing tells that the queue is gone.
        let is_late = media.is_late() && in_flight > 0;
        if !is_late && !media.is_limited() {
            return None;
        }
        let room_bytes = if is_late { 0 } else { media.window().saturating_sub(in_flight) };
        Some(Self { bytes_per_second: media.rate()?, room_bytes, is_full: is_late || media.is_full() })
    }
}

/// Which congestion control connections have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Congestion {
    /// [`Media`].
    #[default]
    Tertulia,
    /// Version 1, as quinn has it.
    Bbr,
    /// RFC 9438.
    Cubic,
    /// RFC 9002, appendix B.
    NewReno,
}

impl Congestion {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Tertulia, Self::Bbr, Self::Cubic, Self::NewReno];

    /// Its name as a setting.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tertulia => "tertulia",
            Self::Bbr => "bbr",
            Self::Cubic => "cubic",
            Self::NewReno => "newreno",
        }
    }

    /// What quinn makes controllers with: whichever it is, packets leave once in a while when nothing is acknowledged.
    pub(crate) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        Arc::new(ProbingFactory { inner: self.inner_factory() })
    }

    fn inner_factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Tertulia => Arc::new(MediaFactory { initial_window_bytes: INITIAL_WINDOW_BYTES }),
            Self::Bbr => {
                let mut config = BbrConfig::default();
                config.initial_window(INITIAL_WINDOW_BYTES);
                Arc::new(config)
            }
            Self::Cubic => {
                let mut config = CubicConfig::default();
                config.initial_window(INITIAL_WINDOW_BYTES);
                Arc::new(config)
            }
            Self::NewReno => {
                let mut config = NewRenoConfig::default();
                config.initial_window(INITIAL_WINDOW_BYTES);
                Arc::new(config)
            }
        }
    }
}
