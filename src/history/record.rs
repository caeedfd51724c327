//! A record is a checksum (CRC-32C, RFC 3720 appendix B.4; little-endian) over the room's name and all that follows it. Of a
//! message there follow its cost in bytes (32 bit), the time when it was sent (64 bit), both little-endian, and the message
//! as it is on the wire.

use thiserror::Error;

use super::head::{Head, Weight};
use crate::room::{Ids, RemovedIdentity, RoomNotes};
use crate::wire::{ChatMessage, RoomName, decode, encode};

const CHECKSUM_BYTES: usize = 4;

/// Why a record says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// It is not what was written.
    #[error("its checksum does not match")]
    Checksum,
    /// It cannot be understood, though it is what was written; or it stands in another one's place.
    #[error("it is not what should stand there")]
    Content,
}

/// The record of a message.
pub fn seal_message(room: &RoomName, message: &ChatMessage) -> Vec<u8> {
    let Weight { bytes, sent_at_ms, .. } = Weight::of(message);
    let mut record = vec![0; CHECKSUM_BYTES];
    record.extend(u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
    record.extend(sent_at_ms.to_le_bytes());
    record.extend(encode(message));
    seal(room, record)
}

/// The message of a record.
pub fn open_message(room: &RoomName, sequence: u64, record: &[u8]) -> Result<ChatMessage, Damage> {
    let mut content = Content(unseal(room, record)?);
    let (_, _) = (content.u32()?, content.u64()?);
    let message: ChatMessage = decode(content.0).map_err(|_| Damage::Content)?;
    if message.sequence == sequence { Ok(message) } else { Err(Damage::Content) }
}

/// What a message counts for. A damaged one is as old as can be, so that it goes first.
pub fn weigh(room: &RoomName, sequence: u64, record: &[u8]) -> Weight {
    let read = || {
        let mut content = Content(unseal(room, record)?);
        Ok::<_, Damage>(Weight { sequence, bytes: content.u32()?.into(), sent_at_ms: content.u64()? })
    };
    read().unwrap_or(Weight { sequence, bytes: record.len() as u64, sent_at_ms: 0 })
}

/// The record of a room's head.
pub fn seal_head(room: &RoomName, head: &Head) -> Vec<u8> {
    let RoomNotes { ids, locked, removed } = &head.notes;
    let mut record = vec![0; CHECKSUM_BYTES];
    for number in [head.epoch, head.last, head.first, head.bytes, head.used_unix_ms] {
        record.extend(number.to_le_bytes());
    }
    let removed_count = u32::try_from(removed.len()).expect("a room removes far fewer than 2^32 identities");
    for number in [head.messages, ids.participants, ids.tracks, u32::from(*locked), removed_count] {
        record.extend(number.to_le_bytes());
    }
    for RemovedIdentity { identity, until_unix_ms } in removed {
        record.extend(until_unix_ms.to_le_bytes());
        record.extend(u32::try_from(identity.len()).expect("an identity is far shorter than 4 GiB").to_le_bytes());
        record.extend(identity.as_bytes());
    }
    seal(room, record)
}

/// The head of a record.
pub fn open_head(room: &RoomName, record: &[u8]) -> Result<Head, Damage> {
    let mut content = Content(unseal(room, record)?);
    let content = &mut content;
    let (epoch, last, first) = (content.u64()?, content.u64()?, content.u64()?);
    let (bytes, used_unix_ms) = (content.u64()?, content.u64()?);
    let messages = content.u32()?;
    let ids = Ids { participants: content.u32()?, tracks: content.u32()? };
    let locked = content.u32()? != 0;
    let removed = (0..content.u32()?).map(|_| {
        let until_unix_ms = content.u64()?;
        let identity = content.text()?;
        Ok(RemovedIdentity { identity, until_unix_ms })
    });
    let removed = removed.collect::<Result<_, Damage>>()?;
    Ok(Head { epoch, last, first, messages, bytes, used_unix_ms, notes: RoomNotes { ids, locked, removed } })
}

fn seal(room: &RoomName, mut record: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(room, &record[CHECKSUM_BYTES..]);
    record[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    record
}

fn unseal<'a>(room: &RoomName, record: &'a [u8]) -> Result<&'a [u8], Damage> {
    match record.split_first_chunk::<CHECKSUM_BYTES>() {
        Some((stored, content)) if u32::from_le_bytes(*stored) == checksum(room, content) => Ok(content),
        _ => Err(Damage::Checksum),
    }
}

fn checksum(room: &RoomName, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(room.as_str().as_bytes()), content)
}

/// What is still to be read of a record.
struct Content<'a>(&'a [u8]);

impl Content<'_> {
    fn u32(&mut self) -> Result<u32, Damage> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Damage::Content)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*number))
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        let (number, rest) = self.0.split_first_chunk().ok_or(Damage::Content)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Result<String, Damage> {
        let length = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Damage::Content)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| Damage::Content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{MessageId, ParticipantId};

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    fn message() -> ChatMessage {
        ChatMessage {
            sequence: 41,
            message_id: MessageId([7; 16]),
            sent_at_ms: 1_700_000_000_000,
            from: ParticipantId(3),
            from_name: "Ana".into(),
            to: Some(ParticipantId(4)),
            body: "hello".into(),
        }
    }

    fn head() -> Head {
        let removed = |identity: &str| RemovedIdentity { identity: identity.into(), until_unix_ms: 9 };
        let notes = RoomNotes {
            ids: Ids { participants: 6, tracks: 7 },
            locked: true,
            removed: vec![removed("mallory"), removed("")],
        };
        Head { epoch: 1, last: 2, first: 3, messages: 4, bytes: 5, used_unix_ms: 8, notes }
    }

    #[test]
    fn what_was_written_comes_back() {
        let record = seal_message(&room("team"), &message());
        assert_eq!(open_message(&room("team"), 41, &record), Ok(message()));
        assert_eq!(weigh(&room("team"), 41, &record), Weight::of(&message()));
        assert_eq!(open_head(&room("team"), &seal_head(&room("team"), &head())), Ok(head()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (message, head) = (seal_message(&room("team"), &message()), seal_head(&room("team"), &head()));
        for bit in 0..message.len() * 8 {
            let mut damaged = message.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_message(&room("team"), 41, &damaged), Err(Damage::Checksum), "bit {bit}");
            assert_eq!(weigh(&room("team"), 41, &damaged).sent_at_ms, 0, "bit {bit}");
        }
        for bit in 0..head.len() * 8 {
            let mut damaged = head.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_head(&room("team"), &damaged), Err(Damage::Checksum), "bit {bit}");
        }
    }

    #[test]
    fn a_record_is_good_in_its_own_place_only() {
        let record = seal_message(&room("team"), &message());
        assert_eq!(open_message(&room("team"), 40, &record), Err(Damage::Content));
        assert_eq!(open_message(&room("other"), 41, &record), Err(Damage::Checksum));
        for length in 0..record.len() {
            assert_eq!(open_message(&room("team"), 41, &record[..length]), Err(Damage::Checksum), "{length} bytes");
        }
    }
}
