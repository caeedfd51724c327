//! Whoever begins to take a video sees a picture at once, from what the relay has kept; the publisher is asked for a keyframe
//! only where that cannot be.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::impair::Proxy;
use support::{TestRelay, subscribed};
use tertulia::client::{LocalTrack, Options, RemoteTrack, Room};
use tertulia::limits::{KEYFRAME_INTERVAL, Limits, RECENT_PICTURES_FRAMES_MAX};
use tertulia::media::Frame;
use tertulia::wire::{Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::time::{Instant, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// There and back, between the relay and a newcomer.
const ROUND_TRIP: Duration = Duration::from_millis(400);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

/// All of them together fit into the first flight: what waits for another round trip of this path is too late.
fn content(number: u32) -> Bytes {
    vec![number as u8; if number == 0 { 6000 } else { 500 }].into()
}

/// Sends the frame of this number; frame 0 is a keyframe.
async fn send(track: &LocalTrack, number: u32) {
    let depends_on_distance = u8::from(number > 0);
    let (keyframe, data) = (number == 0, content(number));
    track.send_frame(Frame { number, depends_on_distance, keyframe, data, ..Frame::default() }).await.unwrap();
}

async fn expect_frames(track: &RemoteTrack, numbers: impl IntoIterator<Item = u32>) {
    assert!(frames_come(track, numbers).await, "a frame was left out");
}

/// Whether they come, each in its turn and whole: one may be left out because it is late.
async fn frames_come(track: &RemoteTrack, numbers: impl IntoIterator<Item = u32>) -> bool {
    for number in numbers {
        let frame = soon("a frame", track.next_frame()).await.expect("the track goes on");
        if frame.number != number {
            return false;
        }
        assert_eq!(frame.keyframe, number == 0, "frame {number}");
        assert_eq!(frame.data, content(number), "frame {number} is whole");
    }
    true
}

/// A relay, and someone beside it who has a track.
async fn published() -> (TestRelay, Room, LocalTrack) {
    let relay = TestRelay::start(Limits::default());
    let ana = relay.join("quic", "Ana").await;
    let track = soon("a track", ana.publish(picture())).await.unwrap();
    (relay, ana, track)
}

/// Sends frames up to a number; then the relay has all of them.
async fn send_through(relay: &TestRelay, track: &LocalTrack, last: u32) {
    let witness = relay.join("quic", "Cat").await;
    let seen = subscribed(&witness).await;
    assert_eq!(soon("a request", track.next_keyframe_request()).await, Some(0), "nothing was sent yet");
    for number in 0..=last {
        send(track, number).await;
        expect_frames(&seen, [number]).await;
    }
    witness.disconnect().await;
}

async fn proxy(relay: &TestRelay, scheme: &str, script: &str) -> Proxy {
    let address = if scheme == "ws" { relay.relay.http_address().unwrap() } else { relay.relay.address() };
    Proxy::start(address, script, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_subscriber_has_a_picture_after_a_round_trip() {
    for scheme in ["quic", "https", "ws"] {
        let mut took: Vec<Option<Duration>> = Vec::new();
        // Another round trip would make all of them slow, and whatever else the machine does makes one so, or a frame too late for it.
        while took.iter().flatten().all(|took| *took >= ROUND_TRIP * 3 / 2) {
            assert!(took.len() < NEWCOMERS, "{scheme}: {took:?}");
            took.push(timeout(NEWCOMER_TIME, first_picture_took(scheme)).await.ok().flatten());
        }
    }
}

/// How many newcomers may come until one has a picture soon enough.
const NEWCOMERS: usize = 5;

/// What one of them takes several times less of: a frame that is not there by then was left out.
const NEWCOMER_TIME: Duration = Duration::from_secs(10);

/// How long a newcomer waits for a picture from a relay that has kept one; nothing if it does not get all that is kept.
async fn first_picture_took(scheme: &str) -> Option<Duration> {
    let (relay, _ana, track) = published().await;
    let proxy = proxy(&relay, scheme, "delay 200ms").await;
    let options = Options { auto_subscribe: false, ..relay.options("Ben") };
    let ben = Room::connect(&proxy.url(scheme), options).await.unwrap();
    send_through(&relay, &track, 5).await;
    let begin = Instant::now();
    let picture = soon("a subscription", ben.subscribe(track.track())).await.unwrap();
    let first = frames_come(&picture, [0]).await;
    let took = begin.elapsed();
    if !first || !frames_come(&picture, 1..=5).await {
        return None;
    }
    assert!(took >= ROUND_TRIP, "{scheme}: {took:?}");
    assert_eq!(relay.relay.metrics().pictures_recent(), 1, "{scheme}");
    send(&track, 6).await;
    frames_come(&picture, [6]).await.then_some(took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_in_has_a_picture_at_once() {
    for scheme in ["quic", "https", "ws"] {
        let (relay, _ana, track) = published().await;
        // Who takes long to come in finds nothing recent any more.
        let proxy = proxy(&relay, scheme, "delay 10ms").await;
        send_through(&relay, &track, 5).await;
        let ben = Room::connect(&proxy.url(scheme), relay.options("Ben")).await.unwrap();
        let picture = subscribed(&ben).await;
        expect_frames(&picture, 0..=5).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomers_share_a_keyframe_where_nothing_recent_is_kept() {
    let last = RECENT_PICTURES_FRAMES_MAX as u32;
    let (relay, ana, track) = published().await;
    send_through(&relay, &track, last).await;
    let options = || Options { auto_subscribe: false, ..relay.options("Ben") };
    let (ben, dan) = (relay.url("quic"), relay.url("ws"));
    let (ben, dan) = tokio::join!(Room::connect(&ben, options()), Room::connect(&dan, options()));
    let (ben, dan) = (ben.unwrap(), dan.unwrap());
    let begin = Instant::now();
    let (ben, dan) = tokio::join!(ben.subscribe(track.track()), dan.subscribe(track.track()));
    assert_eq!(soon("a request", track.next_keyframe_request()).await, Some(0));
    // What was asked for before the pong comes before it.
    soon("a pong", ana.ping()).await.unwrap();
    let asked = timeout(Duration::ZERO, track.next_keyframe_request()).await;
    // Where none comes for so long, there is another request.
    let is_due = begin.elapsed() >= KEYFRAME_INTERVAL;
    assert!(asked.is_err() || is_due, "a keyframe is asked for again: {asked:?}");
    let keyframe = Frame { number: last + 1, keyframe: true, data: content(1), ..Frame::default() };
    track.send_frame(keyframe).await.unwrap();
    for picture in [ben.unwrap(), dan.unwrap()] {
        let frame = soon("a frame", picture.next_frame()).await.unwrap();
        assert_eq!((frame.number, frame.keyframe), (last + 1, true));
    }
}
