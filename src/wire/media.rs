use bytes::Bytes;
use thiserror::Error;

use super::names::TrackId;
use crate::limits::{FRAGMENTS_MAX, MEDIA_BYTES_MAX};

/// Length of the [`MediaHeader`] on the wire, in bytes.
pub const HEADER_BYTES: usize = 20;

/// Length of the prefix in front of every media datagram: one zero byte.
///
/// On WebTransport that byte is the quarter stream id of the connection's first session (RFC 9297, section 2.1), on
/// WebSocket it tells media from control and chat, on QUIC it stands there so that one buffer serves all carriers.
pub(super) const PREFIX_BYTES: usize = 1;
pub(super) const PREFIX: u8 = 0x00;

pub(super) const VERSION: u8 = 1;
const FLAG_KEYFRAME: u8 = 0b0000_0001;
const FLAG_PARITY: u8 = 0b0000_0010;
const FLAG_STREAM: u8 = 0b0000_1000;
/// A datagram with it is a [`RepeatRequest`](super::RepeatRequest).
pub(super) const FLAG_REPEAT: u8 = 0b0000_0100;
pub(super) const LAYER_MAX: u8 = 0b111;

/// Loudness of an audio frame as in RFC 6464: `0` is as loud as it gets, `127` is silence, each step is -1 dBov.
/// `127` on video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AudioLevel(u8);

impl AudioLevel {
    /// Digital silence, and the level of everything that is not audio.
    pub const SILENCE: Self = Self(127);

    /// A level of `-db_below_full_scale` dBov; values over 127 are silence.
    pub fn new(db_below_full_scale: u8) -> Self {
        Self(db_below_full_scale.min(127))
    }

    /// The level in dB below full scale, 0 to 127.
    pub fn db_below_full_scale(self) -> u8 {
        self.0
    }
}

/// A rendition of a track, and its temporal layers up to one: what a subscriber takes, or the highest of both that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// 0 is the smallest rendition.
    pub spatial: u8,
    /// 0 is the base layer.
    pub temporal: u8,
}

impl Layers {
    /// Those of a track that has one of either.
    pub const ONE: Self = Self { spatial: 0, temporal: 0 };
}

/// What stands in front of every fragment of a frame: 20 bytes at fixed offsets, integers in network order.
///
/// ```text
///  0  version (4 bits, 1) | on a stream (1) | repeat (1, 0) | parity (1) | keyframe (1)
///  1  reserved (2) | spatial layer (3) | temporal layer (3)
///  2  track (32)
///  6  frame number (32), counted from 0 for each spatial layer of the track
/// 10  distance to the frame that this one depends on (8), 0: stands by itself
/// 11  reserved (1) | audio level (7)
/// 12  fragment index (16)
/// 14  fragment count (16)
/// 16  capture timestamp (32), 90 kHz, wraps after 13 hours
/// ```
///
/// Reserved bits are sent as 0 and ignored when received. The relay never changes a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaHeader {
    /// The track that the frame belongs to; [`TrackId::ECHO`] asks the relay to send the datagram back.
    pub track: TrackId,
    /// The frame's number in its spatial layer of its track, from 0 on.
    pub frame: u32,
    /// How many frames back the frame stands that this one needs; 0 if it needs none.
    pub depends_on_distance: u8,
    /// Whether the frame can be decoded by itself.
    pub keyframe: bool,
    /// Whether the payload is the parity of other fragments rather than a piece of the frame.
    pub parity: bool,
    /// Whether the frame travels on a stream of its own, where the carrier has streams.
    pub on_stream: bool,
    /// 0 is the base layer; frames of layer n may be left out without harm to those of lower layers. At most 7.
    pub temporal_layer: u8,
    /// 0 is the smallest rendition. At most 7.
    pub spatial_layer: u8,
    /// Loudness, for audio.
    pub audio_level: AudioLevel,
    /// Which fragment this is, below `fragment_count`.
    pub fragment_index: u16,
    /// How many fragments the frame has, at least 1.
    pub fragment_count: u16,
    /// When the frame was captured, in ticks of 1/90000 s of a clock that all tracks of one participant share.
    pub timestamp: u32,
}

/// Why bytes are no media datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Shorter than prefix, header and one byte of payload.
    #[error("it is too short")]
    Short,
    /// Longer than [`MEDIA_BYTES_MAX`] behind the prefix.
    #[error("it is longer than {MEDIA_BYTES_MAX} bytes")]
    Long,
    /// The prefix names a session that does not exist.
    #[error("it belongs to another session")]
    Session,
    /// The header is of a version that is not known here.
    #[error("its header is of version {0}")]
    Version(u8),
    /// The fragment index is not below the fragment count, or the count is over [`FRAGMENTS_MAX`].
    #[error("it is fragment {index} of {count}")]
    Fragment {
        /// The index that was given.
        index: u16,
        /// The count that was given.
        count: u16,
    },
}

impl MediaHeader {
    /// The header as it stands in a datagram.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let flag = |set, bit| if set { bit } else { 0 };
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = VERSION << 4
            | flag(self.keyframe, FLAG_KEYFRAME)
            | flag(self.parity, FLAG_PARITY)
            | flag(self.on_stream, FLAG_STREAM);
        bytes[1] = (self.spatial_layer & LAYER_MAX) << 3 | self.temporal_layer & LAYER_MAX;
        bytes[2..6].copy_from_slice(&self.track.0.to_be_bytes());
        bytes[6..10].copy_from_slice(&self.frame.to_be_bytes());
        bytes[10] = self.depends_on_distance;
        bytes[11] = self.audio_level.0;
        bytes[12..14].copy_from_slice(&self.fragment_index.to_be_bytes());
        bytes[14..16].copy_from_slice(&self.fragment_count.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes
    }

    /// Whether a datagram that can be read is of a frame that travels on a stream.
    pub fn is_on_stream(datagram: &[u8]) -> bool {
        datagram.get(PREFIX_BYTES).is_some_and(|flags| flags & FLAG_STREAM != 0)
    }

    /// Reads the header of a datagram as a carrier delivered it, prefix included.
    ///
    /// # Errors
    /// [`HeaderError`] says what is wrong with it.
    pub fn decode(datagram: &[u8]) -> Result<Self, HeaderError> {
        if datagram.len() > PREFIX_BYTES + MEDIA_BYTES_MAX {
            return Err(HeaderError::Long);
        }
        let Some((&prefix, media)) = datagram.split_first() else {
            return Err(HeaderError::Short);
        };
        if prefix != PREFIX {
            return Err(HeaderError::Session);
        }
        let Some(bytes) = media.first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderError::Short);
        };
        if bytes[0] >> 4 != VERSION {
            return Err(HeaderError::Version(bytes[0] >> 4));
        }
        if media.len() == HEADER_BYTES {
            return Err(HeaderError::Short);
        }
        let header = Self::from_fields(bytes);
        if header.fragment_index >= header.fragment_count || header.fragment_count > FRAGMENTS_MAX {
            return Err(HeaderError::Fragment { index: header.fragment_index, count: header.fragment_count });
        }
        Ok(header)
    }

    fn from_fields(bytes: &[u8; HEADER_BYTES]) -> Self {
        let u16_at = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self {
            track: TrackId(u32_at(2)),
            frame: u32_at(6),
            depends_on_distance: bytes[10],
            keyframe: bytes[0] & FLAG_KEYFRAME != 0,
            parity: bytes[0] & FLAG_PARITY != 0,
            on_stream: bytes[0] & FLAG_STREAM != 0,
            temporal_layer: bytes[1] & LAYER_MAX,
            spatial_layer: bytes[1] >> 3 & LAYER_MAX,
            audio_level: AudioLevel(bytes[11] & 0x7f),
            fragment_index: u16_at(12),
            fragment_count: u16_at(14),
            timestamp: u32_at(16),
        }
    }
}

/// A media datagram, whole: prefix, header and payload in one buffer that every subscriber shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The header, read.
    pub header: MediaHeader,
    /// All bytes, prefix and header included, as every carrier sends them.
    pub bytes: Bytes,
}

impl Datagram {
    /// How many bytes of a frame fit one datagram.
    pub const PAYLOAD_BYTES_MAX: usize = MEDIA_BYTES_MAX - HEADER_BYTES;

    /// Puts prefix and header in front of `payload` (one copy).
    ///
    /// # Panics
    /// If `payload` is empty or over [`Self::PAYLOAD_BYTES_MAX`]: the caller cut the frame.
    pub fn new(header: MediaHeader, payload: &[u8]) -> Self {
        assert!(
            (1..=Self::PAYLOAD_BYTES_MAX).contains(&payload.len()),
            "a fragment has 1 to {} bytes",
            Self::PAYLOAD_BYTES_MAX
        );
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + HEADER_BYTES + payload.len());
        bytes.push(PREFIX);
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(payload);
        Self { header, bytes: bytes.into() }
    }

    /// Reads a datagram as a carrier delivered it.
    ///
    /// # Errors
    /// [`HeaderError`] says what is wrong with it.
    pub fn decode(bytes: Bytes) -> Result<Self, HeaderError> {
        Ok(Self { header: MediaHeader::decode(&bytes)?, bytes })
    }

    /// The piece of the frame, without copying it.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(PREFIX_BYTES + HEADER_BYTES..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> MediaHeader {
        MediaHeader {
            track: TrackId(0x0102_0304),
            frame: 0x0506_0708,
            depends_on_distance: 9,
            keyframe: true,
            parity: false,
            on_stream: false,
            temporal_layer: 2,
            spatial_layer: 5,
            audio_level: AudioLevel::new(30),
            fragment_index: 1,
            fragment_count: 3,
            timestamp: 0xfeff_fdfc,
        }
    }

    #[test]
    fn a_header_comes_out_as_it_went_in() {
        let datagram = Datagram::new(header(), b"x");
        assert_eq!(Datagram::decode(datagram.bytes.clone()), Ok(datagram.clone()));
        assert_eq!(datagram.payload(), &b"x"[..]);
        let other = MediaHeader { keyframe: false, parity: true, temporal_layer: 7, spatial_layer: 0, ..header() };
        assert_eq!(MediaHeader::decode(&Datagram::new(other, b"y").bytes), Ok(other));
        let other = MediaHeader { on_stream: true, ..header() };
        assert_eq!(MediaHeader::decode(&Datagram::new(other, b"y").bytes), Ok(other));
    }

    #[test]
    fn reserved_bits_are_ignored() {
        let mut bytes = Datagram::new(header(), b"x").bytes.to_vec();
        bytes[2] |= 0b1100_0000;
        bytes[12] |= 0b1000_0000;
        assert_eq!(MediaHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn what_is_no_datagram_is_refused_with_its_reason() {
        let good = Datagram::new(header(), b"x").bytes;
        let with = |at: usize, byte: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            bytes
        };
        for (bytes, why) in [
            (vec![], HeaderError::Short),
            (vec![0], HeaderError::Short),
            (good[..21].to_vec(), HeaderError::Short),
            (with(0, 1), HeaderError::Session),
            (with(1, 0x21), HeaderError::Version(2)),
            (with(14, 3), HeaderError::Fragment { index: 3, count: 3 }),
            (with(16, 0), HeaderError::Fragment { index: 1, count: 0 }),
            (with(15, 0x08), HeaderError::Fragment { index: 1, count: 0x0803 }),
            ([&good[..], &[0; 980]].concat(), HeaderError::Long),
        ] {
            assert_eq!(MediaHeader::decode(&bytes), Err(why), "{bytes:?}");
        }
    }
}
