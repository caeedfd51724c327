//! A subscriber chooses which part of a picture it gets, the publisher hears what somebody takes and how it arrives.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use support::impair::Proxy;
use support::{TestRelay, subscribed};
use tertulia::client::{Event, LocalTrack, RemoteTrack, RequestError, Room};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::wire::{Rational, RefuseReason, TrackId, TrackInfo, TrackMedia, TrackReport, TrackSource};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two frames.
const PACE: Duration = Duration::from_millis(10);

/// The temporal layers of four frames in a row, and how far back the frame stands that each of them needs.
const PATTERN: [(u8, u8); 4] = [(0, 4), (2, 1), (1, 2), (2, 1)];

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Two renditions of three temporal layers each.
fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 100, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 3, spatial_layers: 2 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

/// Where a rendition's encoder stands.
#[derive(Clone, Copy, Default)]
struct Encoder {
    number: u32,
    since_keyframe: usize,
    keyframe_wanted: bool,
}

impl Encoder {
    /// The larger rendition makes frames of three fragments, the smaller one of two.
    fn next(&mut self, spatial_layer: u8) -> Frame {
        let keyframe = std::mem::take(&mut self.keyframe_wanted) || self.number == 0;
        self.since_keyframe = if keyframe { 0 } else { self.since_keyframe + 1 };
        let (temporal_layer, distance) = PATTERN[self.since_keyframe % 4];
        let number = self.number;
        self.number += 1;
        let depends_on_distance = if keyframe { 0 } else { distance };
        let data = content(spatial_layer, number);
        Frame { number, depends_on_distance, keyframe, temporal_layer, spatial_layer, data, ..Frame::default() }
    }
}

fn content(spatial_layer: u8, number: u32) -> Bytes {
    vec![number as u8 ^ spatial_layer << 7; if spatial_layer == 0 { 1500 } else { 2500 }].into()
}

/// Sends all layers, whether anybody wants them or not, until it is dropped.
fn stream(track: LocalTrack) -> JoinSet<()> {
    let track = Arc::new(track);
    let encoders = Arc::new(Mutex::new([Encoder::default(); 2]));
    let mut tasks = JoinSet::new();
    let (source, asked) = (track.clone(), encoders.clone());
    tasks.spawn(async move {
        while let Some(spatial_layer) = source.next_keyframe_request().await {
            asked.lock().await[usize::from(spatial_layer)].keyframe_wanted = true;
        }
    });
    tasks.spawn(async move {
        let mut pace = interval(PACE);
        loop {
            pace.tick().await;
            for spatial_layer in 0..2 {
                let frame = encoders.lock().await[usize::from(spatial_layer)].next(spatial_layer);
                if track.send_frame(frame).await.is_err() {
                    return;
                }
            }
        }
    });
    tasks
}

async fn next_frame(track: &RemoteTrack) -> Frame {
    let frame = soon("a frame", track.next_frame()).await.expect("the track goes on");
    assert_eq!(frame.data, content(frame.spatial_layer, frame.number), "frame {} is whole", frame.number);
    frame
}

/// So many frames, which are all of one rendition, and of these temporal layers.
async fn expect_frames(track: &RemoteTrack, count: usize, spatial_layer: u8, temporal_layer_max: u8) {
    let mut highest = 0;
    for _ in 0..count {
        let frame = next_frame(track).await;
        assert_eq!(frame.spatial_layer, spatial_layer, "frame {}", frame.number);
        assert!(frame.temporal_layer <= temporal_layer_max, "temporal layer {}", frame.temporal_layer);
        highest = highest.max(frame.temporal_layer);
    }
    assert_eq!(highest, temporal_layer_max);
}

/// The first frame of another rendition.
async fn expect_change(track: &RemoteTrack, spatial_layer: u8) {
    let frame = loop {
        let frame = next_frame(track).await;
        if frame.spatial_layer == spatial_layer {
            break frame;
        }
    };
    assert!(frame.keyframe, "it begins with a keyframe");
}

/// What the publisher hears next about what is taken.
async fn layers_wanted(room: &Room, track: TrackId) -> (u8, u8) {
    let found = async {
        loop {
            let event = room.next_event().await.expect("the room is open");
            if let Event::LayersWanted { track: its, spatial_layers, temporal_layer } = event {
                assert_eq!(its, track);
                return (spatial_layers, temporal_layer);
            }
        }
    };
    soon("what is wanted", found).await
}

/// Waits until the publisher hears this about what is taken, and gives what it has heard before.
async fn until_wanted(room: &Room, track: TrackId, expected: (u8, u8)) -> Vec<(u8, u8)> {
    let mut before = Vec::new();
    loop {
        let wanted = layers_wanted(room, track).await;
        if wanted == expected {
            return before;
        }
        before.push(wanted);
    }
}

/// Takes all frames of a track meanwhile.
async fn while_watching<T>(track: &RemoteTrack, wait: impl Future<Output = T>) -> T {
    let watching = async {
        loop {
            next_frame(track).await;
        }
    };
    tokio::select! {
        done = wait => done,
        () = watching => unreachable!("it has no end"),
    }
}

async fn until_reconnecting(room: &Room) {
    while !matches!(room.next_event().await, Some(Event::Reconnecting { .. })) {}
}

async fn feedback(room: &Room) -> (u16, TrackReport, TrackReport) {
    let found = async {
        loop {
            let event = room.next_event().await.expect("the room is open");
            if let Event::Feedback { reports, best, worst, .. } = event {
                return (reports, best, worst);
            }
        }
    };
    soon("how it arrives", found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_what_it_chooses_and_the_publisher_hears_of_it() {
    for (up, down) in [("quic", "https"), ("https", "wss"), ("wss", "quic")] {
        let relay = TestRelay::start(Limits::default());
        let (ana, ben) = (relay.join(up, "Ana").await, relay.join(down, "Ben").await);
        let published = ana.publish(picture()).await.unwrap();
        let id = published.track();
        let _streaming = stream(published);
        let track = subscribed(&ben).await;
        assert_eq!(layers_wanted(&ana, id).await, (0b10, 2), "all there is, at first");
        assert!(next_frame(&track).await.keyframe);
        expect_frames(&track, 20, 1, 2).await;

        ben.set_layers(id, 0, 2).await.unwrap();
        expect_change(&track, 0).await;
        expect_frames(&track, 20, 0, 2).await;
        assert_eq!(layers_wanted(&ana, id).await, (0b11, 2), "the one before has to go on until the other begins");

        ben.set_layers(id, 0, 0).await.unwrap();
        // Those that were under way still come.
        while next_frame(&track).await.number + 4 != next_frame(&track).await.number {}
        expect_frames(&track, 10, 0, 0).await;
        while_watching(&track, until_wanted(&ana, id, (0b01, 0))).await;

        ben.set_layers(id, 1, 1).await.unwrap();
        expect_change(&track, 1).await;
        expect_frames(&track, 10, 1, 1).await;
        while_watching(&track, until_wanted(&ana, id, (0b10, 1))).await;

        let refused = ben.set_layers(id, 2, 0).await;
        assert!(
            matches!(refused, Err(RequestError::Refused { reason: RefuseReason::LayerUnknown, .. })),
            "{refused:?}"
        );
        expect_frames(&track, 10, 1, 1).await;

        let (reports, best, worst) = feedback(&ana).await;
        assert_eq!((reports, best.track, best), (1, id, worst));
        assert!(best.received > 0, "{best:?}");

        ben.unsubscribe(id).await.unwrap();
        // Nobody takes it any more.
        until_wanted(&ana, id, (0, 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_choice_of_one_is_not_that_of_another() {
    let relay = TestRelay::start(Limits::default());
    let ana = relay.join("quic", "Ana").await;
    let (ben, cat) = (relay.join("https", "Ben").await, relay.join("wss", "Cat").await);
    let published = ana.publish(picture()).await.unwrap();
    let id = published.track();
    let _streaming = stream(published);
    let (to_ben, to_cat) = (subscribed(&ben).await, subscribed(&cat).await);
    ben.set_layers(id, 0, 1).await.unwrap();
    expect_change(&to_ben, 0).await;
    expect_frames(&to_ben, 30, 0, 1).await;
    expect_frames(&to_cat, 30, 1, 2).await;
    assert_eq!(layers_wanted(&ana, id).await, (0b10, 2));
    assert_eq!(layers_wanted(&ana, id).await, (0b11, 2));
    while feedback(&ana).await.0 != 2 {}
    cat.disconnect().await;
    until_wanted(&ana, id, (0b01, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_outlives_the_seat() {
    let relay = TestRelay::start(Limits { seat_seconds: 0, ..Limits::default() });
    let ana = relay.join("quic", "Ana").await;
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let ben = Room::connect(&proxy.url("wss"), relay.options("Ben")).await.unwrap();
    let published = ana.publish(picture()).await.unwrap();
    let id = published.track();
    let _streaming = stream(published);
    let track = subscribed(&ben).await;
    ben.set_layers(id, 0, 1).await.unwrap();
    expect_change(&track, 0).await;
    until_wanted(&ana, id, (0b01, 1)).await;
    proxy.apply("cut");
    soon("the end of the connection", until_reconnecting(&ben)).await;
    proxy.apply("pass");
    let before = until_wanted(&ana, id, (0b01, 1)).await;
    assert!(before.iter().any(|(renditions, _)| renditions & 0b10 != 0), "who is new takes all at first: {before:?}");
}
