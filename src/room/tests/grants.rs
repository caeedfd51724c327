use super::*;
use crate::limits::TOKEN_LEEWAY;

const LATER: SessionKey = SessionKey(6);

fn granted(name: &str, change: impl FnOnce(&mut Grant)) -> JoinRequest {
    let mut request = person(name);
    change(&mut request.grant);
    request
}

fn hidden(name: &str) -> JoinRequest {
    granted(name, |grant| grant.hidden = true)
}

/// Whether an output tells someone else of Ben.
fn tells_of_ben(output: &Output) -> bool {
    match output {
        Output::Tell { to: Audience::One(BEN), .. } | Output::Chat { to: Audience::One(BEN), .. } => false,
        Output::Tell { message, .. } => match message {
            ServerMessage::ParticipantJoined(info) => info.participant == BEN,
            ServerMessage::ParticipantLeft { participant, .. } => *participant == BEN,
            ServerMessage::TrackPublished { participant, .. } => *participant == BEN,
            _ => false,
        },
        Output::Chat { message, .. } => matches!(message, ServerChat::Typing { participant: BEN, .. }),
        Output::Deliver { message, .. } => message.from == BEN,
        _ => false,
    }
}

#[test]
fn one_identity_replaces_itself_or_is_refused() {
    let mut room = room_of([person("Ana"), person("Ben")]);
    let outputs = join_as(&mut room, LATER, person("Ana"));
    let close = Output::Close { participant: ANA, reason: CloseReason::Replaced };
    assert_eq!(outputs[0], close);
    assert_eq!(outputs[1..3], left(ANA, CloseReason::Replaced));
    assert_eq!((seat(&outputs), room.participant_count()), (Some((CAT, false)), 2));

    let mut room = room_with(Limits { same_identity: SameIdentity::Refuse, ..limits() });
    join(&mut room, person("Ana"));
    assert_eq!(join(&mut room, person("Ana")), not_admitted(CloseReason::IdentityInUse));
    assert_eq!(seat(&join(&mut room, with_ticket(ANA, person("Ana")))), Some((ANA, true)), "the ticket says who it is");
    room.handle(NOON, ended(ANA, CloseReason::ConnectionLost));
    let outputs = join(&mut room, person("Ana"));
    assert_eq!(outputs[..2], left(ANA, CloseReason::Replaced), "nobody is there to be in the way");
    assert_eq!(seat(&outputs), Some((BEN, false)));
}

#[test]
fn who_replaces_itself_needs_no_free_place() {
    let mut room = room_of(["Ana", "Ben", "Cat"].map(person));
    assert_eq!(join(&mut room, person("Dan")), not_admitted(CloseReason::RoomFull));
    assert_eq!(seat(&join(&mut room, person("Ana"))), Some((ParticipantId(4), false)));
}

#[test]
fn nobody_hears_of_one_who_is_hidden() {
    let mut room = room_of([person("Ana")]);
    let mut outputs = join(&mut room, hidden("Ben"));
    assert!(matches!(&outputs[0], Output::Admitted(admitted) if admitted.participants == 1));
    let joined = join(&mut room, person("Cat"));
    assert!(matches!(&joined[0], Output::Admitted(admitted) if admitted.participants == 1));
    outputs.extend(joined);
    outputs.extend(publish(&mut room, BEN, audio()));
    outputs.extend(say(&mut room, NOON, BEN, 1, None, "hi"));
    outputs.extend(room.handle(NOON, Input::Chat { from: BEN, message: ClientChat::Typing { active: true } }));
    outputs.extend(room.handle(NOON, ended(BEN, CloseReason::ConnectionLost)));
    outputs.extend(join_as(&mut room, LATER, with_ticket(BEN, hidden("Ben"))));
    outputs.extend(room.handle(NOON, Input::Ended { participant: BEN, session: LATER, reason: CloseReason::Left }));
    let told: Vec<_> = outputs.iter().filter(|output| tells_of_ben(output)).collect();
    assert!(told.is_empty(), "{told:?}");
    assert!(outputs.contains(&failed(BEN, RefuseReason::NotAllowed)[0]));
    assert!(outputs.contains(&refused(BEN, 1, RefuseReason::NotAllowed)[0]));
}

#[test]
fn one_who_is_hidden_sees_hears_and_reads() {
    let mut room = room_of([person("Ana")]);
    publish(&mut room, ANA, audio());
    let outputs = join(&mut room, hidden("Ben"));
    assert!(outputs.contains(&gets(FIRST, BEN)));
    say(&mut room, NOON, ANA, 1, None, "hi");
    assert_eq!(stored(&mut room, 41)[1], Output::Deliver { to: vec![BEN], message: hi(41, None) });
}

#[test]
fn one_who_comes_back_hidden_is_seen_to_leave_and_one_who_comes_back_seen_to_join() {
    let mut room = room_of([person("Ana"), person("Ben")]);
    publish(&mut room, BEN, audio());
    room.handle(NOON, ended(BEN, CloseReason::ConnectionLost));
    let outputs = join_as(&mut room, LATER, with_ticket(BEN, hidden("Ben")));
    assert_eq!(outputs[..2], left(BEN, CloseReason::Replaced));
    assert_eq!(seat(&outputs), Some((BEN, false)));
    assert!(!outputs[2..].iter().any(tells_of_ben), "{outputs:?}");
    let outputs = join_as(&mut room, LATER, with_ticket(BEN, person("Ben")));
    assert_eq!(outputs.iter().filter(|output| tells_of_ben(output)).count(), 1, "{outputs:?}");
}

#[test]
fn only_what_is_granted_is_published() {
    let camera_only = granted("Ana", |grant| grant.publish = Sources::only(&[TrackSource::Camera]));
    let mut room = room_of([camera_only, person("Ben")]);
    assert_eq!(publish(&mut room, ANA, audio()), failed(ANA, RefuseReason::NotAllowed));
    assert_eq!(publish(&mut room, ANA, video())[0], opened_video(FIRST, ANA));
    let mut room = room_of([granted("Ana", |grant| grant.publish = Sources::NONE)]);
    for source in TrackSource::ALL {
        let outputs = publish(&mut room, ANA, TrackInfo { source, ..audio() });
        assert_eq!(outputs, failed(ANA, RefuseReason::NotAllowed), "{source:?}");
    }
}

#[test]
fn who_may_not_subscribe_gets_nothing() {
    let mut room = room_of([person("Ana"), granted("Ben", |grant| grant.subscribe = false)]);
    let outputs = publish(&mut room, ANA, video());
    assert!(!outputs.iter().any(|output| matches!(output, Output::Subscribed { .. })), "{outputs:?}");
    let subscribe = ClientMessage::Subscribe { request: 9, track: FIRST };
    assert_eq!(message(&mut room, BEN, subscribe), failed(BEN, RefuseReason::NotAllowed));
    let set = |enabled| ClientMessage::SetAutoSubscribe { request: 9, enabled };
    assert_eq!(message(&mut room, BEN, set(true)), failed(BEN, RefuseReason::NotAllowed));
    assert_eq!(message(&mut room, BEN, set(false)), [done(BEN)]);
}

#[test]
fn who_may_not_chat_reads_only() {
    let mut room = room_of([person("Ana"), granted("Ben", |grant| grant.chat = false)]);
    assert_eq!(say(&mut room, NOON, BEN, 1, None, "hi"), refused(BEN, 1, RefuseReason::NotAllowed));
    assert_eq!(room.handle(NOON, Input::Chat { from: BEN, message: ClientChat::Typing { active: true } }), []);
    say(&mut room, NOON, ANA, 1, None, "hi");
    assert_eq!(stored(&mut room, 41)[1], Output::Deliver { to: vec![BEN], message: hi(41, None) });
}

#[test]
fn who_comes_back_with_a_lesser_token_keeps_what_that_allows() {
    let mut room = room_of([person("Ana"), person("Ben")]);
    publish(&mut room, ANA, audio());
    publish(&mut room, ANA, video());
    publish(&mut room, BEN, audio());
    room.handle(NOON, ended(ANA, CloseReason::ConnectionLost));
    let lesser = granted("Ana", |grant| {
        grant.publish = Sources::only(&[TrackSource::Camera]);
        grant.subscribe = false;
    });
    let outputs = join_as(&mut room, LATER, with_ticket(ANA, lesser));
    let Output::Admitted(admitted) = &outputs[0] else { panic!("{outputs:?}") };
    assert_eq!(admitted.tracks, [published(SECOND, video())], "she is told what is left");
    assert!(outputs.contains(&tell_others(ANA, ServerMessage::TrackUnpublished { participant: ANA, track: FIRST })));
    assert!(outputs.contains(&opened_video(SECOND, ANA)));
    let third = TrackId(3);
    assert!(!outputs.contains(&gets(third, ANA)));
}

/// A token that is valid until that long after noon, as the room counts: with the leeway in which it would still be let in.
fn valid_until_ms(ms: u64) -> Option<u64> {
    Some(NOON.unix_ms + ms - TOKEN_LEEWAY.as_millis() as u64)
}

#[test]
fn a_token_that_expires_ends_its_session_and_its_seat() {
    let expires_at_ms = valid_until_ms(5000);
    let mut room = room_of([granted("Ana", |grant| grant.expires_at_ms = expires_at_ms), person("Ben")]);
    assert_eq!(room.next_timeout(), Some(NOON.since_start + Duration::from_secs(5)));
    assert_eq!(room.handle(after_noon(4999), Input::Timeout), []);
    let outputs = room.handle(after_noon(5000), Input::Timeout);
    assert_eq!(outputs[0], Output::Close { participant: ANA, reason: CloseReason::TokenExpired });
    assert_eq!(outputs[1..], left(ANA, CloseReason::TokenExpired));
    assert_eq!((room.next_timeout(), room.participant_count()), (None, 1));
}

#[test]
fn a_seat_does_not_outlive_its_token_and_a_new_token_prolongs_it() {
    let expiring = |ms| granted("Ana", move |grant| grant.expires_at_ms = valid_until_ms(ms));
    let mut room = room_of([expiring(5000)]);
    room.handle(NOON, ended(ANA, CloseReason::ConnectionLost));
    assert_eq!(room.next_timeout(), Some(NOON.since_start + Duration::from_secs(5)));
    join_as(&mut room, LATER, with_ticket(ANA, expiring(60_000)));
    assert_eq!(room.next_timeout(), Some(NOON.since_start + Duration::from_secs(60)));
    assert_eq!(room.handle(after_noon(5000), Input::Timeout), []);
}

#[test]
fn a_jump_of_the_clock_on_the_wall_moves_no_end() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    for jump_ms in [DAY_MS, -DAY_MS] {
        let expiring = granted("Ana", |grant| grant.expires_at_ms = valid_until_ms(5000));
        let mut room = room_of([expiring, person("Ben")]);
        let jumped = |ms| Now { unix_ms: NOON.unix_ms.saturating_add_signed(jump_ms), ..after_noon(ms) };
        room.handle(jumped(0), ended(BEN, CloseReason::ConnectionLost));
        assert_eq!(room.handle(jumped(4999), Input::Timeout), [], "{jump_ms}");
        let expired = room.handle(jumped(5000), Input::Timeout);
        assert_eq!(expired[0], Output::Close { participant: ANA, reason: CloseReason::TokenExpired }, "{jump_ms}");
        assert_eq!(room.handle(jumped(29_999), Input::Timeout), [], "{jump_ms}");
        assert_eq!(room.handle(jumped(30_000), Input::Timeout), left(BEN, CloseReason::ConnectionLost), "{jump_ms}");
    }
}
