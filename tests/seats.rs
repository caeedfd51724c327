//! A connection that breaks costs a participant nothing: it comes back to its seat by itself, on any carrier, and the others
//! notice nothing.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use support::impair::Proxy;
use support::{Directory, TestRelay};
use tertulia::auth::{Grant, SecretKey};
use tertulia::client::{
    Carrier, Certificates, ConnectError, Event, LocalTrack, Options, Reconnect, RemoteTrack, RequestError, Room,
};
use tertulia::config::{Config, KeySources};
use tertulia::limits::Limits;
use tertulia::media::Frame;
use tertulia::now::Now;
use tertulia::relay::Callbacks;
use tertulia::wire::{CloseReason, Identity, Rational, RefuseReason, RoomName, TrackInfo, TrackMedia, TrackSource};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A silent connection is given up after this long.
const IDLE: Duration = Duration::from_secs(1);

/// Between two messages, and between two frames.
const PACE: Duration = Duration::from_millis(20);

/// Ten cuts, and between them changes to other carriers. Without UDP the fallback is taken, so WebTransport becomes WebSocket
/// without being told to.
const STEPS: [&str; 14] =
    ["udp", "tcp", "tcp", "tcp", "quic", "udp", "tcp", "https", "udp", "tcp", "tcp", "wss", "tcp", "tcp"];

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Room for a chat that never pauses.
fn limits() -> Limits {
    Limits { chat_per_second: 1000, chat_burst: 1000, ..Limits::default() }
}

fn picture() -> TrackInfo {
    let frame_rate = Rational { numerator: 50, denominator: 1 };
    let media = TrackMedia::Video { width: 320, height: 180, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: Vec::new() }
}

fn sound() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: Vec::new() }
}

/// What someone saw.
#[derive(Debug, Default, Clone)]
struct Seen {
    messages: Vec<String>,
    /// Everything about participants and tracks, by name alone.
    roster: Vec<&'static str>,
    attempts: usize,
    returns: Vec<(bool, Carrier)>,
    frames: u32,
    closed: Option<(CloseReason, String)>,
}

/// Someone in a room who writes down what happens.
struct Witness {
    room: Arc<Room>,
    seen: watch::Sender<Seen>,
    _watching: JoinSet<()>,
}

impl Witness {
    fn new(room: Room) -> Self {
        let (room, seen) = (Arc::new(room), watch::Sender::new(Seen::default()));
        let mut watching = JoinSet::new();
        watching.spawn(watch_room(room.clone(), seen.clone()));
        Self { room, seen, _watching: watching }
    }

    fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let found = timeout(DEADLINE, seen.wait_for(|seen| condition(seen))).await.map(drop);
        found.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}, but {:?}", self.seen()));
    }

    /// Waits until so many more frames and messages have come.
    async fn until_more(&self, what: &str, messages: usize, frames: u32) {
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
        seen.send_modify(|seen| seen.frames += 1);
    }
}

/// Sends frames until it is dropped: a keyframe when one is asked for.
fn stream(track: Arc<LocalTrack>) -> JoinSet<()> {
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
fn talk(room: &Room, stop: &Arc<AtomicBool>) -> JoinHandle<u32> {
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
fn assert_in_order(messages: &[String], count: u32) {
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    if let Some(wrong) = (0..).zip(messages).position(|(number, body)| expected.get(number) != Some(body)) {
        let around = &messages[wrong.saturating_sub(3)..messages.len().min(wrong + 4)];
        panic!("message {wrong} of {count} is not that: {around:?}");
    }
    assert_eq!(messages.len(), expected.len());
}

fn through(proxy: &Proxy, relay: &TestRelay, name: &str) -> Options {
    Options { idle_timeout: IDLE, fallbacks: vec![proxy.url("wss")], ..relay.options(name) }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_cuts_and_three_changes_of_carrier_are_noticed_by_nobody_else() {
    let relay = TestRelay::start(limits());
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let ana = Room::connect(&proxy.url("https"), through(&proxy, &relay, "Ana")).await.unwrap();
    let bo = relay.join("ws", "Bo").await;
    let picture = Arc::new(ana.publish(picture()).await.unwrap());
    let sound = Arc::new(bo.publish(sound()).await.unwrap());
    let _streams = [stream(picture.clone()), stream(sound)];
    let (ana_id, track) = (ana.participant(), picture.track());
    let cleo = relay.join("quic", "Cleo").await;
    let [ana, bo, cleo] = [ana, bo, cleo].map(Witness::new);
    for witness in [&ana, &bo, &cleo] {
        witness.until("the tracks", |seen| seen.frames > 0).await;
    }
    let before = [&ana, &bo, &cleo].map(|witness| witness.seen().roster);
    let stop = Arc::new(AtomicBool::new(false));
    let talking = [talk(&ana.room, &stop), talk(&bo.room, &stop)];

    for (done, step) in (1..).zip(STEPS) {
        ana.until_more(step, 60, 20).await;
        match step {
            "udp" | "tcp" => {
                let attempts = ana.seen().attempts;
                match step {
                    "udp" => proxy.apply("block udp"),
                    _ => proxy.apply("cut"),
                }
                ana.until("the end of the connection", |seen| seen.attempts > attempts).await;
                if step == "tcp" {
                    proxy.apply("pass");
                }
            }
            carrier => {
                proxy.apply("pass");
                soon("another carrier", ana.room.switch_to(&proxy.url(carrier))).await.unwrap();
            }
        }
        ana.until("a session", |seen| seen.returns.len() == done).await;
        bo.until_more("Ana's picture and words", 20, 20).await;
    }
    stop.store(true, Ordering::Relaxed);
    let [ana_talks, bo_talks] = talking;
    let (by_ana, by_bo) = (soon("answers", ana_talks).await.unwrap(), soon("answers", bo_talks).await.unwrap());
    bo.until("all that Ana said", |seen| seen.messages.len() >= by_ana as usize).await;
    ana.until("all that Bo said", |seen| seen.messages.len() >= by_bo as usize).await;
    cleo.until("all that was said", |seen| seen.messages.len() >= (by_ana + by_bo) as usize).await;
    assert_in_order(&bo.seen().messages, by_ana);
    assert_in_order(&ana.seen().messages, by_bo);
    assert_eq!(cleo.seen().messages.len(), (by_ana + by_bo) as usize);

    for (witness, before) in [&ana, &bo, &cleo].into_iter().zip(before) {
        assert_eq!(witness.seen().roster, before, "nobody came or went, and no track");
    }
    let seen = ana.seen();
    assert!(seen.returns.iter().all(|(resumed, _)| *resumed), "{:?}", seen.returns);
    assert_eq!((ana.room.participant(), picture.track()), (ana_id, track));
    assert_eq!(bo.seen().attempts + cleo.seen().attempts, 0);
    println!("{} attempts for {:?}, {by_ana} and {by_bo} messages", seen.attempts, seen.returns);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_too_late_has_its_id_and_everything_is_announced_again() {
    let relay = TestRelay::start(Limits { seat_seconds: 0, ..limits() });
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let ana = Room::connect(&proxy.url("wss"), relay.options("Ana")).await.unwrap();
    let track = Arc::new(ana.publish(picture()).await.unwrap());
    track.set_muted(true).await.unwrap();
    let first = (ana.participant(), track.track());
    let _stream = stream(track.clone());
    let (ana, bo) = (Witness::new(ana), Witness::new(relay.join("quic", "Bo").await));
    ana.until("Bo", |seen| !seen.roster.is_empty()).await;
    bo.until("frames", |seen| seen.frames > 10).await;

    proxy.apply("cut");
    bo.until("Ana's end", |seen| seen.roster.contains(&"left")).await;
    bo.room.chat().send("meanwhile").await.unwrap();
    // What is asked for now waits.
    let (sound, said) = (ana.room.publish(sound()), async {
        let chat = ana.room.chat();
        chat.send("later").await
    });
    let restored = async {
        track.set_muted(false).await.unwrap();
        // What is sent meanwhile is counted.
        while track.datagrams_dropped() == 0 {
            sleep(PACE).await;
        }
        proxy.apply("pass");
    };
    let (sound, said, ()) = soon("what waited", async { tokio::join!(sound, said, restored) }).await;
    assert!(sound.is_ok() && said.is_ok(), "{sound:?} {said:?}");
    let frames = bo.seen().frames;
    bo.until("frames again", |seen| seen.frames > frames + 10).await;
    bo.until("Ana's words", |seen| seen.messages == ["later"]).await;
    ana.until("Bo's words", |seen| seen.messages == ["meanwhile"]).await;

    assert_eq!(ana.room.participant(), first.0, "an id that was given once is good for ever");
    assert_ne!(track.track(), first.1);
    let roster = bo.seen().roster;
    for (what, count) in [("left", 1), ("joined", 1), ("unpublished", 1), ("published", 2), ("subscribed", 3)] {
        assert_eq!(roster.iter().filter(|about| **about == what).count(), count, "{what} in {roster:?}");
    }
    let others = bo.room.remote_participants();
    assert_eq!(others.len(), 1);
    assert!(others[0].tracks.iter().all(|published| !published.muted), "{others:?}");
    assert_eq!(ana.seen().returns, [(false, Carrier::WebSocket)]);
}

#[tokio::test]
async fn a_muted_track_is_muted_when_it_is_announced_again() {
    let relay = TestRelay::start(Limits { seat_seconds: 0, ..limits() });
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let ana = Room::connect(&proxy.url("wss"), relay.options("Ana")).await.unwrap();
    let track = ana.publish(sound()).await.unwrap();
    track.set_muted(true).await.unwrap();
    let bo = Witness::new(relay.join("ws", "Bo").await);
    proxy.apply("cut");
    bo.until("Ana's end", |seen| seen.roster.contains(&"left")).await;
    proxy.apply("pass");
    bo.until("the track", |seen| seen.roster.contains(&"muted")).await;
}

#[tokio::test]
async fn subscriptions_by_hand_come_back_with_a_new_seat() {
    let relay = TestRelay::start(Limits { seat_seconds: 0, ..limits() });
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let bo = relay.join("ws", "Bo").await;
    let (wanted, other) = (bo.publish(sound()).await.unwrap(), bo.publish(picture()).await.unwrap());
    let options = Options { auto_subscribe: false, ..relay.options("Ana") };
    let ana = Room::connect(&proxy.url("wss"), options).await.unwrap();
    let track = ana.subscribe(wanted.track()).await.unwrap();
    let _streams = [stream(Arc::new(wanted)), stream(Arc::new(other))];
    soon("a frame", track.next_frame()).await.unwrap();
    let ana = Witness::new(ana);
    proxy.apply("cut");
    ana.until("the end of the connection", |seen| seen.attempts > 0).await;
    proxy.apply("pass");
    ana.until("a session", |seen| seen.returns == [(false, Carrier::WebSocket)]).await;
    // What had come before the end of the connection is not what is waited for.
    let newest = soon("a frame", track.next_frame()).await.unwrap().number + 256;
    while soon("frames", track.next_frame()).await.unwrap().number < newest {}
    assert_eq!(ana.seen().roster, Vec::<&str>::new());
}

#[tokio::test]
async fn many_subscriptions_come_back_although_a_relay_takes_them_slowly() {
    let relay = TestRelay::start(Limits { seat_seconds: 0, requests_per_second: 40, requests_burst: 3, ..limits() });
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let bo = relay.join("ws", "Bo").await;
    let mut published = Vec::new();
    while published.len() < 8 {
        match bo.publish(sound()).await {
            Ok(track) => published.push(track),
            Err(RequestError::Refused { reason: RefuseReason::TooFast, .. }) => sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    }
    let options = Options { auto_subscribe: false, ..relay.options("Ana") };
    let ana = Room::connect(&proxy.url("wss"), options).await.unwrap();
    let mut tracks = Vec::new();
    for track in &published {
        tracks.push(loop {
            match ana.subscribe(track.track()).await {
                Ok(track) => break track,
                Err(RequestError::Refused { reason: RefuseReason::TooFast, .. }) => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        });
    }
    let ana = Witness::new(ana);
    proxy.apply("cut");
    ana.until("the end of the connection", |seen| seen.attempts > 0).await;
    proxy.apply("pass");
    ana.until("a session", |seen| seen.returns == [(false, Carrier::WebSocket)]).await;
    let _streams: Vec<_> = published.into_iter().map(|track| stream(Arc::new(track))).collect();
    for track in &tracks {
        soon("a frame", track.next_frame()).await.expect("the subscription goes on");
    }
}

#[tokio::test]
async fn a_track_that_is_dropped_is_taken_back() {
    let relay = TestRelay::start(limits());
    let bo = Witness::new(relay.join("ws", "Bo").await);
    for (count, carrier) in (1..).zip(["https", "quic", "wss", "ws"]) {
        let ana = relay.join(carrier, "Ana").await;
        drop(ana.publish(sound()).await.unwrap());
        let is_gone = |seen: &Seen| seen.roster.iter().filter(|about| **about == "unpublished").count() == count;
        bo.until("the end of the track", is_gone).await;
        assert_eq!(bo.seen().roster.iter().filter(|about| **about == "left").count(), count - 1, "Ana is still there");
        ana.disconnect().await;
        bo.until("Ana's end", |seen| seen.roster.iter().filter(|about| **about == "left").count() == count).await;
    }
}

#[tokio::test]
async fn where_udp_does_not_pass_the_fallback_is_taken() {
    let relay = TestRelay::start(limits());
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    proxy.apply("block udp");
    for scheme in ["https", "quic"] {
        let options = Options { idle_timeout: Duration::from_millis(300), ..through(&proxy, &relay, "Ana") };
        let ana = Room::connect(&proxy.url(scheme), options).await.unwrap();
        assert_eq!(ana.carrier(), Carrier::WebSocket);
        let failed = ana.switch_to(&proxy.url(scheme)).await.unwrap_err();
        assert!(!failed.is_final(), "{failed}");
        ana.chat().send("still here").await.unwrap();
    }
}

#[tokio::test]
async fn a_long_way_is_no_obstacle_and_what_was_tried_beside_leaves_nothing() {
    // A second handshake begins beside the first one after 500 ms.
    for (delay, scheme) in [("150ms", "quic"), ("150ms", "https"), ("300ms", "quic"), ("300ms", "https")] {
        let relay = TestRelay::start(Limits { sessions: 2, ..limits() });
        let proxy = Proxy::start(relay.relay.address(), &format!("delay {delay}"), 1).await;
        let options = Options { fallbacks: Vec::new(), ..relay.options("Ana") };
        let _ana = Room::connect(&proxy.url(scheme), options).await.unwrap_or_else(|error| panic!("{delay}: {error}"));
        let bo = Room::connect(&relay.url("ws"), relay.options("Bo")).await;
        assert!(bo.is_ok(), "{scheme} over {delay}: {:?}", bo.err());
    }
}

#[tokio::test]
async fn who_drops_its_room_or_leaves_has_left_at_once() {
    let relay = TestRelay::start(limits());
    let bo = Witness::new(relay.join("ws", "Bo").await);
    for (gone, carrier) in (1..).step_by(2).zip(["https", "quic", "wss", "ws"]) {
        let count = |seen: &Seen| seen.roster.iter().filter(|about| **about == "left").count();
        drop(relay.join(carrier, "Ana").await);
        // Sooner than a seat is given up that was kept.
        bo.until(carrier, |seen| count(seen) == gone).await;
        relay.join(carrier, "Ana").await.disconnect().await;
        bo.until(carrier, |seen| count(seen) == gone + 1).await;
    }
}

#[tokio::test]
async fn who_does_not_want_to_reconnect_does_not() {
    let relay = TestRelay::start(limits());
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let patience = Duration::from_millis(500);
    for (reconnect, attempts, text) in
        [(Reconnect::Never, false, ""), (Reconnect::Within(patience), true, "reconnecting was given up")]
    {
        let options = Options { reconnect, ..relay.options("Ana") };
        let ana = Witness::new(Room::connect(&proxy.url("wss"), options).await.unwrap());
        let chat = ana.room.chat();
        proxy.apply("cut");
        ana.until("the end", |seen| seen.closed.is_some()).await;
        let seen = ana.seen();
        let (reason, message) = seen.closed.unwrap();
        assert_eq!((reason, seen.attempts > 0), (CloseReason::ConnectionLost, attempts), "{message}");
        assert!(message.starts_with(text), "{message}");
        assert!(chat.send("too late").await.is_err());
        let late = ana.room.publish(sound()).await.unwrap_err();
        assert!(matches!(late, RequestError::Closed { reason: CloseReason::ConnectionLost, .. }), "{late}");
        proxy.apply("pass");
    }
}

#[tokio::test]
async fn an_untrusted_certificate_is_a_final_error_on_every_carrier() {
    let relay = TestRelay::start(limits());
    for scheme in ["https", "quic", "wss"] {
        let certificates = Certificates::Sha256(vec![[0; 32]]);
        let options = Options { certificates, fallbacks: vec![relay.url("ws")], ..relay.options("Ana") };
        let failed = Room::connect(&relay.url(scheme), options).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Certificate { .. }) && failed.is_final(), "{scheme}: {failed}");
    }
}

/// A relay with keys, and what makes tokens for it.
struct Guarded {
    relay: TestRelay,
    key: SecretKey,
    _keys: Directory,
}

impl Guarded {
    fn start() -> Self {
        let (keys, secret) = (Directory::new(), "a secret of these tests alone, long enough");
        let file = keys.path().join("keys.toml");
        std::fs::write(&file, format!("[secrets]\ntests = '{secret}'\n")).unwrap();
        let sources = KeySources { keys: Some(file), jwks: None };
        let config = Config { limits: limits(), keys: sources, ..Config::default() };
        let relay = TestRelay::start_config(config, Callbacks::default());
        Self { relay, key: SecretKey::new("tests", secret).unwrap(), _keys: keys }
    }

    async fn join(&self, url: &str, identity: &str, admin: bool) -> Result<Room, ConnectError> {
        let grant = Grant { admin, ..Grant::everyone(RoomName::parse("lobby").unwrap()) };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = Now { since_start: Duration::ZERO, unix_ms: unix.as_millis() as u64 };
        let token = self.key.mint(&Identity::parse(identity).unwrap(), &grant, now, Duration::from_secs(60));
        Room::connect(url, Options { token: Some(token), ..self.relay.options(identity) }).await
    }
}

#[tokio::test]
async fn what_an_admin_does_is_seen_by_all_and_who_was_sent_away_stays_away() {
    let guarded = Guarded::start();
    let url = guarded.relay.url("https");
    let admin = Witness::new(guarded.join(&url, "admin", true).await.unwrap());
    let ana = Witness::new(guarded.join(&url, "ana", false).await.unwrap());
    assert!(admin.room.permissions().admin && !ana.room.permissions().admin);
    let refused = ana.room.set_locked(true).await.unwrap_err();
    assert!(matches!(refused, RequestError::Refused { reason: RefuseReason::NotAllowed, .. }), "{refused}");

    let track = ana.room.publish(sound()).await.unwrap();
    admin.room.mute_track(track.track()).await.unwrap();
    admin.room.set_locked(true).await.unwrap();
    ana.until("what the admin did", |seen| seen.roster == ["muted", "locked"]).await;
    assert!(ana.room.is_locked() && admin.room.is_locked());
    admin.room.set_locked(false).await.unwrap();

    admin.room.remove_participant(ana.room.participant()).await.unwrap();
    ana.until("the end", |seen| seen.closed.is_some()).await;
    assert_eq!((ana.seen().closed.unwrap().0, ana.seen().attempts), (CloseReason::Removed, 0));
    admin.until("Ana's end", |seen| seen.roster.contains(&"left")).await;
    let refused = guarded.join(&url, "ana", false).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused { reason: CloseReason::Removed, .. }), "{refused}");

    let bo = Witness::new(guarded.join(&url, "bo", false).await.unwrap());
    admin.room.end_meeting().await.unwrap();
    for witness in [&admin, &bo] {
        witness.until("the end", |seen| seen.closed.is_some()).await;
        assert_eq!((witness.seen().closed.unwrap().0, witness.seen().attempts), (CloseReason::MeetingEnded, 0));
    }
}

#[tokio::test]
async fn who_joins_again_from_elsewhere_ends_the_first_room_for_good() {
    let guarded = Guarded::start();
    let first = Witness::new(guarded.join(&guarded.relay.url("wss"), "ana", false).await.unwrap());
    let second = guarded.join(&guarded.relay.url("quic"), "ana", false).await.unwrap();
    first.until("the end", |seen| seen.closed.is_some()).await;
    assert_eq!((first.seen().closed.unwrap().0, first.seen().attempts), (CloseReason::Replaced, 0));
    second.chat().send("here now").await.unwrap();
}
