//! Large frames on streams through a path that loses: one stream for each frame beside one for the whole track, on both carriers that
//! have streams. The path is the publisher's, so that what wtransport holds until a stream's first bytes are there counts; the
//! subscriber is beside the relay.
//!
//! `cargo bench --bench large_frames` prints a table.

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use support::TestRelay;
use support::impair::Proxy;
use support::session::{Over, Session, Target};
use tertulia::client::Event;
use tertulia::limits::Limits;
use tertulia::media::{Delivery, Frame};
use tertulia::wire::{MEDIA_STREAM, TrackId, delimit};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

/// Bytes of a frame, each of which stands by itself, and how many come a second: 1 Mbit/s.
const FRAME_BYTES: usize = 12_500;
const FRAMES_PER_SECOND: u64 = 10;

/// A frame that comes later than this is of no use: as long as one that is no keyframe may take.
const USEFUL: Duration = Duration::from_millis(800);

/// How long the last frames may take.
const LINGER: Duration = Duration::from_secs(3);

const NETWORKS: [(&str, &str); 3] = [
    ("60 ms, 2 % loss", "delay 30ms loss 2%"),
    ("60 ms, 5 % loss", "delay 30ms loss 5%"),
    ("60 ms, 5 % in bursts of 3", "delay 30ms burst 5% 3"),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Streams {
    PerFrame,
    PerTrack,
}

fn main() {
    // `cargo test --benches`: whether it runs at all.
    let seconds = if env::args().any(|argument| argument == "--test") { 1 } else { 20 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        println!("| Network | Carrier | Streams | Whole in 800 ms | p50 / p99 (ms) |\n|---|---|---|---:|---:|");
        for (name, script) in NETWORKS {
            let rows = [Over::Quic, Over::WebTransport].into_iter().flat_map(|over| {
                [Streams::PerFrame, Streams::PerTrack].map(|streams| row(name, script, over, streams, seconds))
            });
            join_all(rows).await.iter().for_each(|row| println!("{row}"));
        }
    });
}

async fn row(name: &str, script: &str, over: Over, streams: Streams, seconds: u64) -> String {
    let relay = TestRelay::start(Limits::default());
    let proxy = Proxy::start(relay.relay.address(), script, 1).await;
    let ben = relay.join("quic", "Ben").await;
    let target = Target { quic: proxy.address, http: proxy.address };
    let mut ana = Session::member(target, over, "lobby", "Ana").await;
    let track = ana.publish().await;
    let seen = loop {
        if let Event::TrackSubscribed(seen) = ben.next_event().await.expect("the room goes on") {
            break seen;
        }
    };
    let begin = Instant::now();
    let count = (seconds * FRAMES_PER_SECOND) as u32;
    let mut late = Vec::new();
    let come = async {
        while let Ok(Some(frame)) = timeout(LINGER, seen.next_frame()).await {
            late.push(begin.elapsed().saturating_sub(due(frame.number)));
        }
    };
    tokio::join!(send(&ana, over, streams, track, count), come);
    late.sort_unstable();
    let useful = late.iter().filter(|late| **late <= USEFUL).count() as f64 * 100.0 / f64::from(count);
    // What never came took for ever.
    let at =
        |share: usize| late.get(count as usize * share / 100).map_or("-".into(), |late| late.as_millis().to_string());
    format!("| {name} | {over:?} | {streams:?} | {useful:.1} | {} / {} |", at(50), at(99))
}

/// When a frame is made.
fn due(number: u32) -> Duration {
    Duration::from_secs(1) * number / FRAMES_PER_SECOND as u32
}

async fn send(session: &Session, over: Over, streams: Streams, track: TrackId, count: u32) {
    let preface: &[u8] = if over == Over::WebTransport { &[0x40, 0x54, 0x00, MEDIA_STREAM] } else { &[MEDIA_STREAM] };
    let connection = session.connection();
    let mut pace = interval(Duration::from_secs(1) / FRAMES_PER_SECOND as u32);
    let mut writing = JoinSet::new();
    let mut of_track = connection.open_uni().await.expect("the session goes on");
    of_track.write_all(preface).await.expect("the session goes on");
    for number in 0..count {
        pace.tick().await;
        let data = Bytes::from(vec![number as u8; FRAME_BYTES]);
        let frame = Frame { number, data, delivery: Some(Delivery::Stream), ..Frame::default() };
        let datagrams = frame.datagrams(track).expect("it is no larger than a frame may be");
        let bytes = datagrams.map(|datagram| delimit(&datagram.bytes)).collect::<Vec<_>>().concat();
        match streams {
            Streams::PerTrack => of_track.write_all(&bytes).await.expect("the session goes on"),
            Streams::PerFrame => {
                let connection = connection.clone();
                writing.spawn(async move {
                    let mut stream = connection.open_uni().await.expect("the session goes on");
                    // As clients do: each goes after those before it.
                    let _ = stream.set_priority(-1 - number.cast_signed());
                    stream.write_all(&[preface, &bytes].concat()).await.expect("the session goes on");
                    let _ = stream.finish();
                });
            }
        }
    }
    while writing.join_next().await.is_some() {}
}
