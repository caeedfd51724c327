//! One subscriber behind a path that carries less than all of a camera, in virtual time: what its egress leaves out is told to the room, the
//! room says which layers it gets, the routes send those, and the publisher makes what is wanted. Nothing is between them but this file.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tertulia::auth::Grant;
use tertulia::limits::Limits;
use tertulia::media::{Class, Egress, Forward, Frame, Medium, Publisher, Routes, Slot};
use tertulia::now::Now;
use tertulia::room::{Input, JoinRequest, Output, Pressure, Room, RoomNotes, SessionKey};
use tertulia::wire::{
    ChatPosition, ClientMessage, Datagram, Layers, MediaHeader, ParticipantId, ParticipantKind, Rational, RoomName,
    ServerMessage, TrackId, TrackInfo, TrackMedia, TrackSource,
};

const ANA: Slot = Slot(0);
const BEN: Slot = Slot(1);

/// Bytes a second of the largest rendition, and what the others have of it, in percent.
const CAMERA_RATE: usize = 187_500;
const SHARES: [usize; 3] = [8, 27, 100];

/// Four frames in a row: temporal layer, distance, and size in percent of the mean. A keyframe has five times the mean.
const PATTERN: [(u8, u8, usize); 4] = [(0, 4, 200), (2, 1, 60), (1, 2, 80), (2, 1, 60)];

/// All of the camera, and a voice.
const PLENTY: usize = 400_000;

/// How often the relay's shell tells pressure at most, in milliseconds.
const PRESSURE_MS: u64 = 100;

/// The round trip to the publisher, in milliseconds: so much later it does what it is asked.
const PUBLISHER_MS: u64 = 40;

const ALL: Option<Layers> = layers(2, 2);

/// A rendition's encoder.
#[derive(Default)]
struct Encoder {
    number: u32,
    since_keyframe: usize,
    is_wanted: bool,
    is_on: bool,
    is_keyframe_wanted: bool,
}

impl Encoder {
    fn frame(&mut self, layer: u8) -> Option<Frame> {
        let began = !std::mem::replace(&mut self.is_on, self.is_wanted);
        if !self.is_on {
            return None;
        }
        let keyframe = std::mem::take(&mut self.is_keyframe_wanted) || began;
        self.since_keyframe = if keyframe { 0 } else { self.since_keyframe + 1 };
        let (temporal_layer, distance, percent) = PATTERN[self.since_keyframe % 4];
        let mean = CAMERA_RATE * SHARES[usize::from(layer)] / 100 / 30;
        let data = vec![0; mean * if keyframe { 500 } else { percent } / 100].into();
        let depends_on_distance = if keyframe { 0 } else { distance };
        self.number += 1;
        let number = self.number;
        Some(Frame {
            number,
            depends_on_distance,
            keyframe,
            temporal_layer,
            spatial_layer: layer,
            data,
            ..Frame::default()
        })
    }
}

/// What Ben has got of the camera.
#[derive(Default)]
struct Picture {
    /// Rendition and frame that came last.
    newest: Option<(u8, u32)>,
    /// Fragments of the frames of this rendition, from the keyframe on with which it began.
    fragments: BTreeMap<u32, u16>,
    /// When frames were whole, in milliseconds, and their layers.
    shown: Vec<(u64, Layers)>,
}

impl Picture {
    /// A frame that comes stands by itself or needs one of its own rendition that came whole.
    fn take(&mut self, ms: u64, header: &MediaHeader) {
        let (spatial, frame) = (header.spatial_layer, header.frame);
        match self.newest {
            Some((rendition, newest)) if rendition == spatial => {
                assert!(frame >= newest, "frame {frame} of rendition {spatial} comes after {newest}");
            }
            before => {
                let begins = header.keyframe && header.fragment_index == 0;
                assert!(begins, "frame {frame} of rendition {spatial} comes in the middle of {before:?}");
                self.fragments.clear();
            }
        }
        self.newest = Some((spatial, frame));
        if header.depends_on_distance > 0 {
            let needed = frame - u32::from(header.depends_on_distance);
            let is_whole = self.fragments.get(&needed) == Some(&u16::MAX);
            assert!(is_whole, "frame {frame} of rendition {spatial} needs {needed}, which did not come");
        }
        let came = self.fragments.entry(frame).or_default();
        *came += 1;
        if *came == header.fragment_count {
            *came = u16::MAX;
            self.shown.push((ms, Layers { spatial, temporal: header.temporal_layer }));
        }
    }
}

struct Meeting {
    ms: u64,
    room: Room,
    participants: Vec<ParticipantId>,
    routes: Routes,
    publisher: Publisher,
    camera: TrackId,
    voice: TrackId,
    encoders: [Encoder; 3],
    /// The highest temporal layer that is wanted.
    temporal_layer: u8,
    /// What the publisher is told, and when it hears it, in milliseconds.
    told: VecDeque<(u64, ServerMessage)>,
    words: u32,
    egress: Egress,
    pressed: Option<Class>,
    pressed_told_ms: u64,
    rate: usize,
    credit: f64,
    picture: Picture,
    heard: u32,
    voices_left_out: u64,
    /// What the room has Ben sent, since when, in milliseconds.
    sent: Vec<(u64, Option<Layers>)>,
}

impl Meeting {
    fn new() -> Self {
        let name = RoomName::parse("team").unwrap();
        let position = ChatPosition { epoch: 1, sequence: 0 };
        let mut room = Room::new(name, Limits::default(), position, RoomNotes::default());
        room.reserve_ids();
        let mut meeting = Self {
            ms: 1000,
            room,
            participants: Vec::new(),
            routes: Routes::default(),
            publisher: Publisher::new(ANA),
            camera: TrackId(0),
            voice: TrackId(0),
            encoders: Default::default(),
            temporal_layer: 0,
            told: VecDeque::new(),
            words: 0,
            egress: Egress::new(&Limits::default()),
            pressed: None,
            pressed_told_ms: 0,
            rate: PLENTY,
            credit: 0.0,
            picture: Picture::default(),
            heard: 0,
            voices_left_out: 0,
            sent: Vec::new(),
        };
        for session in [1, 2].map(SessionKey) {
            let grant = Grant::everyone(RoomName::parse("team").unwrap());
            let request = JoinRequest {
                name: None,
                kind: ParticipantKind::Meeting,
                grant,
                seat: None,
                auto_subscribe: true,
                chat_after: None,
            };
            meeting.handle(Input::Join { session, request });
        }
        meeting.publish(TrackSource::Microphone, "opus", TrackMedia::Audio { sample_rate: 48_000, channels: 1 });
        let frame_rate = Rational { numerator: 30, denominator: 1 };
        let picture = TrackMedia::Video { width: 1280, height: 720, frame_rate, temporal_layers: 3, spatial_layers: 3 };
        meeting.publish(TrackSource::Camera, "vp8", picture);
        meeting
    }

    fn publish(&mut self, source: TrackSource, codec: &str, media: TrackMedia) {
        let info = TrackInfo { source, codec: codec.into(), media, description: Vec::new() };
        let message = ClientMessage::Publish { request: 1, track: info };
        self.handle(Input::Message { from: self.participants[0], message });
    }

    fn now(&self) -> Now {
        Now::after(Duration::from_millis(self.ms))
    }

    fn handle(&mut self, input: Input) {
        for output in self.room.handle(self.now(), input) {
            self.apply(output);
        }
    }

    fn apply(&mut self, output: Output) {
        match output {
            Output::Admitted(admitted) => self.participants.push(admitted.participant),
            Output::RouteOpened { track, highest, is_video, .. } => {
                self.routes.open(track, ANA, highest);
                *(if is_video { &mut self.camera } else { &mut self.voice }) = track;
                if is_video {
                    self.routes.keep_pictures(track);
                }
            }
            Output::Subscribed { track, layers, .. } => {
                self.routes.subscribe(track, BEN, layers);
                self.note_sent(track, Some(layers));
            }
            Output::LayersSet { track, layers, .. } => {
                self.routes.set_layers(track, BEN, layers);
                self.note_sent(track, Some(layers));
            }
            Output::Unsubscribed { track, .. } => {
                self.routes.unsubscribe(track, BEN);
                self.note_sent(track, None);
            }
            Output::PictureWanted { track, layers, .. } => match self.routes.recent_pictures(self.now(), track, layers)
            {
                Some(pictures) => pictures.into_iter().for_each(|bytes| self.deliver(bytes)),
                None => {
                    let spatial_layer = layers.spatial;
                    let keyframe_at = self.routes.keyframe_at(track, spatial_layer);
                    self.handle(Input::PictureMissing { track, spatial_layer, keyframe_at });
                }
            },
            Output::Tell { message, .. } => self.told.push_back((self.ms + PUBLISHER_MS, message)),
            _ => {}
        }
    }

    /// The publisher does what it is told.
    fn obey(&mut self) {
        while let Some((_, message)) = self.told.pop_front_if(|(at, _)| *at <= self.ms) {
            match message {
                ServerMessage::KeyframeRequested { spatial_layer, .. } => {
                    self.encoders[usize::from(spatial_layer)].is_keyframe_wanted = true;
                }
                ServerMessage::LayersWanted { spatial_layers, temporal_layer, .. } => {
                    self.temporal_layer = temporal_layer;
                    for (layer, encoder) in self.encoders.iter_mut().enumerate() {
                        encoder.is_wanted = spatial_layers & 1 << layer != 0;
                    }
                }
                _ => {}
            }
        }
    }

    fn note_sent(&mut self, track: TrackId, layers: Option<Layers>) {
        if track == self.camera {
            self.sent.push((self.ms, layers));
        }
    }

    /// The publisher sends a datagram.
    fn forward(&mut self, datagram: Datagram) {
        let (now, limits) = (self.now(), Limits::default());
        let is_for_ben = match self.routes.forward(now, &limits, &mut self.publisher, &datagram.bytes) {
            Ok(Forward::To(slots)) => slots.contains(&BEN),
            Ok(Forward::After(change)) => {
                self.routes.change(change);
                self.routes.takers(change).contains(&BEN)
            }
            Ok(other) => panic!("media is passed on, not {other:?}"),
            Err(_) => false,
        };
        if is_for_ben {
            self.deliver(datagram.bytes);
        }
    }

    fn deliver(&mut self, bytes: bytes::Bytes) {
        let datagram = Datagram { header: MediaHeader::decode(&bytes).expect("it was forwarded"), bytes };
        if self.egress.is_idle() && datagram.bytes.len() as f64 <= self.credit {
            return self.pass(&datagram.header, datagram.bytes.len());
        }
        let medium = if datagram.header.track == self.camera { Medium::Video } else { Medium::Audio };
        self.egress.offer(self.now(), medium, datagram);
    }

    fn pass(&mut self, header: &MediaHeader, bytes: usize) {
        self.credit -= bytes as f64;
        if header.track == self.camera {
            self.picture.take(self.ms, header);
        } else {
            self.heard += 1;
        }
    }

    fn run(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.step();
        }
    }

    /// A millisecond passes.
    fn step(&mut self) {
        self.ms += 1;
        // As much as the path carries in 15 ms may wait below the egress.
        self.credit = (self.credit + self.rate as f64 / 1000.0).min((self.rate as f64 * 0.015).max(1500.0));
        if self.ms.is_multiple_of(20) {
            self.words += 1;
            let word = Frame { number: self.words, data: vec![0; 120].into(), keyframe: true, ..Frame::default() };
            let datagrams: Vec<_> = word.datagrams(self.voice).expect("it is small").collect();
            datagrams.into_iter().for_each(|datagram| self.forward(datagram));
        }
        if (self.ms % 100).is_multiple_of(33) && self.ms % 100 < 99 {
            self.show();
        }
        self.obey();
        self.send();
        if self.room.next_timeout().is_some_and(|due| due <= self.now().since_start) {
            self.handle(Input::Timeout);
        }
    }

    fn show(&mut self) {
        for layer in 0..3 {
            let frame = self.encoders[usize::from(layer)].frame(layer);
            if let Some(frame) = frame.filter(|frame| frame.temporal_layer <= self.temporal_layer) {
                let datagrams: Vec<_> = frame.datagrams(self.camera).expect("it is small").collect();
                datagrams.into_iter().for_each(|datagram| self.forward(datagram));
            }
        }
    }

    fn send(&mut self) {
        let now = self.now();
        self.egress.note_path_rate(self.rate as u64);
        while let Some(due) = self.egress.take(now, (self.credit.max(0.0) as usize).into()) {
            self.pass(&due.header, due.bytes.len());
        }
        let left_out = self.egress.take_left_out();
        self.voices_left_out += left_out.frames()[Class::Audio.number()];
        if let Some(class) = self.egress.pressed(&left_out) {
            self.pressed = Some(self.pressed.map_or(class, |before| before.min(class)));
        }
        if self.ms >= self.pressed_told_ms + PRESSURE_MS
            && let Some(class) = self.pressed.take()
        {
            self.pressed_told_ms = self.ms;
            let pressure = if class < Class::Upper(0) { Pressure::High } else { Pressure::Low };
            self.handle(Input::Pressed { participant: self.participants[1], pressure });
        }
        if self.credit > 0.0
            && let Some((track, spatial_layer)) = self.egress.take_keyframe_wish(now)
        {
            self.handle(Input::KeyframeWanted { participant: self.participants[1], track, spatial_layer });
        }
    }

    /// The path carries so many bytes a second from now on.
    fn carry(&mut self, rate: usize) {
        self.rate = rate;
        self.sent.drain(..self.sent.len() - 1);
    }

    /// What Ben was sent most of the time since then, and how much of it.
    fn mostly(&self, since_ms: u64) -> (Option<Layers>, f64) {
        let ends = self.sent.iter().map(|(at, _)| *at).skip(1).chain([self.ms]);
        let mut times: Vec<(Option<Layers>, u64)> = Vec::new();
        for ((at, layers), end) in self.sent.iter().zip(ends) {
            let time = end.saturating_sub((*at).max(since_ms));
            match times.iter_mut().find(|(other, _)| other == layers) {
                Some((_, sum)) => *sum += time,
                None => times.push((*layers, time)),
            }
        }
        let (layers, time) = times.into_iter().max_by_key(|(_, time)| *time).expect("it was sent something");
        (layers, time as f64 / (self.ms - since_ms) as f64)
    }

    /// It goes up step by step, and from all of it down to fewer temporal layers first.
    fn check_steps(&self) {
        let steps: Vec<_> = self.sent.iter().map(|(_, layers)| step(*layers)).collect();
        assert!(
            steps.len() < 2 || steps[..2] == [step(ALL), step(ALL) - 1] || self.rate < CAMERA_RATE / 4,
            "{:?}",
            self.sent
        );
        for pair in steps.windows(2) {
            assert!(pair[1] <= pair[0] + 1, "it goes up from {} to {}", pair[0], pair[1]);
        }
    }

    fn changes(&self, since_ms: u64) -> usize {
        self.sent.iter().filter(|(at, _)| *at > since_ms).count()
    }
}

/// What is to come of a path.
struct Expected {
    rate: usize,
    /// What is sent most of the time, from ten seconds after the fall on, and for which part of it at least.
    mostly: (Option<Layers>, f64),
    pictures_min: f64,
    /// How often the layers change in thirty seconds at most: the next ones are tried every two seconds, another rendition every three.
    changes_max: usize,
    /// How long it takes until all is sent again when the path is back, in milliseconds.
    back_ms: u64,
}

const fn layers(spatial: u8, temporal: u8) -> Option<Layers> {
    Some(Layers { spatial, temporal })
}

/// Steps from the least to all of it.
fn step(layers: Option<Layers>) -> u8 {
    layers.map_or(0, |layers| 1 + 3 * layers.spatial + layers.temporal)
}

impl Expected {
    fn check(&self) {
        let mut meeting = Meeting::new();
        meeting.run(5000);
        assert_eq!(meeting.sent.iter().map(|(_, layers)| *layers).collect::<Vec<_>>(), [ALL]);
        meeting.carry(self.rate);
        meeting.run(10_000);
        let (since, shown) = (meeting.ms, meeting.picture.shown.len());
        meeting.run(30_000);
        let pictures = (meeting.picture.shown.len() - shown) as f64 / 30.0;
        let ((mostly, share), changes) = (meeting.mostly(since), meeting.changes(since));
        meeting.check_steps();
        let back = meeting.ms;
        meeting.carry(PLENTY);
        meeting.run(10_000);
        let full =
            meeting.sent.iter().rposition(|(_, layers)| *layers != ALL).map_or(0, |last| meeting.sent[last + 1].0);
        let back_ms = full.saturating_sub(back);
        println!(
            "{} bytes a second: {mostly:?} for {:.0} %, {pictures:.1} pictures a second, {changes} changes, all again after {back_ms} ms",
            self.rate,
            share * 100.0
        );
        assert_eq!(meeting.voices_left_out, 0);
        assert!(meeting.heard + 1 >= meeting.words, "{} of {} words are heard", meeting.heard, meeting.words);
        assert!(mostly == self.mostly.0 && share >= self.mostly.1, "{mostly:?} is sent for {share:.2} of the time");
        assert!(pictures >= self.pictures_min, "{pictures:.1} pictures a second");
        assert!(changes <= self.changes_max, "{changes} changes");
        assert!(back_ms <= self.back_ms, "all is sent again after {back_ms} ms");
    }
}

#[test]
fn a_path_gets_as_much_of_a_picture_as_it_carries_and_all_of_it_soon_after_it_is_back() {
    let expected = |rate, mostly, pictures_min, changes_max, back_ms| {
        Expected { rate, mostly, pictures_min, changes_max, back_ms }.check();
    };
    expected(PLENTY, (ALL, 1.0), 29.9, 0, 0);
    expected(150_000, (layers(2, 1), 0.55), 14.5, 30, 5000);
    expected(120_000, (layers(2, 0), 0.6), 10.0, 30, 5000);
    expected(75_000, (layers(1, 2), 0.9), 28.0, 18, 4500);
    expected(62_500, (layers(1, 2), 0.45), 15.0, 30, 5000);
    expected(40_000, (layers(1, 0), 0.5), 9.5, 30, 5500);
    expected(25_000, (layers(0, 2), 0.75), 23.5, 22, 5500);
    expected(10_000, (None, 0.55), 0.0, 30, 7500);
}

#[test]
fn a_path_that_becomes_better_gets_more_and_not_less() {
    for (before, after, mostly) in [
        (10_000, 75_000, layers(1, 2)),
        (25_000, 75_000, layers(1, 2)),
        (25_000, 150_000, layers(2, 1)),
        (75_000, 150_000, layers(2, 1)),
        (10_000, 25_000, layers(0, 2)),
    ] {
        let mut meeting = Meeting::new();
        meeting.carry(before);
        meeting.run(20_000);
        meeting.carry(after);
        meeting.run(10_000);
        let since = meeting.ms;
        meeting.run(20_000);
        let (found, share) = meeting.mostly(since);
        println!("{before} and then {after} bytes a second: {found:?} for {:.0} %", share * 100.0);
        assert!(found == mostly && share >= 0.6, "{found:?} is sent for {share:.2} of the time");
    }
}
