//! The room is told who speaks.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::TestRelay;
use tertulia::client::{Event, LocalTrack, Room};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::wire::{AudioLevel, ParticipantId, TrackInfo, TrackMedia, TrackSource};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two frames.
const PACE: Duration = Duration::from_millis(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

fn sound(source: TrackSource) -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source, codec: "opus".into(), media, description: Vec::new() }
}

/// Sounds of one loudness, until it is dropped.
fn sounds(track: LocalTrack, level: u8) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut pace = interval(PACE);
        for number in 0.. {
            pace.tick().await;
            let (audio_level, data) = (AudioLevel::new(level), Bytes::from_static(&[1]));
            if track.send_frame(Frame { number, audio_level, data, ..Frame::default() }).await.is_err() {
                return;
            }
        }
    });
    tasks
}

async fn expect_speakers(room: &Room, expected: &[ParticipantId]) {
    let told = async {
        loop {
            let event = room.next_event().await.expect("the room is there");
            // A machine that stands still for a moment is a pause.
            if matches!(event, Event::ActiveSpeakers { participants } if participants == expected) {
                return;
            }
        }
    };
    soon("speakers", told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_learns_who_speaks_and_newcomers_do() {
    let relay = TestRelay::start(Limits::default());
    let (ana, ben) = (relay.join("quic", "Ana").await, relay.join("ws", "Ben").await);
    let voice = ana.publish(sound(TrackSource::Microphone)).await.unwrap();
    let music = ben.publish(sound(TrackSource::Other)).await.unwrap();
    let _music = sounds(music, 10);
    let speech = sounds(voice, 20);
    for room in [&ana, &ben] {
        expect_speakers(room, &[ana.participant()]).await;
    }
    let cat = relay.join("https", "Cat").await;
    expect_speakers(&cat, &[ana.participant()]).await;
    drop(speech);
    for room in [&ana, &ben, &cat] {
        expect_speakers(room, &[]).await;
    }
}
