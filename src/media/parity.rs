use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::PARITY_GROUP_MAX;
use crate::wire::{Datagram, MediaHeader};

/// How many fragments one parity datagram stands for, about: a quarter more bytes repair nearly all random loss.
const GROUP: usize = 4;

/// In front of the parity: how many groups there are, and the lengths of the group's payloads, each 16 bits.
const HEAD_BYTES: usize = 4;

/// The parity of a group of fragments: with it and all of them but one, that one is known.
///
/// Of n groups, group g has the fragments g, g + n, g + 2n and so on: what is lost together is in different groups. In the
/// datagram's header, g stands in the place of the fragment's index. Its payload is n (16 bits), the exclusive or of the lengths
/// of the group's payloads (16 bits), and that of the payloads themselves, the shorter ones filled up with zeroes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parity {
    pub groups: u16,
    lengths: u16,
    payloads: Bytes,
}

impl Parity {
    /// How many bytes of a frame fit a datagram, if its parity has to fit one too.
    pub const PAYLOAD_BYTES_MAX: usize = Datagram::PAYLOAD_BYTES_MAX - HEAD_BYTES;

    /// The parity datagrams of all fragments of a frame, which are at most [`Parity::PAYLOAD_BYTES_MAX`] long.
    pub fn of(fragments: &[Datagram]) -> Vec<Datagram> {
        let groups = ((fragments.len() + GROUP / 2) / GROUP).max(1);
        let parity = |group: usize| {
            let its: Vec<_> = fragments.iter().skip(group).step_by(groups).map(Datagram::payload).collect();
            let size = its.iter().map(Bytes::len).max().unwrap_or(0);
            let mut payloads = vec![0; size];
            its.iter().for_each(|payload| add(&mut payloads, payload));
            let lengths = its.iter().fold(0, |lengths, payload| lengths ^ payload.len() as u16);
            let mut payload = BytesMut::with_capacity(HEAD_BYTES + size);
            payload.put_u16(groups as u16);
            payload.put_u16(lengths);
            payload.extend_from_slice(&payloads);
            let header = MediaHeader { parity: true, fragment_index: group as u16, ..fragments[0].header };
            Datagram::new(header, &payload)
        };
        (0..groups).map(parity).collect()
    }

    /// Reads a parity datagram. `None`: it is none, or stands for more than is looked at.
    pub fn decode(datagram: &Datagram) -> Option<Self> {
        let payload = datagram.payload();
        let (head, payloads) = payload.split_first_chunk::<HEAD_BYTES>()?;
        let (groups, lengths) = (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]]));
        let MediaHeader { fragment_index, fragment_count, .. } = datagram.header;
        let is_good = groups > fragment_index && fragment_count.div_ceil(groups) <= PARITY_GROUP_MAX;
        let payloads = payload.slice_ref(payloads);
        (is_good && !payloads.is_empty()).then_some(Self { groups, lengths, payloads })
    }

    /// How many bytes it keeps.
    pub fn bytes(&self) -> usize {
        self.payloads.len()
    }

    /// The only payload of the group that is not among `others`, if that is possible.
    pub fn recover<'a>(&self, others: impl Iterator<Item = &'a Bytes>) -> Option<Bytes> {
        let (mut payload, mut length) = (BytesMut::from(&*self.payloads), self.lengths);
        for other in others {
            if other.len() > payload.len() {
                return None;
            }
            add(&mut payload, other);
            length ^= other.len() as u16;
        }
        let length = usize::from(length);
        if length == 0 || length > payload.len() {
            return None;
        }
        payload.truncate(length);
        Some(payload.freeze())
    }
}

fn add(sum: &mut [u8], bytes: &[u8]) {
    sum.iter_mut().zip(bytes).for_each(|(sum, byte)| *sum ^= byte);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::wire::TrackId;

    fn fragments(bytes: usize) -> Vec<Datagram> {
        let data = (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect::<Vec<_>>().into();
        Frame { data, ..Frame::default() }.fragments(TrackId(1), Parity::PAYLOAD_BYTES_MAX).unwrap().collect()
    }

    #[test]
    fn any_one_of_a_group_is_recovered() {
        for (bytes, groups) in [(1, 1), (976, 1), (977, 1), (5 * 976, 1), (5 * 976 + 1, 2), (40_000, 10)] {
            let fragments = fragments(bytes);
            let parities = Parity::of(&fragments);
            assert_eq!(parities.len(), groups, "{} fragments", fragments.len());
            for lost in 0..fragments.len() {
                let parity = Parity::decode(&parities[lost % groups]).unwrap();
                let payloads: Vec<_> = fragments.iter().map(Datagram::payload).collect();
                let others = (lost % groups..fragments.len()).step_by(groups).filter(|index| *index != lost);
                assert_eq!(parity.recover(others.map(|index| &payloads[index])), Some(payloads[lost].clone()));
            }
        }
    }

    #[test]
    fn what_is_no_parity_is_passed_over() {
        let fragments = fragments(5000);
        let parity = &Parity::of(&fragments)[1];
        let with = |payload: &[u8]| Parity::decode(&Datagram::new(parity.header, payload));
        assert!(with(&[0, 2, 0, 0, 1]).is_some());
        assert_eq!(with(&[0, 2, 0, 0]), None, "nothing in it");
        assert_eq!(with(&[0, 1, 0, 0, 1]), None, "the group is beyond their count");
        assert_eq!(with(&[0, 0, 0, 0, 1]), None);
        let large = Datagram::new(MediaHeader { fragment_count: 2048, ..parity.header }, &[0, 2, 0, 0, 1]);
        assert_eq!(Parity::decode(&large), None, "more than is looked at");
    }

    #[test]
    fn what_contradicts_itself_is_not_recovered() {
        let parity = Parity { groups: 1, lengths: 3, payloads: Bytes::from_static(&[1, 2]) };
        let recover = |others: &[Bytes]| parity.recover(others.iter());
        assert_eq!(recover(&[Bytes::from_static(&[1, 2, 3])]), None, "longer than the parity");
        assert_eq!(recover(&[]), None, "so is what is missing");
        assert_eq!(recover(&[Bytes::from_static(&[1, 2]), Bytes::from_static(&[7])]), None, "there is none");
        assert_eq!(recover(&[Bytes::from_static(&[9, 9])]), Some(Bytes::from_static(&[8])));
    }
}
