use super::*;

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

// What cannot be kept.

fn not_stored(room: &mut Room, from: u64) -> Vec<Output> {
    room.handle(NOON, Input::NotStored { from })
}

fn not_kept(to: ParticipantId, number: u8) -> Output {
    let message = ServerChat::NotKept { message_id: id(number), sent_at_ms: NOON.unix_ms };
    Output::Chat { to: Audience::One(to), message }
}

/// What is delivered of the message that had number `sequence`.
fn unnumbered(to: Vec<ParticipantId>, sequence: u64) -> Output {
    Output::Deliver { to, message: Arc::new(ChatMessage { sequence: 0, ..Arc::unwrap_or_clone(hi(sequence, None)) }) }
}

#[test]
fn what_cannot_be_kept_goes_to_those_present_without_a_number() {
    let mut room = room_of_three();
    for number in 1..=3 {
        say(&mut room, NOON, ANA, number, None, "hi");
    }
    let sent = |sequence: u64| [not_kept(ANA, (sequence % 10) as u8), unnumbered(vec![BEN, CAT], sequence)];
    assert_eq!(not_stored(&mut room, 42), [sent(42), sent(43)].concat(), "41 is still on its way");
    assert_eq!(say(&mut room, NOON, ANA, 2, None, "hi"), [not_kept(ANA, 2)], "a repetition is answered the same way");
    assert_eq!(stored(&mut room, 41).len(), 2);
    assert_eq!(say(&mut room, NOON, ANA, 4, None, "hi").len(), 1);
    let deliver = |outputs: &[Output]| match &outputs[1] {
        Output::Deliver { message, .. } => (message.sequence, message.message_id),
        other => panic!("{other:?}"),
    };
    assert_eq!(deliver(&stored(&mut room, 42)), (42, id(4)), "the number is given again");
    assert_eq!(room.chat_position(), position(42));
}

#[test]
fn what_cannot_be_kept_also_goes_to_those_who_are_being_sent_history() {
    let mut room = empty_room();
    for name in ["Ana", "Ben"] {
        join(&mut room, JoinRequest { chat_after: Some(position(30)), ..request(name) });
    }
    say(&mut room, NOON, ANA, 1, None, "hi");
    // It will not be in the history: this is the only time that they can hear of it.
    assert_eq!(not_stored(&mut room, 41), [not_kept(ANA, 1), unnumbered(vec![BEN], 41)]);
}

#[test]
fn what_is_on_its_way_into_the_history_holds_the_room_open() {
    for outcome in [Input::Stored { through: 41 }, Input::NotStored { from: 41 }] {
        let mut room = room_of([request("Ana")]);
        say(&mut room, NOON, ANA, 1, None, "hi");
        room.handle(NOON, ended(ANA, CloseReason::Left));
        assert!(!room.is_empty());
        room.handle(NOON, outcome);
        assert!(room.is_empty());
    }
}

#[test]
fn a_repetition_is_recognised_however_many_wait_for_the_history() {
    let mut room = room_with(Limits { chat_burst: u32::MAX, ..limits() });
    join(&mut room, request("Ana"));
    let mut send = |number: u32| {
        let mut message_id = [0; 16];
        message_id[..4].copy_from_slice(&number.to_be_bytes());
        let message = ClientChat::Send { message_id: MessageId(message_id), to: None, body: String::new() };
        room.handle(NOON, Input::Chat { from: ANA, message })
    };
    let busy = |outputs: &[Output]| matches!(outputs, [Output::Chat { .. }]);
    assert!((0..).any(|number| busy(&send(number))), "so many wait and no more");
    assert_eq!(send(0), [], "the first one is on its way and not said again");
}
