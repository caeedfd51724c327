//! How a session does: told to its client, to whoever runs the relay, and as aggregates.

mod support;

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use support::http::{exchange, get};
use support::impair::Proxy;
use support::{TestRelay, subscribed};
use tertulia::client::{Options, Room};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::wire::{DropReason, LeftOut, Measurements, TrackInfo, TrackMedia, TrackSource};
use tokio::time::{interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two frames.
const PACE: Duration = Duration::from_millis(2);

/// Frames that somebody hears. More are sent than that.
const HEARD: usize = 200;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

fn sound() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: Vec::new() }
}

async fn measured(room: &Room) -> Measurements {
    soon("measurements", room.measurements()).await.unwrap()
}

/// Someone says something through a network, and somebody else hears so much of it through the same.
async fn heard(relay: &TestRelay, scheme: &str, script: &str) -> (Room, Room, Proxy) {
    let address = if scheme == "ws" { relay.relay.http_address().unwrap() } else { relay.relay.address() };
    let proxy = Proxy::start(address, script, 1).await;
    // What is lost is to be missing.
    let [ana, ben] = ["Ana", "Ben"].map(|name| Options { repair: false, ..relay.options(name) });
    let ana = Room::connect(&proxy.url(scheme), ana).await.unwrap();
    let ben = Room::connect(&proxy.url(scheme), ben).await.unwrap();
    let track = ana.publish(sound()).await.unwrap();
    let remote = subscribed(&ben).await;
    let speaking = async {
        let mut pace = interval(PACE);
        for number in 0.. {
            let frame =
                Frame { number, timestamp: number * 180, data: Bytes::from_static(&[1; 100]), ..Frame::default() };
            track.send_frame(frame).await.unwrap();
            pace.tick().await;
        }
    };
    let hearing = async {
        for _ in 0..HEARD {
            remote.next_frame().await.unwrap();
        }
    };
    tokio::select! {
        () = speaking => {}
        () = soon("what is said", hearing) => {}
    }
    (ana, ben, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_learns_how_it_does() {
    for scheme in ["quic", "https", "ws"] {
        // Where the machine stands still for a moment, nothing is late.
        let relay = TestRelay::start(Limits { audio_deadline_ms: 10_000, ..Limits::default() });
        let (ana, ben, _proxy) = heard(&relay, scheme, "delay 20ms").await;
        let (ana, ben) = (measured(&ana).await, measured(&ben).await);
        assert!(ana.received >= HEARD as u64 && ben.sent >= HEARD as u64, "{scheme}: {ana:?} {ben:?}");
        assert_eq!((ana.missing, ana.left_out, ben.left_out), (0, vec![], vec![]), "{scheme}");
        assert!(ana.round_trip_us >= 40_000 && ben.round_trip_us >= 40_000, "{scheme}");
        assert!(ben.bandwidth_bps > 0, "{scheme}");
        assert_eq!(ben.packets_sent > 0, scheme != "ws", "who counts packets is QUIC");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gets_lost_counts_in_its_direction() {
    let relay = TestRelay::start(Limits::default());
    let (ana, ben, _proxy) = heard(&relay, "quic", "delay 5ms\nup loss 10%").await;
    let (ana, ben) = (measured(&ana).await, measured(&ben).await);
    let all = ana.received + ana.missing;
    assert!(ana.missing * 100 >= all * 3 && ana.missing * 100 <= all * 20, "{ana:?}");
    assert_eq!((ben.received, ben.missing), (0, 0), "who says nothing loses nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_out_has_a_reason() {
    let limits = Limits { media_datagrams_per_second: 20, ..Limits::default() };
    let relay = TestRelay::start(limits);
    let ana = relay.join("quic", "Ana").await;
    let track = ana.publish(sound()).await.unwrap();
    for number in 0..100 {
        let frame = Frame { number, data: Bytes::from_static(&[1]), ..Frame::default() };
        track.send_frame(frame).await.unwrap();
    }
    let is_told = async {
        loop {
            let left_out = measured(&ana).await.left_out;
            if let [LeftOut { reason: DropReason::OverBudget, datagrams: 10.. }] = left_out[..] {
                return;
            }
        }
    };
    soon("what was left out", is_told).await;
    assert!(relay.relay.metrics().dropped(DropReason::OverBudget) >= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_runs_the_relay_sees_all_sessions() {
    let relay = TestRelay::start(Limits::default());
    let _people = heard(&relay, "quic", "delay 20ms").await;
    let plain = relay.relay.http_address().unwrap();
    let sessions = |path: &'static str| async move {
        let reply = exchange(plain, &get(path, "")).await;
        (reply.status(), serde_json::from_str::<Value>(reply.body()).unwrap_or_default())
    };
    let (status, all) = sessions("/sessions.json").await;
    assert_eq!((status, all.as_array().map(Vec::len)), (Some(200), Some(2)));
    for session in all.as_array().unwrap() {
        assert_eq!((session["room"].as_str(), session["carrier"].as_str()), (Some("lobby"), Some("quic")));
        assert!(session["roundTripMs"].as_f64().is_some_and(|ms| ms >= 40.0), "{session}");
    }
    assert_eq!(sessions("/sessions.json?room=lobby").await.1.as_array().map(Vec::len), Some(2));
    assert_eq!(sessions("/sessions.json?room=other").await.1.as_array().map(Vec::len), Some(0));
    assert_eq!(sessions("/sessions.json?room=a/b").await.0, Some(400));
    assert!(relay.relay.metrics().text().contains("tertulia_round_trip_seconds"));
}
