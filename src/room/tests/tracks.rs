use super::*;

#[test]
fn a_track_flows_before_anyone_hears_of_it() {
    let mut room = room_of_three();
    let track = published(FIRST, video());
    assert_eq!(
        publish(&mut room, BEN, video()),
        [
            opened_video(FIRST, BEN),
            gets(FIRST, ANA),
            gets(FIRST, CAT),
            tell_others(BEN, ServerMessage::TrackPublished { participant: BEN, track }),
            tell(BEN, ServerMessage::Published { request: 9, track: FIRST }),
            wanted(BEN, FIRST, true),
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
        assert_eq!(publish(&mut room_of_three(), ANA, track.clone()).len(), 6, "{track:?}");
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
    assert_eq!(publish(&mut room, BEN, audio()).len(), 6, "others are not counted");
    message(&mut room, ANA, ClientMessage::Unpublish { request: 9, track: FIRST });
    let outputs = publish(&mut room, ANA, audio());
    assert!(outputs.contains(&tell(ANA, ServerMessage::Published { request: 9, track: TrackId(4) })));
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
    let gets = gets(FIRST, BEN);
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
            Output::Subscribed { track, subscriber, .. } => Some((*track, *subscriber)),
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
        let outputs = room.handle(now, Input::Chat { from, message: typing });
        told += outputs.iter().filter(|output| !matches!(output, Output::PassedOver(_))).count();
    }
    assert!(refused > 4800, "{refused}");
    assert!(told <= limits().requests_burst as usize, "{told}");
}

#[test]
fn nobody_is_subscribed_to_more_tracks_than_allowed() {
    let subscribed = |outputs: &[Output]| {
        let is_subscribed = |output: &&Output| matches!(output, Output::Subscribed { subscriber: BEN, .. });
        outputs.iter().filter(is_subscribed).count()
    };
    let mut room = room_with(Limits { subscriptions_per_participant: 2, tracks_per_participant: 9, ..limits() });
    join(&mut room, person("Ana"));
    for _ in 0..3 {
        publish(&mut room, ANA, audio());
    }
    assert_eq!(subscribed(&join(&mut room, person("Ben"))), 2, "of what was there");
    assert_eq!(subscribed(&publish(&mut room, ANA, audio())), 0, "of what comes");
    let subscribe = |room: &mut Room, track| message(room, BEN, ClientMessage::Subscribe { request: 9, track });
    let third = TrackId(3);
    assert_eq!(subscribe(&mut room, third), failed(BEN, RefuseReason::SubscriptionsFull));
    assert_eq!(subscribe(&mut room, FIRST), [done(BEN)], "twice is once");

    message(&mut room, BEN, ClientMessage::Unsubscribe { request: 9, track: FIRST });
    assert_eq!(subscribed(&subscribe(&mut room, third)), 1, "one was given up");
    message(&mut room, ANA, ClientMessage::Unpublish { request: 9, track: SECOND });
    assert_eq!(subscribed(&publish(&mut room, ANA, audio())), 1, "one is gone");
    assert_eq!(subscribe(&mut room, FIRST), failed(BEN, RefuseReason::SubscriptionsFull));

    room.handle(NOON, ended(BEN, CloseReason::ConnectionLost));
    join(&mut room, with_ticket(BEN, person("Ben")));
    assert_eq!(
        subscribe(&mut room, FIRST),
        failed(BEN, RefuseReason::SubscriptionsFull),
        "they are kept with the seat"
    );
    room.handle(NOON, ended(ANA, CloseReason::Left));
    join(&mut room, person("Cat"));
    let taken: usize = (0..3).map(|_| subscribed(&publish(&mut room, CAT, audio()))).sum();
    assert_eq!(taken, 2, "all were gone with their publisher");
}

#[test]
fn whoever_asks_is_told_how_its_session_does() {
    let mut room = room_of_three();
    let outputs = message(&mut room, BEN, ClientMessage::MeasurementsWanted { request: 9 });
    assert_eq!(outputs, [Output::MeasurementsWanted { participant: BEN, request: 9 }], "and nothing else is said");
}

#[test]
fn what_has_no_answer_is_counted_beyond_the_rate() {
    let mut room = room_with(Limits { requests_per_second: 1, requests_burst: 1, ..limits() });
    join(&mut room, request("Ana"));
    room.handle(NOON, Input::Chat { from: ANA, message: ClientChat::Typing { active: true } });
    let keyframe = ClientMessage::RequestKeyframe { track: FIRST, spatial_layer: 0 };
    let passed_over = |what| vec![Output::PassedOver(what)];
    assert_eq!(message(&mut room, ANA, keyframe), passed_over(PassedOver::KeyframeRequest));
    assert_eq!(message(&mut room, ANA, ClientMessage::Report { tracks: vec![] }), passed_over(PassedOver::Report));
    assert_eq!(message(&mut room, ANA, ClientMessage::Ping { token: 1 }), [], "the session answers it");
    let typing = |active| Input::Chat { from: ANA, message: ClientChat::Typing { active } };
    assert_eq!(room.handle(NOON, typing(true)), [], "that is no change");
    assert_eq!(room.handle(NOON, typing(false)), passed_over(PassedOver::Typing));
}
