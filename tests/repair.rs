//! What a path loses is sent once more, in time.

mod support;

use std::cell::RefCell;
use std::time::Duration;

use support::impair::Proxy;
use support::{TestRelay, subscribed};
use tertulia::client::{LocalTrack, Options, RemoteTrack, Room};
use tertulia::config::Config;
use tertulia::limits::{AUDIO_DEADLINE, VIDEO_DEADLINE};
use tertulia::media::Frame;
use tertulia::relay::Callbacks;
use tertulia::transport::Congestion;
use tertulia::wire::{Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::time::{Instant, interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Frames of each kind that are sent.
const FRAMES: u32 = 200;

/// Without repair, nine tenths of the audio come, 180 frames or so.
const HEARD: usize = 195;

/// Of the pictures next to nothing comes then: each of three datagrams needs the one before it, and a keyframe comes every 50
/// frames. With repair a slow machine may lose some.
const SEEN: usize = 140;

fn sound() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: Vec::new() }
}

fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 100, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

/// When each frame was sent.
type Sent = RefCell<Vec<Instant>>;

/// A frame every 10 ms. Gives how late the machine was with one at most.
async fn send(track: LocalTrack, fragments: usize, sent: &Sent) -> Duration {
    let mut pace = interval(Duration::from_millis(10));
    let mut late_by = Duration::ZERO;
    for number in 0..FRAMES {
        let due = pace.tick().await;
        late_by = late_by.max(due.elapsed());
        sent.borrow_mut().push(Instant::now());
        let keyframe = !track.info().is_video() || number % 50 == 0;
        let data = vec![number as u8; fragments * 900].into();
        let frame = Frame { number, keyframe, depends_on_distance: u8::from(!keyframe), data, ..Frame::default() };
        track.send_frame(frame).await.expect("the room goes on");
    }
    track.unpublish().await.expect("it is there");
    late_by
}

/// How many frames come, and how long one takes at most.
async fn count(track: RemoteTrack, fragments: usize, sent: &Sent) -> (usize, Duration) {
    let (mut count, mut longest) = (0, Duration::ZERO);
    while let Some(frame) = timeout(DEADLINE, track.next_frame()).await.expect("the track ends") {
        assert_eq!(frame.data, vec![frame.number as u8; fragments * 900], "frame {} is whole", frame.number);
        longest = longest.max(sent.borrow()[frame.number as usize].elapsed());
        count += 1;
    }
    (count, longest)
}

/// What came of a meeting.
struct Met {
    relay: TestRelay,
    heard: usize,
    seen: usize,
    /// How long a frame took at most, of sound and of pictures.
    took: [Duration; 2],
    /// How late the machine was with a frame at most.
    late_by: Duration,
}

/// Where the machine is later than that with a frame, what would be repaired in time may not be: the meeting says little of the relay.
const LATE_BY_MAX: Duration = Duration::from_millis(50);

/// Of so many at most, the one counts where it was the least late.
const MEETINGS_MAX: usize = 10;

/// What a frame may take beyond its deadline: then it was repaired in time, and the machine took its time with it.
const BEYOND_MAX: Duration = Duration::from_millis(100);

/// A publisher and a subscriber, and the script of the network that one of them is behind.
async fn meet(publisher_network: &str, subscriber_network: &str, scheme: &str) -> Met {
    let mut meetings: Vec<Met> = Vec::new();
    loop {
        meetings.push(meet_once(publisher_network, subscriber_network, scheme).await);
        meetings.sort_by_key(|met| met.late_by);
        if meetings[0].late_by <= LATE_BY_MAX || meetings.len() == MEETINGS_MAX {
            return meetings.swap_remove(0);
        }
    }
}

async fn meet_once(publisher_network: &str, subscriber_network: &str, scheme: &str) -> Met {
    // One that does not take every loss for a full path: what is repaired is no use if it has to wait.
    let congestion = Congestion::Tertulia;
    let config = Config { congestion, ..Config::default() };
    let relay = TestRelay::start_config(config, Callbacks::default());
    let near = Proxy::start(relay.relay.address(), publisher_network, 1).await;
    let far = Proxy::start(relay.relay.address(), subscriber_network, 2).await;
    let options = |name| Options { congestion, ..relay.options(name) };
    let publisher = Room::connect(&near.url(scheme), options("Ana")).await.expect("the relay is there");
    let subscriber = Room::connect(&far.url(scheme), options("Ben")).await.expect("the relay is there");
    let audio = publisher.publish(sound()).await.expect("it may publish");
    let heard = subscribed(&subscriber).await;
    let video = publisher.publish(picture()).await.expect("it may publish");
    let seen = subscribed(&subscriber).await;
    let [sound_sent, picture_sent] = [Sent::default(), Sent::default()];
    let (sound_late, picture_late, (heard, sound_took), (seen, picture_took)) = tokio::join!(
        send(audio, 1, &sound_sent),
        send(video, 3, &picture_sent),
        count(heard, 1, &sound_sent),
        count(seen, 3, &picture_sent)
    );
    let (late_by, took) = (sound_late.max(picture_late), [sound_took, picture_took]);
    println!("{heard} of {FRAMES} heard, {seen} seen, after {took:.0?} at most; the machine was late by {late_by:.1?}");
    Met { relay, heard, seen, took, late_by }
}

/// Most of it has come, and in time.
fn assert_repaired(met: &Met, scheme: &str) {
    let Met { heard, seen, took, .. } = met;
    assert!(*heard >= HEARD && *seen >= SEEN, "{scheme}: {heard} heard, {seen} seen");
    for (took, deadline) in took.iter().zip([AUDIO_DEADLINE, VIDEO_DEADLINE]) {
        assert!(*took <= deadline + BEYOND_MAX, "{scheme}: one took {took:.0?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_to_a_subscriber_comes_again() {
    for scheme in ["quic", "https"] {
        let met = meet("clear", "down loss 10%", scheme).await;
        assert_repaired(&met, scheme);
        assert!(counted(&met.relay, "datagrams_repeated") > 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_the_way_to_the_relay_comes_again() {
    for scheme in ["quic", "https"] {
        let met = meet("up loss 10%", "clear", scheme).await;
        assert_repaired(&met, scheme);
        assert!(counted(&met.relay, "repeats_requested") > 40);
    }
}

fn counted(relay: &TestRelay, name: &str) -> u32 {
    let text = relay.relay.metrics().text();
    let count = text.lines().find_map(|line| line.strip_prefix(&format!("tertulia_{name}_total ")));
    count.expect("it is counted").parse().expect("it is a number")
}
