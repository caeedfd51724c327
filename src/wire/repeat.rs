use bytes::{BufMut, Bytes, BytesMut};

use super::media::{FLAG_REPEAT, HeaderError, LAYER_MAX, PREFIX, PREFIX_BYTES, VERSION};
use super::names::TrackId;
use crate::limits::MEDIA_BYTES_MAX;

/// Version and flags, layers, and the track: as in a media header.
const HEAD_BYTES: usize = 6;

/// Frame number, first fragment, and a bit for each of the 16 after it.
const WANTED_BYTES: usize = 8;

/// In the place of a fragment's index: all of them, because it is not known how many there are.
const WHOLE_FRAME: u16 = u16::MAX;

/// A datagram that asks for others once more, which did not arrive: a subscriber asks the relay, the relay asks a publisher.
///
/// ```text
///  0  version (4 bits, 1) | reserved (1) | repeat (1) | reserved (2)
///  1  reserved (2) | spatial layer (3) | reserved (3)
///  2  track (32)
///  6  wanted (64), 1 to 124 times: frame number (32) | fragment (16) | which of the 16 after it, from the lowest bit on (16)
/// ```
///
/// It is a datagram because it must not wait behind one that was lost; it is asked again when nothing comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatRequest {
    /// The track of what is missing.
    pub track: TrackId,
    /// Its rendition.
    pub spatial_layer: u8,
    /// What is missing, in the order of the frames. At least one, at most [`RepeatRequest::WANTED_MAX`].
    pub wanted: Vec<Wanted>,
}

/// Datagrams of a frame that are wanted once more: as generic NACK does it (RFC 4585, section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The frame's number.
    pub frame: u32,
    fragment: u16,
    following: u16,
}

impl Wanted {
    /// All datagrams of a frame of which none came.
    pub const fn whole(frame: u32) -> Self {
        Self { frame, fragment: WHOLE_FRAME, following: 0 }
    }

    /// One fragment.
    pub const fn fragment(frame: u32, fragment: u16) -> Self {
        Self { frame, fragment, following: 0 }
    }

    /// Adds another fragment of the same frame, if there is a bit for it.
    pub fn add(&mut self, frame: u32, fragment: u16) -> bool {
        let distance = fragment.checked_sub(self.fragment).filter(|distance| (1..=16).contains(distance));
        let Some(distance) = distance.filter(|_| frame == self.frame && self.fragment != WHOLE_FRAME) else {
            return false;
        };
        self.following |= 1 << (distance - 1);
        true
    }

    /// Whether it asks for this fragment of its frame.
    pub fn contains(&self, fragment: u16) -> bool {
        match fragment.checked_sub(self.fragment) {
            _ if self.fragment == WHOLE_FRAME => true,
            Some(0) => true,
            Some(distance @ 1..=16) => self.following & 1 << (distance - 1) != 0,
            _ => false,
        }
    }
}

impl RepeatRequest {
    /// How much one request can ask for.
    pub const WANTED_MAX: usize = (MEDIA_BYTES_MAX - HEAD_BYTES) / WANTED_BYTES;

    /// Whether a datagram as a carrier delivered it is a request rather than media; whether it is a good one is to be seen.
    pub fn is_one(datagram: &[u8]) -> bool {
        datagram.get(PREFIX_BYTES).is_some_and(|flags| flags & FLAG_REPEAT != 0)
    }

    /// The request as it is sent, prefix included; what is beyond [`RepeatRequest::WANTED_MAX`] is left out.
    pub fn encode(&self) -> Bytes {
        let wanted = &self.wanted[..self.wanted.len().min(Self::WANTED_MAX)];
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + HEAD_BYTES + wanted.len() * WANTED_BYTES);
        bytes.put_u8(PREFIX);
        bytes.put_u8(VERSION << 4 | FLAG_REPEAT);
        bytes.put_u8((self.spatial_layer & LAYER_MAX) << 3);
        bytes.put_u32(self.track.0);
        for Wanted { frame, fragment, following } in wanted {
            bytes.put_u32(*frame);
            bytes.put_u16(*fragment);
            bytes.put_u16(*following);
        }
        bytes.freeze()
    }

    /// Reads a request as a carrier delivered it, prefix included.
    ///
    /// # Errors
    /// [`HeaderError`] says what is wrong with it; one whose length does not fit is too short.
    pub fn decode(datagram: &[u8]) -> Result<Self, HeaderError> {
        if datagram.len() > PREFIX_BYTES + MEDIA_BYTES_MAX {
            return Err(HeaderError::Long);
        }
        let (&prefix, request) = datagram.split_first().ok_or(HeaderError::Short)?;
        if prefix != PREFIX {
            return Err(HeaderError::Session);
        }
        let (head, wanted) = request.split_first_chunk::<HEAD_BYTES>().ok_or(HeaderError::Short)?;
        if head[0] >> 4 != VERSION {
            return Err(HeaderError::Version(head[0] >> 4));
        }
        let (wanted, rest) = wanted.as_chunks::<WANTED_BYTES>();
        if wanted.is_empty() || !rest.is_empty() {
            return Err(HeaderError::Short);
        }
        let mut wanted: Vec<_> = wanted.iter().map(Wanted::from_bytes).collect();
        wanted.sort_by_key(|wanted| wanted.frame);
        let track = TrackId(u32::from_be_bytes([head[2], head[3], head[4], head[5]]));
        Ok(Self { track, spatial_layer: head[1] >> 3 & LAYER_MAX, wanted })
    }

    /// Whether it asks for this fragment of this frame.
    pub fn contains(&self, frame: u32, fragment: u16) -> bool {
        let first = self.wanted.partition_point(|wanted| wanted.frame < frame);
        let its = self.wanted[first..].iter().take_while(|wanted| wanted.frame == frame);
        its.into_iter().any(|wanted| wanted.contains(fragment))
    }
}

impl Wanted {
    fn from_bytes(&[a, b, c, d, e, f, g, h]: &[u8; WANTED_BYTES]) -> Self {
        Self {
            frame: u32::from_be_bytes([a, b, c, d]),
            fragment: u16::from_be_bytes([e, f]),
            following: u16::from_be_bytes([g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_out_as_it_went_in() {
        let mut some = Wanted::fragment(8, 3);
        assert!(some.add(8, 4) && some.add(8, 19));
        assert!(!some.add(8, 20) && !some.add(8, 2) && !some.add(9, 5) && !Wanted::whole(8).add(8, 3));
        let request = RepeatRequest { track: TrackId(7), spatial_layer: 5, wanted: vec![Wanted::whole(6), some] };
        let bytes = request.encode();
        assert!(RepeatRequest::is_one(&bytes));
        assert_eq!(RepeatRequest::decode(&bytes), Ok(request.clone()));
        let asked = |frame| (0..25).filter(|fragment| request.contains(frame, *fragment)).collect::<Vec<_>>();
        assert_eq!((asked(6).len(), asked(7), asked(8)), (25, vec![], vec![3, 4, 19]));
    }

    #[test]
    fn as_much_as_fits_is_asked_for() {
        let wanted: Vec<_> = (0..200).map(Wanted::whole).collect();
        let request = RepeatRequest { track: TrackId(7), spatial_layer: 0, wanted: wanted.clone() };
        let read = RepeatRequest::decode(&request.encode()).unwrap();
        assert_eq!(read.wanted, wanted[..RepeatRequest::WANTED_MAX]);
        assert!(request.encode().len() <= PREFIX_BYTES + MEDIA_BYTES_MAX);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let good = RepeatRequest { track: TrackId(7), spatial_layer: 0, wanted: vec![Wanted::whole(6)] }.encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            bytes
        };
        for (bytes, why) in [
            (vec![], HeaderError::Short),
            (good[..7].to_vec(), HeaderError::Short),
            (good[..good.len() - 1].to_vec(), HeaderError::Short),
            (with(0, 1), HeaderError::Session),
            (with(1, 0x24), HeaderError::Version(2)),
            ([&good[..], &[0; 992]].concat(), HeaderError::Long),
        ] {
            assert_eq!(RepeatRequest::decode(&bytes), Err(why), "{bytes:?}");
        }
    }
}
