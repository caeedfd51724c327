use super::*;
use crate::room::Pressure::{High, Low};

const fn layers(spatial: u8, temporal: u8) -> Layers {
    Layers { spatial, temporal }
}

/// Two renditions of three temporal layers each.
fn layered() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 3, spatial_layers: 2 };
    TrackInfo { media, ..video() }
}

/// Ana's picture is taken by Ben and Cat.
fn room_with_picture() -> Room {
    let mut room = room_of_three();
    publish(&mut room, ANA, layered());
    room
}

fn press(room: &mut Room, milliseconds: u64, pressure: Pressure) -> Vec<Output> {
    room.handle(after_noon(milliseconds), Input::Pressed { participant: BEN, pressure })
}

/// Lets time go by and gathers what changes for Ben, and when.
fn until(room: &mut Room, milliseconds: u64) -> Vec<(u64, Output)> {
    let mut changes = Vec::new();
    while let Some(due) = room.next_timeout().filter(|due| *due <= after_noon(milliseconds).since_start) {
        let now = (due - after_noon(0).since_start).as_millis() as u64;
        let outputs = room.handle(after_noon(now), Input::Timeout);
        changes.extend(outputs.into_iter().filter(is_change).map(|output| (now, output)));
    }
    changes
}

fn is_change(output: &Output) -> bool {
    matches!(output, Output::LayersSet { .. } | Output::Subscribed { .. } | Output::Unsubscribed { .. })
}

fn set(spatial: u8, temporal: u8) -> Output {
    Output::LayersSet { track: FIRST, subscriber: BEN, layers: layers(spatial, temporal) }
}

fn paused() -> Output {
    Output::Unsubscribed { track: FIRST, subscriber: BEN }
}

fn wanted(spatial_layers: u8, temporal_layer: u8) -> Output {
    layers_wanted(ANA, FIRST, spatial_layers, temporal_layer)
}

fn keyframe_of(spatial_layer: u8) -> Output {
    tell(ANA, ServerMessage::KeyframeRequested { track: FIRST, spatial_layer })
}

#[test]
fn temporal_layers_go_first_then_the_rendition_then_all_video() {
    let mut room = room_with_picture();
    for (milliseconds, expected) in [
        (600, vec![set(1, 1)]),
        (800, vec![]),
        (1300, vec![set(1, 0)]),
        (2000, vec![set(0, 2), wanted(0b11, 2), keyframe_of(0)]),
        (2700, vec![set(0, 1)]),
        (3400, vec![set(0, 0)]),
        (4100, vec![paused()]),
        (4800, vec![]),
    ] {
        assert_eq!(press(&mut room, milliseconds, Low), expected, "after {milliseconds} ms");
    }
    let outputs = (0..12).flat_map(|step| press(&mut room, 4900 + step * 100, High));
    assert_eq!(outputs.count(), 0);
    assert_eq!(
        room.handle(after_noon(6100), Input::Timeout),
        [wanted(0b10, 2)],
        "nobody has taken the smaller one for a while"
    );
}

#[test]
fn where_what_is_needed_has_no_time_the_rendition_changes_at_once() {
    let mut room = room_with_picture();
    assert_eq!(press(&mut room, 600, High), [set(0, 2), wanted(0b11, 2), keyframe_of(0)]);
    assert_eq!(press(&mut room, 1200, High), [], "that has not had time to help");
    assert_eq!(press(&mut room, 1300, High), [set(0, 0)]);
    assert_eq!(press(&mut room, 2000, High), [paused()]);
}

#[test]
fn all_comes_back_within_three_seconds_step_by_step() {
    let mut room = room_with_picture();
    (0..4).for_each(|step| drop(press(&mut room, 600 + step * 700, High)));
    let resumed = Output::Subscribed { track: FIRST, subscriber: BEN, layers: layers(0, 0) };
    let expected = [resumed, set(0, 1), set(0, 2), set(1, 0), set(1, 1), set(1, 2)];
    let times = (0..).map(|step| 3200 + step * 300);
    assert_eq!(until(&mut room, 60_000), times.zip(expected).collect::<Vec<_>>());
    assert_eq!(room.next_timeout(), None);
}

#[test]
fn a_step_that_was_too_much_is_taken_back_and_tried_again_ever_more_seldom() {
    let mut room = room_with_picture();
    press(&mut room, 600, Low);
    press(&mut room, 1300, Low);
    let mut tried = Vec::new();
    for milliseconds in 1301..12_000 {
        if !until(&mut room, milliseconds).is_empty() {
            tried.push(milliseconds);
            assert_eq!(press(&mut room, milliseconds + 50, Low), [set(1, 0)], "it is taken back at once");
        }
    }
    assert_eq!(tried, [1800, 2850, 4900, 6950, 9000, 11_050]);
}

#[test]
fn a_rendition_that_was_too_much_is_tried_more_seldom() {
    let mut room = room_with_picture();
    press(&mut room, 600, High);
    let mut tried = Vec::new();
    for milliseconds in 601..30_000 {
        if !until(&mut room, milliseconds).is_empty() {
            tried.push(milliseconds);
            assert_eq!(press(&mut room, milliseconds + 200, High)[0], set(0, 2));
        }
    }
    assert_eq!(tried, [1100, 2300, 4500, 7700, 10_900, 14_100, 17_300, 20_500, 23_700, 26_900]);
}

#[test]
fn steps_in_a_row_are_all_taken_back_where_what_is_needed_has_no_time() {
    let mut room = room_with_picture();
    press(&mut room, 600, High);
    press(&mut room, 1300, High);
    assert_eq!(until(&mut room, 2400), [(1800, set(0, 1)), (2100, set(0, 2)), (2400, set(1, 0))]);
    assert_eq!(press(&mut room, 2600, High)[0], set(0, 0));
    // The step that failed is tried when those below it have gone well for long enough, and is taken back alone then.
    assert_eq!(until(&mut room, 5400), [(3600, set(0, 1)), (3900, set(0, 2)), (5400, set(1, 0))]);
    assert_eq!(press(&mut room, 5600, High)[0], set(0, 2));
}

#[test]
fn no_more_than_a_rendition_is_taken_back_at_once() {
    let mut room = room_with_picture();
    (0..4).for_each(|step| drop(press(&mut room, 600 + step * 700, High)));
    assert_eq!(until(&mut room, 4700).last(), Some(&(4700, set(1, 2))), "from none of it");
    assert_eq!(press(&mut room, 4900, High)[0], set(0, 0));
}

#[test]
fn where_less_is_wished_a_step_that_was_too_much_is_taken_back_at_once() {
    let mut room = room_with_picture();
    let request = ClientMessage::SetLayers { request: 9, track: FIRST, spatial_layer: 0, temporal_layer: 2 };
    message(&mut room, BEN, request);
    press(&mut room, 600, Low);
    assert_eq!(until(&mut room, 1500), [(1100, set(0, 2))]);
    assert_eq!(press(&mut room, 1900, Low)[0], set(0, 1));
    assert_eq!(until(&mut room, 3000), [(2900, set(0, 2))]);
    assert_eq!(until(&mut room, 60_000), []);
    assert_eq!(room.next_timeout(), None);
}

#[test]
fn what_was_chosen_is_the_most_that_is_sent() {
    let mut room = room_with_picture();
    let choose = |room: &mut Room, spatial_layer, temporal_layer| {
        let request = ClientMessage::SetLayers { request: 9, track: FIRST, spatial_layer, temporal_layer };
        let mut outputs = message(room, BEN, request);
        outputs.retain(is_change);
        outputs
    };
    assert_eq!(choose(&mut room, 0, 1), [set(0, 1)]);
    assert_eq!(press(&mut room, 2600, Low), [set(0, 0)], "what would change nothing is passed over");
    assert_eq!(choose(&mut room, 1, 2), []);
    assert_eq!(until(&mut room, 3400).last(), Some(&(3400, set(0, 2))));
    assert_eq!(choose(&mut room, 0, 0), [set(0, 0)]);
    assert_eq!(until(&mut room, 60_000), []);
    assert_eq!(choose(&mut room, 1, 2), [set(1, 2)]);
}

#[test]
fn what_is_not_sent_is_not_asked_for() {
    let mut room = room_with_picture();
    press(&mut room, 600, High);
    let ask = |room: &mut Room, milliseconds| {
        let request = ClientMessage::RequestKeyframe { track: FIRST, spatial_layer: 1 };
        room.handle(after_noon(milliseconds), Input::Message { from: BEN, message: request })
    };
    assert_eq!(ask(&mut room, 1100), [keyframe_of(0)], "that is the rendition which is sent");
    assert_eq!(ask(&mut room, 1700), [], "it may only wait for the other one");
    press(&mut room, 1700, High);
    press(&mut room, 2400, High);
    assert_eq!(ask(&mut room, 4000), [], "nothing is sent");
}

#[test]
fn audio_is_never_paused_and_new_tracks_come_as_the_path_carries_them() {
    let mut room = room_of_three();
    publish(&mut room, ANA, layered());
    (0..4).for_each(|step| drop(press(&mut room, 600 + step * 700, High)));
    let outputs = publish(&mut room, CAT, audio());
    assert!(outputs.contains(&Output::Subscribed { track: TrackId(2), subscriber: BEN, layers: Layers::ONE }));
    let outputs = publish(&mut room, CAT, layered());
    let is_sent = |output: &Output| matches!(output, Output::Subscribed { subscriber, .. } if *subscriber == BEN);
    assert!(!outputs.iter().any(is_sent), "{outputs:?}");
}

#[test]
fn a_new_session_has_another_path() {
    let mut room = room_with_picture();
    press(&mut room, 600, High);
    room.handle(after_noon(700), ended(BEN, CloseReason::ConnectionLost));
    let outputs = press(&mut room, 1200, High);
    assert_eq!(outputs, [], "nobody is there");
}
