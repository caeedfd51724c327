use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;
use crate::limits::{RECENT_PICTURES_TIME, REPEAT_REQUESTS_PER_SECOND, REPEATS_PER_SECOND, VIDEO_DEADLINE};
use crate::media::Frame;
use crate::wire::{AudioLevel, Wanted};

const NOW: Now = Now::after(Duration::from_secs(1));
const TRACK: TrackId = TrackId(7);
const PUBLISHER: Slot = Slot(0);

/// Three renditions of three temporal layers each.
const HIGHEST: Layers = layers(2, 2);

const fn layers(spatial: u8, temporal: u8) -> Layers {
    Layers { spatial, temporal }
}

fn datagram(track: TrackId) -> Vec<u8> {
    Frame { spatial_layer: 2, ..Frame::default() }.datagrams(track).unwrap().next().unwrap().bytes.to_vec()
}

fn routes() -> Routes {
    let mut routes = Routes::default();
    routes.open(TRACK, PUBLISHER, HIGHEST);
    routes.subscribe(TRACK, Slot(1), HIGHEST);
    routes.subscribe(TRACK, Slot(2), HIGHEST);
    routes
}

/// A frame that is no keyframe, or the fragment of a keyframe that has two.
#[derive(Clone, Copy)]
enum Piece {
    Delta,
    Keyframe { fragment: usize },
}

/// Each frame has the next number.
static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// Who gets it, as the relay does it.
fn passed_on(routes: &mut Routes, piece: Piece, layers: Layers) -> Vec<u32> {
    let (keyframe, fragment) = match piece {
        Piece::Delta => (false, 0),
        Piece::Keyframe { fragment } => (true, fragment),
    };
    let data = vec![1; 1500].into();
    let (spatial_layer, temporal_layer) = (layers.spatial, layers.temporal);
    let number = NUMBERS.fetch_add(1, Relaxed);
    let frame = Frame { number, keyframe, spatial_layer, temporal_layer, data, ..Frame::default() };
    let datagram = frame.datagrams(TRACK).unwrap().nth(fragment).unwrap();
    let slots = match forward(routes, PUBLISHER, &datagram.bytes).unwrap() {
        Forward::To(slots) => slots.to_vec(),
        Forward::After(change) => {
            routes.change(change);
            routes.takers(change).to_vec()
        }
        Forward::Echo | Forward::Repeat => panic!("it has a track, and is no request"),
    };
    slots.iter().map(|slot| slot.0).collect()
}

fn forward<'a>(routes: &'a Routes, from: Slot, datagram: &[u8]) -> Result<Forward<'a>, DropReason> {
    routes.forward(NOW, &Limits::default(), &mut Publisher::new(from), datagram)
}

#[test]
fn a_datagram_goes_to_the_subscribers_of_its_track() {
    let mut routes = routes();
    assert_eq!(forward(&routes, PUBLISHER, &datagram(TRACK)), Ok(Forward::To(&[Slot(1), Slot(2)])));
    routes.unsubscribe(TRACK, Slot(1));
    assert_eq!(forward(&routes, PUBLISHER, &datagram(TRACK)), Ok(Forward::To(&[Slot(2)])));
}

#[test]
fn a_datagram_for_no_track_comes_back() {
    assert_eq!(forward(&routes(), Slot(9), &datagram(TrackId::ECHO)), Ok(Forward::Echo));
}

#[test]
fn everything_else_is_dropped_for_a_reason() {
    let mut routes = routes();
    let good = datagram(TRACK);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (from, bytes, reason) in [
        (Slot(1), good.clone(), DropReason::TrackNotOwned),
        (PUBLISHER, datagram(TrackId(8)), DropReason::TrackUnknown),
        (PUBLISHER, vec![], DropReason::Malformed),
        (PUBLISHER, good[..20].to_vec(), DropReason::Malformed),
        (PUBLISHER, vec![0; 2000], DropReason::Malformed),
        (PUBLISHER, with(0, 1), DropReason::ForeignSession),
        (PUBLISHER, with(1, 0), DropReason::VersionUnknown),
        (PUBLISHER, with(14, 1), DropReason::Malformed),
        (PUBLISHER, with(2, 3 << 3), DropReason::LayerUnknown),
        (PUBLISHER, with(2, 3), DropReason::LayerUnknown),
    ] {
        assert_eq!(forward(&routes, from, &bytes), Err(reason), "{bytes:?}");
    }
    routes.set_muted(TRACK, true);
    assert_eq!(forward(&routes, PUBLISHER, &good), Err(DropReason::TrackMuted));
    routes.set_muted(TRACK, false);
    assert!(forward(&routes, PUBLISHER, &good).is_ok());
    routes.close(TRACK);
    assert_eq!(forward(&routes, PUBLISHER, &good), Err(DropReason::TrackUnknown));
}

#[test]
fn what_has_waited_goes_to_those_who_take_it_by_then_or_is_dropped_for_a_reason() {
    let mut routes = routes();
    let waited = datagram(TRACK);
    assert!(forward(&routes, PUBLISHER, &waited).is_ok());
    routes.unsubscribe(TRACK, Slot(1));
    assert_eq!(routes.takers_now(&waited), Ok(&[Slot(2)][..]));
    routes.set_muted(TRACK, true);
    assert_eq!(routes.takers_now(&waited), Err(DropReason::TrackMuted));
    routes.close(TRACK);
    assert_eq!(routes.takers_now(&waited), Err(DropReason::TrackUnknown));
    routes.open(TRACK, PUBLISHER, layers(0, 0));
    assert_eq!(routes.takers_now(&waited), Err(DropReason::LayerUnknown));
}

#[test]
fn temporal_layers_change_at_once() {
    let mut routes = routes();
    routes.set_layers(TRACK, Slot(1), layers(2, 1));
    let got = [0, 1, 2].map(|temporal| passed_on(&mut routes, Piece::Delta, layers(2, temporal)));
    assert_eq!(got, [vec![2, 1], vec![2, 1], vec![2]]);
    routes.set_layers(TRACK, Slot(1), HIGHEST);
    assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [2, 1]);
}

#[test]
fn a_rendition_changes_where_a_keyframe_of_it_begins() {
    let mut routes = routes();
    routes.set_layers(TRACK, Slot(1), layers(0, 1));
    let begins = Piece::Keyframe { fragment: 0 };
    for (piece, of, to) in [
        (Piece::Delta, layers(0, 0), vec![]),
        (Piece::Keyframe { fragment: 1 }, layers(0, 0), vec![]),
        (begins, layers(1, 0), vec![]),
        (begins, layers(2, 0), vec![2, 1]),
        (Piece::Delta, layers(2, 1), vec![2, 1]),
        (Piece::Delta, layers(2, 2), vec![2]),
        (begins, layers(0, 0), vec![1]),
        (Piece::Keyframe { fragment: 1 }, layers(0, 0), vec![1]),
        (Piece::Delta, layers(0, 1), vec![1]),
        (Piece::Delta, layers(0, 2), vec![]),
        (Piece::Delta, layers(2, 0), vec![2]),
    ] {
        assert_eq!(passed_on(&mut routes, piece, of), to, "{of:?}");
    }
}

#[test]
fn whoever_waits_for_another_rendition_gets_the_one_before_as_far_as_it_helps() {
    for (before, wanted, meanwhile) in [
        ((2, 0), (1, 2), 0),
        ((2, 1), (1, 2), 1),
        ((2, 2), (1, 0), 0),
        ((2, 2), (0, 1), 1),
        ((1, 2), (2, 0), 2),
        ((1, 0), (2, 2), 0),
        ((0, 1), (2, 1), 1),
    ] {
        let [before, wanted] = [before, wanted].map(|(spatial, temporal)| layers(spatial, temporal));
        let mut routes = Routes::default();
        routes.open(TRACK, PUBLISHER, HIGHEST);
        routes.subscribe(TRACK, Slot(1), before);
        routes.set_layers(TRACK, Slot(1), wanted);
        let taken = |routes: &mut Routes, spatial| {
            let gets = |temporal: &u8| !passed_on(routes, Piece::Delta, layers(spatial, *temporal)).is_empty();
            (0..3).filter(gets).last()
        };
        assert_eq!(taken(&mut routes, before.spatial), Some(meanwhile), "{before:?} to {wanted:?}");
        assert_eq!(passed_on(&mut routes, Piece::Keyframe { fragment: 0 }, layers(wanted.spatial, 0)), [1]);
        assert_eq!(taken(&mut routes, wanted.spatial), Some(wanted.temporal), "{before:?} to {wanted:?}");
        assert_eq!(taken(&mut routes, before.spatial), None, "{before:?} to {wanted:?}");
    }
}

#[test]
fn whoever_thinks_better_of_less_has_what_it_had_of_the_smaller_rendition() {
    let mut routes = routes();
    routes.set_layers(TRACK, Slot(1), layers(2, 0));
    routes.set_layers(TRACK, Slot(1), layers(1, 2));
    assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [2], "Ben waits, beside Cat who takes all");
    assert_eq!(passed_on(&mut routes, Piece::Delta, layers(2, 0)), [2, 1]);
    routes.set_layers(TRACK, Slot(1), HIGHEST);
    assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [2, 1]);
}

#[test]
fn nobody_begins_with_a_keyframe_of_which_a_part_has_passed() {
    let mut routes = routes();
    routes.set_layers(TRACK, Slot(1), layers(0, 1));
    let keyframe = |number| Frame { number, keyframe: true, data: vec![1; 1500].into(), ..Frame::default() };
    let begins = |number, fragment| {
        let datagram = keyframe(number).datagrams(TRACK).unwrap().nth(fragment).unwrap();
        matches!(forward(&routes, PUBLISHER, &datagram.bytes), Ok(Forward::After(_)))
    };
    assert_eq!([(7, 1), (7, 0), (8, 0), (8, 0)].map(|(number, at)| begins(number, at)), [false, false, true, false]);
}

#[test]
fn whoever_thinks_better_of_it_stays() {
    let mut routes = routes();
    let begins = Piece::Keyframe { fragment: 0 };
    routes.set_layers(TRACK, Slot(1), layers(0, 2));
    routes.set_layers(TRACK, Slot(1), layers(1, 2));
    assert_eq!(passed_on(&mut routes, begins, layers(0, 0)), [0; 0], "not there any more");
    assert_eq!(passed_on(&mut routes, begins, layers(1, 0)), [1]);
    routes.set_layers(TRACK, Slot(2), layers(1, 2));
    routes.set_layers(TRACK, Slot(2), HIGHEST);
    assert_eq!(passed_on(&mut routes, begins, layers(1, 0)), [1]);
    routes.set_layers(TRACK, Slot(2), layers(1, 2));
    routes.unsubscribe(TRACK, Slot(2));
    assert_eq!(passed_on(&mut routes, begins, layers(1, 0)), [1]);
    assert_eq!(passed_on(&mut routes, begins, layers(2, 0)), [0; 0]);
}

#[test]
fn whoever_is_not_subscribed_has_no_layers() {
    let mut routes = routes();
    routes.set_layers(TRACK, Slot(5), layers(0, 0));
    routes.set_layers(TrackId(8), Slot(1), layers(0, 0));
    routes.subscribe(TRACK, Slot(6), layers(3, 0));
    for spatial in 0..3 {
        let to = if spatial == 2 { vec![1, 2] } else { vec![] };
        assert_eq!(passed_on(&mut routes, Piece::Keyframe { fragment: 0 }, layers(spatial, 0)), to);
    }
}

#[test]
fn what_was_passed_on_is_sent_once_more_to_those_who_take_it() {
    let mut routes = routes();
    routes.set_layers(TRACK, Slot(2), layers(2, 0));
    let frame = |number, temporal_layer| Frame { number, spatial_layer: 2, temporal_layer, ..Frame::default() };
    let sent = [frame(5, 0), frame(6, 2)].map(|frame| frame.datagrams(TRACK).unwrap().next().unwrap().bytes);
    sent.iter().for_each(|datagram| assert!(forward(&routes, PUBLISHER, datagram).is_ok()));
    let ask = |slot, track, spatial_layer| {
        let wanted = (4..8).map(Wanted::whole).collect();
        let request = RepeatRequest { track, spatial_layer, wanted }.encode();
        assert_eq!(forward(&routes, Slot(slot), &request), Ok(Forward::Repeat));
        let mut found = Vec::new();
        let answer = routes.repeat(NOW, &mut Publisher::new(Slot(slot)), &request, &mut found);
        answer.map(|()| found)
    };
    assert_eq!(ask(1, TRACK, 2), Ok(sent.to_vec()));
    assert_eq!(ask(2, TRACK, 2), Ok(sent[..1].to_vec()));
    assert_eq!(ask(1, TRACK, 1), Err(DropReason::NotSubscribed));
    assert_eq!(ask(3, TRACK, 2), Err(DropReason::NotSubscribed));
    assert_eq!(ask(1, TRACK, 3), Err(DropReason::LayerUnknown));
    assert_eq!(ask(1, TrackId(8), 2), Err(DropReason::TrackUnknown));
}

#[test]
fn what_is_lost_is_asked_for_and_sent_again_as_long_as_media_may_wait() {
    let limits = Limits { audio_deadline_ms: 100, video_deadline_ms: 700, ..Limits::default() };
    for (limits, is_video, deadline_ms) in
        [(Limits::default(), false, 200), (Limits::default(), true, 400), (limits, false, 100), (limits, true, 700)]
    {
        let mut routes = Routes::new(&limits, PictureBudget::default(), SharedFloor::default());
        routes.open(TRACK, PUBLISHER, Layers::ONE);
        routes.subscribe(TRACK, Slot(1), Layers::ONE);
        if is_video {
            routes.keep_pictures(TRACK);
        }
        let after = |ms| Now::after(NOW.since_start + Duration::from_millis(ms));
        let mut publisher = Publisher::on_lossy_path(PUBLISHER);
        for number in [0, 2] {
            let frame = Frame { number, ..Frame::default() };
            let datagram = frame.datagrams(TRACK).unwrap().next().unwrap();
            assert!(routes.forward(NOW, &limits, &mut publisher, &datagram.bytes).is_ok());
        }
        // It is asked for after 10 ms, if the answer comes in time.
        let late = publisher.missing(after(10), Duration::from_millis(deadline_ms - 9));
        assert_eq!(late, [], "of {deadline_ms} ms");
        let request = RepeatRequest { track: TRACK, spatial_layer: 0, wanted: vec![Wanted::whole(2)] }.encode();
        let kept = |ms| {
            let mut found = Vec::new();
            routes.repeat(after(ms), &mut Publisher::new(Slot(1)), &request, &mut found).unwrap();
            found.len()
        };
        assert_eq!([deadline_ms - 1, deadline_ms].map(kept), [1, 0], "for {deadline_ms} ms");
    }
}

#[test]
fn of_several_answers_of_a_publisher_one_is_passed_on() {
    let routes = routes();
    let mut publisher = Publisher::on_lossy_path(PUBLISHER);
    let after = |ms| Now::after(NOW.since_start + Duration::from_millis(ms));
    let mut push = |ms, number| {
        let frame = Frame { number, spatial_layer: 2, ..Frame::default() };
        let bytes = frame.datagrams(TRACK).unwrap().next().unwrap().bytes;
        let passed = routes.forward(after(ms), &Limits::default(), &mut publisher, &bytes).map(|_| ());
        (passed, publisher.missing(after(ms + 10), Duration::from_millis(20)).len())
    };
    assert_eq!([push(0, 5), push(0, 7)], [(Ok(()), 0), (Ok(()), 1)], "6 is asked for");
    assert_eq!([push(40, 6), push(41, 6)], [(Ok(()), 0), (Err(DropReason::Superseded), 0)]);
}

#[test]
fn only_the_loudest_microphones_are_passed_on_where_that_is_set() {
    let mut routes = Routes::default();
    let tracks = [1, 2, 3, 4].map(TrackId);
    for track in tracks {
        routes.open(track, PUBLISHER, Layers::ONE);
        routes.subscribe(track, Slot(1), Layers::ONE);
    }
    tracks[..3].iter().for_each(|track| routes.listen(*track));
    let passed = |routes: &Routes, loudest_audio, track, level| {
        let frame = Frame { audio_level: AudioLevel::new(level), ..Frame::default() };
        let bytes = frame.datagrams(track).unwrap().next().unwrap().bytes;
        let limits = Limits { loudest_audio, ..Limits::default() };
        routes.forward(NOW, &limits, &mut Publisher::new(PUBLISHER), &bytes).err()
    };
    let all = |routes: &Routes, loudest| tracks.map(|track| passed(routes, loudest, track, 127));
    let left_out = Some(DropReason::NotSelected);
    assert_eq!(all(&routes, 0), [None; 4]);
    assert_eq!(all(&routes, 2), [None, None, left_out, None], "the last one is no microphone");
    routes.set_muted(tracks[0], true);
    routes.set_muted(tracks[0], false);
    assert_eq!(passed(&routes, 2, tracks[2], 127), None, "there is a place again");
    assert_eq!(passed(&routes, 2, tracks[0], 127), left_out);
    routes.close(tracks[1]);
    assert_eq!(passed(&routes, 2, tracks[0], 127), None, "and again");
}

#[test]
fn a_video_that_is_held_goes_to_those_who_chose_it() {
    let mut routes = routes();
    routes.unsubscribe(TRACK, Slot(1));
    routes.set_held(TRACK, true);
    assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [2]);
    routes.unsubscribe(TRACK, Slot(2));
    assert_eq!(forward(&routes, PUBLISHER, &datagram(TRACK)), Err(DropReason::NotSelected));
    routes.subscribe(TRACK, Slot(1), layers(0, 2));
    routes.set_layers(TRACK, Slot(1), HIGHEST);
    assert_eq!(passed_on(&mut routes, Piece::Keyframe { fragment: 0 }, HIGHEST), [1], "it waited for that");
    routes.unsubscribe(TRACK, Slot(1));
    routes.set_held(TRACK, false);
    assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [0; 0], "nobody is subscribed: that is no reason");
}

#[test]
fn a_track_that_is_idle_gives_back_what_it_kept() {
    let mut routes = routes();
    routes.keep_pictures(TRACK);
    passed_on(&mut routes, Piece::Keyframe { fragment: 0 }, HIGHEST);
    assert_eq!(routes.keyframe_at(TRACK, 2), Some(NOW.since_start));
    assert_eq!((routes.keyframe_at(TRACK, 1), routes.keyframe_at(TrackId(8), 0)), (None, None));
    let kept = |routes: &mut Routes, after| {
        routes.forget_old(Now::after(NOW.since_start + after));
        (routes.routes[&TRACK].recent.borrow().is_empty(), routes.budget.held_bytes() == 0)
    };
    assert_eq!(kept(&mut routes, VIDEO_DEADLINE / 2), (false, false));
    assert_eq!(kept(&mut routes, VIDEO_DEADLINE), (true, false));
    assert_eq!(kept(&mut routes, RECENT_PICTURES_TIME), (true, true));
    assert_eq!(routes.keyframe_at(TRACK, 2), Some(NOW.since_start), "which is remembered");
}

#[test]
fn requests_and_what_comes_of_them_are_bounded() {
    let routes = routes();
    let frame = Frame { spatial_layer: 2, data: vec![1; 50_000].into(), ..Frame::default() };
    let sent = frame.datagrams(TRACK).unwrap().map(|datagram| forward(&routes, PUBLISHER, &datagram.bytes).is_ok());
    assert_eq!(sent.filter(|is_sent| *is_sent).count(), 52);
    let request = |frame| RepeatRequest { track: TRACK, spatial_layer: 2, wanted: vec![Wanted::whole(frame)] }.encode();
    // How many of a thousand are answered in full, and by how many datagrams all of them together.
    let answered = |frame| {
        let (mut asker, mut found) = (Publisher::new(Slot(1)), Vec::new());
        let mut ask = || routes.repeat(NOW, &mut asker, &request(frame), &mut found);
        let count = (0..1000).filter(|_| ask().is_ok()).count();
        assert_eq!(ask(), Err(DropReason::OverBudget));
        (count, found.len())
    };
    assert_eq!(answered(0), (REPEATS_PER_SECOND as usize / 52, REPEATS_PER_SECOND as usize));
    assert_eq!(answered(7), (REPEAT_REQUESTS_PER_SECOND as usize, 0), "of a frame that is not there");
    let mut asker = Publisher::new(Slot(1));
    assert_eq!(routes.repeat(NOW, &mut asker, &request(0)[..9], &mut Vec::new()), Err(DropReason::Malformed));
}

#[test]
fn the_budget_counts_datagrams_and_bytes() {
    let routes = routes();
    let passed = |limits: Limits, size: usize| {
        let mut publisher = Publisher::new(PUBLISHER);
        let mut bytes = datagram(TRACK);
        bytes.resize(size, 0);
        (0..100).filter(|_| routes.forward(NOW, &limits, &mut publisher, &bytes).is_ok()).count()
    };
    let limits = Limits { media_datagrams_per_second: 30, media_bits_per_second: 80_000, ..Limits::default() };
    assert_eq!(passed(limits, 100), 30);
    assert_eq!(passed(limits, 1000), 10);
}
