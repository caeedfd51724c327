use std::env;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tertulia::client::{Event, LocalTrack, RemoteTrack, Room};
use tertulia::config::Config;
use tertulia::media::{Class, Frame};
use tertulia::relay::Callbacks;
use tertulia::transport::Congestion;
use tertulia::wire::{Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::layers::{self, Wanted};
use super::network::Network;
use super::support::TestRelay;
use super::support::impair::Proxy;
use super::support::impair::network::Direction;

/// How long the last frames may take to arrive.
pub const LINGER: Duration = Duration::from_millis(1500);

/// How long the subscriber may take to be told of a track.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What an argument begins with that is a seed.
pub const SEED: &str = "seed=";

/// Of the chance in all networks: 1, or that of an argument such as `seed=2`.
pub fn seed() -> u64 {
    let given = env::args().find_map(|argument| argument.strip_prefix(SEED).map(str::to_owned));
    given.map_or(1, |seed| seed.parse().expect("a seed is a number"))
}

/// A publisher beside the relay, and a subscriber behind a network.
pub struct Meeting {
    relay: TestRelay,
    proxy: Proxy,
    publisher: Room,
    subscriber: Room,
    network: &'static Network,
}

/// What became of the frames, in order, and what stood in the queue ten times a second.
#[derive(Debug, Default)]
pub struct Record {
    pub audio: Vec<Sent>,
    pub video: Vec<Sent>,
    /// In milliseconds at the rate of the time.
    pub queue_ms: Vec<f64>,
    pub chat: Vec<Sent>,
    /// Rendition and temporal layer of the frames that came, and when, since the beginning.
    pub quality: Vec<(Duration, (u8, u8))>,
    /// Audio frames that the relay left out, where it says so.
    pub audio_left_out: Option<u64>,
    /// Frames that were sent in part only.
    pub cut: u64,
}

/// A frame.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Since the beginning.
    pub at: Duration,
    /// How long it took until all of it had arrived, if it has.
    pub took: Option<Duration>,
}

pub type Frames = Arc<Mutex<Vec<Sent>>>;
pub type Quality = Arc<Mutex<Vec<(Duration, (u8, u8))>>>;

impl Meeting {
    pub async fn start(network: &'static Network, congestion: Congestion, scheme: &str) -> Self {
        let relay = TestRelay::start_config(Config { congestion, ..Config::default() }, Callbacks::default());
        let proxy = Proxy::start(relay.relay.address(), network.script, seed()).await;
        let publisher = relay.join("quic", "Ana").await;
        let subscriber = Room::connect(&proxy.url(scheme), relay.options("Ben")).await.expect("the relay is there");
        Self { relay, proxy, publisher, subscriber, network }
    }

    /// Sends audio and video for so long.
    pub async fn run(self, seconds: u64) -> Record {
        let (audio, video, chat, quality) =
            (Frames::default(), Frames::default(), Frames::default(), Quality::default());
        let begin = Instant::now();
        let end = begin + Duration::from_secs(seconds);
        let mut receiving = JoinSet::new();
        let audio_track = self.publisher.publish(sound()).await.expect("it may publish");
        receiving.spawn(receive(self.subscribed().await, begin, audio.clone(), Quality::default()));
        let picture = if self.network.has_layers { layers::picture() } else { picture() };
        let video_track = self.publisher.publish(picture).await.expect("it may publish");
        receiving.spawn(receive(self.subscribed().await, begin, video.clone(), quality.clone()));
        let (rate, wanted) = (self.network.video_rate, Wanted::default());
        let sending = async {
            let sending_video = async {
                match self.network.has_layers {
                    true => layers::send(&video_track, rate, &wanted, begin, end, &video).await,
                    false => {
                        let frame_bytes = (rate / 8 / 30) as usize;
                        send(&video_track, layers::FRAME_TIME, frame_bytes, begin, end, &video).await;
                    }
                }
            };
            tokio::join!(
                send(&audio_track, Duration::from_millis(20), 120, begin, end, &audio),
                sending_video,
                self.talk(begin, end, &chat),
                watch_queue(&self.proxy, end),
            )
        };
        let beside = async {
            tokio::join!(heed(&self.publisher, &wanted), layers::heed_keyframes(&video_track, &wanted));
        };
        let (.., queue_ms) = tokio::select! {
            sent = async { let sent = sending.await; sleep(LINGER).await; sent } => sent,
            () = beside => unreachable!("the room is there until the end"),
            () = listen(&self.subscriber, begin, &chat) => unreachable!("the room is there until the end"),
        };
        receiving.shutdown().await;
        let metrics = self.relay.relay.metrics();
        let (audio_left_out, cut) = (Some(metrics.frames_left_out(Class::Audio)), metrics.frames_cut());
        self.relay.relay.stop().await;
        let taken = |frames: &Frames| frames.lock().expect("nobody panics with it").clone();
        let quality = quality.lock().expect("nobody panics with it").clone();
        Record {
            audio: taken(&audio),
            video: taken(&video),
            queue_ms,
            chat: taken(&chat),
            quality,
            audio_left_out,
            cut,
        }
    }

    /// Says something five times a second, where there is chat.
    async fn talk(&self, begin: Instant, end: Instant, said: &Frames) {
        let mut due = interval(Duration::from_millis(200));
        while self.network.has_layers && due.tick().await < end {
            let number = said.lock().expect("nobody panics with it").len();
            layers::note(said, begin);
            if self.publisher.chat().send(number.to_string()).await.is_err() {
                return;
            }
        }
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
        let frame = Frame { number, timestamp: number, data: Bytes::from(vec![0; bytes]), ..Frame::default() };
        if track.send_frame(frame).await.is_err() {
            return;
        }
    }
}

async fn receive(track: RemoteTrack, begin: Instant, frames: Frames, quality: Quality) {
    while let Some(frame) = track.next_frame().await {
        arrived(begin, &frames, frame.timestamp as usize);
        let layers = (frame.spatial_layer, frame.temporal_layer);
        quality.lock().expect("nobody panics with it").push((begin.elapsed(), layers));
    }
}

/// Notes when what was sent under this number has come.
pub fn arrived(begin: Instant, sent: &Frames, number: usize) {
    if let Some(sent) = sent.lock().expect("nobody panics with it").get_mut(number) {
        sent.took.get_or_insert(begin.elapsed() - sent.at);
    }
}

async fn listen(subscriber: &Room, begin: Instant, said: &Frames) {
    while let Some(event) = subscriber.next_event().await {
        if let Event::ChatMessage(message) = event
            && let Ok(number) = message.body.parse()
        {
            arrived(begin, said, number);
        }
    }
}

async fn heed(publisher: &Room, wanted: &Wanted) {
    while let Some(event) = publisher.next_event().await {
        if let Event::LayersWanted { spatial_layers, .. } = event {
            wanted.spatial_layers.store(spatial_layers, Ordering::Relaxed);
        }
    }
}

pub async fn watch_queue(proxy: &Proxy, end: Instant) -> Vec<f64> {
    let mut due = interval(Duration::from_millis(100));
    let mut queue_ms = Vec::new();
    while due.tick().await < end {
        queue_ms.push(proxy.network.queue_time(Direction::Down).as_secs_f64() * 1e3);
    }
    queue_ms
}
