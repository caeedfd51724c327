//! What a session has to show before it gets a seat: names, a token, and perhaps a ticket.

use std::net::{IpAddr, SocketAddr};

use tracing::debug;

use super::shard::Shard;
use crate::auth::Grant;
use crate::room::JoinRequest;
use crate::transport::Refusal;
use crate::wire::{
    ClientMessage, CloseReason, DecodeError, DisplayName, Join, ParticipantKind, RoomName, decode_first_message,
};

/// What the first message of a meeting session asks for.
pub(super) fn seat_request(
    shard: &Shard,
    remote: SocketAddr,
    message: &[u8],
) -> Result<(RoomName, JoinRequest), CloseReason> {
    let join = match decode_first_message(message) {
        Ok(ClientMessage::Join(join)) => join,
        Ok(_) => return Err(CloseReason::UnexpectedMessage),
        Err(DecodeError::Version { .. }) => return Err(CloseReason::VersionUnsupported),
        Err(DecodeError::Malformed(_) | DecodeError::TrailingBytes { .. }) => return Err(CloseReason::Malformed),
    };
    let Join { room, name, token, ticket, chat_after, auto_subscribe, .. } = join;
    let room = RoomName::parse(&room).map_err(|_| CloseReason::RoomName)?;
    let grant = grant(shard, remote.ip(), &room, token.as_deref())?;
    let name = match grant.name {
        // The token's name goes first, so it does not matter what the client calls itself.
        Some(_) => None,
        None => Some(DisplayName::parse(&name).map_err(|_| CloseReason::DisplayName)?),
    };
    // A ticket that is none is as good as no ticket: whoever presents it gets a new seat.
    let seat = ticket.and_then(|ticket| shard.tickets.open(&room, &ticket));
    Ok((room, JoinRequest { name, kind: ParticipantKind::Meeting, grant, seat, auto_subscribe, chat_after }))
}

/// What a plain WebSocket client asks for by connecting.
pub(super) fn plain_request(
    shard: &Shard,
    remote: SocketAddr,
    room: &RoomName,
    token: Option<&str>,
) -> Result<JoinRequest, CloseReason> {
    let grant = match token {
        None if shard.open_to_plain => Grant::everyone(room.clone()),
        token => grant(shard, remote.ip(), room, token)?,
    };
    let kind = ParticipantKind::Plain;
    Ok(JoinRequest { name: None, kind, grant, seat: None, auto_subscribe: false, chat_after: None })
}

/// What a token allows in a room. Without keys the relay is open, and no token is looked at.
fn grant(shard: &Shard, address: IpAddr, room: &RoomName, token: Option<&str>) -> Result<Grant, CloseReason> {
    if shard.keys.is_open() {
        return Ok(Grant::everyone(room.clone()));
    }
    let token = token.ok_or(CloseReason::TokenMissing)?;
    if !shard.gate.may_present_token(address) {
        shard.metrics.refuse(Refusal::Tokens);
        return Err(CloseReason::TooFast);
    }
    let refused = |reason: CloseReason| {
        shard.gate.token_refused(address);
        reason
    };
    let grant = shard.keys.current().verify(token, shard.now()).map_err(|error| {
        debug!(%address, %error, "a token was refused");
        refused(error.close_reason())
    })?;
    if grant.room == *room { Ok(grant) } else { Err(refused(CloseReason::TokenInvalid)) }
}
