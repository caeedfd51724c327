//! What becomes of a call on a path that loses datagrams, with repair and without it, beside the targets.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tertulia::client::{Event, LocalTrack, Options, RemoteTrack, Room};
use tertulia::config::Config;
use tertulia::media::Frame;
use tertulia::relay::Callbacks;
use tertulia::transport::Congestion;
use tertulia::wire::TrackInfo;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::CARRIERS;
use super::meeting::{LINGER, PATIENCE, Sent, picture, seed, sound};
use super::support::TestRelay;
use super::support::impair::Proxy;
use super::table::{latency, usable};

const HEAD: &str = "\
| Network | Behind it | Carrier | Repair | Audio in 150 ms | Target | Audio p50 / p99 (ms) | Video in 150 ms | Target | Video p50 / p99 (ms) |
|---|---|---|---|---:|---:|---:|---:|---:|---:|
";

/// How long each call takes: a thousand audio frames.
pub const SECONDS: u64 = 20;

/// Bytes of a picture at 1 Mbit/s and 30 a second, and of one that stands by itself.
const PICTURE_BYTES: usize = 4166;
const KEYFRAME_BYTES: usize = 20_000;

/// A network that loses datagrams in both directions, and the shares of audio and video that are to be usable, in percent.
pub struct Lossy {
    pub name: &'static str,
    script: &'static str,
    targets: [f64; 2],
}

pub const ALL: [Lossy; 3] = [
    Lossy { name: "60 ms, 2 % loss", script: "delay 30ms loss 2%", targets: [99.9, 99.0] },
    Lossy { name: "60 ms, 5 % loss", script: "delay 30ms loss 5%", targets: [99.5, 97.0] },
    Lossy { name: "60 ms, 5 % in bursts of 3", script: "delay 30ms burst 5% 3", targets: [99.5, 97.0] },
];

#[derive(Clone, Copy, PartialEq)]
pub enum Behind {
    Subscriber,
    Publisher,
}

impl Behind {
    pub const ALL: [Self; 2] = [Self::Subscriber, Self::Publisher];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Subscriber => "subscriber",
            Self::Publisher => "publisher",
        }
    }
}

/// What relay and clients do.
#[derive(Clone, Copy)]
struct Settings {
    label: &'static str,
    repair: bool,
    congestion: Congestion,
}

/// With what is lost asked for again and parity, and without. Others than Tertulia's control take losses by chance for a full path, and
/// send too little to see what is repaired: that alone is in the rows of `no`.
const SETTINGS: [Settings; 2] = [
    Settings { label: "no", repair: false, congestion: Congestion::Tertulia },
    Settings { label: "yes", repair: true, congestion: Congestion::Tertulia },
];

/// Neither repair nor a congestion control for media: what QUIC does by itself.
const PLAIN: Settings = Settings { label: "plain", repair: false, congestion: Congestion::Cubic };

/// Runs meetings through one network, those with these words in their rows or all, and renders their rows: first those of Tertulia's
/// control at once, then the plain ones.
pub async fn through(network: &'static Lossy, chosen: &[String], seconds: u64) -> String {
    let mut rows = String::new();
    for settings in [&SETTINGS[..], &[PLAIN]] {
        let mut meetings = Vec::new();
        for behind in Behind::ALL {
            for (carrier, scheme) in CARRIERS {
                if chosen.iter().all(|word| [behind.label(), carrier].contains(&word.as_str())) {
                    meetings.extend(settings.iter().map(|with| row(network, behind, carrier, scheme, *with, seconds)));
                }
            }
        }
        rows += &join_all(meetings).await.concat();
    }
    rows
}

/// The head of the table.
pub fn head() -> String {
    HEAD.to_owned()
}

async fn row(network: &Lossy, behind: Behind, carrier: &str, scheme: &str, with: Settings, seconds: u64) -> String {
    let [audio, video] = meeting(network, behind, scheme, with, seconds).await;
    let mut row = String::new();
    let (name, behind) = (network.name, behind.label());
    write!(row, "| {name} | {behind} | {carrier} | {} |", with.label).expect("a string takes everything");
    for (frames, target) in [audio, video].iter().zip(network.targets) {
        write!(row, " {} | {target} % | {} |", usable(frames), latency(frames)).expect("a string takes everything");
    }
    row + "\n"
}

async fn meeting(network: &Lossy, behind: Behind, scheme: &str, with: Settings, seconds: u64) -> [Vec<Sent>; 2] {
    let Settings { repair, congestion, .. } = with;
    let config = Config { congestion, ..Config::default() };
    let relay = TestRelay::start_config(config, Callbacks::default());
    let proxy = Proxy::start(relay.relay.address(), network.script, seed()).await;
    let join = async |name, is_behind| {
        let url = if is_behind { proxy.url(scheme) } else { relay.url(scheme) };
        let options = Options { repair, congestion, ..relay.options(name) };
        Room::connect(&url, options).await.expect("the relay is there")
    };
    let publisher = join("Ana", behind == Behind::Publisher).await;
    let subscriber = join("Ben", behind == Behind::Subscriber).await;
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let mut receiving = JoinSet::new();
    let mut sending = Vec::new();
    let mut records = Vec::new();
    for (info, every) in [(sound(), Duration::from_millis(20)), (picture(), Duration::from_nanos(1_000_000_000 / 30))] {
        let record = Arc::new(Mutex::new(Vec::new()));
        let track = publisher.publish(info).await.expect("it may publish");
        receiving.spawn(receive(subscribed(&subscriber).await, begin, record.clone()));
        sending.push(send(track, every, begin, end, record.clone()));
        records.push(record);
    }
    join_all(sending).await;
    sleep(LINGER).await;
    receiving.shutdown().await;
    relay.relay.stop().await;
    let taken = |at: usize| records[at].lock().expect("nobody panics with it").clone();
    [taken(0), taken(1)]
}

async fn subscribed(room: &Room) -> RemoteTrack {
    let found = async {
        loop {
            if let Event::TrackSubscribed(track) = room.next_event().await.expect("the room is there") {
                return track;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("tracks are subscribed by themselves")
}

/// Sends as an encoder would: each picture needs the one before it, unless a subscriber asked for one that stands by itself.
async fn send(track: LocalTrack, every: Duration, begin: Instant, end: Instant, record: Arc<Mutex<Vec<Sent>>>) {
    let (track, keyframe_wanted) = (Arc::new(track), Arc::new(AtomicBool::new(true)));
    let mut asked = JoinSet::new();
    let (source, wanted) = (track.clone(), keyframe_wanted.clone());
    asked.spawn(async move {
        while source.next_keyframe_request().await.is_some() {
            wanted.store(true, Ordering::Relaxed);
        }
    });
    let mut due = interval(every);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 0.. {
        due.tick().await;
        if Instant::now() >= end {
            return;
        }
        record.lock().expect("nobody panics with it").push(Sent { at: begin.elapsed(), took: None });
        let frame = frame(track.info(), number, keyframe_wanted.swap(false, Ordering::Relaxed));
        if track.send_frame(frame).await.is_err() {
            return;
        }
    }
}

fn frame(info: &TrackInfo, number: u32, keyframe_wanted: bool) -> Frame {
    let keyframe = keyframe_wanted || !info.is_video();
    let bytes = match (info.is_video(), keyframe) {
        (false, _) => 120,
        (true, false) => PICTURE_BYTES,
        (true, true) => KEYFRAME_BYTES,
    };
    let depends_on_distance = u8::from(!keyframe);
    Frame { number, keyframe, depends_on_distance, data: vec![0; bytes].into(), ..Frame::default() }
}

async fn receive(track: RemoteTrack, begin: Instant, record: Arc<Mutex<Vec<Sent>>>) {
    while let Some(frame) = track.next_frame().await {
        let now = begin.elapsed();
        if let Some(sent) = record.lock().expect("nobody panics with it").get_mut(frame.number as usize) {
            sent.took = Some(now - sent.at);
        }
    }
}
