use std::time::Duration;

use bytes::Bytes;
use tertulia::media::Frame;
use tertulia::wire::{Datagram, Rational, TrackId, TrackInfo, TrackMedia, TrackSource};

use super::cell::System;

/// A chat message, in bytes, and the digits in front of it that are its number.
const TEXT_BYTES: usize = 100;
pub const NUMBER_DIGITS: usize = 10;

/// How many speak in a meeting, and how many people are in each of several at once.
const SPEAKERS: usize = 10;
const ROOM_PEOPLE: usize = 50;

/// What is sent, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One publisher, frames of 10 datagrams of 1000 bytes, 30 a second.
    Video,
    /// One publisher, datagrams of 120 bytes, 50 a second.
    Audio,
    /// Ten of the participants publish what `Audio` does, two milliseconds apart.
    Meeting,
    /// As many such meetings of fifty at once as make the number of participants: a shard that has something to do.
    Meetings,
    /// One participant writes texts of 100 bytes, 50 a second: as many as fifty people who write quickly.
    Chat,
}

impl Profile {
    pub const ALL: [Self; 5] = [Self::Video, Self::Audio, Self::Meeting, Self::Meetings, Self::Chat];

    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Meeting => "meeting",
            Self::Meetings => "meetings",
            Self::Chat => "chat",
        }
    }

    /// What carries it.
    pub fn systems(self) -> &'static [System] {
        match self {
            Self::Video | Self::Audio | Self::Meeting => &System::MEDIA,
            Self::Meetings => &System::ROOMS,
            Self::Chat => &System::CHAT,
        }
    }

    /// To how many it is sent.
    pub fn subscribers(self) -> &'static [usize] {
        match self {
            Self::Video | Self::Meeting => &[10, 50, 100],
            Self::Audio => &[10, 50, 100, 400],
            Self::Meetings => &[100, 300],
            Self::Chat => &[10, 100, 400],
        }
    }

    /// With how many subscribers its ratios have targets.
    pub fn has_target(self, subscribers: usize) -> bool {
        match self {
            Self::Video => subscribers == 100,
            Self::Audio => [100, 400].contains(&subscribers),
            Self::Meeting => subscribers == 50,
            Self::Meetings => subscribers == 300,
            Self::Chat => subscribers == 400,
        }
    }

    /// What people write who do not think of all that a relay has to do.
    pub fn naive(self) -> System {
        match self {
            Self::Video | Self::Audio | Self::Meeting | Self::Meetings => System::Naive,
            Self::Chat => System::LeanBroadcaster,
        }
    }

    /// In how many rooms they are. Who publishes next is in the next one.
    pub fn rooms(self, subscribers: usize) -> usize {
        match self {
            Self::Meetings => subscribers / ROOM_PEOPLE,
            Self::Video | Self::Audio | Self::Meeting | Self::Chat => 1,
        }
    }

    /// How many publish, in all rooms together.
    pub fn publishers(self, subscribers: usize) -> usize {
        match self {
            Self::Video | Self::Audio | Self::Chat => 1,
            Self::Meeting | Self::Meetings => SPEAKERS * self.rooms(subscribers),
        }
    }

    /// Whether the publishers are among the subscribers, or beside them.
    pub fn publishers_subscribe(self) -> bool {
        matches!(self, Self::Meeting | Self::Meetings)
    }

    /// How many get what one of `subscribers` or someone beside them publishes.
    pub fn receivers(self, subscribers: usize) -> usize {
        subscribers / self.rooms(subscribers) - usize::from(self.publishers_subscribe())
    }

    /// Time from frame to frame.
    pub fn interval(self) -> Duration {
        match self {
            Self::Video => Duration::from_nanos(1_000_000_000 / 30),
            Self::Audio | Self::Meeting | Self::Meetings | Self::Chat => Duration::from_millis(20),
        }
    }

    /// When a publisher begins: people do not speak in step.
    pub fn phase(self, publisher: usize, subscribers: usize) -> Duration {
        self.interval() / self.publishers(subscribers) as u32 * publisher as u32
    }

    /// Datagrams in a frame.
    pub fn fragments(self) -> usize {
        match self {
            Self::Video => 10,
            Self::Audio | Self::Meeting | Self::Meetings | Self::Chat => 1,
        }
    }

    fn frame_bytes(self) -> usize {
        match self {
            Self::Video => 10 * Datagram::PAYLOAD_BYTES_MAX,
            Self::Audio | Self::Meeting | Self::Meetings => 100,
            Self::Chat => TEXT_BYTES,
        }
    }

    /// What a publisher announces, so that the relay does for it what it does for the real thing.
    pub fn track(self) -> TrackInfo {
        let (source, codec, media) = match self {
            Self::Video => {
                let frame_rate = Rational { numerator: 30, denominator: 1 };
                let (width, height, temporal_layers, spatial_layers) = (1280, 720, 1, 1);
                let media = TrackMedia::Video { width, height, frame_rate, temporal_layers, spatial_layers };
                (TrackSource::Camera, "vp8", media)
            }
            Self::Audio | Self::Meeting | Self::Meetings | Self::Chat => {
                (TrackSource::Microphone, "opus", TrackMedia::Audio { sample_rate: 48_000, channels: 2 })
            }
        };
        TrackInfo { source, codec: codec.to_owned(), media, description: Vec::new() }
    }

    /// The datagrams of a frame, each byte of whose payload is the publisher's number; or a text that begins with its own.
    pub fn frame(self, publisher: usize, track: TrackId, number: u32) -> Vec<Bytes> {
        if self == Self::Chat {
            let text = format!("{number:0NUMBER_DIGITS$}{:.<1$}", "", self.frame_bytes() - NUMBER_DIGITS);
            return vec![text.into()];
        }
        // Pictures follow each other, after one that stands by itself.
        let keyframe = self != Self::Video || number == 0;
        let depends_on_distance = u8::from(!keyframe);
        let data = vec![publisher as u8; self.frame_bytes()].into();
        let frame = Frame { number, keyframe, depends_on_distance, data, ..Frame::default() };
        frame.datagrams(track).expect("the frame is small").map(|datagram| datagram.bytes).collect()
    }
}
