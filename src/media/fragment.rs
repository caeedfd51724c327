use bytes::Bytes;
use thiserror::Error;

use super::parity::Parity;
use crate::limits::FRAGMENTS_MAX;
use crate::wire::{AudioLevel, Datagram, MediaHeader, TrackId};

/// One encoded audio or video frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number in its spatial layer of its track, from 0 on.
    pub number: u32,
    /// How many frames back the frame stands that this one needs; 0 if it needs none.
    pub depends_on_distance: u8,
    /// Whether it can be decoded by itself.
    pub keyframe: bool,
    /// 0 is the base layer. At most 7.
    pub temporal_layer: u8,
    /// 0 is the smallest rendition. At most 7.
    pub spatial_layer: u8,
    /// Loudness, for audio.
    pub audio_level: AudioLevel,
    /// When it was captured, in ticks of 1/90000 s of a clock that all tracks of one participant share; wraps.
    pub timestamp: u32,
    /// What the encoder made.
    pub data: Bytes,
    /// How it is to be sent; `None`: as its track is. A frame that was received says [`Delivery::Stream`] if that is how it was
    /// sent, and otherwise nothing.
    pub delivery: Option<Delivery>,
}

/// How frames are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As datagrams.
    Datagrams,
    /// As datagrams, and for about every four of them one from which a lost one can be made again.
    DatagramsWithParity,
    /// On a stream of its own: whole, or given up when it is stale. For large frames. A carrier without streams sends datagrams.
    Stream,
}

/// A frame that no header can describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a frame has 1 to {max} bytes, this one has {bytes}", max = Frame::BYTES_MAX)]
pub struct FrameTooLarge {
    /// How large it was, in bytes; 0 is as wrong as too many.
    pub bytes: usize,
}

impl Default for Frame {
    /// A keyframe of one byte.
    fn default() -> Self {
        Self {
            number: 0,
            depends_on_distance: 0,
            keyframe: true,
            temporal_layer: 0,
            spatial_layer: 0,
            audio_level: AudioLevel::SILENCE,
            timestamp: 0,
            data: Bytes::from_static(&[0]),
            delivery: None,
        }
    }
}

impl Frame {
    /// How large a frame may be, in bytes.
    pub const BYTES_MAX: usize = FRAGMENTS_MAX as usize * Datagram::PAYLOAD_BYTES_MAX;

    /// Cuts the frame into datagrams of equal size, the last one perhaps shorter: only equal ones leave in one system call.
    ///
    /// # Errors
    /// [`FrameTooLarge`] if it is empty or over [`Self::BYTES_MAX`].
    pub fn datagrams(&self, track: TrackId) -> Result<impl Iterator<Item = Datagram> + '_, FrameTooLarge> {
        self.fragments(track, Datagram::PAYLOAD_BYTES_MAX)
    }

    /// The same, and behind them their parity.
    ///
    /// # Errors
    /// [`FrameTooLarge`] if it is empty or has more fragments than there can be.
    pub fn datagrams_with_parity(&self, track: TrackId) -> Result<impl Iterator<Item = Datagram> + '_, FrameTooLarge> {
        let fragments: Vec<_> = self.fragments(track, Parity::PAYLOAD_BYTES_MAX)?.collect();
        let parity = Parity::of(&fragments);
        Ok(fragments.into_iter().chain(parity))
    }

    pub(super) fn fragments(
        &self,
        track: TrackId,
        size_max: usize,
    ) -> Result<impl Iterator<Item = Datagram> + '_, FrameTooLarge> {
        let bytes = self.data.len();
        if !(1..=FRAGMENTS_MAX as usize * size_max).contains(&bytes) {
            return Err(FrameTooLarge { bytes });
        }
        let size = bytes.div_ceil(bytes.div_ceil(size_max));
        // Rounding the size up may leave the last fragments without anything in them.
        let count = bytes.div_ceil(size) as u16;
        let fragments = (0..).zip(self.data.chunks(size));
        Ok(fragments.map(move |(index, payload)| Datagram::new(self.header(track, index, count), payload)))
    }

    fn header(&self, track: TrackId, fragment_index: u16, fragment_count: u16) -> MediaHeader {
        MediaHeader {
            track,
            frame: self.number,
            depends_on_distance: self.depends_on_distance,
            keyframe: self.keyframe,
            parity: false,
            on_stream: self.delivery == Some(Delivery::Stream),
            temporal_layer: self.temporal_layer,
            spatial_layer: self.spatial_layer,
            audio_level: self.audio_level,
            fragment_index,
            fragment_count,
            timestamp: self.timestamp,
        }
    }

    pub(super) fn from_parts(header: &MediaHeader, data: Bytes) -> Self {
        Self {
            number: header.frame,
            depends_on_distance: header.depends_on_distance,
            keyframe: header.keyframe,
            temporal_layer: header.temporal_layer,
            spatial_layer: header.spatial_layer,
            audio_level: header.audio_level,
            timestamp: header.timestamp,
            data,
            delivery: header.on_stream.then_some(Delivery::Stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: usize) -> Vec<usize> {
        let frame = Frame { data: vec![1; bytes].into(), ..Frame::default() };
        let datagrams: Vec<_> = frame.datagrams(TrackId(1)).unwrap().collect();
        for (index, datagram) in datagrams.iter().enumerate() {
            assert_eq!(usize::from(datagram.header.fragment_index), index);
            assert_eq!(usize::from(datagram.header.fragment_count), datagrams.len());
        }
        datagrams.iter().map(|datagram| datagram.payload().len()).collect()
    }

    #[test]
    fn fragments_are_of_equal_size() {
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(980), [980]);
        assert_eq!(sizes(981), [491, 490]);
        assert_eq!(sizes(9_800), [980; 10]);
        for bytes in (1..30_000).step_by(7).chain([Frame::BYTES_MAX]) {
            let sizes = sizes(bytes);
            assert_eq!(sizes.iter().sum::<usize>(), bytes);
            assert!(sizes[..sizes.len() - 1].iter().all(|size| *size == sizes[0]));
        }
    }

    #[test]
    fn an_empty_or_huge_frame_is_refused() {
        for bytes in [0, Frame::BYTES_MAX + 1] {
            let frame = Frame { data: vec![1; bytes].into(), ..Frame::default() };
            assert_eq!(frame.datagrams(TrackId(1)).err(), Some(FrameTooLarge { bytes }));
        }
    }
}
