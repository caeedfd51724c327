//! Someone in a room who writes down what happens, and what such people send and say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use tertulia::client::{Carrier, Event, LocalTrack, RemoteTrack, Room};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::wire::{CloseReason, Rational, TrackInfo, TrackMedia, TrackSource};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two messages, and between two frames.
pub const PACE: Duration = Duration::from_millis(20);

/// Fails where a hang would be.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Room for a chat that never pauses.
pub fn limits() -> Limits {
    Limits { chat_per_second: 1000, chat_burst: 1000, ..Limits::default() }
}

/// A camera's track.
pub fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 50, denominator: 1 };
    let media = TrackMedia::Video { width: 320, height: 180, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

/// A microphone's track.
pub fn sound() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: Vec::new() }
}

/// What someone saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub messages: Vec<String>,
    /// Everything about participants and tracks, by name alone.
    pub roster: Vec<&'static str>,
    pub attempts: usize,
    pub returns: Vec<(bool, Carrier)>,
    pub frames: u32,
    /// When the last of them came.
    pub last_frame: Option<Instant>,
    /// The longest time between two of them.
    pub longest_pause: Duration,
    pub closed: Option<(CloseReason, String)>,
}

/// Someone in a room who writes down what happens.
pub struct Witness {
    pub room: Arc<Room>,
    seen: watch::Sender<Seen>,
    _watching: JoinSet<()>,
}

impl Witness {
    pub fn new(room: Room) -> Self {
        let (room, seen) = (Arc::new(room), watch::Sender::new(Seen::default()));
        let mut watching = JoinSet::new();
        watching.spawn(watch_room(room.clone(), seen.clone()));
        Self { room, seen, _watching: watching }
    }

    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let found = timeout(DEADLINE, seen.wait_for(|seen| condition(seen))).await.map(drop);
        found.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}, but {:?}", self.seen()));
    }

    /// Waits until so many more frames and messages have come.
    pub async fn until_more(&self, what: &str, messages: usize, frames: u32) {
        let now = self.seen();
        let more =
            |seen: &Seen| seen.messages.len() >= now.messages.len() + messages && seen.frames >= now.frames + frames;
        self.until(what, more).await;
    }
}

async fn watch_room(room: Arc<Room>, seen: watch::Sender<Seen>) {
    let mut tracks = JoinSet::new();
    while let Some(event) = room.next_event().await {
        let about_roster = match &event {
            Event::ParticipantJoined(_) => Some("joined"),
            Event::ParticipantLeft { .. } => Some("left"),
            Event::TrackPublished { .. } => Some("published"),
            Event::TrackUnpublished { .. } => Some("unpublished"),
            Event::TrackSubscribed(_) => Some("subscribed"),
            Event::TrackMuted { muted: true, .. } => Some("muted"),
            Event::TrackMuted { muted: false, .. } => Some("unmuted"),
            Event::RoomLocked { locked: true } => Some("locked"),
            Event::RoomLocked { locked: false } => Some("unlocked"),
            Event::ChatGap { .. } => Some("gap"),
            _ => None,
        };
        if let Event::TrackSubscribed(track) = event {
            tracks.spawn(count_frames(track, seen.clone()));
            seen.send_modify(|seen| seen.roster.extend(about_roster));
            continue;
        }
        seen.send_modify(|seen| {
            seen.roster.extend(about_roster);
            match event {
                Event::ChatMessage(message) => seen.messages.push(message.body),
                Event::Reconnecting { .. } => seen.attempts += 1,
                Event::Reconnected { resumed, carrier } => seen.returns.push((resumed, carrier)),
                Event::Closed { reason, message } => seen.closed = Some((reason, message)),
                _ => {}
            }
        });
    }
}

async fn count_frames(track: RemoteTrack, seen: watch::Sender<Seen>) {
    while track.next_frame().await.is_some() {
        let now = Instant::now();
        seen.send_modify(|seen| {
            let pause = seen.last_frame.replace(now).map_or(Duration::ZERO, |last| now - last);
            seen.longest_pause = seen.longest_pause.max(pause);
            seen.frames += 1;
        });
    }
}

/// Sends frames until it is dropped: a keyframe when one is asked for.
pub fn stream(track: Arc<LocalTrack>) -> JoinSet<()> {
    let wanted = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let (asked, source) = (wanted.clone(), track.clone());
    tasks.spawn(async move {
        while source.next_keyframe_request().await.is_some() {
            asked.store(true, Ordering::Relaxed);
        }
    });
    tasks.spawn(async move {
        let mut pace = interval(PACE);
        for number in 0.. {
            pace.tick().await;
            let keyframe = number == 0 || !track.info().is_video() || wanted.swap(false, Ordering::Relaxed);
            let data = Bytes::from(vec![number as u8; 1500]);
            let frame = Frame { number, depends_on_distance: u8::from(!keyframe), keyframe, data, ..Frame::default() };
            if track.send_frame(frame).await.is_err() {
                return;
            }
        }
    });
    tasks
}

/// Says numbers until it is told to stop, and gives back how many there were.
pub fn talk(room: &Room, stop: &Arc<AtomicBool>) -> JoinHandle<u32> {
    let (chat, stop) = (room.chat(), stop.clone());
    tokio::spawn(async move {
        let mut pace = interval(PACE);
        let (mut said, mut last) = (JoinSet::new(), 0);
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            pace.tick().await;
            // Each is polled once before the next, so that they leave in their order; nobody waits for the answer here.
            let mut sending = Box::pin({
                let chat = chat.clone();
                async move { chat.send(count.to_string()).await }
            });
            let answered = (&mut sending).now_or_never();
            assert!(answered.is_none(), "{answered:?}");
            said.spawn(sending);
            count += 1;
        }
        while let Some(sequence) = said.join_next().await {
            last = last.max(sequence.unwrap().expect("every message is kept"));
        }
        assert!(last >= u64::from(count));
        count
    })
}

/// Fails at the first message that is missing, double or in the wrong place.
pub fn assert_in_order(messages: &[String], count: u32) {
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    if let Some(wrong) = (0..).zip(messages).position(|(number, body)| expected.get(number) != Some(body)) {
        let around = &messages[wrong.saturating_sub(3)..messages.len().min(wrong + 4)];
        panic!("message {wrong} of {count} is not that: {around:?}");
    }
    assert_eq!(messages.len(), expected.len());
}
