use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tertulia::client::{Event, LocalTrack, RemoteTrack, Room};
use tertulia::config::Config;
use tertulia::media::Frame;
use tertulia::relay::Callbacks;
use tertulia::transport::Congestion;
use tertulia::wire::{Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::network::Network;
use super::support::TestRelay;
use super::support::impair::Proxy;
use super::support::impair::network::Direction;

/// How long the last frames may take to arrive.
pub const LINGER: Duration = Duration::from_millis(1500);

/// How long the subscriber may take to be told of a track.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub const SEED: u64 = 1;

/// A publisher beside the relay, and a subscriber behind a network.
pub struct Meeting {
    relay: TestRelay,
    proxy: Proxy,
    publisher: Room,
    subscriber: Room,
    video_rate: u64,
}

/// What became of the frames, in order, and what stood in the queue ten times a second.
#[derive(Debug, Default)]
pub struct Record {
    pub audio: Vec<Sent>,
    pub video: Vec<Sent>,
    /// In milliseconds at the rate of the time.
    pub queue_ms: Vec<f64>,
}

/// A frame.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Since the beginning.
    pub at: Duration,
    /// When all of it had arrived, if it had.
    pub took: Option<Duration>,
}

type Frames = Arc<Mutex<Vec<Sent>>>;

impl Meeting {
    pub async fn start(network: &Network, congestion: Congestion, scheme: &str) -> Self {
        let relay = TestRelay::start_config(Config { congestion, ..Config::default() }, Callbacks::default());
        let proxy = Proxy::start(relay.relay.address(), network.script, SEED).await;
        let publisher = relay.join("quic", "Ana").await;
        let subscriber = Room::connect(&proxy.url(scheme), relay.options("Ben")).await.expect("the relay is there");
        Self { relay, proxy, publisher, subscriber, video_rate: network.video_rate }
    }

    /// Sends audio and video for so long.
    pub async fn run(self, seconds: u64) -> Record {
        let (audio, video) = (Frames::default(), Frames::default());
        let begin = Instant::now();
        let end = begin + Duration::from_secs(seconds);
        let mut receiving = JoinSet::new();
        let audio_track = self.publisher.publish(sound()).await.expect("it may publish");
        receiving.spawn(receive(self.subscribed().await, begin, audio.clone()));
        let video_track = self.publisher.publish(picture()).await.expect("it may publish");
        receiving.spawn(receive(self.subscribed().await, begin, video.clone()));
        let frame_bytes = (self.video_rate / 8 / 30) as usize;
        let (_, _, queue_ms) = tokio::join!(
            send(&audio_track, Duration::from_millis(20), 120, begin, end, &audio),
            send(&video_track, Duration::from_nanos(1_000_000_000 / 30), frame_bytes, begin, end, &video),
            watch_queue(&self.proxy, end),
        );
        sleep(LINGER).await;
        receiving.shutdown().await;
        self.relay.relay.stop().await;
        let taken = |frames: &Frames| frames.lock().expect("nobody panics with it").clone();
        Record { audio: taken(&audio), video: taken(&video), queue_ms }
    }

    async fn subscribed(&self) -> RemoteTrack {
        let found = async {
            loop {
                let event = self.subscriber.next_event().await.expect("the room is there");
                if let Event::TrackSubscribed(track) = event {
                    return track;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("tracks are subscribed by themselves")
    }
}

pub fn sound() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: Vec::new() }
}

pub fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

/// Each frame stands by itself: what counts here is whether and when it arrives, not what it needs.
async fn send(track: &LocalTrack, every: Duration, bytes: usize, begin: Instant, end: Instant, frames: &Frames) {
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 0.. {
        due.tick().await;
        if Instant::now() >= end {
            return;
        }
        frames.lock().expect("nobody panics with it").push(Sent { at: begin.elapsed(), took: None });
        let frame = Frame { number, data: Bytes::from(vec![0; bytes]), ..Frame::default() };
        if track.send_frame(frame).await.is_err() {
            return;
        }
    }
}

async fn receive(track: RemoteTrack, begin: Instant, frames: Frames) {
    while let Some(frame) = track.next_frame().await {
        let now = begin.elapsed();
        let mut frames = frames.lock().expect("nobody panics with it");
        if let Some(sent) = frames.get_mut(frame.number as usize) {
            sent.took = Some(now - sent.at);
        }
    }
}

async fn watch_queue(proxy: &Proxy, end: Instant) -> Vec<f64> {
    let mut due = interval(Duration::from_millis(100));
    let mut queue_ms = Vec::new();
    while due.tick().await < end {
        queue_ms.push(proxy.network.queue_time(Direction::Down).as_secs_f64() * 1e3);
    }
    queue_ms
}
