use super::*;

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
            gets(FIRST, BEN),
            wanted(ANA, FIRST, true),
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
