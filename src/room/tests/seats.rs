use super::*;
use crate::limits::PAGE_SEAT_TIME;

const LATER: SessionKey = SessionKey(6);
const SEAT: Duration = Duration::from_secs(30);

fn broken(room: &mut Room, participant: ParticipantId) -> Vec<Output> {
    room.handle(NOON, ended(participant, CloseReason::ConnectionLost))
}

fn come_back(room: &mut Room, participant: ParticipantId, name: &str) -> Vec<Output> {
    join_as(room, LATER, with_ticket(participant, request(name)))
}

#[test]
fn a_broken_session_keeps_its_seat_and_others_hear_nothing() {
    for reason in CloseReason::ALL.iter().copied().filter(|reason| reason.keeps_seat()) {
        let mut room = room_of_three();
        publish(&mut room, ANA, audio());
        publish(&mut room, BEN, audio());
        assert_eq!(
            room.handle(NOON, ended(ANA, reason)),
            [
                Output::RouteClosed { track: FIRST },
                Output::Unsubscribed { track: SECOND, subscriber: ANA },
                Output::Away { participant: ANA },
            ],
            "{reason:?}"
        );
        assert_eq!((room.participant_count(), room.participant_name(ANA)), (3, Some("Ana")));
        let seat = if reason == CloseReason::PageClosed { PAGE_SEAT_TIME } else { SEAT };
        assert_eq!(room.next_timeout(), Some(NOON.since_start + seat));
        assert_eq!(room.handle(NOON, ended(ANA, reason)), [], "a second time");
        let later = Now::after(NOON.since_start + seat);
        assert_eq!(room.handle(later, Input::Timeout), left(ANA, reason), "why it ended is what the others hear");
    }
}

#[test]
fn every_other_end_gives_the_seat_up_at_once() {
    for reason in CloseReason::ALL.iter().copied().filter(|reason| !reason.keeps_seat()) {
        let mut room = room_of_three();
        assert_eq!(room.handle(NOON, ended(ANA, reason)), left(ANA, reason));
        assert_eq!((room.participant_count(), room.next_timeout()), (2, None));
    }
}

#[test]
fn where_no_seat_is_kept_a_broken_session_is_a_leave() {
    let mut room = room_with(Limits { seat_seconds: 0, ..limits() });
    join(&mut room, request("Ana"));
    assert_eq!(broken(&mut room, ANA), left(ANA, CloseReason::ConnectionLost));
    let mut room = room_of([plain()]);
    assert_eq!(broken(&mut room, ANA), left(ANA, CloseReason::ConnectionLost));
}

#[test]
fn who_comes_back_finds_everything_as_it_was() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    publish(&mut room, BEN, video());
    message(&mut room, CAT, ClientMessage::Unsubscribe { request: 9, track: FIRST });
    broken(&mut room, ANA);
    let at = Now::after(NOON.since_start + SEAT - Duration::from_millis(1));
    let request = with_ticket(ANA, request("Another name"));
    let request = JoinRequest { chat_after: Some(position(30)), ..request };
    let again =
        Admitted { session: LATER, resumed: true, tracks: vec![published(FIRST, video())], ..admitted(ANA, "Ana", 2) };
    assert_eq!(
        room.handle(at, Input::Join { session: LATER, request }),
        [
            Output::Admitted(again),
            tell(ANA, ServerMessage::ParticipantJoined(info(BEN, "Ben", &[published(SECOND, video())]))),
            tell(ANA, ServerMessage::ParticipantJoined(info(CAT, "Cat", &[]))),
            opened_video(FIRST, ANA),
            gets(FIRST, BEN),
            wanted(ANA, FIRST, true),
            keyframe(ANA, FIRST),
            gets(SECOND, ANA),
            shown(SECOND, ANA),
            Output::Replay { participant: ANA, after: 30, through: 40 },
        ]
    );
    assert_eq!(room.next_timeout(), None);
}

#[test]
fn the_name_stays_and_other_metadata_is_for_those_who_come_later() {
    let of_token = |name, metadata: &str| {
        let mut request = person(name);
        request.grant.metadata = metadata.into();
        request
    };
    let mut room = room_of([of_token("Ana", "before"), person("Ben")]);
    broken(&mut room, ANA);
    let again = JoinRequest { name: request("Anna").name, ..with_ticket(ANA, of_token("Ana", "after")) };
    let outputs = join_as(&mut room, LATER, again);
    assert_eq!(seat(&outputs), Some((ANA, true)));
    let is_told = |output: &Output| matches!(output, Output::Tell { to, .. } if *to != Audience::One(ANA));
    assert!(!outputs.iter().any(is_told), "{outputs:?}");
    let seen = join(&mut room, person("Cat")).into_iter().find_map(|output| match output {
        Output::Tell { message: ServerMessage::ParticipantJoined(info), .. } if info.participant == ANA => Some(info),
        _ => None,
    });
    assert_eq!(seen.map(|info| (info.name, info.metadata)), Some(("Ana".into(), "after".into())));
}

#[test]
fn a_publisher_that_nobody_watches_is_not_asked_for_a_keyframe() {
    let mut room = room_of([request("Ana")]);
    publish(&mut room, ANA, video());
    broken(&mut room, ANA);
    let outputs = come_back(&mut room, ANA, "Ana");
    assert_eq!(outputs[1..], [opened_video(FIRST, ANA), wanted(ANA, FIRST, false)]);
}

#[test]
fn what_happens_while_someone_is_away_is_there_when_it_comes_back() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    broken(&mut room, BEN);
    broken(&mut room, CAT);
    let flows = publish(&mut room, ANA, video());
    assert!(!flows.iter().any(|output| matches!(output, Output::Subscribed { .. })), "{flows:?}");
    message(&mut room, ANA, ClientMessage::Unpublish { request: 9, track: FIRST });
    room.handle(NOON, ended(ANA, CloseReason::ConnectionLost));
    let roster = tell(BEN, ServerMessage::ParticipantJoined(info(ANA, "Ana", &[published(SECOND, video())])));
    let outputs = come_back(&mut room, BEN, "Ben");
    assert_eq!(outputs[1], roster);
    assert!(outputs.contains(&gets(SECOND, BEN)));
    let flows = come_back(&mut room, ANA, "Ana");
    assert!(flows.contains(&gets(SECOND, BEN)));
    assert!(!flows.contains(&gets(SECOND, CAT)), "she is away");
}

#[test]
fn a_second_session_with_the_same_ticket_replaces_the_first() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    let outputs = come_back(&mut room, ANA, "Ana");
    let close = Output::Close { participant: ANA, reason: CloseReason::Replaced };
    assert_eq!(outputs[..3], [close, Output::RouteClosed { track: FIRST }, Output::Away { participant: ANA }]);
    assert_eq!(seat(&outputs), Some((ANA, true)));
    assert!(outputs.contains(&opened(FIRST, ANA)));
    for reason in [CloseReason::Replaced, CloseReason::ConnectionLost, CloseReason::Left] {
        assert_eq!(room.handle(NOON, ended(ANA, reason)), [], "the first session has no seat any more");
    }
    let end = Input::Ended { participant: ANA, session: LATER, reason: CloseReason::Left };
    assert_eq!(room.handle(NOON, end)[1..], left(ANA, CloseReason::Left));
}

#[test]
fn a_seat_that_nobody_comes_back_to_ends() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    broken(&mut room, ANA);
    assert_eq!(room.handle(after_noon(29_999), Input::Timeout), []);
    assert_eq!(room.handle(after_noon(30_000), Input::Timeout), left(ANA, CloseReason::ConnectionLost));
    assert_eq!(room.next_timeout(), None);
    let late = come_back(&mut room, ANA, "Ana");
    assert_eq!(seat(&late), Some((ANA, false)), "the id is still its own, the seat is not");
    let back = tell_others(ANA, ServerMessage::ParticipantJoined(info(ANA, "Ana", &[])));
    assert!(late.contains(&back), "the tracks are gone: {late:?}");
}

#[test]
fn a_ticket_that_is_not_good_here_makes_a_newcomer() {
    let ana = Some(Identity::parse("ana").unwrap());
    let dan = ParticipantId(4);
    for (claim, why) in [
        (SeatClaim { epoch: 6, participant: ANA, identity: ana.clone() }, "another epoch"),
        (SeatClaim { epoch: 7, participant: dan, identity: ana.clone() }, "an id that was not given yet"),
        (SeatClaim { epoch: 7, participant: BEN, identity: None }, "someone without an identity"),
        (SeatClaim { epoch: 7, participant: BEN, identity: Some(Identity::parse("ben").unwrap()) }, "someone else"),
    ] {
        let mut room = room_with(Limits { participants_per_room: 9, ..limits() });
        for request in ["Ana", "Ben", "Cat"].map(person) {
            join(&mut room, request);
        }
        let outputs = join_as(&mut room, LATER, JoinRequest { seat: Some(claim), ..person("Ana") });
        assert_eq!(seat(&outputs), Some((dan, false)), "{why}");
    }
    let mut room = room_of([person("Ana")]);
    let plain = with_ticket(ANA, JoinRequest { grant: person("Ana").grant, ..plain() });
    assert_eq!(seat(&join_as(&mut room, LATER, plain)), Some((BEN, false)), "a plain client has no seat");
}

#[test]
fn ids_that_were_reserved_before_a_crash_are_their_holders_and_not_given_again() {
    let mut room = empty_room();
    let notes = room.reserve_ids();
    join(&mut room, request("Ana"));
    join(&mut room, request("Ben"));
    let mut room = Room::new(RoomName::parse("team").unwrap(), limits(), position(40), notes.clone());
    assert_eq!(seat(&join(&mut room, request("Cat"))), Some((ParticipantId(notes.ids.participants + 1), false)));
    let outputs = come_back(&mut room, BEN, "Ben");
    assert_eq!(seat(&outputs), Some((BEN, false)));
    assert!(outputs.contains(&tell_others(BEN, ServerMessage::ParticipantJoined(info(BEN, "Ben", &[])))));
}

#[test]
fn ids_are_noted_before_they_run_out() {
    let mut room = empty_room();
    let mut reserved = room.reserve_ids().ids;
    for _ in 0..5000 {
        let outputs = join(&mut room, request("Ana"));
        let (id, _) = seat(&outputs).unwrap();
        publish(&mut room, id, audio()).into_iter().chain(outputs).for_each(|output| {
            if let Output::Note(notes) = output {
                reserved = notes.ids;
            }
        });
        room.handle(NOON, ended(id, CloseReason::Left));
        assert!(id.0 < reserved.participants && room.ids.tracks < reserved.tracks, "{id} of {reserved:?}");
    }
}

#[test]
fn a_full_room_gives_the_seat_of_whoever_is_away_longest_to_a_newcomer() {
    let mut room = room_of_three();
    broken(&mut room, BEN);
    room.handle(after_noon(1000), ended(ANA, CloseReason::ConnectionLost));
    let outputs = join(&mut room, request("Dan"));
    assert_eq!(outputs[..2], left(BEN, CloseReason::ConnectionLost));
    assert_eq!(seat(&outputs[2..]), Some((ParticipantId(4), false)));
    assert_eq!(seat(&come_back(&mut room, ANA, "Ana")), Some((ANA, true)));
    assert_eq!(join(&mut room, request("Eva")), not_admitted(CloseReason::RoomFull));
    assert_eq!(seat(&come_back(&mut room, BEN, "Ben")), None, "a seat that was given up is like any other");
}

#[test]
fn seats_that_nobody_is_in_are_given_up_when_the_relay_needs_the_place() {
    let mut room = room_of_three();
    broken(&mut room, ANA);
    assert_eq!(room.handle(NOON, Input::PlaceWanted), left(ANA, CloseReason::ConnectionLost));
    assert!(room.is_attended());
    broken(&mut room, BEN);
    broken(&mut room, CAT);
    assert!(!room.is_attended());
    room.handle(NOON, Input::PlaceWanted);
    assert!(room.is_empty());
}

#[test]
fn one_who_breaks_off_types_no_longer() {
    let mut room = room_of_three();
    room.handle(NOON, Input::Chat { from: ANA, message: ClientChat::Typing { active: true } });
    let message = ServerChat::Typing { participant: ANA, active: false };
    let stops = Output::Chat { to: Audience::EveryoneBut(ANA), message };
    assert_eq!(broken(&mut room, ANA), [stops, Output::Away { participant: ANA }]);
}

#[test]
fn one_who_is_away_gets_nothing_and_finds_it_in_the_history() {
    let mut room = room_of_three();
    say(&mut room, NOON, ANA, 1, None, "hi");
    broken(&mut room, ANA);
    broken(&mut room, BEN);
    assert_eq!(stored(&mut room, 41), [Output::Deliver { to: vec![CAT], message: hi(41, None) }]);
    let request = JoinRequest { chat_after: Some(position(40)), ..with_ticket(BEN, request("Ben")) };
    let outputs = join_as(&mut room, LATER, request);
    assert_eq!(outputs.last(), Some(&Output::Replay { participant: BEN, after: 40, through: 41 }));
}
