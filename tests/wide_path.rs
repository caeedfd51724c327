//! A path that carries far more than is sent takes all of it, although its acknowledgements wait for each other and come unevenly.

mod support;

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use support::impair::Proxy;
use support::{TestRelay, subscribed};
use tertulia::client::{LocalTrack, Room};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::wire::{Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// 6 seconds.
const FRAMES: u32 = 180;

/// Eight datagrams of it: a receiver that acknowledges eleven at a time waits in vain for three more. 2 Mbit/s.
const FRAME_BYTES: usize = 8 * 1000;

/// Meetings that are whole, of three: a machine that is busy with much else may be the reason once. While an acknowledgement that waited
/// was taken for a queue, none of six was.
const WHOLE: usize = 2;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

fn camera() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 1280, height: 720, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

/// Sends all frames, 30 a second, and another keyframe whenever one is asked for.
async fn send(track: &LocalTrack) {
    let mut pace = interval(Duration::from_micros(33_333));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keyframe = true;
    for number in 0..FRAMES {
        pace.tick().await;
        keyframe |= track.next_keyframe_request().now_or_never().is_some();
        let depends_on_distance = u8::from(!keyframe);
        let data = Bytes::from(vec![number as u8; FRAME_BYTES]);
        track.send_frame(Frame { number, keyframe, depends_on_distance, data, ..Frame::default() }).await.unwrap();
        keyframe = false;
    }
}

/// How many frames arrive, of those that are sent over 20 Mbit/s with this delay in each direction.
async fn arriving(scheme: &str, delay: &str) -> u32 {
    let relay = TestRelay::start(Limits::default());
    let far = Proxy::start(relay.relay.address(), &format!("{delay}\ndown rate 20mbit queue 200ms"), 5).await;
    let ana = relay.join("quic", "Ana").await;
    let ben = Room::connect(&far.url(scheme), relay.options("Ben")).await.unwrap();
    let track = ana.publish(camera()).await.unwrap();
    let seen = subscribed(&ben).await;
    let sending = tokio::spawn(async move {
        send(&track).await;
        track
    });
    let mut came = 0;
    // Whatever is left out, the last ones are missing, or come after a pause of half a second at most.
    while let Ok(Some(frame)) = timeout(Duration::from_secs(1), seen.next_frame()).await {
        came += 1;
        if frame.number == FRAMES - 1 {
            break;
        }
    }
    sending.await.unwrap();
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_frames_arrive_where_there_is_room_for_them() {
    for (scheme, delay) in [("quic", "delay 10ms jitter 10ms"), ("https", "delay 12ms jitter 12ms")] {
        let mut came = Vec::new();
        let whole = |came: &[u32]| came.iter().filter(|frames| **frames == FRAMES).count();
        while whole(&came) < WHOLE && came.len() <= WHOLE {
            came.push(soon("the meeting", arriving(scheme, delay)).await);
        }
        println!("{scheme}, {delay}: {came:?} of {FRAMES}");
        assert!(whole(&came) >= WHOLE, "{scheme}, {delay}: {came:?} of {FRAMES}");
    }
}
