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
/// What the first picture may take besides the round trip.
const MORE_MS: f64 = 50.0;
const SEED: u64 = 1;

/// How often somebody subscribes.
const TIMES: usize = 10;

/// A keyframe of 15 kB now and then, and a megabit a second.
const KEYFRAME_BYTES: usize = 15_000;
const FRAME_BYTES: usize = 4000;

const FRAME_TIME: Duration = Duration::from_nanos(1_000_000_000 / 30);

/// How long ago the last keyframe was, and how many round trips of 60 ms a picture is away: a recent one is kept by the relay, and in
/// the place of an old one the publisher makes another.
const AGES: [(&str, Duration, f64); 2] =
    [("a recent keyframe", Duration::from_millis(400), 1.0), ("an old one", Duration::from_millis(3500), 2.0)];

const CARRIERS: [(&str, &str); 3] = [("QUIC", "quic"), ("WebTransport", "https"), ("WebSocket", "ws")];

/// Subscribes again and again, with publisher and subscriber each 60 ms from the relay, and says how long the first picture takes.
pub async fn run(info: TrackInfo, is_test: bool) -> String {
    let mut table = String::from(
        "| A new subscriber | Carrier | Round trip to the picture (ms) | First picture p50 / max (ms) | Target of p50 |\n|---|---|---:|---:|---:|\n",
    );
    let (times, carriers) = if is_test { (1, &CARRIERS[..1]) } else { (TIMES, &CARRIERS[..]) };
    for (carrier, scheme) in carriers {
        for (what, age, round_trips) in AGES {
            let mut took_ms = first_pictures(scheme, &info, age, times).await;
            took_ms.sort_by(f64::total_cmp);
            let (p50, max) = (took_ms[took_ms.len() / 2], took_ms[took_ms.len() - 1]);
            let round_trip = round_trips * ROUND_TRIP_MS;
            let target = round_trip + MORE_MS;
            table += &format!("| {what} | {carrier} | {round_trip:.0} | {p50:.0} / {max:.0} | {target:.0} |\n");
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
    for time in 0..times as u32 {
        wanted.store(true, Ordering::Relaxed);
        // At another moment between two frames each time: what is made of an old keyframe comes at one.
        sleep(age - FRAME_TIME * time / times as u32).await;
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
        let mut due = interval(FRAME_TIME);
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
