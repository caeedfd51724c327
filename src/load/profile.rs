use std::time::Duration;

use bytes::Bytes;

use crate::media::Frame;
use crate::wire::{AudioLevel, Datagram, Rational, TrackId, TrackInfo, TrackMedia, TrackSource};

/// What publishers send, and who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Datagrams of 121 bytes, 50 a second, to the subscribers.
    Audio,
    /// Frames of 10 datagrams of 1001 bytes, 30 a second, to the subscribers. All frames are of one size, keyframes too.
    Video,
    /// What `Audio` does, to everyone else in the room: publishers hear each other.
    Meeting,
    /// Chat messages of 100 bytes, 5 a second, to everyone else in the room.
    Chat,
    /// Nothing: sessions are there and say no more than they have to.
    Idle,
}

/// The bytes in front of each payload: the number of the run, and of the publisher in it.
const MARK_BYTES: usize = 8;

/// Datagrams in a frame of video.
const VIDEO_FRAGMENTS: u32 = 10;

/// The payload of an audio datagram, in bytes: Opus at 40 kbit/s.
const AUDIO_BYTES: usize = 100;

/// The text of a chat message, in bytes.
const CHAT_BYTES: usize = 100;

/// How loud audio is: somebody speaks.
const LEVEL: u8 = 30;

/// Which publisher of which run something is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number of the run: chosen at random, so that two runs in one relay do not count each other's media.
    pub run: u32,
    /// The publisher's number in the run.
    pub publisher: u32,
}

impl Mark {
    fn bytes(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..4].copy_from_slice(&self.run.to_be_bytes());
        bytes[4..].copy_from_slice(&self.publisher.to_be_bytes());
        bytes
    }

    /// What stands in front of a payload, if that is long enough.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (run, rest) = payload.split_first_chunk()?;
        let (publisher, _) = rest.split_first_chunk()?;
        Some(Self { run: u32::from_be_bytes(*run), publisher: u32::from_be_bytes(*publisher) })
    }

    /// The id of a chat message: it is all that a message is known by.
    pub fn message_id(self, number: u32) -> [u8; 16] {
        let mut id = [0; 16];
        id[..MARK_BYTES].copy_from_slice(&self.bytes());
        id[MARK_BYTES..MARK_BYTES + 4].copy_from_slice(&number.to_be_bytes());
        id
    }

    /// The number in such an id.
    pub fn number_of(message_id: [u8; 16]) -> u32 {
        u32::from_be_bytes([message_id[8], message_id[9], message_id[10], message_id[11]])
    }
}

impl Profile {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Audio, Self::Video, Self::Meeting, Self::Chat, Self::Idle];

    /// Its name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Meeting => "meeting",
            Self::Chat => "chat",
            Self::Idle => "idle",
        }
    }

    /// What is counted.
    pub fn unit(self) -> &'static str {
        if self == Self::Chat { "messages" } else { "datagrams" }
    }

    /// Whether publishers get what the others publish.
    pub fn publishers_receive(self) -> bool {
        matches!(self, Self::Meeting | Self::Chat)
    }

    /// Time from frame to frame, or from message to message; `None` where nothing is sent.
    pub fn interval(self) -> Option<Duration> {
        match self {
            Self::Audio | Self::Meeting => Some(Duration::from_millis(20)),
            Self::Video => Some(Duration::from_nanos(1_000_000_000 / 30)),
            Self::Chat => Some(Duration::from_millis(200)),
            Self::Idle => None,
        }
    }

    /// Datagrams in a frame; 1 where messages are sent.
    pub fn fragments(self) -> u32 {
        if self == Self::Video { VIDEO_FRAGMENTS } else { 1 }
    }

    /// The track that publishers announce, where media is sent.
    pub fn track(self) -> Option<TrackInfo> {
        let (source, codec, media) = match self {
            Self::Audio | Self::Meeting => {
                (TrackSource::Microphone, "opus", TrackMedia::Audio { sample_rate: 48_000, channels: 1 })
            }
            Self::Video => {
                let frame_rate = Rational { numerator: 30, denominator: 1 };
                let media =
                    TrackMedia::Video { width: 1280, height: 720, frame_rate, temporal_layers: 1, spatial_layers: 1 };
                (TrackSource::Camera, "vp8", media)
            }
            Self::Chat | Self::Idle => return None,
        };
        Some(TrackInfo { source, codec: codec.to_owned(), media, description: Vec::new() })
    }

    /// The datagrams of a frame. Of video it is a keyframe if one is wanted; audio stands by itself always.
    pub fn datagrams(self, mark: Mark, track: TrackId, number: u32, keyframe_wanted: bool) -> Vec<Bytes> {
        let is_keyframe = keyframe_wanted || self != Self::Video;
        let size = if self == Self::Video { Datagram::PAYLOAD_BYTES_MAX } else { AUDIO_BYTES };
        let mut payload = mark.bytes().to_vec();
        payload.resize(size, 0);
        let frame = Frame {
            number,
            depends_on_distance: u8::from(!is_keyframe),
            keyframe: is_keyframe,
            audio_level: if self == Self::Video { AudioLevel::SILENCE } else { AudioLevel::new(LEVEL) },
            timestamp: self.timestamp(number),
            data: payload.repeat(self.fragments() as usize).into(),
            ..Frame::default()
        };
        frame.datagrams(track).expect("the frame is small").map(|datagram| datagram.bytes).collect()
    }

    /// When a frame was captured, in ticks of 1/90000 s; wraps.
    fn timestamp(self, number: u32) -> u32 {
        let ticks = self.interval().unwrap_or_default().as_nanos() * 9 / 100_000;
        number.wrapping_mul(ticks as u32)
    }

    /// The text of a chat message.
    pub fn text() -> String {
        "x".repeat(CHAT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MediaHeader;

    const MARK: Mark = Mark { run: 0x0102_0304, publisher: 7 };

    #[test]
    fn every_datagram_says_whose_it_is() {
        for (profile, count, bytes) in
            [(Profile::Audio, 1, 121), (Profile::Meeting, 1, 121), (Profile::Video, 10, 1001)]
        {
            let datagrams = profile.datagrams(MARK, TrackId(3), 5, false);
            assert_eq!(datagrams.len(), count, "{profile:?}");
            for (datagram, index) in datagrams.into_iter().zip(0..) {
                assert_eq!(datagram.len(), bytes, "{profile:?}");
                let header = MediaHeader::decode(&datagram).unwrap();
                assert_eq!((header.track, header.frame, header.fragment_index), (TrackId(3), 5, index));
                assert_eq!(Mark::read(&Datagram::decode(datagram).unwrap().payload()), Some(MARK));
            }
        }
    }

    #[test]
    fn a_relay_knows_the_tracks_for_microphones_and_cameras() {
        for (profile, source, is_video) in [
            (Profile::Audio, TrackSource::Microphone, false),
            (Profile::Meeting, TrackSource::Microphone, false),
            (Profile::Video, TrackSource::Camera, true),
        ] {
            let track = profile.track().unwrap();
            assert_eq!((track.source, track.is_video()), (source, is_video), "{profile:?}");
            let header = |keyframe_wanted| {
                MediaHeader::decode(&profile.datagrams(MARK, TrackId(3), 5, keyframe_wanted)[0]).unwrap()
            };
            assert_eq!((header(true).keyframe, header(true).depends_on_distance), (true, 0), "{profile:?}");
            let (is_keyframe, distance) = (header(false).keyframe, header(false).depends_on_distance);
            assert_eq!((is_keyframe, distance), (!is_video, u8::from(is_video)), "{profile:?}");
        }
    }

    #[test]
    fn frames_are_dated_by_their_numbers() {
        let timestamp = |profile: Profile, number| {
            MediaHeader::decode(&profile.datagrams(MARK, TrackId(1), number, true)[0]).unwrap().timestamp
        };
        assert_eq!(timestamp(Profile::Audio, 50), 90_000);
        assert!((89_900..=90_000).contains(&timestamp(Profile::Video, 30)));
    }

    #[test]
    fn a_message_is_known_by_its_id() {
        let id = MARK.message_id(99);
        assert_eq!((Mark::read(&id), Mark::number_of(id)), (Some(MARK), 99));
        assert_eq!(Mark::read(&id[..7]), None);
    }

    #[test]
    fn what_has_no_track_sends_no_media() {
        for profile in Profile::ALL {
            assert_eq!(profile.track().is_some(), !matches!(profile, Profile::Chat | Profile::Idle), "{profile:?}");
        }
    }
}
