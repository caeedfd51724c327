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
