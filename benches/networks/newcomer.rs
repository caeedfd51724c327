use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tertulia::client::{LocalTrack, Options, Room};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::wire::TrackInfo;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use super::support::TestRelay;
use super::support::impair::Proxy;

pub const NAME: &str = "a new subscriber";

const SCRIPT: &str = "delay 30ms";
const ROUND_TRIP_MS: f64 = 60.0;
const SEED: u64 = 1;

/// How often somebody subscribes.
const TIMES: usize = 10;

/// A keyframe of 15 kB now and then, and a megabit a second.
const KEYFRAME_BYTES: usize = 15_000;
const FRAME_BYTES: usize = 4000;

/// How long ago the last keyframe was: a recent one is kept, an old one is not.
const RECENT: Duration = Duration::from_millis(400);
const OLD: Duration = Duration::from_millis(3500);

const CARRIERS: [(&str, &str); 3] = [("QUIC", "quic"), ("WebTransport", "https"), ("WebSocket", "ws")];

/// Subscribes again and again, with publisher and subscriber each 60 ms from the relay, and says how long the first picture takes.
pub async fn run(info: TrackInfo, is_test: bool) -> String {
    let mut table =
        String::from("| A new subscriber | Carrier | First picture p50 / max (ms) | Target |\n|---|---|---:|---:|\n");
    let (times, carriers) = if is_test { (1, &CARRIERS[..1]) } else { (TIMES, &CARRIERS[..]) };
    for (carrier, scheme) in carriers {
        for (what, age) in [("a recent keyframe", RECENT), ("an old one", OLD)] {
            let mut took_ms = first_pictures(scheme, &info, age, times).await;
            took_ms.sort_by(f64::total_cmp);
            let (p50, max) = (took_ms[took_ms.len() / 2], took_ms[took_ms.len() - 1]);
            let target = ROUND_TRIP_MS + 50.0;
            table += &format!("| {what} | {carrier} | {p50:.0} / {max:.0} | {target:.0} |\n");
        }
    }
    table
}

async fn first_pictures(scheme: &str, info: &TrackInfo, age: Duration, times: usize) -> Vec<f64> {
    let relay = TestRelay::start(Limits::default());
    let near = Proxy::start(relay.relay.address(), SCRIPT, SEED).await;
    let address = if scheme == "ws" { relay.relay.http_address() } else { Some(relay.relay.address()) };
    let far = Proxy::start(address.expect("it listens"), SCRIPT, SEED).await;
    let publisher = Room::connect(&near.url("quic"), relay.options("Ana")).await.expect("the relay is there");
    let track = Arc::new(publisher.publish(info.clone()).await.expect("it may publish"));
    let options = Options { auto_subscribe: false, ..relay.options("Ben") };
    let subscriber = Room::connect(&far.url(scheme), options).await.expect("the relay is there");
    let wanted = Arc::new(AtomicBool::new(true));
    let _publishing = publish(&track, &wanted);
    let mut took_ms = Vec::new();
    for _ in 0..times {
        wanted.store(true, Ordering::Relaxed);
        sleep(age).await;
        let begin = Instant::now();
        let remote = subscriber.subscribe(track.track()).await.expect("it may subscribe");
        remote.next_frame().await.expect("the track goes on");
        took_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        subscriber.unsubscribe(track.track()).await.expect("it was subscribed");
    }
    took_ms
}

/// Sends frames, and a keyframe when one is wanted, until it is dropped.
fn publish(track: &Arc<LocalTrack>, wanted: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (asked, by) = (track.clone(), wanted.clone());
    tasks.spawn(async move {
        while asked.next_keyframe_request().await.is_some() {
            by.store(true, Ordering::Relaxed);
        }
    });
    let (track, wanted) = (track.clone(), wanted.clone());
    tasks.spawn(async move {
        let mut due = interval(Duration::from_nanos(1_000_000_000 / 30));
        for number in 0.. {
            due.tick().await;
            let keyframe = wanted.swap(false, Ordering::Relaxed) || number == 0;
            let data = Bytes::from(vec![0; if keyframe { KEYFRAME_BYTES } else { FRAME_BYTES }]);
            let timestamp = number * 3000;
            let depends_on_distance = u8::from(!keyframe);
            let frame = Frame { number, keyframe, depends_on_distance, data, timestamp, ..Frame::default() };
            if track.send_frame(frame).await.is_err() {
                return;
            }
        }
    });
    tasks
}
