//! A subscriber whose path carries next to nothing costs the others nothing, and is where they are when its path is back.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::TestRelay;
use support::impair::Proxy;
use tertulia::client::{Event, LocalTrack, RemoteTrack, Room};
use tertulia::limits::Limits;
use tertulia::media::{Class, Frame};
use tertulia::wire::{DropReason, Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two frames, of sound and of a picture alike.
const PACE: Duration = Duration::from_millis(20);

/// For how long hardly anything passes: less than what ends a session.
const STALL: Duration = Duration::from_secs(5);

/// How long it may take until a subscriber whose path is back gets what is sent then, on a slow machine.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// How much later frames may come to the others meanwhile: what a busy machine does by itself.
const NOISE: Duration = Duration::from_millis(60);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

fn sound() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: vec![] }
}

fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 50, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: vec![] }
}

/// Sends a track until it is dropped: frames whose numbers are their times since the beginning, each of which needs the one before
/// it unless a keyframe was asked for. Says how many keyframes there were.
fn stream(track: LocalTrack, bytes: usize, needs_others: bool) -> (JoinSet<()>, Arc<AtomicU32>) {
    let track = Arc::new(track);
    let (wanted, keyframes) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let mut tasks = JoinSet::new();
    let (source, asked) = (track.clone(), wanted.clone());
    tasks.spawn(async move {
        while source.next_keyframe_request().await.is_some() {
            asked.store(true, Ordering::Relaxed);
        }
    });
    let made = keyframes.clone();
    tasks.spawn(async move {
        let mut pace = interval(PACE);
        for number in 0.. {
            pace.tick().await;
            let keyframe = !needs_others || wanted.swap(false, Ordering::Relaxed);
            made.fetch_add(keyframe.into(), Ordering::Relaxed);
            let data = Bytes::from(vec![0; bytes]);
            let frame = Frame { number, keyframe, depends_on_distance: (!keyframe).into(), data, ..Frame::default() };
            if track.send_frame(frame).await.is_err() {
                return;
            }
        }
    });
    (tasks, keyframes)
}

async fn subscribed(room: &Room) -> RemoteTrack {
    let found = async {
        loop {
            if let Event::TrackSubscribed(track) = room.next_event().await.expect("the room is open") {
                return track;
            }
        }
    };
    soon("the track", found).await
}

/// How late each frame of a track is that comes until then, against the first one.
async fn lateness(track: &RemoteTrack, begin: Instant, end: Instant) -> Vec<Duration> {
    let mut late = Vec::new();
    while Instant::now() < end {
        let frame = soon("a frame", track.next_frame()).await.expect("the track goes on");
        late.push(begin.elapsed().saturating_sub(PACE * frame.number));
    }
    let least = late.iter().min().copied().unwrap_or_default();
    late.iter().map(|late| *late - least).collect()
}

fn p99(mut late: Vec<Duration>) -> Duration {
    late.sort_unstable();
    late[late.len() * 99 / 100]
}

/// Waits for a frame that was made after this was asked, and says how long that took.
async fn current(track: &RemoteTrack, begin: Instant) -> Duration {
    let since = Instant::now();
    loop {
        let frame = soon("a frame", track.next_frame()).await.expect("the track goes on");
        if begin + PACE * frame.number >= since {
            return since.elapsed();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_subscriber_costs_the_others_nothing_and_is_current_when_it_is_back() {
    for scheme in ["quic", "https"] {
        let relay = TestRelay::start(Limits::default());
        let proxy = Proxy::start(relay.relay.address(), "delay 10ms", 7).await;
        let (ana, cat) = (relay.join("quic", "Ana").await, relay.join("https", "Cat").await);
        let ben = Room::connect(&proxy.url(scheme), relay.options("Ben")).await.unwrap();
        let begin = Instant::now();
        let (_speaking, _) = stream(ana.publish(sound()).await.unwrap(), 120, false);
        let (ben_hears, cat_hears) = (subscribed(&ben).await, subscribed(&cat).await);
        let (_showing, keyframes) = stream(ana.publish(picture()).await.unwrap(), 1500, true);
        let (ben_sees, cat_sees) = (subscribed(&ben).await, subscribed(&cat).await);
        soon("a picture", ben_sees.next_frame()).await.unwrap();

        let before = p99(lateness(&cat_hears, begin, Instant::now() + Duration::from_secs(2)).await);
        soon("a picture", cat_sees.next_frame()).await.unwrap();
        let keyframes_before = keyframes.load(Ordering::Relaxed);
        proxy.apply("down rate 12kbit queue 8kb");
        let during = lateness(&cat_hears, begin, Instant::now() + STALL).await;
        let expected = STALL.as_millis() / PACE.as_millis() - 5;
        assert!(during.len() as u128 >= expected, "{scheme}: {} audio frames of {expected}", during.len());
        let during = p99(during);
        assert!(during <= before.mul_f64(1.2) + NOISE, "{scheme}: p99 {during:?}, before {before:?}");
        let asked = keyframes.load(Ordering::Relaxed) - keyframes_before;
        assert!(asked <= 6, "{scheme}: {asked} keyframes, which cost the others");
        let metrics = relay.relay.metrics();
        assert!(metrics.frames_left_out(Class::Audio) > 0 && metrics.dropped(DropReason::Late) > 0, "it was stalled");

        proxy.apply("clear");
        let (hears, sees) = tokio::join!(current(&ben_hears, begin), current(&ben_sees, begin));
        println!(
            "{scheme}: p99 {before:?} then {during:?}, {asked} keyframes; audio after {hears:?}, video after {sees:?}"
        );
        assert!(hears < BACK_WITHIN && sees < BACK_WITHIN, "{scheme}: audio after {hears:?}, video after {sees:?}");
    }
}
