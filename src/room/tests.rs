mod allowance;
mod chat;
mod grants;
mod joining;
mod keyframes;
mod layers;
mod moderation;
mod replay;
mod seats;
mod stage;
mod tracks;

use std::sync::Arc;

use super::*;
use crate::auth::{Grant, SeatClaim, Sources};
use crate::limits::{KEYFRAME_INTERVAL, SameIdentity};
use crate::wire::{
    ChatMessage, ClientChat, DisplayName, Identity, MessageId, ParticipantInfo, ParticipantKind, Permissions,
    PublishedTrack, Rational, ServerChat, TrackInfo, TrackMedia, TrackSource,
};

const ANA: ParticipantId = ParticipantId(1);
const BEN: ParticipantId = ParticipantId(2);
const CAT: ParticipantId = ParticipantId(3);
const NOBODY: ParticipantId = ParticipantId(99);

const FIRST: TrackId = TrackId(1);
const SECOND: TrackId = TrackId(2);
const NO_TRACK: TrackId = TrackId(99);

const NOON: Now = Now::after(Duration::from_secs(60));

fn limits() -> Limits {
    Limits {
        participants_per_room: 3,
        tracks_per_participant: 2,
        chat_bytes: 10,
        chat_per_second: 10,
        chat_burst: 4,
        ..Limits::default()
    }
}

/// A room whose chat stands at number 40 of epoch 7.
fn empty_room() -> Room {
    let mut room = Room::new(RoomName::parse("team").unwrap(), limits(), position(40), RoomNotes::default());
    room.reserve_ids();
    room
}

fn position(sequence: u64) -> ChatPosition {
    ChatPosition { epoch: 7, sequence }
}

fn after_noon(ms: u64) -> Now {
    Now::after(NOON.since_start + Duration::from_millis(ms))
}

fn nameless(kind: ParticipantKind) -> JoinRequest {
    let grant = Grant::everyone(RoomName::parse("team").unwrap());
    JoinRequest { name: None, kind, grant, seat: None, auto_subscribe: true, chat_after: None }
}

fn request(name: &str) -> JoinRequest {
    JoinRequest { name: Some(DisplayName::parse(name).unwrap()), ..nameless(ParticipantKind::Meeting) }
}

fn plain() -> JoinRequest {
    JoinRequest { auto_subscribe: false, ..nameless(ParticipantKind::Plain) }
}

/// Someone with a token: the identity is the name in small letters.
fn person(name: &str) -> JoinRequest {
    let mut request = request(name);
    request.grant.identity = Some(Identity::parse(&name.to_lowercase()).unwrap());
    request
}

fn admin(name: &str) -> JoinRequest {
    let mut request = person(name);
    request.grant.admin = true;
    request
}

/// The same with the ticket of a seat.
fn with_ticket(participant: ParticipantId, request: JoinRequest) -> JoinRequest {
    let identity = request.grant.identity.clone();
    JoinRequest { seat: Some(SeatClaim { epoch: 7, participant, identity }), ..request }
}

/// What Ana gets who joins as the only session there is.
fn admitted(participant: ParticipantId, name: &str, participants: u32) -> Admitted {
    Admitted {
        session: SessionKey(5),
        participant,
        resumed: false,
        tracks: vec![],
        participants,
        chat: position(40),
        locked: false,
        name: name.into(),
        permissions: Permissions {
            publish: TrackSource::ALL.to_vec(),
            subscribe: true,
            chat: true,
            admin: false,
            hidden: false,
        },
    }
}

/// The session of a participant has ended.
fn ended(participant: ParticipantId, reason: CloseReason) -> Input {
    Input::Ended { participant, session: SessionKey(5), reason }
}

fn join(room: &mut Room, request: JoinRequest) -> Vec<Output> {
    join_as(room, SessionKey(5), request)
}

fn join_as(room: &mut Room, session: SessionKey, request: JoinRequest) -> Vec<Output> {
    room.handle(NOON, Input::Join { session, request })
}

fn not_admitted(reason: CloseReason) -> [Output; 1] {
    [Output::Refused { session: SessionKey(5), reason }]
}

/// Whose seat it is, if a session was admitted, and whether it had left it.
fn seat(outputs: &[Output]) -> Option<(ParticipantId, bool)> {
    let admitted = |output: &Output| match output {
        Output::Admitted(admitted) => Some((admitted.participant, admitted.resumed)),
        _ => None,
    };
    outputs.iter().find_map(admitted)
}

/// What everyone else is told when a seat ends.
fn left(participant: ParticipantId, reason: CloseReason) -> [Output; 2] {
    let message = ServerMessage::ParticipantLeft { participant, reason };
    [Output::Left { participant, reason }, Output::Tell { to: Audience::Everyone, message }]
}

/// Ana, Ben and Cat, who take every track.
fn room_of_three() -> Room {
    room_of(["Ana", "Ben", "Cat"].map(request))
}

fn room_of(requests: impl IntoIterator<Item = JoinRequest>) -> Room {
    let mut room = empty_room();
    for request in requests {
        join(&mut room, request);
    }
    room
}

fn room_with(limits: Limits) -> Room {
    Room { limits, ..empty_room() }
}

fn info(participant: ParticipantId, name: &str, tracks: &[PublishedTrack]) -> ParticipantInfo {
    ParticipantInfo {
        participant,
        name: name.into(),
        identity: None,
        metadata: String::new(),
        kind: ParticipantKind::Meeting,
        tracks: tracks.to_vec(),
    }
}

fn video() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: vec![] }
}

fn audio() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 2 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: vec![] }
}

fn published(track: TrackId, info: TrackInfo) -> PublishedTrack {
    PublishedTrack { track, info, muted: false }
}

fn message(room: &mut Room, from: ParticipantId, message: ClientMessage) -> Vec<Output> {
    room.handle(NOON, Input::Message { from, message })
}

fn publish(room: &mut Room, from: ParticipantId, track: TrackInfo) -> Vec<Output> {
    message(room, from, ClientMessage::Publish { request: 9, track })
}

fn tell(to: ParticipantId, message: ServerMessage) -> Output {
    Output::Tell { to: Audience::One(to), message }
}

fn tell_others(but: ParticipantId, message: ServerMessage) -> Output {
    Output::Tell { to: Audience::EveryoneBut(but), message }
}

fn done(to: ParticipantId) -> Output {
    tell(to, ServerMessage::Done { request: 9 })
}

fn failed(to: ParticipantId, reason: RefuseReason) -> Vec<Output> {
    vec![tell(to, ServerMessage::Failed { request: 9, reason, message: reason.to_string() })]
}

fn keyframe(publisher: ParticipantId, track: TrackId) -> Output {
    tell(publisher, ServerMessage::KeyframeRequested { track, spatial_layer: 0 })
}

fn opened(track: TrackId, publisher: ParticipantId) -> Output {
    opened_as(track, publisher, false)
}

fn opened_video(track: TrackId, publisher: ParticipantId) -> Output {
    opened_as(track, publisher, true)
}

fn opened_as(track: TrackId, publisher: ParticipantId, is_video: bool) -> Output {
    let source = if is_video { TrackSource::Camera } else { TrackSource::Microphone };
    Output::RouteOpened { track, publisher, highest: Layers::ONE, is_video, source }
}

fn shown(track: TrackId, subscriber: ParticipantId) -> Output {
    Output::PictureWanted { track, subscriber, layers: Layers::ONE }
}

fn gets(track: TrackId, subscriber: ParticipantId) -> Output {
    Output::Subscribed { track, subscriber, layers: Layers::ONE }
}

/// What the publisher of a track with one layer is told when somebody takes it or nobody does.
fn wanted(publisher: ParticipantId, track: TrackId, is_taken: bool) -> Output {
    layers_wanted(publisher, track, u8::from(is_taken), 0)
}

fn layers_wanted(publisher: ParticipantId, track: TrackId, spatial_layers: u8, temporal_layer: u8) -> Output {
    tell(publisher, ServerMessage::LayersWanted { track, spatial_layers, temporal_layer })
}

fn id(number: u8) -> MessageId {
    MessageId([number; 16])
}

/// Says `body` under message id `number`.
fn say(
    room: &mut Room,
    now: Now,
    from: ParticipantId,
    number: u8,
    to: Option<ParticipantId>,
    body: &str,
) -> Vec<Output> {
    room.handle(now, Input::Chat { from, message: ClientChat::Send { message_id: id(number), to, body: body.into() } })
}

fn stored(room: &mut Room, through: u64) -> Vec<Output> {
    room.handle(NOON, Input::Stored { through })
}

/// What number `sequence` is, said by Ana at noon as "hi" with the sequence's last digit as message id.
fn hi(sequence: u64, to: Option<ParticipantId>) -> Arc<ChatMessage> {
    Arc::new(ChatMessage {
        sequence,
        message_id: id((sequence % 10) as u8),
        sent_at_ms: NOON.unix_ms,
        from: ANA,
        from_name: "Ana".into(),
        to,
        body: "hi".into(),
    })
}

fn accepted(to: ParticipantId, number: u8, sequence: u64) -> Output {
    let message = ServerChat::Accepted { message_id: id(number), sequence, sent_at_ms: NOON.unix_ms };
    Output::Chat { to: Audience::One(to), message }
}

fn refused(to: ParticipantId, number: u8, reason: RefuseReason) -> Vec<Output> {
    let message = ServerChat::Refused { message_id: id(number), reason, message: reason.to_string() };
    vec![Output::Chat { to: Audience::One(to), message }]
}
