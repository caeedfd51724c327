use std::sync::Arc;

use super::*;
use crate::auth::Grant;
use crate::limits::KEYFRAME_INTERVAL;
use crate::wire::{
    ChatMessage, ClientChat, DisplayName, MessageId, ParticipantInfo, ParticipantKind, Permissions, PublishedTrack,
    Rational, ServerChat, TrackInfo, TrackMedia, TrackSource,
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
    room.handle(NOON, Input::Join { session: SessionKey(5), request })
}

/// Ana, Ben and Cat, who take every track.
fn room_of_three() -> Room {
    let mut room = empty_room();
    for name in ["Ana", "Ben", "Cat"] {
        join(&mut room, request(name));
    }
    room
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
    tell(publisher, ServerMessage::KeyframeRequested { track })
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

// Joining and leaving.

#[test]
fn a_newcomer_is_admitted_told_the_roster_and_announced() {
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    publish(&mut room, ANA, audio());
    let newcomer = info(BEN, "Ben", &[]);
    assert_eq!(
        join(&mut room, request("Ben")),
        [
            Output::Admitted(admitted(BEN, "Ben", 1)),
            tell(BEN, ServerMessage::ParticipantJoined(info(ANA, "Ana", &[published(FIRST, audio())]))),
            tell_others(BEN, ServerMessage::ParticipantJoined(newcomer)),
            Output::Subscribed { track: FIRST, subscriber: BEN },
        ]
    );
    assert_eq!((room.participant_count(), room.participant_name(BEN)), (2, Some("Ben")));
}

#[test]
fn a_newcomer_without_a_name_is_a_guest() {
    let mut room = empty_room();
    join(&mut room, plain());
    assert_eq!(room.participant_name(ANA), Some("guest 1"));
}

#[test]
fn a_full_room_refuses_until_someone_leaves_and_ids_are_not_reused() {
    let mut room = room_of_three();
    let refused = Output::Refused { session: SessionKey(5), reason: CloseReason::RoomFull };
    assert_eq!(join(&mut room, request("Dan")), [refused]);
    room.handle(NOON, ended(BEN, CloseReason::Left));
    assert_eq!(join(&mut room, request("Dan"))[0], Output::Admitted(admitted(ParticipantId(4), "Dan", 2)));
}

#[test]
fn one_who_leaves_takes_tracks_and_subscriptions_along() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    publish(&mut room, BEN, audio());
    let leave = ended(ANA, CloseReason::Left);
    let left = ServerMessage::ParticipantLeft { participant: ANA, reason: CloseReason::Left };
    assert_eq!(
        room.handle(NOON, leave.clone()),
        [
            Output::RouteClosed { track: FIRST },
            Output::Unsubscribed { track: SECOND, subscriber: ANA },
            Output::Left { participant: ANA, reason: CloseReason::Left },
            Output::Tell { to: Audience::Everyone, message: left },
        ]
    );
    assert_eq!(room.handle(NOON, leave), [], "a second time");
    room.handle(NOON, ended(BEN, CloseReason::Left));
    assert!(!room.is_empty());
    room.handle(NOON, ended(CAT, CloseReason::Left));
    assert!(room.is_empty());
}

#[test]
fn a_second_join_ends_the_session() {
    let mut room = room_of_three();
    let again = ClientMessage::Join(crate::wire::Join {
        version: crate::wire::VERSION,
        room: "team".into(),
        name: "Ana".into(),
        token: None,
        ticket: None,
        chat_after: None,
        auto_subscribe: true,
    });
    let close = Output::Close { participant: ANA, reason: CloseReason::UnexpectedMessage };
    assert_eq!(message(&mut room, ANA, again), [close]);
}

// Tracks.

#[test]
fn a_track_flows_before_anyone_hears_of_it() {
    let mut room = room_of_three();
    let track = published(FIRST, video());
    assert_eq!(
        publish(&mut room, BEN, video()),
        [
            Output::RouteOpened { track: FIRST, publisher: BEN },
            Output::Subscribed { track: FIRST, subscriber: ANA },
            Output::Subscribed { track: FIRST, subscriber: CAT },
            tell_others(BEN, ServerMessage::TrackPublished { participant: BEN, track }),
            tell(BEN, ServerMessage::Published { request: 9, track: FIRST }),
        ]
    );
}

#[test]
fn a_track_that_makes_no_sense_is_refused() {
    let audio = |sample_rate, channels| TrackInfo { media: TrackMedia::Audio { sample_rate, channels }, ..audio() };
    let video = |width, height, numerator, denominator, temporal_layers, spatial_layers| {
        let frame_rate = Rational { numerator, denominator };
        let media = TrackMedia::Video { width, height, frame_rate, temporal_layers, spatial_layers };
        TrackInfo { media, ..video() }
    };
    let codec = |codec: &str| TrackInfo { codec: codec.into(), ..self::audio() };
    let description = |bytes| TrackInfo { description: vec![0; bytes], ..self::audio() };
    let good = [
        audio(8_000, 1),
        audio(192_000, 2),
        video(1, 1, 1, 1, 1, 1),
        video(u16::MAX, u16::MAX, 30_000, 1001, 8, 8),
        codec(&"x".repeat(64)),
        description(1024),
    ];
    let bad = [
        audio(7_999, 1),
        audio(192_001, 1),
        audio(48_000, 0),
        audio(48_000, 3),
        video(0, 1, 1, 1, 1, 1),
        video(1, 0, 1, 1, 1, 1),
        video(1, 1, 0, 1, 1, 1),
        video(1, 1, 1, 0, 1, 1),
        video(1, 1, 1, 1, 0, 1),
        video(1, 1, 1, 1, 9, 1),
        video(1, 1, 1, 1, 1, 0),
        video(1, 1, 1, 1, 1, 9),
        codec(""),
        codec("a b"),
        codec("a\n"),
        codec("caf\u{e9}"),
        codec(&"x".repeat(65)),
        description(1025),
    ];
    for track in good {
        assert_eq!(publish(&mut room_of_three(), ANA, track.clone()).len(), 5, "{track:?}");
    }
    for track in bad {
        let outputs = publish(&mut room_of_three(), ANA, track.clone());
        assert_eq!(outputs, failed(ANA, RefuseReason::TrackInvalid), "{track:?}");
    }
}

#[test]
fn one_participant_publishes_so_many_tracks_at_a_time() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    publish(&mut room, ANA, video());
    assert_eq!(publish(&mut room, ANA, audio()), failed(ANA, RefuseReason::TracksFull));
    assert_eq!(publish(&mut room, BEN, audio()).len(), 5, "others are not counted");
    message(&mut room, ANA, ClientMessage::Unpublish { request: 9, track: FIRST });
    let outputs = publish(&mut room, ANA, audio());
    assert_eq!(outputs.last(), Some(&tell(ANA, ServerMessage::Published { request: 9, track: TrackId(4) })));
}

#[test]
fn a_track_is_taken_back_by_its_publisher_alone() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    let unpublish = |track| ClientMessage::Unpublish { request: 9, track };
    assert_eq!(message(&mut room, BEN, unpublish(FIRST)), failed(BEN, RefuseReason::TrackNotOwned));
    assert_eq!(message(&mut room, ANA, unpublish(NO_TRACK)), failed(ANA, RefuseReason::TrackUnknown));
    assert_eq!(
        message(&mut room, ANA, unpublish(FIRST)),
        [
            Output::RouteClosed { track: FIRST },
            tell_others(ANA, ServerMessage::TrackUnpublished { participant: ANA, track: FIRST }),
            done(ANA),
        ]
    );
    assert_eq!(message(&mut room, ANA, unpublish(FIRST)), failed(ANA, RefuseReason::TrackUnknown));
}

#[test]
fn others_hear_of_muting_when_it_changes() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    let set_muted = |track, muted| ClientMessage::SetMuted { request: 9, track, muted };
    let told = |muted| tell_others(ANA, ServerMessage::TrackMuted { track: FIRST, muted });
    for (muted, outputs) in [
        (false, vec![done(ANA)]),
        (true, vec![told(true), done(ANA)]),
        (true, vec![done(ANA)]),
        (false, vec![told(false), done(ANA)]),
        (true, vec![told(true), done(ANA)]),
    ] {
        assert_eq!(message(&mut room, ANA, set_muted(FIRST, muted)), outputs);
    }
    assert_eq!(message(&mut room, BEN, set_muted(FIRST, false)), failed(BEN, RefuseReason::TrackNotOwned));
    assert_eq!(message(&mut room, ANA, set_muted(NO_TRACK, false)), failed(ANA, RefuseReason::TrackUnknown));

    room.handle(NOON, ended(CAT, CloseReason::Left));
    let roster = join(&mut room, request("Dan")).remove(1);
    let muted = PublishedTrack { muted: true, ..published(FIRST, audio()) };
    let dan = ParticipantId(4);
    assert_eq!(roster, tell(dan, ServerMessage::ParticipantJoined(info(ANA, "Ana", &[muted]))), "a newcomer knows it");
}

#[test]
fn subscriptions_come_and_go() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    let subscribe = |track| ClientMessage::Subscribe { request: 9, track };
    let unsubscribe = |track| ClientMessage::Unsubscribe { request: 9, track };
    let gets = Output::Subscribed { track: FIRST, subscriber: BEN };
    let gets_no_longer = Output::Unsubscribed { track: FIRST, subscriber: BEN };
    for (from, said, outputs) in [
        (BEN, subscribe(FIRST), vec![done(BEN)]),
        (BEN, unsubscribe(FIRST), vec![gets_no_longer, done(BEN)]),
        (BEN, unsubscribe(FIRST), vec![done(BEN)]),
        (BEN, subscribe(FIRST), vec![gets, done(BEN)]),
        (BEN, subscribe(NO_TRACK), failed(BEN, RefuseReason::TrackUnknown)),
        (BEN, unsubscribe(NO_TRACK), failed(BEN, RefuseReason::TrackUnknown)),
        (ANA, subscribe(FIRST), failed(ANA, RefuseReason::TrackOwn)),
    ] {
        assert_eq!(message(&mut room, from, said.clone()), outputs, "{from} {said:?}");
    }
}

#[test]
fn what_is_subscribed_without_asking_is_up_to_each() {
    let subscribers = |outputs: &[Output]| -> Vec<_> {
        let subscriber = |output: &Output| match output {
            Output::Subscribed { track, subscriber } => Some((*track, *subscriber)),
            _ => None,
        };
        outputs.iter().filter_map(subscriber).collect()
    };
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    join(&mut room, request("Ben"));
    let set = |room: &mut Room, enabled| {
        message(room, BEN, ClientMessage::SetAutoSubscribe { request: 9, enabled });
    };
    set(&mut room, false);
    assert_eq!(subscribers(&publish(&mut room, ANA, audio())), []);
    set(&mut room, true);
    assert_eq!(subscribers(&publish(&mut room, ANA, video())), [(SECOND, BEN)], "from now on only");
    let modest = JoinRequest { auto_subscribe: false, ..request("Cat") };
    assert_eq!(subscribers(&join(&mut room, modest)), []);
    room.handle(NOON, ended(CAT, CloseReason::Left));
    let dan = ParticipantId(4);
    assert_eq!(subscribers(&join(&mut room, request("Dan"))), [(FIRST, dan), (SECOND, dan)]);
}

#[test]
fn a_plain_client_publishes_and_subscribes_nothing() {
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    publish(&mut room, ANA, video());
    let eager = JoinRequest { auto_subscribe: true, ..plain() };
    let outputs = [join(&mut room, eager), publish(&mut room, ANA, audio())].concat();
    assert!(!outputs.iter().any(|output| matches!(output, Output::Subscribed { .. })), "{outputs:?}");
    assert_eq!(publish(&mut room, BEN, audio()), failed(BEN, RefuseReason::NotAllowed));
}

// Keyframes.

#[test]
fn keyframe_requests_are_merged_and_the_last_is_not_lost() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    let ask = |room: &mut Room, ms, from| {
        room.handle(after_noon(ms), Input::Message { from, message: ClientMessage::RequestKeyframe { track: FIRST } })
    };
    assert_eq!(ask(&mut room, 0, BEN), [keyframe(ANA, FIRST)], "the first one at once");
    assert_eq!(room.next_timeout(), None);
    for (ms, from) in [(0, CAT), (1, BEN), (250, CAT), (499, BEN)] {
        assert_eq!(ask(&mut room, ms, from), [], "{ms} ms");
        assert_eq!(room.next_timeout(), Some(NOON.since_start + KEYFRAME_INTERVAL));
    }
    assert_eq!(room.handle(after_noon(499), Input::Timeout), [], "too early");
    assert_eq!(room.handle(after_noon(500), Input::Timeout), [keyframe(ANA, FIRST)]);
    assert_eq!(room.next_timeout(), None);
    assert_eq!(room.handle(after_noon(9000), Input::Timeout), [], "nobody asked since");
    assert_eq!(ask(&mut room, 9000, CAT), [keyframe(ANA, FIRST)], "a late one at once again");
}

#[test]
fn each_second_has_at_most_two_keyframe_requests_however_many_ask() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    let mut sent_at_ms = Vec::new();
    for ms in 0..3000 {
        let mut outputs = room.handle(after_noon(ms), Input::Timeout);
        let ask = ClientMessage::RequestKeyframe { track: FIRST };
        outputs.extend(room.handle(after_noon(ms), Input::Message { from: BEN, message: ask }));
        sent_at_ms.extend(outputs.iter().map(|_| ms));
    }
    assert_eq!(sent_at_ms, [0, 500, 1000, 1500, 2000, 2500]);
}

#[test]
fn a_keyframe_is_asked_for_where_it_is_of_use() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    publish(&mut room, ANA, video());
    let ask = |track| ClientMessage::RequestKeyframe { track };
    assert_eq!(message(&mut room, BEN, ask(NO_TRACK)), [], "no such track");
    assert_eq!(message(&mut room, BEN, ask(FIRST)), [], "audio");
    assert_eq!(message(&mut room, ANA, ask(SECOND)), [], "one's own");
    message(&mut room, BEN, ClientMessage::Unsubscribe { request: 9, track: SECOND });
    assert_eq!(message(&mut room, BEN, ask(SECOND)), [], "not subscribed");
    let outputs = message(&mut room, BEN, ClientMessage::Subscribe { request: 9, track: SECOND });
    let gets = Output::Subscribed { track: SECOND, subscriber: BEN };
    assert_eq!(outputs, [gets, keyframe(ANA, SECOND), done(BEN)], "whoever begins needs one");
}

#[test]
fn a_newcomer_needs_a_keyframe_of_each_video() {
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    publish(&mut room, ANA, video());
    assert!(join(&mut room, request("Ben")).contains(&keyframe(ANA, FIRST)));
    assert!(!join(&mut room, request("Cat")).contains(&keyframe(ANA, FIRST)), "merged with the one before");
    message(&mut room, ANA, ClientMessage::Unpublish { request: 9, track: FIRST });
    assert_eq!(room.next_timeout(), None, "nothing is due for a track that is gone");
}

// Chat.

#[test]
fn a_message_is_kept_then_acknowledged_and_delivered() {
    let mut room = room_of_three();
    assert_eq!(say(&mut room, NOON, ANA, 1, None, "hi"), [Output::Store(hi(41, None))]);
    let deliver = Output::Deliver { to: vec![BEN, CAT], message: hi(41, None) };
    assert_eq!(stored(&mut room, 41), [accepted(ANA, 1, 41), deliver]);
    assert_eq!(stored(&mut room, 41), [], "once");
}

#[test]
fn messages_are_delivered_in_the_order_of_their_numbers() {
    let mut room = room_of_three();
    for sequence in 41..=44 {
        let number = (sequence % 10) as u8;
        assert_eq!(say(&mut room, NOON, ANA, number, None, "hi"), [Output::Store(hi(sequence, None))]);
    }
    let sent = |sequence: u64| {
        let deliver = Output::Deliver { to: vec![BEN, CAT], message: hi(sequence, None) };
        [accepted(ANA, (sequence % 10) as u8, sequence), deliver]
    };
    assert_eq!(stored(&mut room, 40), [], "nothing new");
    assert_eq!(stored(&mut room, 43), [sent(41), sent(42), sent(43)].concat());
    assert_eq!(stored(&mut room, 44), sent(44));
}

#[test]
fn a_repetition_is_acknowledged_again_and_not_said_again() {
    let mut room = room_of_three();
    say(&mut room, NOON, ANA, 1, None, "hi");
    assert_eq!(say(&mut room, NOON, ANA, 1, None, "hi"), [], "it is still on its way");
    stored(&mut room, 41);
    let later = after_noon(5000);
    assert_eq!(say(&mut room, later, ANA, 1, None, "hi"), [accepted(ANA, 1, 41)], "as it was the first time");
    // Whoever lost the session comes back as another participant and repeats what was not acknowledged.
    assert_eq!(say(&mut room, later, BEN, 1, None, "hi"), [accepted(BEN, 1, 41)]);
}

#[test]
fn repetitions_are_not_too_fast() {
    let mut room = room_of_three();
    say(&mut room, NOON, ANA, 1, None, "hi");
    stored(&mut room, 41);
    for _ in 0..100 {
        assert_eq!(say(&mut room, NOON, ANA, 1, None, "hi"), [accepted(ANA, 1, 41)]);
    }
}

#[test]
fn a_private_message_concerns_two() {
    let mut room = room_of_three();
    say(&mut room, NOON, ANA, 1, Some(CAT), "hi");
    let deliver = Output::Deliver { to: vec![CAT], message: hi(41, Some(CAT)) };
    assert_eq!(stored(&mut room, 41), [accepted(ANA, 1, 41), deliver]);
    say(&mut room, NOON, ANA, 2, Some(ANA), "hi");
    let deliver = Output::Deliver { to: vec![], message: hi(42, Some(ANA)) };
    assert_eq!(stored(&mut room, 42), [accepted(ANA, 2, 42), deliver], "a note to oneself");
}

#[test]
fn a_message_that_cannot_be_taken_is_refused_and_takes_no_number() {
    let mut room = room_of_three();
    for (to, body, reason) in [
        (None, "eleven byte", RefuseReason::ChatTooLong),
        (None, "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", RefuseReason::ChatTooLong),
        (Some(NOBODY), "hi", RefuseReason::ParticipantUnknown),
    ] {
        assert_eq!(say(&mut room, NOON, ANA, 1, to, body), refused(ANA, 1, reason), "{body:?}");
    }
    assert_eq!(say(&mut room, NOON, ANA, 1, None, "hi"), [Output::Store(hi(41, None))], "its id is still free");
    assert_eq!(say(&mut room, NOON, ANA, 2, None, "ten bytes.").len(), 1);
    assert_eq!(say(&mut room, NOON, ANA, 3, None, "").len(), 1, "an empty one is one");
}

#[test]
fn one_who_talks_too_fast_waits_and_others_do_not() {
    let mut room = room_of_three();
    for number in 1..=4 {
        assert_eq!(say(&mut room, NOON, ANA, number, None, "hi").len(), 1);
    }
    let too_fast = refused(ANA, 5, RefuseReason::ChatTooFast);
    assert_eq!(say(&mut room, NOON, ANA, 5, None, "hi"), too_fast);
    assert_eq!(say(&mut room, after_noon(99), ANA, 5, None, "hi"), too_fast);
    assert!(matches!(say(&mut room, after_noon(99), BEN, 6, None, "hi")[..], [Output::Store(_)]));
    assert!(matches!(say(&mut room, after_noon(100), ANA, 5, None, "hi")[..], [Output::Store(_)]));
}

#[test]
fn others_hear_of_typing_when_it_changes() {
    let mut room = room_of_three();
    let told = |active| {
        let message = ServerChat::Typing { participant: ANA, active };
        Output::Chat { to: Audience::EveryoneBut(ANA), message }
    };
    for (active, outputs) in
        [(false, vec![]), (true, vec![told(true)]), (true, vec![]), (false, vec![told(false)]), (false, vec![])]
    {
        assert_eq!(room.handle(NOON, Input::Chat { from: ANA, message: ClientChat::Typing { active } }), outputs);
    }
}

#[test]
fn a_plain_client_is_delivered_to_and_heard_like_anyone() {
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    join(&mut room, plain());
    say(&mut room, NOON, ANA, 1, None, "hi");
    let deliver = Output::Deliver { to: vec![BEN], message: hi(41, None) };
    assert_eq!(stored(&mut room, 41), [accepted(ANA, 1, 41), deliver]);
    say(&mut room, NOON, BEN, 2, None, "hi");
    assert!(matches!(&stored(&mut room, 42)[1], Output::Deliver { to, message }
        if *to == [ANA] && message.from_name == "guest 2"));
}

// History.

#[test]
fn history_is_asked_for_from_where_the_newcomer_stands() {
    let other_epoch = ChatPosition { epoch: 6, sequence: 35 };
    for (chat_after, after) in [
        (position(12), 12),
        (position(40), 40),
        (position(41), 40),
        (position(u64::MAX), 40),
        (other_epoch, 0),
        (ChatPosition::START, 0),
    ] {
        let outputs = join(&mut empty_room(), JoinRequest { chat_after: Some(chat_after), ..request("Ana") });
        let replay = Output::Replay { participant: ANA, after, through: 40 };
        assert_eq!(outputs.last(), Some(&replay), "{chat_after:?}");
    }
    let asks_not = join(&mut empty_room(), request("Ana"));
    let cannot = join(&mut empty_room(), JoinRequest { chat_after: Some(position(0)), ..plain() });
    for outputs in [asks_not, cannot] {
        assert!(!outputs.iter().any(|output| matches!(output, Output::Replay { .. })), "{outputs:?}");
    }
}

#[test]
fn history_then_live_without_gap_and_without_double() {
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    say(&mut room, NOON, ANA, 1, None, "hi");
    join(&mut room, JoinRequest { chat_after: Some(position(30)), ..request("Ben") });
    let live_to = |to: Vec<ParticipantId>, sequence: u64| {
        vec![accepted(ANA, (sequence % 10) as u8, sequence), Output::Deliver { to, message: hi(sequence, None) }]
    };
    let replayed = |room: &mut Room, through| room.handle(NOON, Input::Replayed { participant: BEN, through });

    // 31 to 40 are on their way to Ben while 41, said before he came, and 42 are kept: he finds them in the history.
    assert_eq!(stored(&mut room, 41), live_to(vec![], 41));
    say(&mut room, NOON, ANA, 2, None, "hi");
    assert_eq!(stored(&mut room, 42), live_to(vec![], 42));
    assert_eq!(replayed(&mut room, 40), [Output::Replay { participant: BEN, after: 40, through: 42 }]);
    // 43 has its number but is not kept yet when Ben has the rest: it comes live.
    say(&mut room, NOON, ANA, 3, None, "hi");
    assert_eq!(replayed(&mut room, 42), [Output::CaughtUp { participant: BEN, position: position(42) }]);
    assert_eq!(stored(&mut room, 43), live_to(vec![BEN], 43));
}

#[test]
fn one_who_talks_while_history_comes_finds_the_own_message_in_it() {
    let mut room = empty_room();
    join(&mut room, JoinRequest { chat_after: Some(position(30)), ..request("Ana") });
    say(&mut room, NOON, ANA, 1, None, "hi");
    assert_eq!(stored(&mut room, 41), [Output::Deliver { to: vec![], message: hi(41, None) }]);
    let replayed = |room: &mut Room, through| room.handle(NOON, Input::Replayed { participant: ANA, through });
    assert_eq!(replayed(&mut room, 40), [Output::Replay { participant: ANA, after: 40, through: 41 }]);
    assert_eq!(replayed(&mut room, 41), [Output::CaughtUp { participant: ANA, position: position(41) }]);
}

#[test]
fn what_comes_after_its_participant_has_left_is_passed_over() {
    let mut room = room_of_three();
    say(&mut room, NOON, ANA, 1, None, "hi");
    room.handle(NOON, ended(ANA, CloseReason::Left));
    assert_eq!(stored(&mut room, 41), [Output::Deliver { to: vec![BEN, CAT], message: hi(41, None) }]);
    assert_eq!(room.handle(NOON, Input::Replayed { participant: ANA, through: 41 }), []);
    assert_eq!(room.handle(NOON, Input::Chat { from: ANA, message: ClientChat::Typing { active: true } }), []);
}

#[test]
fn a_room_that_opens_again_keeps_the_ids_of_what_is_kept() {
    let notes = RoomNotes { ids: Ids { participants: 7, tracks: 0 }, ..RoomNotes::default() };
    let mut room = Room::new(RoomName::parse("team").unwrap(), limits(), position(40), notes);
    let message_id = MessageId([9; 16]);
    room.remember(message_id, 40, 5);
    let now = Now::after(Duration::ZERO);
    let joined = join(&mut room, request("Ana"));
    assert_eq!(joined[0], Output::Admitted(admitted(ParticipantId(8), "Ana", 0)));
    let again = ClientChat::Send { message_id, to: None, body: "hello".into() };
    let repeated = room.handle(now, Input::Chat { from: ParticipantId(8), message: again });
    let accepted = ServerChat::Accepted { message_id, sequence: 40, sent_at_ms: 5 };
    assert_eq!(repeated, [Output::chat(ParticipantId(8), accepted)]);
}

#[test]
fn requests_beyond_the_rate_are_refused_and_reach_nobody_else() {
    let mut room = empty_room();
    let now = Now::after(Duration::ZERO);
    join(&mut room, request("Ana"));
    join(&mut room, request("Ben"));
    let from = ParticipantId(1);
    let mut refused = 0;
    let mut told = 0;
    for number in 0..5000 {
        let message = ClientMessage::Unpublish { request: number, track: TrackId(1) };
        for output in room.handle(now, Input::Message { from, message }) {
            match output {
                Output::Tell { message: ServerMessage::Failed { reason: RefuseReason::TooFast, .. }, .. } => {
                    refused += 1;
                }
                Output::Tell { to: Audience::One(to), .. } if to == from => {}
                _ => told += 1,
            }
        }
        let typing = ClientChat::Typing { active: number % 2 == 0 };
        told += room.handle(now, Input::Chat { from, message: typing }).len();
    }
    assert!(refused > 4800, "{refused}");
    assert!(told <= limits().requests_burst as usize, "{told}");
}
