use super::*;

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
    let replayed = |room: &mut Room, through| {
        room.handle(NOON, Input::Replayed { participant: BEN, session: SessionKey(5), through })
    };

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
    let replayed = |room: &mut Room, through| {
        room.handle(NOON, Input::Replayed { participant: ANA, session: SessionKey(5), through })
    };
    assert_eq!(replayed(&mut room, 40), [Output::Replay { participant: ANA, after: 40, through: 41 }]);
    assert_eq!(replayed(&mut room, 41), [Output::CaughtUp { participant: ANA, position: position(41) }]);
}

#[test]
fn what_comes_after_its_participant_has_left_is_passed_over() {
    let mut room = room_of_three();
    say(&mut room, NOON, ANA, 1, None, "hi");
    room.handle(NOON, ended(ANA, CloseReason::Left));
    assert_eq!(stored(&mut room, 41), [Output::Deliver { to: vec![BEN, CAT], message: hi(41, None) }]);
    assert_eq!(room.handle(NOON, Input::Replayed { participant: ANA, session: SessionKey(5), through: 41 }), []);
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
fn one_who_falls_behind_gets_the_rest_from_the_history_and_is_told_nothing_of_it() {
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    join(&mut room, request("Ben"));
    for number in 1..=3 {
        say(&mut room, NOON, ANA, number, None, "hi");
    }
    stored(&mut room, 42);
    let fell = |room: &mut Room, participant, after| {
        room.handle(NOON, Input::FellBehind { participant, session: SessionKey(5), after })
    };
    let replayed = |room: &mut Room, through| {
        room.handle(NOON, Input::Replayed { participant: BEN, session: SessionKey(5), through })
    };
    assert_eq!(fell(&mut room, BEN, 40), [Output::Replay { participant: BEN, after: 40, through: 42 }]);
    assert_eq!(fell(&mut room, BEN, 41), [], "it is being sent it already");
    // What comes meanwhile is history too, also what Ben says.
    say(&mut room, NOON, BEN, 4, None, "hi");
    let outputs = stored(&mut room, 44);
    assert!(outputs.iter().all(|output| !matches!(output, Output::Deliver { to, .. } if to.contains(&BEN))));
    assert!(!outputs.contains(&accepted(BEN, 4, 44)), "{outputs:?}");
    assert_eq!(replayed(&mut room, 42), [Output::Replay { participant: BEN, after: 42, through: 44 }]);
    assert_eq!(replayed(&mut room, 44), []);
    say(&mut room, NOON, ANA, 5, None, "hi");
    assert!(stored(&mut room, 45).iter().any(|output| matches!(output, Output::Deliver { to, .. } if *to == [BEN])));
    // More than there is says nothing.
    assert_eq!(fell(&mut room, BEN, 99), [Output::Replay { participant: BEN, after: 45, through: 45 }]);
    assert_eq!(fell(&mut room, ParticipantId(99), 1), []);
}

#[test]
fn what_a_session_was_sent_that_has_been_replaced_says_nothing() {
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    let back = JoinRequest { chat_after: Some(position(30)), ..with_ticket(ANA, request("Ana")) };
    let outputs = join_as(&mut room, SessionKey(6), back);
    assert_eq!(outputs.last(), Some(&Output::Replay { participant: ANA, after: 30, through: 40 }));
    for session in [SessionKey(5), SessionKey(7)] {
        for through in [35, 40] {
            assert_eq!(room.handle(NOON, Input::Replayed { participant: ANA, session, through }), []);
        }
    }
    let replayed = Input::Replayed { participant: ANA, session: SessionKey(6), through: 40 };
    assert_eq!(room.handle(NOON, replayed), [Output::CaughtUp { participant: ANA, position: position(40) }]);
    assert_eq!(room.handle(NOON, Input::FellBehind { participant: ANA, session: SessionKey(5), after: 12 }), []);
}
