use ring::hmac;

use crate::limits::TICKET_BYTES_MAX;
use crate::wire::{Identity, ParticipantId, RoomName};

/// Whose seat a ticket is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatClaim {
    /// Of the room: the seats of another one are gone.
    pub epoch: u64,
    /// The seat.
    pub participant: ParticipantId,
    /// Who sits there, if a token said so.
    pub identity: Option<Identity>,
}

/// What tickets are sealed with: HMAC-SHA256.
#[derive(Debug, Clone)]
pub struct TicketKey(hmac::Key);

/// What a seal is made over begins with this, so that nothing else that a key signs is ever a ticket.
const PURPOSE: &[u8] = b"tertulia ticket 1";

const TAG_BYTES: usize = 32;
const EPOCH_BYTES: usize = 8;
const PARTICIPANT_BYTES: usize = 4;

impl TicketKey {
    /// 32 random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A ticket that brings its holder back to a seat in `room`. At most [`TICKET_BYTES_MAX`] bytes; not encrypted.
    pub fn seal(&self, room: &RoomName, seat: SeatClaim) -> Vec<u8> {
        let SeatClaim { epoch, participant, identity } = seat;
        let identity = identity.as_ref().map(Identity::as_str).unwrap_or_default();
        let mut ticket = [&epoch.to_be_bytes()[..], &participant.0.to_be_bytes(), identity.as_bytes()].concat();
        let tag = hmac::sign(&self.0, &sealed(room, &ticket));
        ticket.extend_from_slice(tag.as_ref());
        debug_assert!(ticket.len() <= TICKET_BYTES_MAX);
        ticket
    }

    /// The seat that a ticket for `room` is for; `None` if it was not sealed for that room with this key. In constant time.
    pub fn open(&self, room: &RoomName, ticket: &[u8]) -> Option<SeatClaim> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (claim, tag) = ticket.split_at_checked(ticket.len().checked_sub(TAG_BYTES)?)?;
        hmac::verify(&self.0, &sealed(room, claim), tag).ok()?;
        let (epoch, rest) = claim.split_first_chunk::<EPOCH_BYTES>()?;
        let (participant, identity) = rest.split_first_chunk::<PARTICIPANT_BYTES>()?;
        let identity = match identity {
            [] => None,
            bytes => Some(Identity::parse(str::from_utf8(bytes).ok()?).ok()?),
        };
        let participant = ParticipantId(u32::from_be_bytes(*participant));
        Some(SeatClaim { epoch: u64::from_be_bytes(*epoch), participant, identity })
    }
}

/// What the seal is made over: a zero byte ends the room's name, which cannot hold one.
fn sealed(room: &RoomName, claim: &[u8]) -> Vec<u8> {
    [PURPOSE, room.as_str().as_bytes(), &[0], claim].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    fn seat(identity: Option<&str>) -> SeatClaim {
        let identity = identity.map(|identity| Identity::parse(identity).unwrap());
        SeatClaim { epoch: (1 << 53) - 1, participant: ParticipantId(u32::MAX), identity }
    }

    #[test]
    fn what_is_sealed_is_opened() {
        let key = TicketKey::new(&[7; 32]);
        for identity in [None, Some("a"), Some(&*"x".repeat(128))] {
            let ticket = key.seal(&room("standup"), seat(identity));
            assert!(ticket.len() <= TICKET_BYTES_MAX);
            assert_eq!(key.open(&room("standup"), &ticket), Some(seat(identity)));
            // A relay that was restarted with the same key.
            assert_eq!(TicketKey::new(&[7; 32]).open(&room("standup"), &ticket), Some(seat(identity)));
        }
    }

    #[test]
    fn another_key_another_room_or_another_byte_opens_nothing() {
        let key = TicketKey::new(&[7; 32]);
        let ticket = key.seal(&room("standup"), seat(Some("ana")));
        assert_eq!(TicketKey::new(&[8; 32]).open(&room("standup"), &ticket), None);
        for other in ["standu", "standupp", "Standup", "lobby"] {
            assert_eq!(key.open(&room(other), &ticket), None, "{other}");
        }
        for at in 0..ticket.len() {
            for bit in 0..8 {
                let mut changed = ticket.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(key.open(&room("standup"), &changed), None, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_ticket_of_another_length_opens_nothing() {
        let key = TicketKey::new(&[7; 32]);
        let ticket = key.seal(&room("standup"), seat(None));
        for cut in 0..ticket.len() {
            assert_eq!(key.open(&room("standup"), &ticket[..cut]), None, "cut at {cut}");
            assert_eq!(key.open(&room("standup"), &ticket[cut + 1..]), None, "begun at {cut}");
        }
        for more in [1, 100, 10_000] {
            assert_eq!(key.open(&room("standup"), &[&*ticket, &vec![0; more]].concat()), None);
        }
    }

    #[test]
    fn a_seal_over_something_else_is_no_ticket() {
        let key = TicketKey::new(&[7; 32]);
        for claim in [&[0; 0][..], &[0; 11], &[&[0; 12][..], b"../ana"].concat(), &[&[0; 12][..], &[0xff]].concat()] {
            let tag = hmac::sign(&key.0, &sealed(&room("standup"), claim));
            assert_eq!(key.open(&room("standup"), &[claim, tag.as_ref()].concat()), None, "{claim:?}");
        }
    }
}
