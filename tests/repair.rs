//! What a path loses is sent once more, in time.

mod support;

use std::time::Duration;

use support::TestRelay;
use support::impair::Proxy;
use tertulia::client::{Event, LocalTrack, Options, RemoteTrack, Room};
use tertulia::config::Config;
use tertulia::media::Frame;
use tertulia::relay::Callbacks;
use tertulia::transport::Congestion;
use tertulia::wire::{Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::time::{interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Frames of each kind that are sent.
const FRAMES: u32 = 200;

/// Without repair, nine tenths of the audio come, 180 frames or so.
const HEARD: usize = 195;

/// Of the pictures next to nothing comes then: each of three datagrams needs the one before it, and a keyframe comes every 50
/// frames. With repair a slow machine may lose some.
const SEEN: usize = 140;

fn sound() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: Vec::new() }
}

fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 100, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

async fn subscribed(room: &Room) -> RemoteTrack {
    let found = async {
        loop {
            if let Event::TrackSubscribed(track) = room.next_event().await.expect("the room goes on") {
                return track;
            }
        }
    };
    timeout(DEADLINE, found).await.expect("tracks are subscribed by themselves")
}

/// A frame every 10 ms.
async fn send(track: LocalTrack, fragments: usize) {
    let mut pace = interval(Duration::from_millis(10));
    for number in 0..FRAMES {
        pace.tick().await;
        let keyframe = !track.info().is_video() || number % 50 == 0;
        let data = vec![number as u8; fragments * 900].into();
        let frame = Frame { number, keyframe, depends_on_distance: u8::from(!keyframe), data, ..Frame::default() };
        track.send_frame(frame).await.expect("the room goes on");
    }
    track.unpublish().await.expect("it is there");
}

async fn count(track: RemoteTrack, fragments: usize) -> usize {
    let mut count = 0;
    while let Some(frame) = timeout(DEADLINE, track.next_frame()).await.expect("the track ends") {
        assert_eq!(frame.data, vec![frame.number as u8; fragments * 900], "frame {} is whole", frame.number);
        count += 1;
    }
    count
}

/// A publisher and a subscriber, and the script of the network that one of them is behind.
async fn meet(publisher_network: &str, subscriber_network: &str, scheme: &str) -> (TestRelay, usize, usize) {
    // One that does not take every loss for a full path: what is repaired is no use if it has to wait.
    let congestion = Congestion::Tertulia;
    let config = Config { congestion, ..Config::default() };
    let relay = TestRelay::start_config(config, Callbacks::default());
    let near = Proxy::start(relay.relay.address(), publisher_network, 1).await;
    let far = Proxy::start(relay.relay.address(), subscriber_network, 2).await;
    let options = |name| Options { congestion, ..relay.options(name) };
    let publisher = Room::connect(&near.url(scheme), options("Ana")).await.expect("the relay is there");
    let subscriber = Room::connect(&far.url(scheme), options("Ben")).await.expect("the relay is there");
    let audio = publisher.publish(sound()).await.expect("it may publish");
    let heard = subscribed(&subscriber).await;
    let video = publisher.publish(picture()).await.expect("it may publish");
    let seen = subscribed(&subscriber).await;
    let ((), (), heard, seen) = tokio::join!(send(audio, 1), send(video, 3), count(heard, 1), count(seen, 3));
    println!("{heard} of {FRAMES} heard, {seen} seen");
    (relay, heard, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_to_a_subscriber_comes_again() {
    for scheme in ["quic", "https"] {
        let (relay, heard, seen) = meet("clear", "down loss 10%", scheme).await;
        assert!(heard >= HEARD && seen >= SEEN, "{scheme}: {heard} heard, {seen} seen");
        assert!(counted(&relay, "datagrams_repeated") > 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_to_the_relay_comes_again() {
    for scheme in ["quic", "https"] {
        let (relay, heard, seen) = meet("up loss 10%", "clear", scheme).await;
        assert!(heard >= HEARD && seen >= SEEN, "{scheme}: {heard} heard, {seen} seen");
        assert!(counted(&relay, "repeats_requested") > 40);
    }
}

fn counted(relay: &TestRelay, name: &str) -> u32 {
    let text = relay.relay.metrics().text();
    let count = text.lines().find_map(|line| line.strip_prefix(&format!("tertulia_{name}_total ")));
    count.expect("it is counted").parse().expect("it is a number")
}
