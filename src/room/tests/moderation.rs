use super::*;

/// An hour, as the limits say.
const REMOVED_MS: u64 = 60 * 60 * 1000;

/// Ana, who is an admin, and Ben and Cat.
fn moderated() -> Room {
    room_of([admin("Ana"), person("Ben"), person("Cat")])
}

fn remove(participant: ParticipantId) -> ClientMessage {
    ClientMessage::RemoveParticipant { request: 9, participant }
}

fn mute(track: TrackId) -> ClientMessage {
    ClientMessage::MuteTrack { request: 9, track }
}

fn lock(locked: bool) -> ClientMessage {
    ClientMessage::SetLocked { request: 9, locked }
}

fn everyone(message: ServerMessage) -> Output {
    Output::Tell { to: Audience::Everyone, message }
}

fn removed_notes(room: &Room) -> RoomNotes {
    let removed = RemovedIdentity { identity: "ben".into(), until_unix_ms: NOON.unix_ms + REMOVED_MS };
    RoomNotes { ids: room.notes.ids, locked: false, removed: vec![removed] }
}

#[test]
fn others_than_admins_moderate_nothing() {
    let mut room = moderated();
    publish(&mut room, ANA, audio());
    for request in [remove(CAT), remove(BEN), mute(FIRST), lock(true), ClientMessage::EndMeeting { request: 9 }] {
        assert_eq!(message(&mut room, BEN, request.clone()), failed(BEN, RefuseReason::NotAllowed), "{request:?}");
    }
    assert_eq!(room.participant_count(), 3);
}

#[test]
fn one_who_is_removed_is_gone_at_once_and_kept_out() {
    let mut room = moderated();
    publish(&mut room, BEN, audio());
    let notes = removed_notes(&room);
    let outputs = message(&mut room, ANA, remove(BEN));
    let close = Output::Close { participant: BEN, reason: CloseReason::Removed };
    assert_eq!(outputs[..3], [Output::Note(notes), close, Output::RouteClosed { track: FIRST }]);
    assert_eq!(outputs[3..5], left(BEN, CloseReason::Removed));
    assert_eq!(outputs[5..], [done(ANA)]);
    assert_eq!(message(&mut room, ANA, remove(BEN)), failed(ANA, RefuseReason::ParticipantUnknown));
    for again in [person("Ben"), with_ticket(BEN, person("Ben")), admin("Ben")] {
        assert_eq!(join(&mut room, again), not_admitted(CloseReason::Removed));
    }
    let mut at = |ms| {
        let join = Input::Join { session: SessionKey(5), request: with_ticket(BEN, person("Ben")) };
        seat(&room.handle(after_noon(ms), join))
    };
    assert_eq!([at(REMOVED_MS - 1), at(REMOVED_MS)], [None, Some((BEN, false))]);
}

#[test]
fn one_who_is_away_can_be_removed() {
    let mut room = moderated();
    room.handle(NOON, ended(BEN, CloseReason::ConnectionLost));
    let outputs = message(&mut room, ANA, remove(BEN));
    assert_eq!(outputs[1..3], left(BEN, CloseReason::Removed), "no session is there to be closed");
    assert_eq!(join(&mut room, with_ticket(BEN, person("Ben"))), not_admitted(CloseReason::Removed));
}

#[test]
fn one_who_was_removed_stays_out_when_the_room_opens_again() {
    let mut room = moderated();
    message(&mut room, ANA, remove(BEN));
    let reopened = |notes| Room::new(RoomName::parse("team").unwrap(), limits(), position(40), notes);
    let closed = reopened(room.closing_notes(NOON));
    let crashed = reopened(room.reserve_ids());
    for mut room in [closed, crashed] {
        assert_eq!(join(&mut room, person("Ben")), not_admitted(CloseReason::Removed));
        assert!(seat(&join(&mut room, person("Cat"))).is_some());
    }
    assert_eq!(room.closing_notes(after_noon(REMOVED_MS)).removed, [], "until its time is over");
}

#[test]
fn the_list_of_the_removed_is_bounded() {
    let mut room = room_of([admin("Ana")]);
    for number in 0..=crate::limits::REMOVED_IDENTITIES_MAX {
        let mut request = person("Ben");
        request.grant.identity = Some(Identity::parse(&format!("ben-{number}")).unwrap());
        let (id, _) = seat(&join(&mut room, request)).unwrap();
        room.handle(after_noon(number as u64 * 100), Input::Message { from: ANA, message: remove(id) });
    }
    let removed = room.closing_notes(NOON).removed;
    assert_eq!((removed.len(), &*removed[0].identity), (crate::limits::REMOVED_IDENTITIES_MAX, "ben-1"));
}

#[test]
fn a_track_that_an_admin_mutes_is_opened_by_its_publisher_alone() {
    let mut room = moderated();
    publish(&mut room, BEN, audio());
    let silent = Output::RouteMuted { track: FIRST, muted: true };
    let told = ServerMessage::TrackMuted { track: FIRST, muted: true };
    assert_eq!(message(&mut room, ANA, mute(FIRST)), [silent.clone(), everyone(told), done(ANA)]);
    assert_eq!(message(&mut room, ANA, mute(FIRST)), [done(ANA)], "once");
    assert_eq!(message(&mut room, ANA, mute(NO_TRACK)), failed(ANA, RefuseReason::TrackUnknown));
    let set = |muted| ClientMessage::SetMuted { request: 9, track: FIRST, muted };
    assert_eq!(message(&mut room, ANA, set(false)), failed(ANA, RefuseReason::TrackNotOwned));
    assert_eq!(message(&mut room, BEN, set(true)), [done(BEN)], "it is muted already");

    room.handle(NOON, ended(BEN, CloseReason::ConnectionLost));
    let outputs = join(&mut room, with_ticket(BEN, person("Ben")));
    assert!(outputs.contains(&silent), "it stays so when the publisher comes back: {outputs:?}");
    let told = tell_others(BEN, ServerMessage::TrackMuted { track: FIRST, muted: false });
    let open = Output::RouteMuted { track: FIRST, muted: false };
    assert_eq!(message(&mut room, BEN, set(false)), [open, told, done(BEN)]);
}

#[test]
fn a_locked_room_keeps_newcomers_out() {
    let mut room = moderated();
    room.limits.participants_per_room = 9;
    let told = |locked| everyone(ServerMessage::RoomLocked { locked });
    let notes = RoomNotes { locked: true, ..room.notes.clone() };
    assert_eq!(message(&mut room, ANA, lock(true)), [Output::Note(notes), told(true), done(ANA)]);
    assert_eq!(message(&mut room, ANA, lock(true)), [done(ANA)]);
    assert_eq!(join(&mut room, person("Dan")), not_admitted(CloseReason::RoomLocked));
    assert_eq!(join(&mut room, plain()), not_admitted(CloseReason::RoomLocked));

    room.handle(NOON, ended(BEN, CloseReason::ConnectionLost));
    assert_eq!(seat(&join(&mut room, with_ticket(BEN, person("Ben")))), Some((BEN, true)));
    room.handle(NOON, ended(CAT, CloseReason::Left));
    assert_eq!(join(&mut room, with_ticket(CAT, person("Cat"))), not_admitted(CloseReason::RoomLocked), "she left");
    let outputs = join(&mut room, admin("Eva"));
    assert!(matches!(&outputs[0], Output::Admitted(admitted) if admitted.locked), "{outputs:?}");

    message(&mut room, ANA, lock(false));
    assert!(seat(&join(&mut room, person("Dan"))).is_some());
    message(&mut room, ANA, lock(true));
    assert!(!room.closing_notes(NOON).locked, "an empty room is open");
}

#[test]
fn who_was_away_for_too_long_comes_back_into_a_locked_room() {
    let mut room = moderated();
    message(&mut room, ANA, lock(true));
    room.handle(NOON, ended(BEN, CloseReason::ConnectionLost));
    room.handle(after_noon(30_000), Input::Timeout);
    assert_eq!(room.participant_count(), 2);
    assert_eq!(seat(&join(&mut room, with_ticket(BEN, person("Ben")))), Some((BEN, false)));
}

#[test]
fn a_room_that_was_locked_when_the_relay_ended_stays_locked_and_lets_its_people_in() {
    let mut before = moderated();
    message(&mut before, ANA, lock(true));
    let open = || Room::new(RoomName::parse("team").unwrap(), limits(), position(40), before.notes.clone());
    let mut room = open();
    assert_eq!(join(&mut room, person("Dan")), not_admitted(CloseReason::RoomLocked));
    assert!(room.closing_notes(NOON).locked, "one who is refused does not unlock it");
    let mut room = Room::new(RoomName::parse("team").unwrap(), limits(), position(40), room.closing_notes(NOON));
    assert_eq!(seat(&join(&mut room, with_ticket(BEN, person("Ben")))), Some((BEN, false)));
    assert!(!room.closing_notes(NOON).locked);
    let mut late = open();
    late.handle(NOON, Input::Timeout);
    let input = Input::Join { session: SessionKey(5), request: with_ticket(BEN, person("Ben")) };
    assert_eq!(late.handle(after_noon(60_000), input), not_admitted(CloseReason::RoomLocked), "an old ticket");
}

#[test]
fn the_end_of_the_meeting_sends_everyone_away() {
    let mut room = moderated();
    message(&mut room, ANA, lock(true));
    room.handle(NOON, ended(CAT, CloseReason::ConnectionLost));
    let outputs = message(&mut room, ANA, ClientMessage::EndMeeting { request: 9 });
    let close = |participant| {
        vec![Output::Close { participant, reason: CloseReason::MeetingEnded }, Output::Away { participant }]
    };
    let gone = |participant| left(participant, CloseReason::MeetingEnded).to_vec();
    let notes = vec![done(ANA), Output::Note(room.notes.clone())];
    assert_eq!(outputs, [notes, close(ANA), close(BEN), gone(ANA), gone(BEN), gone(CAT)].concat());
    assert!(room.is_empty() && !room.notes.locked);
    assert!(seat(&join(&mut room, person("Ben"))).is_some(), "whoever may join can begin anew");
}
