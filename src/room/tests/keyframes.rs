use super::*;

#[test]
fn keyframe_requests_are_merged_and_the_last_is_not_lost() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    let ask = |room: &mut Room, ms, from| {
        room.handle(
            after_noon(ms),
            Input::Message { from, message: ClientMessage::RequestKeyframe { track: FIRST, spatial_layer: 0 } },
        )
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
    let mut room = room_with(Limits { participants_per_room: 500, ..limits() });
    join(&mut room, request("Ana"));
    publish(&mut room, ANA, video());
    (0..300).for_each(|_| drop(join(&mut room, request("Ben"))));
    let each_once = |ms: u64| ms.is_multiple_of(10).then_some(ParticipantId(BEN.0 + ms as u32 / 10));
    assert_eq!(asked_while(&mut room, 3000, each_once), [0, 500, 1000, 1500, 2000, 2500]);
}

#[test]
fn one_who_goes_on_asking_costs_the_others_ever_fewer_keyframes() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    let ben_often = |ms: u64| ms.is_multiple_of(100).then_some(BEN);
    assert_eq!(asked_while(&mut room, 12_000, ben_often), [0, 500, 1500, 3500, 7500, 11_500]);
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    let and_cat_once = |ms: u64| if ms == 9050 { Some(CAT) } else { ben_often(ms) };
    assert_eq!(
        asked_while(&mut room, 10_000, and_cat_once),
        [0, 500, 1500, 3500, 7500, 9050],
        "Cat does not pay for it"
    );
}

/// When the publisher is asked for a keyframe while these ask at these milliseconds.
fn asked_while(room: &mut Room, ms: u64, who: impl Fn(u64) -> Option<ParticipantId>) -> Vec<u64> {
    let is_asked = |output: &Output| *output == keyframe(ANA, FIRST);
    let is_asked_at = |ms: &u64| {
        let message = ClientMessage::RequestKeyframe { track: FIRST, spatial_layer: 0 };
        let asked = who(*ms).map(|from| Input::Message { from, message });
        let inputs = [Some(Input::Timeout), asked].into_iter().flatten();
        let outputs: Vec<_> = inputs.flat_map(|input| room.handle(after_noon(*ms), input)).collect();
        outputs.iter().any(is_asked)
    };
    (0..ms).filter(is_asked_at).collect()
}

#[test]
fn what_is_left_out_for_a_subscriber_is_paced_where_it_is_left_out() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    let needs = |room: &mut Room, ms| {
        room.handle(after_noon(ms), Input::KeyframeWanted { participant: BEN, track: FIRST, spatial_layer: 0 })
    };
    for ms in [0, 500, 1000] {
        assert_eq!(needs(&mut room, ms), [keyframe(ANA, FIRST)]);
    }
}

#[test]
fn a_keyframe_is_asked_for_where_it_is_of_use() {
    let mut room = room_of_three();
    publish(&mut room, ANA, audio());
    publish(&mut room, ANA, video());
    let ask = |track| ClientMessage::RequestKeyframe { track, spatial_layer: 0 };
    assert_eq!(message(&mut room, BEN, ask(NO_TRACK)), [], "no such track");
    assert_eq!(message(&mut room, BEN, ask(FIRST)), [], "audio");
    assert_eq!(message(&mut room, ANA, ask(SECOND)), [], "one's own");
    message(&mut room, BEN, ClientMessage::Unsubscribe { request: 9, track: SECOND });
    assert_eq!(message(&mut room, BEN, ask(SECOND)), [], "not subscribed");
    let outputs = message(&mut room, BEN, ClientMessage::Subscribe { request: 9, track: SECOND });
    let gets = gets(SECOND, BEN);
    assert_eq!(outputs, [gets, shown(SECOND, BEN), done(BEN)], "whoever begins needs one, or a recent one");
}

#[test]
fn a_newcomer_needs_a_picture_of_each_video() {
    let mut room = empty_room();
    join(&mut room, request("Ana"));
    publish(&mut room, ANA, audio());
    publish(&mut room, ANA, video());
    for (newcomer, name) in [(BEN, "Ben"), (CAT, "Cat")] {
        let outputs = join(&mut room, request(name));
        assert!(outputs.contains(&shown(SECOND, newcomer)) && !outputs.contains(&shown(FIRST, newcomer)));
    }
    assert_eq!(missing(&mut room, 0, NO_TRACK, None), []);
    assert_eq!(missing(&mut room, 0, SECOND, None), [keyframe(ANA, SECOND)]);
    assert_eq!(missing(&mut room, 100, SECOND, Some(50)), [], "the one that came is no help");
    message(&mut room, ANA, ClientMessage::Unpublish { request: 9, track: SECOND });
    assert_eq!(room.next_timeout(), None, "nothing is due for a track that is gone");
}

/// A picture is missing at a time, where the last keyframe came at another.
fn missing(room: &mut Room, ms: u64, track: TrackId, keyframe_ms: Option<u64>) -> Vec<Output> {
    let keyframe_at = keyframe_ms.map(|ms| after_noon(ms).since_start);
    room.handle(after_noon(ms), Input::PictureMissing { track, spatial_layer: 0, keyframe_at })
}

#[test]
fn a_keyframe_that_was_asked_for_serves_all_who_begin_before_it_comes() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    assert_eq!(missing(&mut room, 0, FIRST, None), [keyframe(ANA, FIRST)]);
    for ms in [0, 20, 499] {
        assert_eq!(missing(&mut room, ms, FIRST, None), [], "{ms} ms");
        assert_eq!(room.next_timeout(), None, "and nothing is due");
    }
    assert_eq!(missing(&mut room, 500, FIRST, None), [keyframe(ANA, FIRST)], "it does not come any more");
    assert_eq!(missing(&mut room, 700, FIRST, Some(600)), [], "too early after the last one");
    assert_eq!(room.handle(after_noon(1000), Input::Timeout), [keyframe(ANA, FIRST)], "that one came, and is not kept");
}

#[test]
fn what_was_seen_before_a_mute_is_not_shown() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    message(&mut room, ANA, ClientMessage::SetMuted { request: 9, track: FIRST, muted: true });
    message(&mut room, BEN, ClientMessage::Unsubscribe { request: 9, track: FIRST });
    let outputs = message(&mut room, BEN, ClientMessage::Subscribe { request: 9, track: FIRST });
    assert_eq!(outputs, [gets(FIRST, BEN), keyframe(ANA, FIRST), done(BEN)]);
}
