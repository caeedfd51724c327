use super::*;
use crate::limits::{EGRESS_FLOW_TIME, KEYFRAME_INTERVAL, KEYFRAME_WAIT_MAX};
use crate::media::{Delivery, Frame};

const CAMERA: u32 = 1;
const SCREEN: u32 = 2;
const MICROPHONE: u32 = 9;

/// More than ever waits.
const ALL: usize = usize::MAX;

const fn at(milliseconds: u64) -> Now {
    Now::after(Duration::from_millis(milliseconds))
}

/// A video frame of so many fragments: one has 521 bytes, several have 1001 each.
fn frame(number: u32, depends_on_distance: u8, temporal_layer: u8, fragments: usize) -> Frame {
    let keyframe = depends_on_distance == 0;
    let data = vec![0; if fragments == 1 { 500 } else { fragments * 980 }].into();
    Frame { number, depends_on_distance, keyframe, temporal_layer, data, ..Frame::default() }
}

fn key(number: u32) -> Frame {
    frame(number, 0, 0, 2)
}

/// The frame after another one, without layers.
fn next(number: u32) -> Frame {
    frame(number, 1, 0, 2)
}

/// Frame `number` of a track of three temporal layers that began with a keyframe 0.
fn layered(number: u32) -> Frame {
    match number % 4 {
        _ if number == 0 => key(0),
        0 => frame(number, 4, 0, 2),
        2 => frame(number, 2, 1, 2),
        _ => frame(number, 1, 2, 2),
    }
}

fn egress() -> Egress {
    Egress::new(&Limits::default())
}

fn datagrams(track: u32, frame: &Frame) -> Vec<Datagram> {
    frame.datagrams(TrackId(track)).unwrap().collect()
}

fn show(egress: &mut Egress, milliseconds: u64, track: u32, frame: &Frame) {
    datagrams(track, frame).into_iter().for_each(|datagram| egress.offer(at(milliseconds), Medium::Video, datagram));
}

fn speak(egress: &mut Egress, milliseconds: u64, number: u32) {
    let frame = Frame { number, data: vec![0; 120].into(), ..Frame::default() };
    egress.offer(at(milliseconds), Medium::Audio, datagrams(MICROPHONE, &frame).remove(0));
}

/// What is taken of so many bytes: track and frame of each datagram.
fn taken(egress: &mut Egress, milliseconds: u64, mut space: usize) -> Vec<(u32, u32)> {
    let due = std::iter::from_fn(|| {
        let due = egress.take(at(milliseconds), space.into())?;
        space -= due.bytes.len();
        Some(due)
    });
    let headers = due.map(|due| Datagram::decode(due.bytes).unwrap().header);
    headers.map(|header| (header.track.0, header.frame)).collect()
}

/// The frames of one track that are taken, once for each.
fn frames(egress: &mut Egress, milliseconds: u64, space: usize) -> Vec<u32> {
    let mut frames: Vec<_> = taken(egress, milliseconds, space).into_iter().map(|(_, frame)| frame).collect();
    frames.dedup();
    frames
}

/// What was left out, by reason and by class.
fn left_out(egress: &mut Egress) -> (Vec<(DropReason, u64)>, [u64; 4]) {
    let left_out = egress.take_left_out();
    (left_out.datagrams().collect(), left_out.frames())
}

#[test]
fn audio_goes_first_then_keyframes_then_base_layers_then_the_rest() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &frame(5, 1, 2, 1));
    show(&mut egress, 1, SCREEN, &frame(5, 4, 0, 1));
    show(&mut egress, 2, 3, &frame(5, 0, 0, 1));
    speak(&mut egress, 3, 1);
    speak(&mut egress, 4, 2);
    let expected = [(MICROPHONE, 1), (MICROPHONE, 2), (3, 5), (SCREEN, 5), (CAMERA, 5)];
    assert_eq!(taken(&mut egress, 5, ALL), expected);
    assert!(egress.is_idle() && left_out(&mut egress).0.is_empty());
}

#[test]
fn the_frames_of_a_track_keep_their_order_and_what_has_begun_is_finished() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &layered(1));
    show(&mut egress, 1, SCREEN, &layered(4));
    assert_eq!(taken(&mut egress, 2, 1001), [(SCREEN, 4)]);
    show(&mut egress, 3, CAMERA, &layered(4));
    show(&mut egress, 3, 3, &key(0));
    let expected = [(SCREEN, 4), (3, 0), (3, 0), (CAMERA, 1), (CAMERA, 1), (CAMERA, 4), (CAMERA, 4)];
    assert_eq!(taken(&mut egress, 4, ALL), expected);
}

#[test]
fn what_waits_is_known_until_it_is_taken() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &next(1));
    speak(&mut egress, 0, 1);
    let of_camera = |number| datagrams(CAMERA, &next(number)).remove(1).bytes;
    let of_microphone =
        datagrams(MICROPHONE, &Frame { data: vec![0; 120].into(), number: 1, ..Frame::default() }).remove(0).bytes;
    assert!(egress.holds(&of_camera(1)) && egress.holds(&of_microphone));
    assert!(!egress.holds(&of_camera(2)));
    assert_eq!(taken(&mut egress, 1, 141), [(MICROPHONE, 1)]);
    assert!(egress.holds(&of_camera(1)) && !egress.holds(&of_microphone));
    taken(&mut egress, 1, ALL);
    assert!(!egress.holds(&of_camera(1)));
}

#[test]
fn nothing_overtakes_audio_and_nothing_is_taken_that_does_not_fit() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &frame(1, 1, 0, 1));
    speak(&mut egress, 0, 1);
    assert_eq!(taken(&mut egress, 1, 100), []);
    assert_eq!(taken(&mut egress, 1, 141), [(MICROPHONE, 1)]);
    assert_eq!(taken(&mut egress, 1, 520), []);
    assert_eq!(taken(&mut egress, 1, 521), [(CAMERA, 1)]);
}

#[test]
fn audio_that_waited_for_200_ms_is_left_out() {
    let mut egress = egress();
    (0..5).for_each(|number| speak(&mut egress, u64::from(number) * 20, number));
    assert_eq!(taken(&mut egress, 240, ALL), [2, 3, 4].map(|number| (MICROPHONE, number)));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 2)], [2, 0, 0, 0]));
    assert!(egress.is_idle());
}

#[test]
fn a_frame_that_waited_for_400_ms_is_left_out_and_all_that_need_it_until_a_keyframe() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &next(1));
    show(&mut egress, 100, CAMERA, &next(2));
    assert_eq!(frames(&mut egress, 401, ALL), [0; 0]);
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 2), (DropReason::ReferenceMissing, 2)], [0, 0, 2, 0]));
    show(&mut egress, 410, CAMERA, &next(3));
    // Its reference was lost before it came here, and was not left out here.
    show(&mut egress, 420, CAMERA, &next(5));
    assert_eq!(frames(&mut egress, 430, ALL), [0; 0]);
    assert_eq!(left_out(&mut egress), (vec![(DropReason::ReferenceMissing, 4)], [0, 0, 2, 0]));
    show(&mut egress, 440, CAMERA, &key(6));
    show(&mut egress, 440, CAMERA, &next(7));
    assert_eq!(frames(&mut egress, 450, ALL), [6, 7]);
    assert!(egress.is_idle());
}

#[test]
fn an_upper_layer_that_is_left_out_costs_only_what_needs_it() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &layered(2));
    assert_eq!(frames(&mut egress, 401, ALL), [0; 0]);
    (3..9).for_each(|number| show(&mut egress, 410, CAMERA, &layered(number)));
    assert_eq!(frames(&mut egress, 420, ALL), [4, 5, 6, 7, 8]);
    assert_eq!(left_out(&mut egress).1, [0, 0, 0, 2]);
    assert_eq!(egress.take_keyframe_wish(at(420)), None);
    // Nothing can need it any more when 256 more have come.
    for number in 9..=257 {
        assert!(!egress.is_idle());
        show(&mut egress, 430, CAMERA, &layered(number));
        taken(&mut egress, 430, ALL);
    }
    show(&mut egress, 430, CAMERA, &layered(259));
    taken(&mut egress, 430, ALL);
    assert!(egress.is_idle());
}

/// Has let something wait for long enough to know that the path carries so many bytes in a millisecond.
fn measured(bytes_per_ms: u64) -> Egress {
    let mut egress = egress();
    egress.note_path_rate(bytes_per_ms * 1000);
    egress
}

#[test]
fn when_time_is_short_the_highest_layers_go_first_and_a_frame_that_is_left_out_never_begins() {
    // 400 ms have place for four frames of two fragments.
    let mut egress = measured(21);
    (0..4).for_each(|number| show(&mut egress, 0, CAMERA, &layered(number)));
    assert!(left_out(&mut egress).0.is_empty());
    show(&mut egress, 1, CAMERA, &layered(4));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 2)], [0, 0, 0, 1]), "frame 1");
    show(&mut egress, 2, SCREEN, &frame(8, 4, 0, 2));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 2)], [0, 0, 0, 1]), "frame 3");
    show(&mut egress, 3, SCREEN, &frame(9, 1, 2, 2));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 2)], [0, 0, 0, 1]), "itself");
    show(&mut egress, 4, SCREEN, &frame(12, 4, 0, 2));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 2)], [0, 0, 0, 1]), "frame 2");
    show(&mut egress, 5, SCREEN, &frame(16, 4, 0, 2));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 2)], [0, 0, 1, 0]), "itself: nothing matters less");
    let expected =
        [(CAMERA, 0), (CAMERA, 0), (CAMERA, 4), (CAMERA, 4), (SCREEN, 8), (SCREEN, 8), (SCREEN, 12), (SCREEN, 12)];
    assert_eq!(taken(&mut egress, 6, ALL), expected);
}

#[test]
fn a_keyframe_takes_the_place_of_what_waits_before_it_when_there_is_no_time_for_both() {
    let mut egress = measured(6);
    show(&mut egress, 0, CAMERA, &frame(1, 1, 0, 2));
    show(&mut egress, 0, CAMERA, &frame(2, 0, 0, 6));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Superseded, 2)], [0, 0, 1, 0]));
    assert_eq!(frames(&mut egress, 1, ALL), [2]);
}

#[test]
fn a_keyframe_that_is_larger_than_the_path_carries_in_time_goes_all_the_same_when_it_is_the_first() {
    let mut egress = measured(1);
    show(&mut egress, 0, CAMERA, &frame(1, 0, 0, 10));
    show(&mut egress, 0, SCREEN, &frame(1, 0, 0, 10));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 10)], [0, 1, 0, 0]));
    assert_eq!(taken(&mut egress, 1100, ALL), [(CAMERA, 1); 10]);
}

#[test]
fn nothing_is_left_out_in_vain_for_a_frame_that_has_no_time_either_way() {
    // 400 ms have place for four frames of two fragments.
    let mut egress = measured(21);
    (1..4).for_each(|number| show(&mut egress, 0, CAMERA, &layered(number)));
    show(&mut egress, 1, SCREEN, &frame(1, 1, 0, 10));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 10)], [0, 0, 1, 0]), "it is left out alone");
    // It says that it is larger than anything that can be sent.
    let endless = datagrams(SCREEN, &frame(2, 0, 0, 2000)).remove(0);
    egress.offer(at(2), Medium::Video, endless);
    assert!(left_out(&mut egress).0.is_empty(), "it is the first keyframe, and costs the camera nothing");
    let expected = [(SCREEN, 2), (CAMERA, 1), (CAMERA, 1), (CAMERA, 2), (CAMERA, 2), (CAMERA, 3), (CAMERA, 3)];
    assert_eq!(taken(&mut egress, 3, ALL), expected);
}

#[test]
fn a_keyframe_that_cannot_go_costs_its_own_track_nothing_that_waits() {
    let mut egress = measured(10);
    show(&mut egress, 0, SCREEN, &frame(1, 1, 0, 1));
    show(&mut egress, 0, CAMERA, &frame(1, 0, 0, 10));
    assert_eq!(taken(&mut egress, 0, 1001), [(CAMERA, 1)]);
    show(&mut egress, 0, SCREEN, &frame(2, 0, 0, 10));
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 10)], [0, 1, 0, 0]));
    assert_eq!(taken(&mut egress, 1, ALL).last(), Some(&(SCREEN, 1)));
}

#[test]
fn a_track_of_keyframes_alone_does_not_hold_up_the_others() {
    let mut egress = egress();
    let mut served = Vec::new();
    for number in 0..60 {
        let now = u64::from(number) * 33;
        show(&mut egress, now, CAMERA, &next(number));
        show(&mut egress, now + 1, SCREEN, &key(number));
        // Three quarters of it have a place.
        served.extend(taken(&mut egress, now + 2, 3003));
    }
    let of = |track| served.iter().filter(|(of, _)| *of == track).count();
    assert!(of(CAMERA) >= 100 && of(SCREEN) >= 50, "{} and {} of 120", of(CAMERA), of(SCREEN));
}

#[test]
fn what_has_begun_may_take_twice_as_long_and_its_rest_goes_with_it() {
    let mut egress = egress();
    let pieces = datagrams(CAMERA, &frame(1, 1, 0, 3));
    egress.offer(at(0), Medium::Video, pieces[0].clone());
    egress.offer(at(0), Medium::Video, pieces[1].clone());
    assert_eq!(frames(&mut egress, 300, 1001), [1]);
    assert_eq!(frames(&mut egress, 800, 1001), [1]);
    egress.offer(at(800), Medium::Video, pieces[2].clone());
    assert_eq!(frames(&mut egress, 1601, ALL), [0; 0]);
    let left = egress.take_left_out();
    assert_eq!((left.cut(), left.frames(), left.datagrams().collect()), (1, [0, 0, 1, 0], vec![(DropReason::Late, 1)]));
    egress.offer(at(1602), Medium::Video, pieces[2].clone());
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 1)], [0; 4]), "it is counted once");
}

#[test]
fn the_rest_of_a_frame_that_began_before_anything_waited_is_sent() {
    let mut egress = measured(1);
    let pieces = datagrams(CAMERA, &frame(1, 1, 0, 3));
    pieces[1..].iter().for_each(|piece| egress.offer(at(0), Medium::Video, piece.clone()));
    assert_eq!(taken(&mut egress, 1, ALL), [(CAMERA, 1); 2]);
}

#[test]
fn another_rendition_takes_the_place_of_what_waits() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &next(1));
    show(&mut egress, 1, CAMERA, &Frame { spatial_layer: 1, ..key(70) });
    show(&mut egress, 1, CAMERA, &Frame { spatial_layer: 1, ..next(71) });
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Superseded, 2)], [0, 0, 1, 0]));
    assert_eq!(frames(&mut egress, 2, ALL), [70, 71]);
    assert!(egress.is_idle());
}

#[test]
fn a_frame_of_another_rendition_with_the_same_number_is_another_frame() {
    let large = |frame: Frame| Frame { spatial_layer: 1, ..frame };
    let mut egress = egress();
    egress.note_path_rate(1_000_000);
    show(&mut egress, 0, CAMERA, &next(71));
    assert_eq!(taken(&mut egress, 1, 1001).len(), 1, "it is under way");
    // A keyframe of before comes once more with what followed it, without 70, which 71 needs.
    show(&mut egress, 300, CAMERA, &large(key(69)));
    egress.give_up(at(300), &datagrams(CAMERA, &large(frame(70, 1, 1, 2)))[0].header);
    show(&mut egress, 300, CAMERA, &large(frame(71, 1, 1, 2)));
    show(&mut egress, 300, CAMERA, &large(frame(72, 3, 0, 2)));
    // The rest of what was under way has as long as it had, and is finished first.
    assert_eq!(frames(&mut egress, 600, ALL), [71, 69, 72]);
    let left = egress.take_left_out();
    assert_eq!((left.cut(), left.datagrams().collect::<Vec<_>>()), (0, vec![(DropReason::ReferenceMissing, 2)]));
}

#[test]
fn what_is_left_of_another_rendition_is_cut_once_if_it_is_late() {
    let large = |frame: Frame| Frame { spatial_layer: 1, ..frame };
    let mut egress = egress();
    egress.note_path_rate(1_000_000);
    let pieces = datagrams(CAMERA, &frame(73, 1, 0, 4));
    pieces[..2].iter().for_each(|piece| egress.offer(at(0), Medium::Video, piece.clone()));
    assert_eq!(taken(&mut egress, 0, 1001).len(), 1);
    pieces[2..].iter().for_each(|piece| egress.offer(at(700), Medium::Video, piece.clone()));
    show(&mut egress, 701, CAMERA, &large(key(73)));
    let due: Vec<_> = std::iter::from_fn(|| egress.take(at(801), ALL.into())).collect();
    assert!(due.len() == 2 && due.iter().all(|due| due.header.spatial_layer == 1));
    let left = egress.take_left_out();
    assert_eq!((left.cut(), left.frames()), (1, [0, 0, 1, 0]));
    assert_eq!(left.datagrams().collect::<Vec<_>>(), [(DropReason::Late, 3)]);
}

#[test]
fn what_is_left_of_another_rendition_makes_no_time_for_anything() {
    let large = |frame: Frame| Frame { spatial_layer: 1, ..frame };
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &frame(71, 1, 2, 3));
    assert_eq!(taken(&mut egress, 0, 1001).len(), 1);
    show(&mut egress, 1, CAMERA, &large(key(80)));
    // The second fragment comes before the first one: nothing of it has left.
    egress.offer(at(1), Medium::Video, datagrams(CAMERA, &large(frame(81, 1, 0, 2))).remove(1));
    egress.note_path_rate(15_000);
    show(&mut egress, 2, CAMERA, &large(frame(82, 2, 0, 2)));
    let left = egress.take_left_out();
    assert_eq!((left.cut(), left.datagrams().collect::<Vec<_>>()), (0, vec![(DropReason::Late, 2)]));
    assert_eq!(frames(&mut egress, 3, ALL), [71, 80, 81]);
}

/// Leaves out frame `number` of the camera by letting it wait too long.
fn breach(egress: &mut Egress, milliseconds: u64, number: u32) {
    show(egress, milliseconds, CAMERA, &next(number));
    assert_eq!(frames(egress, milliseconds + 401, ALL), [0; 0]);
}

#[test]
fn a_keyframe_is_asked_for_when_there_is_room_for_it_and_ever_more_seldom() {
    let mut egress = egress();
    breach(&mut egress, 0, 1);
    speak(&mut egress, 401, 1);
    assert_eq!(egress.take_keyframe_wish(at(401)), None, "something waits");
    taken(&mut egress, 402, ALL);
    let mut asked = Vec::new();
    for time in 402..12_000 {
        // The picture goes on, so it is remembered.
        show(&mut egress, time, CAMERA, &next(time as u32));
        if let Some(wish) = egress.take_keyframe_wish(at(time)) {
            assert_eq!(wish, (TrackId(CAMERA), 0));
            asked.push(time);
        }
    }
    assert_eq!(asked, [402, 902, 1902, 3902, 7902, 11_902]);
    assert_eq!((KEYFRAME_INTERVAL.as_millis(), KEYFRAME_WAIT_MAX.as_millis()), (500, 4000));
}

#[test]
fn who_breaks_off_again_soon_has_to_wait_for_the_next_keyframe() {
    let mut egress = egress();
    breach(&mut egress, 0, 1);
    assert!(egress.take_keyframe_wish(at(402)).is_some());
    show(&mut egress, 450, CAMERA, &key(2));
    assert_eq!(frames(&mut egress, 450, ALL), [2]);
    breach(&mut egress, 451, 3);
    assert_eq!(egress.next_wish(), Some(Duration::from_millis(1402)));
    assert_eq!(egress.take_keyframe_wish(at(1401)), None);
    assert!(egress.take_keyframe_wish(at(1402)).is_some());
    show(&mut egress, 1500, CAMERA, &key(4));
    assert_eq!(frames(&mut egress, 1500, ALL), [4]);
    breach(&mut egress, 7000, 5);
    assert!(egress.take_keyframe_wish(at(7402)).is_some(), "all went well for long enough");
}

#[test]
fn a_piece_that_comes_again_heals_nothing() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &key(1));
    assert_eq!(frames(&mut egress, 0, ALL), [1]);
    show(&mut egress, 1, CAMERA, &next(2));
    breach(&mut egress, 1, 3);
    show(&mut egress, 410, CAMERA, &key(1));
    show(&mut egress, 410, CAMERA, &next(4));
    assert_eq!(frames(&mut egress, 411, ALL), [1]);
}

#[test]
fn a_count_that_begins_anew_heals() {
    let mut egress = egress();
    breach(&mut egress, 0, 1000);
    show(&mut egress, 410, CAMERA, &key(0));
    show(&mut egress, 410, CAMERA, &next(1));
    assert_eq!(frames(&mut egress, 411, ALL), [0, 1]);
}

#[test]
fn what_waits_is_bounded_and_audio_finds_a_place() {
    let mut egress = egress();
    let upper = |number| frame(number, 1, 2, 1);
    (0..2000).for_each(|number| show(&mut egress, 0, CAMERA, &upper(number * 2)));
    assert!(egress.bytes() <= EGRESS_BYTES_MAX && egress.bytes() > EGRESS_BYTES_MAX - 1000);
    assert!(left_out(&mut egress).0.iter().all(|(reason, _)| *reason == DropReason::SubscriberSlow));
    (0..2000).for_each(|number| speak(&mut egress, 0, number));
    assert!(egress.bytes() <= EGRESS_BYTES_MAX && egress.datagrams() == EGRESS_DATAGRAMS_MAX);
    let (reasons, frames) = left_out(&mut egress);
    assert_eq!(
        reasons.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(),
        [DropReason::SubscriberSlow, DropReason::Late]
    );
    assert_eq!(frames[0], 2000 - EGRESS_DATAGRAMS_MAX as u64);
}

#[test]
fn a_second_copy_of_audio_is_left_out_and_says_nothing_about_the_path() {
    let mut egress = egress();
    for number in 1..4 {
        speak(&mut egress, 0, number);
        speak(&mut egress, 0, number - 1);
    }
    assert_eq!(taken(&mut egress, 1, ALL), [1, 0, 2, 3].map(|number| (MICROPHONE, number)));
    let left = egress.take_left_out();
    assert_eq!(left.datagrams().collect::<Vec<_>>(), [(DropReason::Superseded, 2)]);
    assert_eq!((left.frames(), left.pressed()), ([0; 4], None));
    let large = Frame { number: 4, data: vec![0; 1500].into(), ..Frame::default() };
    datagrams(MICROPHONE, &large).into_iter().for_each(|part| egress.offer(at(2), Medium::Audio, part));
    assert_eq!(taken(&mut egress, 2, ALL), [(MICROPHONE, 4); 2], "parts of one frame are no copies");
    assert!(egress.is_idle());
}

fn repeat(egress: &mut Egress, milliseconds: u64, medium: Medium, datagram: &Datagram) {
    egress.offer_repeat(at(milliseconds), medium, datagram.clone());
}

#[test]
fn what_is_asked_for_once_more_is_sent_once_more_and_breaks_nothing_when_it_is_late() {
    let mut egress = egress();
    speak(&mut egress, 0, 1);
    let audio = Frame { number: 1, data: vec![0; 120].into(), ..Frame::default() };
    repeat(&mut egress, 0, Medium::Audio, &datagrams(MICROPHONE, &audio)[0]);
    assert_eq!(taken(&mut egress, 1, ALL), [(MICROPHONE, 1); 2]);
    // The first piece of an old frame, on a path that has no time for a whole one.
    egress.note_path_rate(1000);
    let upper = Frame { spatial_layer: 1, ..next(7) };
    repeat(&mut egress, 2, Medium::Video, &datagrams(CAMERA, &upper)[0]);
    assert_eq!(taken(&mut egress, 2, 0), []);
    assert!(egress.bytes() > 0 && left_out(&mut egress).0.is_empty());
    assert_eq!(taken(&mut egress, 403, ALL), []);
    assert_eq!(left_out(&mut egress), (vec![(DropReason::Late, 1)], [0; 4]));
    assert_eq!(egress.take_keyframe_wish(at(403)), None);
    assert!(egress.is_idle(), "no frame is missing for that");
    let mut egress = measured(1000);
    breach(&mut egress, 500, 8);
    left_out(&mut egress);
    repeat(&mut egress, 902, Medium::Video, &datagrams(CAMERA, &next(8))[1]);
    assert_eq!((taken(&mut egress, 902, ALL), left_out(&mut egress).0), (vec![], vec![(DropReason::Late, 1)]));
}

#[test]
fn tracks_are_bounded_and_forgotten() {
    let mut egress = egress();
    let tracks = EGRESS_FLOWS_MAX as u32;
    (0..tracks + 5).for_each(|track| show(&mut egress, 0, track, &frame(1, 1, 0, 1)));
    assert_eq!(left_out(&mut egress).0, [(DropReason::SubscriberSlow, 5)]);
    assert_eq!(taken(&mut egress, 401, ALL), []);
    assert_eq!(egress.flows.len(), EGRESS_FLOWS_MAX);
    show(&mut egress, 500, tracks + 1, &next(2));
    assert_eq!(taken(&mut egress, 500, ALL).len(), 2, "those of which nothing waits make place");
    breach(&mut egress, 1000, 1);
    let later = 1402 + EGRESS_FLOW_TIME.as_millis() as u64;
    taken(&mut egress, later, ALL);
    assert!(egress.is_idle());
}

#[test]
fn a_path_that_takes_nothing_for_30_s_costs_no_memory_and_is_current_at_once_when_it_does_again() {
    let mut egress = egress();
    for number in 0..1500 {
        let milliseconds = u64::from(number) * 20;
        speak(&mut egress, milliseconds, number);
        let picture = if number == 0 { key(0) } else { next(number) };
        show(&mut egress, milliseconds, CAMERA, &picture);
        assert_eq!(taken(&mut egress, milliseconds, 0), []);
        assert!(egress.bytes() < 64 * 1024, "{} bytes at {milliseconds} ms", egress.bytes());
    }
    let current = taken(&mut egress, 30_000, ALL);
    assert_eq!(current, (1490..1500).map(|number| (MICROPHONE, number)).collect::<Vec<_>>());
    assert!(egress.take_keyframe_wish(at(30_000)).is_some());
    show(&mut egress, 30_060, CAMERA, &key(1503));
    assert_eq!(frames(&mut egress, 30_060, ALL), [1503]);
}

#[test]
fn pressure_is_what_had_no_time_and_not_what_follows_from_it() {
    let mut egress = egress();
    let pressed = |egress: &mut Egress| egress.take_left_out().pressed();
    show(&mut egress, 0, CAMERA, &layered(1));
    taken(&mut egress, 401, ALL);
    assert_eq!(pressed(&mut egress), Some(Class::Upper(2)));
    breach(&mut egress, 402, 4);
    assert_eq!(pressed(&mut egress), Some(Class::Base));
    show(&mut egress, 900, CAMERA, &next(5));
    taken(&mut egress, 900, ALL);
    assert_eq!(pressed(&mut egress), None, "its reference was missing");
    speak(&mut egress, 900, 1);
    taken(&mut egress, 1101, ALL);
    assert_eq!(pressed(&mut egress), Some(Class::Audio));
    show(&mut egress, 1101, CAMERA, &key(6));
    taken(&mut egress, 1301, ALL);
    assert_eq!(pressed(&mut egress), None);
    show(&mut egress, 1302, CAMERA, &next(7));
    taken(&mut egress, 1503, ALL);
    assert_eq!(pressed(&mut egress), Some(Class::Upper(0)), "it waited for half of its time");
}

#[test]
fn what_waits_for_its_pace_alone_is_no_pressure_until_it_has_no_time() {
    let pressed = |is_full, waited| {
        let mut egress = egress();
        show(&mut egress, 0, CAMERA, &next(1));
        let space = Space { is_full, ..ALL.into() };
        while egress.take(at(waited), space).is_some() {}
        egress.take_left_out().pressed()
    };
    assert_eq!([pressed(true, 200), pressed(true, 201)], [None, Some(Class::Upper(0))]);
    assert_eq!([pressed(false, 400), pressed(false, 401)], [None, Some(Class::Base)]);
}

/// A frame that travels on a stream.
fn on_stream(frame: Frame) -> Frame {
    Frame { delivery: Some(Delivery::Stream), ..frame }
}

#[test]
fn what_cannot_go_on_on_its_stream_holds_up_nothing_else() {
    let mut egress = egress();
    show(&mut egress, 0, SCREEN, &on_stream(key(0)));
    show(&mut egress, 1, CAMERA, &frame(5, 1, 2, 1));
    speak(&mut egress, 2, 1);
    let closed = Space { streams_open: false, ..ALL.into() };
    let passed: Vec<_> = std::iter::from_fn(|| egress.take(at(3), closed)).map(|due| due.header.track.0).collect();
    assert_eq!(passed, [MICROPHONE, CAMERA]);
    assert_eq!(taken(&mut egress, 4, ALL), [(SCREEN, 0), (SCREEN, 0)]);
}

#[test]
fn audio_does_not_wait_for_the_pace_of_video() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &frame(0, 0, 0, 3));
    let paced = |open| Space { video_open: open, keyframes_open: open, ..ALL.into() };
    let mut tracks = Vec::new();
    for step in 0..6 {
        speak(&mut egress, step * 10, step as u32);
        let taken = std::iter::from_fn(|| egress.take(at(step * 10), paced(false))).map(|due| due.header.track.0);
        tracks.extend(taken);
        // The pace has a part of the frame leave every 20 ms.
        tracks.extend(egress.take(at(step * 10), paced(step % 2 == 1)).map(|due| due.header.track.0));
    }
    let (voice, video) = (MICROPHONE, CAMERA);
    assert_eq!(tracks, [voice, voice, video, voice, voice, video, voice, voice, video]);
}

#[test]
fn keyframes_may_leave_where_other_video_waits_for_the_pace() {
    let mut egress = egress();
    let paced = Space { video_open: false, ..ALL.into() };
    let mut passed = |now, camera: Frame| {
        show(&mut egress, now, CAMERA, &camera);
        std::iter::from_fn(|| egress.take(at(now), paced)).map(|due| due.header.frame).collect::<Vec<_>>()
    };
    assert_eq!(passed(0, frame(0, 0, 0, 2)), [0, 0]);
    assert_eq!(passed(33, frame(1, 1, 0, 2)), [0; 0]);
    assert_eq!(frames(&mut egress, 40, ALL), [1]);
}

/// Whether less would help on a path that takes so much every 33 ms, and of which class, at each of these frames.
fn pressed(egress: &mut Egress, space: usize, frames: impl Iterator<Item = Frame>) -> Vec<Option<Class>> {
    let look = |(turn, frame): (usize, Frame)| {
        let now = turn as u64 * 33;
        show(egress, now, CAMERA, &frame);
        taken(egress, now + 20, space);
        let left_out = egress.take_left_out();
        egress.pressed(&left_out)
    };
    frames.enumerate().map(look).collect()
}

#[test]
fn what_waits_behind_a_keyframe_is_no_sign_of_a_path_that_is_too_slow() {
    // 2002 bytes a turn are offered, and 3003 or 1001 taken.
    let frames = || (0..24).map(|number| if number == 0 { frame(0, 0, 0, 24) } else { next(number) });
    assert_eq!(pressed(&mut egress(), 3003, frames()), [None; 24]);
    let slow = pressed(&mut egress(), 1001, frames());
    assert!(slow.contains(&Some(Class::Base)), "{slow:?}");
}

#[test]
fn what_cannot_be_seen_for_long_is_a_sign_of_a_path_that_is_too_slow() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &key(0));
    taken(&mut egress, 0, ALL);
    // Too large for the path: what needs it is not taken, and nothing waits.
    egress.note_path_rate(10_000);
    show(&mut egress, 33, CAMERA, &frame(1, 1, 0, 20));
    assert_eq!(egress.take_left_out().pressed(), Some(Class::Base));
    let mut pressed = |milliseconds, number| {
        show(&mut egress, milliseconds, CAMERA, &next(number));
        let left_out = egress.take_left_out();
        (egress.is_empty(), egress.pressed(&left_out))
    };
    assert_eq!(
        [pressed(100, 2), pressed(532, 3), pressed(533, 4), pressed(566, 5)],
        [(true, None), (true, None), (true, Some(Class::Base)), (true, None)]
    );
}

#[test]
fn a_keyframe_that_is_cut_is_a_sign_of_a_path_that_is_too_slow() {
    let mut egress = egress();
    show(&mut egress, 0, SCREEN, &frame(0, 0, 0, 100));
    let look = |turn: u64| {
        if turn == 72 {
            show(&mut egress, turn * 33, CAMERA, &key(0));
        }
        taken(&mut egress, turn * 33, 1001);
        let left_out = egress.take_left_out();
        egress.pressed(&left_out).map(|class| (turn, class))
    };
    // Of 100 kB, 73 leave in 2.4 s. What waits behind them does not take long.
    let told: Vec<_> = (0..76).filter_map(look).filter(|(_, class)| *class < Class::Upper(0)).collect();
    assert_eq!(told, [(73, Class::Keyframe)]);
}

#[test]
fn what_cannot_be_seen_while_something_is_late_is_told_after_two_seconds() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &key(0));
    taken(&mut egress, 0, ALL);
    egress.note_path_rate(10_000);
    show(&mut egress, 33, CAMERA, &frame(1, 1, 0, 20));
    egress.take_left_out();
    let told = (1..80_u32).filter(|turn| {
        let now = 33 + u64::from(*turn) * 33;
        // Words wait for 60 ms, four times a second.
        if turn % 8 == 0 {
            speak(&mut egress, now - 60, *turn);
        }
        show(&mut egress, now, CAMERA, &next(1 + turn));
        taken(&mut egress, now, ALL);
        let left_out = egress.take_left_out();
        egress.pressed(&left_out) == Some(Class::Base)
    });
    assert_eq!(told.collect::<Vec<_>>(), [61], "after 2013 ms, once");
}

#[test]
fn audio_may_leave_where_nothing_else_may() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &frame(0, 0, 0, 1));
    speak(&mut egress, 0, 1);
    let mut take = |audio_bytes| egress.take(at(1), Space { audio_bytes, ..0.into() }).map(|due| due.header.track.0);
    assert_eq!([take(0), take(2400), take(2400)], [None, Some(MICROPHONE), None]);
}

#[test]
fn what_needs_a_frame_that_was_given_up_on_its_stream_is_left_out() {
    let mut egress = egress();
    show(&mut egress, 0, SCREEN, &on_stream(key(0)));
    assert_eq!(frames(&mut egress, 0, ALL), [0]);
    assert!(egress.is_idle(), "it is on its stream");
    let header = datagrams(SCREEN, &on_stream(key(0)))[0].header;
    assert_eq!(egress.stream_time(&header), Duration::from_millis(2400));
    egress.give_up(at(2400), &header);
    show(&mut egress, 2410, SCREEN, &next(1));
    assert_eq!(
        (frames(&mut egress, 2410, ALL), left_out(&mut egress).0),
        (vec![], vec![(DropReason::ReferenceMissing, 2)])
    );
    assert_eq!(egress.take_keyframe_wish(at(2410)), Some((TrackId(SCREEN), 0)));
    show(&mut egress, 2500, SCREEN, &on_stream(key(2)));
    show(&mut egress, 2510, SCREEN, &next(3));
    assert_eq!(frames(&mut egress, 2510, ALL), [2, 3]);
}

#[test]
fn a_path_that_took_no_audio_gets_a_keyframe_as_soon_as_audio_passes_again() {
    let mut egress = egress();
    show(&mut egress, 0, CAMERA, &next(1));
    assert_eq!(frames(&mut egress, 401, 0), [0; 0]);
    // Each is in vain, and the next one would be asked for after 4 s.
    let asked: Vec<_> = (401..8000).filter(|now| egress.take_keyframe_wish(at(*now)).is_some()).collect();
    assert_eq!(asked, [401, 901, 1901, 3901, 7901]);
    speak(&mut egress, 8000, 1);
    assert_eq!(taken(&mut egress, 8201, ALL), []);
    speak(&mut egress, 8210, 2);
    // It has waited, so nothing passes as it comes yet.
    assert_eq!(taken(&mut egress, 8300, ALL), [(MICROPHONE, 2)]);
    for number in 3..20 {
        let now = 8300 + u64::from(number) * 20;
        speak(&mut egress, now, number);
        assert_eq!(taken(&mut egress, now, ALL).len(), 1);
    }
    assert_eq!(egress.next_wish(), Some(at(8550).since_start));
    let asked: Vec<_> = (8500..9500).filter(|now| egress.take_keyframe_wish(at(*now)).is_some()).collect();
    assert_eq!(asked, [8550, 9050]);
    assert_eq!(egress.next_wish(), Some(at(9550).since_start), "the pauses do not grow yet");
}

#[test]
fn a_path_that_carries_less_than_a_voice_is_stalled() {
    let mut egress = egress();
    assert!(!egress.is_stalled(), "nothing is known of it");
    for (said, stalled) in [(100_000, false), (0, true), (1500, true), (100_000, false)] {
        egress.note_path_rate(said);
        assert_eq!(egress.is_stalled(), stalled, "{said}");
    }
    egress.note_path_rate(0);
    speak(&mut egress, 0, 0);
    egress.note_path_rate(100_000);
    let stalled = [20, 999, 1000].map(|now| {
        taken(&mut egress, now, ALL);
        egress.is_stalled()
    });
    assert_eq!(stalled, [true, true, false], "it is remembered for a second");
    egress.note_silence(at(1000));
    let stalled = [1020, 1999, 2000].map(|now| {
        taken(&mut egress, now, ALL);
        egress.is_stalled()
    });
    assert_eq!(stalled, [true, true, false], "and so is silence");
    // Nothing of what waits is taken, whatever is said.
    for step in 0..10 {
        speak(&mut egress, 2000 + step * 20, step as u32);
    }
    speak(&mut egress, 2400, 10);
    assert!(egress.is_stalled());
}
