use super::*;

const DAN: ParticipantId = ParticipantId(4);
const ALL: [ParticipantId; 4] = [ANA, BEN, CAT, DAN];

/// Four people, and places for the cameras of two.
fn room_with_a_stage() -> Room {
    let mut room = room_with(Limits { participants_per_room: 5, last_videos: 2, ..limits() });
    ["Ana", "Ben", "Cat", "Dan"].iter().for_each(|name| drop(join(&mut room, request(name))));
    room
}

/// The same, each with a camera, whose track has the number of its publisher.
fn room_with_cameras() -> Room {
    let mut room = room_with_a_stage();
    ALL.iter().for_each(|id| drop(publish(&mut room, *id, video())));
    room
}

fn on_stage(participants: &[ParticipantId]) -> ServerMessage {
    ServerMessage::OnStage { participants: participants.to_vec() }
}

fn tell_everyone(message: ServerMessage) -> Output {
    Output::Tell { to: Audience::Everyone, message }
}

fn ungets(track: TrackId, subscriber: ParticipantId) -> Output {
    Output::Unsubscribed { track, subscriber }
}

/// These speak for so long; gives what comes of it.
fn speak(room: &mut Room, from_ms: u64, ms: u64, participants: &[ParticipantId]) -> Vec<Output> {
    let times = (from_ms..from_ms + ms).step_by(250);
    let speaking = |ms| room.handle(after_noon(ms), Input::Speaking { participants: participants.to_vec() });
    times.flat_map(speaking).collect()
}

/// Who is sent the camera of whom, by the numbers of both.
fn sent(room: &Room) -> Vec<(u32, u32)> {
    let pairs = ALL.into_iter().flat_map(|publisher| ALL.map(|reader| (publisher, reader)));
    let is_sent = |(publisher, reader): &(ParticipantId, ParticipantId)| {
        room.sent_layers(*reader, TrackId(publisher.0)).is_some()
    };
    pairs.filter(is_sent).map(|(publisher, reader)| (publisher.0, reader.0)).collect()
}

const OF_ANA: [(u32, u32); 3] = [(1, 2), (1, 3), (1, 4)];
const OF_BEN: [(u32, u32); 3] = [(2, 1), (2, 3), (2, 4)];
const OF_CAT: [(u32, u32); 3] = [(3, 1), (3, 2), (3, 4)];
const OF_DAN: [(u32, u32); 3] = [(4, 1), (4, 2), (4, 3)];

#[test]
fn without_a_bound_everyone_is_seen_and_no_word_is_said_of_a_stage() {
    let mut room = room_of_three();
    publish(&mut room, ANA, video());
    assert_eq!(speak(&mut room, 0, 5000, &[BEN, CAT]), []);
    let outputs = join(&mut room, request("Dan"));
    assert!(
        !outputs.iter().any(|output| matches!(output, Output::Tell { message: ServerMessage::OnStage { .. }, .. }))
    );
}

#[test]
fn a_camera_for_which_there_is_no_place_is_announced_and_not_sent() {
    let mut room = room_with_a_stage();
    let outputs = publish(&mut room, ANA, video());
    assert!(outputs.contains(&gets(FIRST, BEN)) && outputs.contains(&tell_everyone(on_stage(&[ANA]))));
    publish(&mut room, BEN, video());
    let held = Output::RouteHeld { track: TrackId(3), held: true };
    let published = ServerMessage::TrackPublished { participant: CAT, track: published(TrackId(3), video()) };
    let answer = tell(CAT, ServerMessage::Published { request: 9, track: TrackId(3) });
    let outputs = publish(&mut room, CAT, video());
    assert_eq!(outputs, [opened_video(TrackId(3), CAT), held, tell_others(CAT, published), answer]);
    assert_eq!(sent(&room), [OF_ANA, OF_BEN].concat());
    let screen = TrackInfo { source: TrackSource::Screen, ..video() };
    let outputs = publish(&mut room, CAT, screen);
    assert!(outputs.contains(&gets(TrackId(4), ANA)), "a screen is there to be seen: {outputs:?}");
    let outputs = join(&mut room, request("Eve"));
    assert!(outputs.contains(&tell(ParticipantId(5), on_stage(&[ANA, BEN]))));
}

#[test]
fn who_speaks_comes_onto_the_stage_with_a_keyframe_for_all() {
    let mut room = room_with_cameras();
    let outputs = speak(&mut room, 5000, 2000, &[DAN]);
    let shows = ALL[..3].iter().flat_map(|id| [gets(TrackId(4), *id), shown(TrackId(4), *id)]);
    let hides = ALL[1..].iter().map(|id| ungets(TrackId(1), *id));
    let mut expected = vec![tell_everyone(on_stage(&[BEN, DAN]))];
    expected.push(Output::RouteHeld { track: TrackId(1), held: true });
    expected.extend(hides);
    expected.push(Output::RouteHeld { track: TrackId(4), held: false });
    expected.extend(shows.chain([wanted(DAN, TrackId(4), true)]));
    assert_eq!(outputs, expected);
    let missing = ALL[..3].iter().flat_map(|_| {
        let input = Input::PictureMissing { track: TrackId(4), spatial_layer: 0, keyframe_at: None };
        room.handle(after_noon(7000), input)
    });
    assert_eq!(missing.collect::<Vec<_>>(), [keyframe(DAN, TrackId(4))], "one for all of them");
    assert_eq!(sent(&room), [OF_BEN, OF_DAN].concat());
    let outputs = room.handle(after_noon(9000), Input::Timeout);
    assert_eq!(outputs, [wanted(ANA, TrackId(1), false)], "nobody has been sent it for a while");
}

#[test]
fn the_place_of_who_is_not_to_be_seen_is_anothers() {
    type Act = fn(&mut Room) -> Vec<Output>;
    let mute: Act = |room| message(room, ANA, ClientMessage::SetMuted { request: 9, track: FIRST, muted: true });
    let unpublish: Act = |room| message(room, ANA, ClientMessage::Unpublish { request: 9, track: FIRST });
    let vanish: Act = |room| room.handle(NOON, ended(ANA, CloseReason::ConnectionLost));
    let leave: Act = |room| room.handle(NOON, ended(ANA, CloseReason::Left));
    for (what, act) in [("mute", mute), ("unpublish", unpublish), ("vanish", vanish), ("leave", leave)] {
        let mut room = room_with_cameras();
        let outputs = act(&mut room);
        assert!(outputs.contains(&tell_everyone(on_stage(&[BEN, CAT]))), "{what}: {outputs:?}");
        assert!(outputs.contains(&gets(TrackId(3), DAN)), "{what}");
    }
}

#[test]
fn what_is_pinned_is_sent_to_who_pinned_it() {
    let mut room = room_with_cameras();
    let pin = |room: &mut Room, from, track, pinned| {
        message(room, from, ClientMessage::SetPinned { request: 9, track, pinned })
    };
    let [third, fourth] = [3, 4].map(TrackId);
    let begins = [gets(fourth, ANA), shown(fourth, ANA), wanted(DAN, fourth, true), done(ANA)];
    assert_eq!(pin(&mut room, ANA, fourth, true), begins);
    assert_eq!(pin(&mut room, ANA, fourth, true), [done(ANA)]);
    assert_eq!(sent(&room), [&OF_ANA[..], &OF_BEN, &[(4, 1)]].concat());
    speak(&mut room, 5000, 2000, &[DAN]);
    assert_eq!(sent(&room), [OF_BEN, OF_DAN].concat());
    speak(&mut room, 9000, 5000, &[ANA, CAT]);
    assert_eq!(sent(&room), [&OF_ANA[..], &OF_CAT, &[(4, 1)]].concat(), "it outlasts the stage");
    assert_eq!(pin(&mut room, ANA, fourth, false), [ungets(fourth, ANA), done(ANA)]);
    assert!(room.handle(after_noon(16_000), Input::Timeout).contains(&wanted(DAN, fourth, false)));
    assert_eq!(pin(&mut room, ANA, NO_TRACK, true), failed(ANA, RefuseReason::TrackUnknown));
    message(&mut room, ANA, ClientMessage::Unsubscribe { request: 9, track: third });
    assert_eq!(pin(&mut room, ANA, third, true), failed(ANA, RefuseReason::NotSubscribed));
}

#[test]
fn who_chooses_each_track_gets_what_it_chose() {
    let mut room = room_with_cameras();
    let eve = ParticipantId(5);
    join(&mut room, JoinRequest { auto_subscribe: false, ..request("Eve") });
    let outputs = message(&mut room, eve, ClientMessage::Subscribe { request: 9, track: TrackId(4) });
    assert!(outputs.contains(&gets(TrackId(4), eve)), "{outputs:?}");
    message(&mut room, ANA, ClientMessage::Unsubscribe { request: 9, track: TrackId(4) });
    let outputs = message(&mut room, ANA, ClientMessage::Subscribe { request: 9, track: TrackId(4) });
    assert_eq!(outputs, [done(ANA)], "who takes everything has not chosen it by taking it back");
}

#[test]
fn who_comes_back_is_sent_what_is_on_the_stage_now() {
    let mut room = room_with_cameras();
    message(&mut room, CAT, ClientMessage::SetPinned { request: 9, track: TrackId(4), pinned: true });
    room.handle(NOON, ended(CAT, CloseReason::ConnectionLost));
    let outputs = join(&mut room, with_ticket(CAT, request("Cat")));
    assert!(outputs.contains(&tell(CAT, on_stage(&[ANA, BEN]))), "{outputs:?}");
    assert_eq!(sent(&room), [&OF_ANA[..], &OF_BEN, &[(4, 3)]].concat(), "and what it pinned");
}

#[test]
fn a_path_that_carries_less_brings_back_what_is_on_the_stage_by_then() {
    let mut room = room_with_cameras();
    let press = Input::Pressed { participant: CAT, pressure: Pressure::High };
    let outputs = room.handle(after_noon(1000), press);
    assert_eq!(outputs, [ungets(TrackId(1), CAT), ungets(TrackId(2), CAT)], "a camera of one layer pauses");
    let outputs = speak(&mut room, 1100, 300, &[DAN]);
    assert_eq!(outputs, []);
    let to_cat = |room: &Room| sent(room).into_iter().filter(|(_, reader)| *reader == 3).collect::<Vec<_>>();
    let due = room.next_timeout().unwrap();
    room.handle(Now::after(due), Input::Timeout);
    assert_eq!(to_cat(&room), [(1, 3), (2, 3)]);
    room.handle(after_noon(5000), Input::Pressed { participant: CAT, pressure: Pressure::High });
    let outputs = speak(&mut room, 5000, 2000, &[DAN]);
    assert!(!outputs.contains(&gets(TrackId(4), CAT)), "{outputs:?}");
    let due = room.next_timeout().unwrap();
    room.handle(Now::after(due), Input::Timeout);
    assert_eq!(to_cat(&room), [(2, 3), (4, 3)]);
}
