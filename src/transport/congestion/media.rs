use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

use super::window::Window;

/// What is lost of an eighth.
const ROUNDED: Duration = Duration::from_nanos(8);

/// Makes [`Media`]s.
#[derive(Debug, Clone, Copy)]
pub struct MediaFactory {
    /// The first window, in bytes.
    pub initial_window_bytes: u64,
}

impl ControllerFactory for MediaFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Media::new(now, self.initial_window_bytes, current_mtu))
    }
}

/// Tertulia's control: a window that pure rules move, with a clock; and Cubic's where the path does not leave the house.
///
/// Its [`metrics`](Controller::metrics) tell what the path is taken to carry, as pacing rate.
#[derive(Debug, Clone)]
pub struct Media {
    start: Instant,
    initial_window_bytes: u64,
    window: Window,
    /// What the last row of acknowledgements measured.
    measured: Option<Measured>,
    /// When the newest packet was sent of those that were just acknowledged, and quinn's smoothed round trip before it counts.
    newest: Option<(Instant, Duration)>,
    /// Decides where delay is no sign of a queue.
    near: Cubic,
}

/// The round trip of a row of acknowledgements.
#[derive(Debug, Clone, Copy)]
struct Measured {
    round_trip: Duration,
    /// quinn's smoothed one without it.
    smoothed_before: Duration,
}

impl Measured {
    /// How long the acknowledgement had waited on the other side, by its own account, which quinn keeps to itself: it is what is missing in
    /// its smoothed round trip of now, of which the latest one is an eighth (RFC 9002, section 5.3). `None`: that does not tell it.
    fn wait(self, smoothed: Duration, least: Duration) -> Option<Duration> {
        // It may not have been counted.
        let is_counted = smoothed != self.smoothed_before;
        let without_wait = (smoothed * 8).checked_sub(self.smoothed_before * 7).filter(|_| is_counted)?;
        // The first one counts whole: then this is less than the least, or more than was measured.
        let is_it = without_wait + ROUNDED >= least;
        is_it.then(|| self.round_trip.saturating_sub(without_wait)).filter(|wait| *wait > ROUNDED)
    }
}

impl Media {
    fn new(now: Instant, initial_window_bytes: u64, mtu: u16) -> Self {
        let window = Window::new(initial_window_bytes, mtu.into());
        let mut cubic = CubicConfig::default();
        cubic.initial_window(initial_window_bytes);
        Self {
            start: now,
            initial_window_bytes,
            window,
            measured: None,
            newest: None,
            near: Cubic::new(Arc::new(cubic), now, mtu),
        }
    }

    /// What the path is taken to carry, in bytes a second; `None` where Cubic decides, or nothing is known yet.
    pub(super) fn rate(&self) -> Option<u64> {
        self.window.rate().filter(|_| !self.window.is_near())
    }

    /// Whether what arrived last was so late that nothing should be added to the queue yet.
    pub(super) fn is_late(&self) -> bool {
        self.window.is_late()
    }

    /// Whether the path showed of late that it carries hardly more than is sent.
    pub(super) fn is_limited(&self) -> bool {
        self.window.is_limited()
    }

    /// Whether the path takes no more than is sent, as far as the last rounds show.
    pub(super) fn is_full(&self) -> bool {
        self.window.is_full()
    }

    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }
}

impl Controller for Media {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.window.sent(bytes);
        self.near.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        if let Some(wait) = self.measured.take().and_then(|measured| measured.wait(rtt.get(), rtt.min())) {
            self.window.waited(self.since_start(now), wait);
        }
        self.newest = Some((sent, rtt.get()));
        self.window.acked(self.since_start(sent), bytes);
        self.near.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.window.acked_all(self.since_start(now), in_flight);
        if let Some((sent, smoothed_before)) = self.newest.take() {
            let round_trip = now.saturating_duration_since(sent);
            self.measured = Some(Measured { round_trip, smoothed_before });
        }
        self.near.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.near.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
        match lost_bytes {
            // It is a mark (ECN).
            0 => self.window.marked(),
            _ => self.window.lost(lost_bytes),
        }
        if is_persistent_congestion {
            self.window.interrupted();
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.window.set_packet_bytes(new_mtu.into());
        self.near.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.window.is_near() { self.near.window() } else { self.window.bytes() }
    }

    fn metrics(&self) -> ControllerMetrics {
        if self.window.is_near() {
            return self.near.metrics();
        }
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = self.window.bytes();
        metrics.pacing_rate = self.rate().map(|bytes| bytes * 8);
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        // On a path that is being validated, quinn counts round trips of which it tells nothing here.
        Box::new(Self { measured: None, ..self.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.initial_window_bytes
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::INITIAL_WINDOW_BYTES;

    const MTU: u16 = 1200;

    /// The window after a loss on a path with this round trip.
    fn window_after_a_loss(rtt: Duration) -> u64 {
        let now = Instant::now();
        let mut media = Media::new(now, INITIAL_WINDOW_BYTES, MTU);
        media.window.sent(MTU.into());
        media.window.acked(Duration::ZERO, MTU.into());
        media.window.acked_all(rtt, 0);
        media.on_congestion_event(now, now, false, MTU.into());
        media.window()
    }

    #[test]
    fn how_long_an_acknowledgement_waited_is_what_is_missing_in_the_smoothed_round_trip() {
        let us = Duration::from_micros;
        // Measured, smoothed before and after, the least.
        for (measured, before, after, least, wait) in [
            (us(85_000), us(60_000), us(60_000) * 7 / 8 + us(60_000) / 8 + us(25), us(59_000), Some(us(24_800))),
            (us(60_000), us(70_000), us(68_750), us(50_000), None),
            // Not counted, or the first one, which counts whole, above and below what was assumed.
            (us(85_000), us(60_000), us(60_000), us(59_000), None),
            (us(120_000), us(100_000), us(120_000), us(120_000), None),
            (us(90_000), us(100_000), us(90_000), us(90_000), None),
            (us(10_000), us(100_000), us(10_000), us(10_000), None),
        ] {
            let found = Measured { round_trip: measured, smoothed_before: before }.wait(after, least);
            assert_eq!(found, wait, "{measured:?} {before:?} {after:?}");
        }
    }

    #[test]
    fn near_it_is_cubic_and_elsewhere_a_loss_says_nothing() {
        let near = window_after_a_loss(Duration::from_millis(1));
        assert!(near < INITIAL_WINDOW_BYTES * 3 / 4, "{near}");
        assert_eq!(window_after_a_loss(Duration::from_millis(2)), INITIAL_WINDOW_BYTES);
    }
}
