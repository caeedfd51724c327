use super::*;
use crate::limits::{LAYER_HOLD_TIME, REPORT_LIFETIME};
use crate::wire::TrackReport;

const fn layers(spatial: u8, temporal: u8) -> Layers {
    Layers { spatial, temporal }
}

/// In three renditions with three temporal layers each.
fn layered() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 3, spatial_layers: 3 };
    TrackInfo { media, ..video() }
}

/// Ana's track is taken by Ben and Cat.
fn room_with_layers() -> Room {
    let mut room = room_of_three();
    publish(&mut room, ANA, layered());
    room
}

fn choose(room: &mut Room, from: ParticipantId, spatial_layer: u8, temporal_layer: u8) -> Vec<Output> {
    message(room, from, ClientMessage::SetLayers { request: 9, track: FIRST, spatial_layer, temporal_layer })
}

fn chosen(subscriber: ParticipantId, layers: Layers) -> Output {
    Output::LayersSet { track: FIRST, subscriber, layers }
}

fn shown_layers(subscriber: ParticipantId, layers: Layers) -> Output {
    Output::PictureWanted { track: FIRST, subscriber, layers }
}

fn keyframe_of(spatial_layer: u8) -> Output {
    tell(ANA, ServerMessage::KeyframeRequested { track: FIRST, spatial_layer })
}

#[test]
fn a_new_subscription_takes_all_there_is() {
    let mut room = room_of_three();
    let outputs = publish(&mut room, ANA, layered());
    assert_eq!(
        outputs[0],
        Output::RouteOpened {
            track: FIRST,
            publisher: ANA,
            highest: layers(2, 2),
            is_video: true,
            source: TrackSource::Camera
        }
    );
    let all = |subscriber| Output::Subscribed { track: FIRST, subscriber, layers: layers(2, 2) };
    assert_eq!(outputs[1..3], [all(BEN), all(CAT)]);
    assert_eq!(outputs.last(), Some(&layers_wanted(ANA, FIRST, 0b100, 2)));
    message(&mut room, BEN, ClientMessage::Unsubscribe { request: 9, track: FIRST });
    let outputs = message(&mut room, BEN, ClientMessage::Subscribe { request: 9, track: FIRST });
    assert_eq!(outputs, [all(BEN), shown_layers(BEN, layers(2, 2)), done(BEN)]);
}

#[test]
fn a_publisher_hears_what_is_taken_when_that_changes() {
    let mut room = room_with_layers();
    let wanted = |spatial_layers, temporal_layer| layers_wanted(ANA, FIRST, spatial_layers, temporal_layer);
    for (from, (spatial, temporal), also) in [
        (BEN, (2, 2), vec![]),
        (BEN, (2, 1), vec![chosen(BEN, layers(2, 1))]),
        (BEN, (0, 1), vec![chosen(BEN, layers(0, 1)), wanted(0b101, 2), keyframe_of(0)]),
        (CAT, (2, 0), vec![chosen(CAT, layers(2, 0))]),
        (CAT, (1, 0), vec![chosen(CAT, layers(1, 0)), wanted(0b111, 2), keyframe_of(1)]),
        (BEN, (1, 255), vec![chosen(BEN, layers(1, 2))]),
        (CAT, (1, 2), vec![chosen(CAT, layers(1, 2))]),
    ] {
        let outputs = choose(&mut room, from, spatial, temporal);
        assert_eq!(outputs, [also, vec![done(from)]].concat(), "{from} {spatial} {temporal}");
    }
    assert_eq!(room.handle(after_noon(1999), Input::Timeout), [], "too early");
    assert_eq!(room.next_timeout(), Some(NOON.since_start + LAYER_HOLD_TIME));
    assert_eq!(room.handle(after_noon(2000), Input::Timeout), [wanted(0b010, 2)]);
    assert_eq!(room.next_timeout(), None);
}

#[test]
fn whoever_changes_the_rendition_again_and_again_gets_ever_fewer_keyframes() {
    let mut room = room_of([request("Ana"), request("Ben")]);
    publish(&mut room, ANA, layered());
    let asked = (0..10_000).step_by(20).filter(|ms| {
        let set = ClientMessage::SetLayers {
            request: 9,
            track: FIRST,
            spatial_layer: (ms / 20 % 2) as u8,
            temporal_layer: 0,
        };
        let inputs = [Input::Timeout, Input::Message { from: BEN, message: set }];
        let outputs: Vec<_> = inputs.into_iter().flat_map(|input| room.handle(after_noon(*ms), input)).collect();
        outputs.iter().any(|output| [keyframe_of(0), keyframe_of(1)].contains(output))
    });
    assert_eq!(asked.collect::<Vec<_>>(), [0, 500, 1500, 3500, 7500]);
}

fn is_wanted(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::LayersWanted { .. })
}

#[test]
fn whoever_changes_the_rendition_again_and_again_opens_and_closes_nothing() {
    let mut room = room_of([request("Ana"), request("Ben")]);
    publish(&mut room, ANA, layered());
    let mut told = Vec::new();
    for ms in (0..20_000).step_by(20) {
        let outputs = room.handle(after_noon(ms), Input::Timeout);
        let spatial_layer = if ms / 20 % 2 == 0 { 0 } else { 2 };
        let set = ClientMessage::SetLayers { request: 9, track: FIRST, spatial_layer, temporal_layer: 0 };
        let outputs = [outputs, room.handle(after_noon(ms), Input::Message { from: BEN, message: set })].concat();
        told.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Tell { message: ServerMessage::LayersWanted { spatial_layers, temporal_layer, .. }, .. } => {
                Some((ms, spatial_layers, temporal_layer))
            }
            _ => None,
        }));
    }
    assert_eq!(told, [(0, 0b101, 2), (2000, 0b101, 0)]);
}

#[test]
fn a_publisher_hears_when_the_last_one_goes_and_the_first_one_comes() {
    for (how, input) in [
        (
            "unsubscribes",
            Input::Message { from: BEN, message: ClientMessage::Unsubscribe { request: 9, track: FIRST } },
        ),
        ("leaves", ended(BEN, CloseReason::Left)),
        ("breaks", ended(BEN, CloseReason::ConnectionLost)),
    ] {
        let mut room = room_of([request("Ana")]);
        assert_eq!(publish(&mut room, ANA, layered()).len(), 3, "nobody takes it, and that is no news");
        let gets = |output: &Output| *output == layers_wanted(ANA, FIRST, 0b100, 2);
        assert!(join(&mut room, request("Ben")).iter().any(gets), "{how}");
        choose(&mut room, BEN, 1, 1);
        let is_told = |output: &Output| matches!(output, Output::Tell { message, .. } if is_wanted(message));
        let outputs = room.handle(NOON, input);
        assert!(!outputs.iter().any(is_told), "{how}: {outputs:?}");
        let outputs = room.handle(after_noon(2000), Input::Timeout);
        assert!(outputs.contains(&layers_wanted(ANA, FIRST, 0, 0)), "{how}: {outputs:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut room = room_with_layers();
    let set = |track, spatial_layer| ClientMessage::SetLayers { request: 9, track, spatial_layer, temporal_layer: 0 };
    let not_subscribed = failed(ANA, RefuseReason::NotSubscribed);
    assert_eq!(message(&mut room, BEN, set(NO_TRACK, 0)), failed(BEN, RefuseReason::TrackUnknown));
    assert_eq!(message(&mut room, BEN, set(FIRST, 3)), failed(BEN, RefuseReason::LayerUnknown));
    assert_eq!(message(&mut room, BEN, set(FIRST, 255)), failed(BEN, RefuseReason::LayerUnknown));
    assert_eq!(message(&mut room, ANA, set(FIRST, 0)), not_subscribed, "it is her own");
    message(&mut room, BEN, ClientMessage::Unsubscribe { request: 9, track: FIRST });
    assert_eq!(message(&mut room, BEN, set(FIRST, 0)), failed(BEN, RefuseReason::NotSubscribed));
}

#[test]
fn a_choice_outlives_both_sessions() {
    let mut room = room_with_layers();
    choose(&mut room, BEN, 0, 1);
    choose(&mut room, CAT, 1, 1);
    room.handle(NOON, ended(ANA, CloseReason::ConnectionLost));
    let outputs = room.handle(NOON, ended(BEN, CloseReason::ConnectionLost));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Tell { .. })), "she is away: {outputs:?}");
    let at = after_noon(1000);
    let join = |room: &mut Room, who, name| {
        let request = with_ticket(who, request(name));
        room.handle(at, Input::Join { session: SessionKey(7), request })
    };
    let ana = join(&mut room, ANA, "Ana");
    let gets = |subscriber, layers| Output::Subscribed { track: FIRST, subscriber, layers };
    let opened = Output::RouteOpened {
        track: FIRST,
        publisher: ANA,
        highest: layers(2, 2),
        is_video: true,
        source: TrackSource::Camera,
    };
    assert_eq!(ana[3..], [opened, gets(CAT, layers(1, 1)), layers_wanted(ANA, FIRST, 0b010, 1), keyframe_of(1)]);
    let ben = join(&mut room, BEN, "Ben");
    assert_eq!(
        ben[3..],
        [gets(BEN, layers(0, 1)), layers_wanted(ANA, FIRST, 0b011, 1), shown_layers(BEN, layers(0, 1))]
    );
}

#[test]
fn keyframes_are_asked_for_by_rendition() {
    let mut room = room_with_layers();
    let ask = |room: &mut Room, from, spatial_layer| {
        message(room, from, ClientMessage::RequestKeyframe { track: FIRST, spatial_layer })
    };
    assert_eq!(ask(&mut room, BEN, 0), [keyframe_of(0)]);
    assert_eq!(ask(&mut room, BEN, 2), [keyframe_of(2)]);
    assert_eq!(ask(&mut room, CAT, 2), [], "merged");
    assert_eq!(ask(&mut room, CAT, 3), [], "there is none");
    assert_eq!(ask(&mut room, CAT, 0), []);
    assert_eq!(room.handle(after_noon(500), Input::Timeout), [keyframe_of(0), keyframe_of(2)]);
}

fn report(track: TrackId, received: u32, lost: u32) -> TrackReport {
    TrackReport { track, received, lost, jitter_ms: 0, delay_ms: 0 }
}

fn says(room: &mut Room, ms: u64, from: ParticipantId, tracks: &[TrackReport]) -> Vec<Output> {
    room.handle(after_noon(ms), Input::Message { from, message: ClientMessage::Report { tracks: tracks.to_vec() } })
}

fn feedback(reports: u16, best: TrackReport, worst: TrackReport) -> Output {
    tell(ANA, ServerMessage::Feedback { track: FIRST, reports, best, worst })
}

#[test]
fn reports_become_one_feedback_a_second() {
    let mut room = room_with_layers();
    let [good, bad] = [report(FIRST, 100, 0), report(FIRST, 50, 50)];
    assert_eq!(says(&mut room, 0, BEN, &[bad]), [feedback(1, bad, bad)], "the first one at once");
    assert_eq!(room.next_timeout(), None);
    assert_eq!(says(&mut room, 300, CAT, &[good]), []);
    assert_eq!(room.next_timeout(), Some(NOON.since_start + Duration::from_secs(1)));
    assert_eq!(room.handle(after_noon(999), Input::Timeout), [], "too early");
    assert_eq!(says(&mut room, 1000, BEN, &[bad]), [feedback(2, good, bad)]);
    assert_eq!(says(&mut room, 1300, CAT, &[good]), []);
    assert_eq!(room.handle(after_noon(2000), Input::Timeout), [feedback(2, good, bad)]);
    assert_eq!(room.handle(after_noon(9000), Input::Timeout), [], "nobody has said anything since");
}

#[test]
fn only_what_was_said_lately_by_those_who_are_here_counts() {
    let mut room = room_with_layers();
    let [good, bad] = [report(FIRST, 100, 0), report(FIRST, 50, 50)];
    says(&mut room, 0, BEN, &[good]);
    let lifetime = REPORT_LIFETIME.as_millis() as u64;
    assert_eq!(says(&mut room, lifetime - 1, CAT, &[bad]), [feedback(2, good, bad)]);
    assert_eq!(says(&mut room, 2 * lifetime, CAT, &[bad]), [feedback(1, bad, bad)], "Ben is silent");
    says(&mut room, 2 * lifetime, BEN, &[good]);
    room.handle(after_noon(2 * lifetime), ended(BEN, CloseReason::ConnectionLost));
    assert_eq!(says(&mut room, 2 * lifetime + 1000, CAT, &[bad]), [feedback(1, bad, bad)], "Ben is away");
}

#[test]
fn reports_on_what_is_not_subscribed_are_passed_over() {
    let mut room = room_with(Limits { subscriptions_per_participant: 2, ..limits() });
    for name in ["Ana", "Ben", "Cat"] {
        join(&mut room, request(name));
    }
    publish(&mut room, ANA, layered());
    let good = report(FIRST, 100, 0);
    assert_eq!(says(&mut room, 0, ANA, &[good]), [], "one's own");
    message(&mut room, CAT, ClientMessage::Unsubscribe { request: 9, track: FIRST });
    assert_eq!(says(&mut room, 0, CAT, &[good]), []);
    let unknown = report(NO_TRACK, 1, 1);
    assert_eq!(says(&mut room, 0, BEN, &[unknown, unknown, good]), [], "more than there can be");
    assert_eq!(says(&mut room, 0, BEN, &[unknown, good]), [feedback(1, good, good)]);
}

#[test]
fn a_publisher_that_is_away_is_told_nothing() {
    let mut room = room_with_layers();
    let good = report(FIRST, 100, 0);
    says(&mut room, 0, BEN, &[good]);
    says(&mut room, 1, BEN, &[good]);
    room.handle(after_noon(2), ended(ANA, CloseReason::ConnectionLost));
    assert_eq!(room.handle(after_noon(1000), Input::Timeout), []);
    assert_eq!(says(&mut room, 2000, BEN, &[good]), []);
}
