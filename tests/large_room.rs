//! A large room, in which not all are heard and seen: the loudest voices are passed on, and the cameras of those who spoke last.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::TestRelay;
use tertulia::client::{Event, LocalTrack, Options, RemoteTrack, Room};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::wire::{AudioLevel, DropReason, ParticipantId, Rational, TrackId, TrackInfo, TrackMedia, TrackSource};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

const PEOPLE: usize = 12;
const LIMITS: fn() -> Limits = || Limits { loudest_audio: 3, last_videos: 3, ..Limits::default() };

/// In dB below full scale: somebody who does not speak, and somebody who does.
const QUIET: u8 = 75;
const LOUD: u8 = 20;

const CARRIERS: [&str; 3] = ["quic", "https", "ws"];

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Someone with a microphone and a camera, who takes nothing of the others.
struct Person {
    room: Room,
    microphone: TrackId,
    camera: TrackId,
    level: Arc<AtomicU8>,
    /// The next frame of sound.
    next: Arc<AtomicU32>,
    _sending: JoinSet<()>,
}

impl Person {
    async fn join(relay: &TestRelay, number: usize) -> Self {
        let options = Options { auto_subscribe: false, ..relay.options(&format!("person {number}")) };
        let room = Room::connect(&relay.url(CARRIERS[number % 3]), options).await.unwrap();
        let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
        let microphone = room.publish(track(TrackSource::Microphone, "opus", media)).await.unwrap();
        let frame_rate = Rational { numerator: 20, denominator: 1 };
        let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers: 1 };
        let camera = room.publish(track(TrackSource::Camera, "vp8", media)).await.unwrap();
        let (level, next) = (Arc::new(AtomicU8::new(QUIET)), Arc::new(AtomicU32::new(0)));
        let ids = (microphone.track(), camera.track());
        let mut sending = JoinSet::new();
        sending.spawn(send_sound(microphone, level.clone(), next.clone()));
        sending.spawn(send_pictures(camera));
        Self { room, microphone: ids.0, camera: ids.1, level, next, _sending: sending }
    }

    fn id(&self) -> ParticipantId {
        self.room.participant()
    }

    /// Begins to speak, and gives the number of the first frame that is surely loud.
    fn speak(&self) -> u32 {
        self.level.store(LOUD, Ordering::SeqCst);
        self.next.load(Ordering::SeqCst)
    }

    fn fall_silent(&self) {
        self.level.store(QUIET, Ordering::SeqCst);
    }
}

fn track(source: TrackSource, codec: &str, media: TrackMedia) -> TrackInfo {
    TrackInfo { source, codec: codec.into(), media, description: Vec::new() }
}

async fn send_sound(track: LocalTrack, level: Arc<AtomicU8>, next: Arc<AtomicU32>) {
    let mut pace = interval(Duration::from_millis(20));
    for number in 0.. {
        pace.tick().await;
        next.store(number, Ordering::SeqCst);
        let audio_level = AudioLevel::new(level.load(Ordering::SeqCst));
        let data = Bytes::from_static(&[1; 60]);
        if track.send_frame(Frame { number, audio_level, data, ..Frame::default() }).await.is_err() {
            return;
        }
    }
}

/// Pictures of which the first, and those that are asked for, stand by themselves.
async fn send_pictures(track: LocalTrack) {
    let mut pace = interval(Duration::from_millis(50));
    for number in 0.. {
        let asked = tokio::select! {
            biased;
            asked = track.next_keyframe_request() => asked.is_some(),
            _ = pace.tick() => false,
        };
        let keyframe = asked || number == 0;
        let data = vec![1; if keyframe { 3000 } else { 300 }].into();
        let frame = Frame { number, keyframe, depends_on_distance: u8::from(!keyframe), data, ..Frame::default() };
        if track.send_frame(frame).await.is_err() {
            return;
        }
    }
}

/// Someone who takes all there is.
struct Witness {
    room: Room,
    tracks: Vec<RemoteTrack>,
    on_stage: Vec<ParticipantId>,
}

impl Witness {
    async fn join(relay: &TestRelay, carrier: &str) -> Self {
        Self { room: relay.join(carrier, "Wit").await, tracks: Vec::new(), on_stage: Vec::new() }
    }

    /// Listens to what is told until that is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let told = async {
            while !is_so(self) {
                match self.room.next_event().await.expect("the room is there") {
                    Event::TrackSubscribed(track) => self.tracks.push(track),
                    Event::OnStage { participants } => self.on_stage = participants,
                    _ => {}
                }
            }
        };
        soon(what, told).await;
    }

    fn track(&self, id: TrackId) -> &RemoteTrack {
        self.tracks.iter().find(|track| track.track == id).unwrap()
    }

    async fn next_frame(&self, id: TrackId) -> Frame {
        soon("a frame", self.track(id).next_frame()).await.expect("the track goes on")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_large_room_the_loudest_are_heard_and_the_last_speakers_are_seen() {
    let relay = TestRelay::start(LIMITS());
    let mut witnesses = [Witness::join(&relay, "quic").await, Witness::join(&relay, "wss").await];
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        people.push(Person::join(&relay, number).await);
    }
    let first: Vec<_> = people[..3].iter().map(Person::id).collect();
    for witness in &mut witnesses {
        let all_are_told = |witness: &Witness| witness.tracks.len() == 2 * PEOPLE && witness.on_stage == first;
        witness.until("tracks of all, and the stage", all_are_told).await;
        for person in &people[..3] {
            assert!(witness.next_frame(person.camera).await.keyframe);
        }
    }

    let last = &people[PEOPLE - 1];
    let begin = last.speak();
    for witness in &mut witnesses {
        let first_sound = async {
            loop {
                let frame = witness.next_frame(last.microphone).await;
                if frame.number > begin {
                    return frame;
                }
            }
        };
        let first_sound = soon("sound", first_sound).await;
        assert!(first_sound.number <= begin + 2, "the first sound is {}, after {begin}", first_sound.number);
        assert_eq!(first_sound.audio_level, AudioLevel::new(LOUD));
    }
    for witness in &mut witnesses {
        witness.until("a new speaker on the stage", |witness| witness.on_stage.contains(&last.id())).await;
        assert_eq!(witness.on_stage.len(), 3);
        assert!(witness.next_frame(last.camera).await.keyframe, "a picture to begin with");
    }
    last.fall_silent();

    let [witness, other] = &witnesses;
    let pinned = people[5].camera;
    witness.room.set_pinned(pinned, true).await.unwrap();
    assert!(witness.next_frame(pinned).await.keyframe, "what is pinned comes");
    witness.next_frame(pinned).await;
    let unpinned = timeout(Duration::ZERO, other.track(pinned).next_frame()).await;
    assert!(unpinned.is_err(), "to those who pinned it");

    let left_out = relay.relay.metrics().dropped(DropReason::NotSelected);
    assert!(left_out > 100, "{left_out} datagrams were left out");
}
