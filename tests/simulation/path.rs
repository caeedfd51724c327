//! One subscriber behind a path that carries now more, now less and now nothing: a voice, a camera of three temporal layers and a screen on
//! their way through the egress, in virtual time. It is looked at every millisecond, as the relay does while something waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tertulia::limits::{EGRESS_BYTES_MAX, KEYFRAME_INTERVAL, Limits};
use tertulia::media::{Class, Egress, Frame, Medium};
use tertulia::now::Now;
use tertulia::wire::{Datagram, MediaHeader, TrackId};

use crate::dice::Dice;

const VOICE: TrackId = TrackId(1);
const CAMERA: TrackId = TrackId(2);
const SCREEN: TrackId = TrackId(3);

/// What the path carries, in bytes a second: all of these take about 110,000.
const RATES: [u64; 7] = [0, 1000, 15_000, 40_000, 75_000, 150_000, 1_000_000];

/// A path that carries so much carries a voice, whatever else there is.
const VOICE_RATE: u64 = 40_000;

/// How long something may wait by the class, in milliseconds: twice that if a part of it has left.
const WAIT_MS: [(Class, u64); 3] = [(Class::Audio, 200), (Class::Keyframe, 2400), (Class::Base, 800)];

/// What is sent of a picture track.
struct Camera {
    track: TrackId,
    every_ms: u64,
    bytes: usize,
    is_layered: bool,
    number: u32,
    since_keyframe: u32,
    keyframe_wanted: bool,
    keyframe_ms: Option<u64>,
}

impl Camera {
    fn new(track: TrackId, every_ms: u64, bytes: usize, is_layered: bool) -> Self {
        let keyframe_wanted = true;
        Self { track, every_ms, bytes, is_layered, number: 0, since_keyframe: 0, keyframe_wanted, keyframe_ms: None }
    }

    /// Its next frame: a keyframe if one is wanted, and the last one is not too near.
    fn next(&mut self, ms: u64) -> Frame {
        let interval = KEYFRAME_INTERVAL.as_millis() as u64;
        let keyframe = self.keyframe_wanted && self.keyframe_ms.is_none_or(|last| last + interval <= ms);
        if keyframe {
            (self.keyframe_wanted, self.keyframe_ms, self.since_keyframe) = (false, Some(ms), 0);
        } else {
            self.since_keyframe += 1;
        }
        self.number += 1;
        let (temporal_layer, depends_on_distance) = match self.since_keyframe % 4 {
            _ if keyframe => (0, 0),
            _ if !self.is_layered => (0, 1),
            0 => (0, 4),
            2 => (1, 2),
            _ => (2, 1),
        };
        let data = vec![0; if keyframe { 5 * self.bytes } else { self.bytes }].into();
        Frame { number: self.number, depends_on_distance, keyframe, temporal_layer, data, ..Frame::default() }
    }
}

/// What has come of one track.
#[derive(Default)]
struct Come {
    newest: u32,
    fragments: BTreeMap<u32, u16>,
    whole: BTreeSet<u32>,
}

impl Come {
    fn take(&mut self, header: &MediaHeader) {
        let frame = header.frame;
        assert!(frame >= self.newest, "track {}: {frame} comes after {}", header.track, self.newest);
        if frame > self.newest && header.depends_on_distance > 0 {
            let needed = frame - u32::from(header.depends_on_distance);
            assert!(self.whole.contains(&needed), "track {}: {frame} needs {needed}, which did not come", header.track);
        }
        self.newest = frame;
        let came = self.fragments.entry(frame).or_default();
        *came += 1;
        if *came == header.fragment_count {
            self.whole.insert(frame);
        }
    }
}

struct Path {
    dice: Dice,
    ms: u64,
    egress: Egress,
    rate: u64,
    /// What the relay takes it to carry, in thousandths of what it does.
    belief: u64,
    /// Since when it has carried enough for a voice.
    good_since: Option<u64>,
    credit: f64,
    come: BTreeMap<TrackId, Come>,
    offered: u64,
    passed: u64,
    left_out: u64,
    tally: BTreeMap<&'static str, u64>,
}

impl Path {
    fn new(seed: u64) -> Self {
        let egress = Egress::new(&Limits::default());
        let (dice, come, tally) = (Dice::new(seed), BTreeMap::new(), BTreeMap::new());
        let mut path = Self {
            dice,
            ms: 0,
            egress,
            rate: 0,
            belief: 1000,
            good_since: None,
            credit: 0.0,
            come,
            offered: 0,
            passed: 0,
            left_out: 0,
            tally,
        };
        path.carry(1_000_000);
        path
    }

    fn now(&self) -> Now {
        Now::after(Duration::from_millis(self.ms))
    }

    fn count(&mut self, what: &'static str, times: u64) {
        *self.tally.entry(what).or_default() += times;
    }

    fn carry(&mut self, rate: u64) {
        self.rate = rate;
        self.belief = self.dice.within(700..1300);
        self.good_since = (rate >= VOICE_RATE).then(|| self.good_since.unwrap_or(self.ms));
    }

    /// What may wait below the egress.
    fn queue_bytes(&self) -> f64 {
        (self.rate as f64 * 0.015).max(1500.0)
    }

    fn offer(&mut self, medium: Medium, datagrams: Vec<Datagram>) {
        self.offered += datagrams.len() as u64;
        let bytes: usize = datagrams.iter().map(|datagram| datagram.bytes.len()).sum();
        if self.egress.is_idle() && bytes as f64 <= self.credit {
            return datagrams.iter().for_each(|datagram| self.pass(&datagram.header, datagram.bytes.len()));
        }
        let now = self.now();
        datagrams.into_iter().for_each(|datagram| self.egress.offer(now, medium, datagram));
    }

    fn pass(&mut self, header: &MediaHeader, bytes: usize) {
        self.credit -= bytes as f64;
        self.passed += 1;
        self.come.entry(header.track).or_default().take(header);
    }

    /// A millisecond passes.
    fn look(&mut self, cameras: &mut [Camera]) {
        self.ms += 1;
        self.credit = (self.credit + self.rate as f64 / 1000.0).min(self.queue_bytes());
        let now = self.now();
        self.egress.note_path_rate(self.rate * self.belief / 1000);
        while let Some(due) = self.egress.take(now, (self.credit.max(0.0) as usize).into()) {
            let wait = WAIT_MS.iter().find(|(class, _)| due.class <= *class).map_or(800, |(_, ms)| *ms);
            assert!(due.waited <= Duration::from_millis(wait), "{:?} waited for {:?}", due.class, due.waited);
            self.pass(&due.header, due.bytes.len());
        }
        assert!(self.egress.bytes() <= EGRESS_BYTES_MAX);
        let left = self.egress.take_left_out();
        self.left_out += left.datagrams().map(|(_, count)| count).sum::<u64>();
        let is_good = self.good_since.is_some_and(|since| since + 1000 <= self.ms);
        assert!(!is_good || left.frames()[Class::Audio.number()] == 0, "audio is left out at {} bytes/s", self.rate);
        self.count("voices left out", left.frames()[Class::Audio.number()]);
        self.count("upper frames left out", left.frames()[Class::Upper(0).number()]);
        self.count("base frames left out", left.frames()[Class::Base.number()]);
        self.count("frames cut", left.cut());
        if self.credit > 0.0
            && let Some((track, _)) = self.egress.take_keyframe_wish(now)
        {
            self.count("keyframes asked for", 1);
            cameras.iter_mut().filter(|camera| camera.track == track).for_each(|camera| camera.keyframe_wanted = true);
        }
    }
}

fn travel(seed: u64, seconds: u64) -> BTreeMap<&'static str, u64> {
    let mut path = Path::new(seed);
    let mut cameras = [Camera::new(CAMERA, 33, 2500, true), Camera::new(SCREEN, 200, 6000, false)];
    let mut words = 0;
    // Five good seconds at the end.
    for ms in 0..(seconds + 5) * 1000 {
        if ms == seconds * 1000 {
            path.carry(1_000_000);
        } else if ms < seconds * 1000 && path.dice.happens(1) {
            let rate = path.dice.pick(&RATES).expect("there are some");
            path.count("changes", 1);
            path.carry(rate);
        }
        if ms % 20 == 0 {
            words += 1;
            let word = Frame { number: words, data: vec![0; 100].into(), keyframe: true, ..Frame::default() };
            path.offer(Medium::Audio, word.datagrams(VOICE).expect("it is small").collect());
        }
        for camera in &mut cameras {
            if ms % camera.every_ms == 0 {
                let frame = camera.next(ms);
                path.offer(Medium::Video, frame.datagrams(camera.track).expect("it is small").collect());
            }
        }
        path.look(&mut cameras);
    }
    assert!(path.egress.is_empty(), "a good path lets nothing wait");
    assert_eq!(path.offered, path.passed + path.left_out, "what did not pass was counted");
    for camera in &cameras {
        let newest = path.come[&camera.track].whole.last();
        assert_eq!(newest, Some(&camera.number), "track {} is current again", camera.track);
    }
    assert_eq!(path.come[&VOICE].newest, words);
    path.tally
}

#[test]
fn a_path_that_comes_and_goes_gets_what_it_can_carry_and_nothing_in_vain() {
    let mut tally = BTreeMap::new();
    for seed in 1..=30 {
        let outcome = std::panic::catch_unwind(|| travel(seed, 60)).unwrap_or_else(|problem| {
            eprintln!("it is the path of seed {seed}");
            std::panic::resume_unwind(problem)
        });
        outcome.into_iter().for_each(|(what, count)| *tally.entry(what).or_insert(0) += count);
    }
    println!("{tally:?}");
    for what in [
        "changes",
        "voices left out",
        "upper frames left out",
        "base frames left out",
        "frames cut",
        "keyframes asked for",
    ] {
        assert!(tally[what] > 100, "{what} hardly ever happened: {tally:?}");
    }
}
