use std::time::Duration;

use bytes::Bytes;
use tertulia::media::Frame;
use tertulia::wire::{Datagram, TrackId};

/// What is sent, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One publisher, frames of 10 datagrams of 1000 bytes, 30 a second.
    Video,
    /// One publisher, datagrams of 120 bytes, 50 a second.
    Audio,
    /// Ten of the participants publish what `Audio` does, two milliseconds apart.
    Meeting,
}

impl Profile {
    pub const ALL: [Self; 3] = [Self::Video, Self::Audio, Self::Meeting];

    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Meeting => "meeting",
        }
    }

    pub fn publishers(self) -> usize {
        match self {
            Self::Video | Self::Audio => 1,
            Self::Meeting => 10,
        }
    }

    /// Whether the publishers are among the subscribers, or beside them.
    pub fn publishers_subscribe(self) -> bool {
        self == Self::Meeting
    }

    /// How many get what one of `subscribers` or someone beside them publishes.
    pub fn receivers(self, subscribers: usize) -> usize {
        subscribers - usize::from(self.publishers_subscribe())
    }

    /// Time from frame to frame.
    pub fn interval(self) -> Duration {
        match self {
            Self::Video => Duration::from_nanos(1_000_000_000 / 30),
            Self::Audio | Self::Meeting => Duration::from_millis(20),
        }
    }

    /// When a publisher begins: people do not speak in step.
    pub fn phase(self, publisher: usize) -> Duration {
        self.interval() / self.publishers() as u32 * publisher as u32
    }

    /// Datagrams in a frame.
    pub fn fragments(self) -> usize {
        match self {
            Self::Video => 10,
            Self::Audio | Self::Meeting => 1,
        }
    }

    fn frame_bytes(self) -> usize {
        match self {
            Self::Video => 10 * Datagram::PAYLOAD_BYTES_MAX,
            Self::Audio | Self::Meeting => 100,
        }
    }

    /// The datagrams of a frame. Each byte of the payload is the publisher's number.
    pub fn frame(self, publisher: usize, track: TrackId, number: u32) -> Vec<Bytes> {
        let frame = Frame { number, data: vec![publisher as u8; self.frame_bytes()].into(), ..Frame::default() };
        frame.datagrams(track).expect("the frame is small").map(|datagram| datagram.bytes).collect()
    }
}
