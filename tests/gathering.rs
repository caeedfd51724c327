//! A busy relay, whose small datagrams wait for each other: nobody gets less of them, or in another order.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use support::TestRelay;
use tertulia::client::{Event, LocalTrack, Options, RemoteTrack, Room};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::wire::{TrackInfo, TrackMedia, TrackSource};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// What keeps a relay busy, also one on a fast machine.
const SPEAKERS: usize = 12;
const LISTENERS: usize = 9;
const FRAME_TIME: Duration = Duration::from_millis(4);

/// How many datagrams have to wait before it is looked what came of them.
const GATHERED: u64 = 2000;

/// How many frames of each speaker a listener is to get after that.
const FRAMES: u32 = 20;

const CARRIERS: [&str; 3] = ["quic", "https", "ws"];

async fn speaker(relay: &TestRelay, number: usize) -> (Room, LocalTrack) {
    let options = Options { auto_subscribe: false, ..relay.options(&format!("speaker {number}")) };
    let room = Room::connect(&relay.url(CARRIERS[number % 3]), options).await.unwrap();
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    let track = TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: Vec::new() };
    let track = room.publish(track).await.unwrap();
    (room, track)
}

async fn speak(track: LocalTrack) {
    let mut pace = interval(FRAME_TIME);
    for number in 0.. {
        pace.tick().await;
        let frame = Frame { number, data: Bytes::from_static(&[1; 60]), ..Frame::default() };
        if track.send_frame(frame).await.is_err() {
            return;
        }
    }
}

/// Takes the tracks of all speakers.
async fn listen(room: &Room) -> Vec<RemoteTrack> {
    let mut tracks = Vec::new();
    while tracks.len() < SPEAKERS {
        if let Event::TrackSubscribed(track) = room.next_event().await.expect("the room is there") {
            tracks.push(track);
        }
    }
    tracks
}

/// The numbers of so many frames, as they come.
async fn numbers(track: RemoteTrack) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < FRAMES as usize {
        numbers.push(track.next_frame().await.expect("the track goes on").number);
    }
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_others_arrives_with_them_and_in_order() {
    let relay = TestRelay::start(Limits::default());
    let (mut rooms, mut speakers) = (Vec::new(), Vec::new());
    for number in 0..SPEAKERS {
        let (room, track) = speaker(&relay, number).await;
        speakers.push(track);
        rooms.push(room);
    }
    let mut heard = JoinSet::new();
    let mut tracks = BTreeMap::new();
    for number in 0..LISTENERS {
        let room = relay.join(CARRIERS[number % 3], &format!("listener {number}")).await;
        tracks.insert(number, timeout(DEADLINE, listen(&room)).await.expect("all tracks"));
        rooms.push(room);
    }
    // Once all are there: it takes a slow machine long enough to let somebody in.
    let mut speaking = JoinSet::new();
    speakers.into_iter().for_each(|track| drop(speaking.spawn(speak(track))));
    let gathered = async {
        let mut due = interval(Duration::from_millis(20));
        while relay.relay.metrics().datagrams_gathered() < GATHERED {
            due.tick().await;
        }
    };
    timeout(DEADLINE, gathered).await.expect("a busy relay lets small datagrams wait for each other");
    for (number, tracks) in tracks {
        for track in tracks {
            heard.spawn(async move { (number, numbers(track).await) });
        }
    }
    let mut count = 0;
    while let Some(came) = timeout(DEADLINE, heard.join_next()).await.expect("frames of all speakers") {
        let (listener, numbers) = came.unwrap();
        assert!(numbers.is_sorted_by(|one, next| one < next), "listener {listener} got {numbers:?}");
        count += 1;
    }
    assert_eq!(count, SPEAKERS * LISTENERS);
}
