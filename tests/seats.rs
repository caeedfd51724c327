//! A connection that breaks costs a participant nothing: it comes back to its seat by itself, on any carrier, and the others
//! notice nothing.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{FutureExt, SinkExt};
use support::child::Launch;
use support::impair::Proxy;
use support::scene::CROWDED;
use support::session::{Target, join_of, plain};
use support::witness::{PACE, Seen, Witness, assert_in_order, limits, picture, soon, sound, stream, talk};
use support::{Directory, TestRelay};
use tertulia::auth::{Grant, SecretKey};
use tertulia::client::{Carrier, Certificates, ConnectError, Options, Reconnect, RequestError, Room};
use tertulia::config::{Config, KeySources};
use tertulia::limits::{KEEP_ALIVE_INTERVAL, Limits};
use tertulia::now::Now;
use tertulia::relay::Callbacks;
use tertulia::wire::{ClientMessage, CloseReason, Identity, RefuseReason, RoomName, SUBPROTOCOL, StreamKind, encode};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A silent connection is given up after this long.
const IDLE: Duration = Duration::from_secs(1);

/// Ten cuts, and between them changes to other carriers. Without UDP the fallback is taken, so WebTransport becomes WebSocket
/// without being told to.
const STEPS: [&str; 14] =
    ["udp", "tcp", "tcp", "tcp", "quic", "udp", "tcp", "https", "udp", "tcp", "tcp", "wss", "tcp", "tcp"];

fn through(proxy: &Proxy, relay: &TestRelay, name: &str) -> Options {
    // What it takes to follow UDP without a break is told by tests/udp_cut.rs.
    Options { idle_timeout: IDLE, follow_udp: false, fallbacks: vec![proxy.url("wss")], ..relay.options(name) }
}

/// More than may be under way at a time.
const SAID_MEANWHILE: u32 = 700;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_without_a_connection_is_said_in_its_order() {
    let relay = TestRelay::start(limits());
    let proxy = Proxy::start(relay.relay.address(), "", 1).await;
    let bo = Witness::new(relay.join("ws", "Bo").await);
    let ana = Witness::new(Room::connect(&proxy.url("wss"), relay.options("Ana")).await.unwrap());
    proxy.apply("cut");
    ana.until("the end of the connection", |seen| seen.attempts > 0).await;
    let mut said = JoinSet::new();
    for number in 0..SAID_MEANWHILE {
        let chat = ana.room.chat();
        let mut sending = Box::pin(async move { chat.send(number.to_string()).await });
        assert!((&mut sending).now_or_never().is_none(), "nobody answers yet");
        said.spawn(sending);
    }
    proxy.apply("pass");
    while let Some(sequence) = soon("an answer", said.join_next()).await {
        sequence.unwrap().unwrap();
    }
    bo.until("all of it", |seen| seen.messages.len() >= SAID_MEANWHILE as usize).await;
    assert_in_order(&bo.seen().messages, SAID_MEANWHILE);
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
    for witness in [&ana, &bo] {
        witness.until("Cleo", |seen| seen.roster.last() == Some(&"joined")).await;
    }
    let before = [&ana, &bo, &cleo].map(|witness| witness.seen().roster);
    let stop = Arc::new(AtomicBool::new(false));
    let talking = [talk(&ana.room, &stop), talk(&bo.room, &stop)];

    for step in STEPS {
        ana.until_more(step, 60, 20).await;
        // There are more of them than steps where the machine stands still for longer than silence may last.
        let returns = ana.seen().returns.len();
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
        ana.until("a session", |seen| seen.returns.len() > returns).await;
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

/// How many guests of each kind hang up at a time.
const HASTY: usize = 8;

/// A WebSocket that has entered a meeting.
async fn seated_websocket(target: Target, number: usize) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{}/ws", target.http).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    let stream = TcpStream::connect(target.http).await.unwrap();
    let (mut socket, _) = soon("a WebSocket", client_async(request, stream)).await.unwrap();
    let join = encode(&ClientMessage::Join(join_of("hasty", &format!("guest {number}"))));
    socket.send(Message::binary([&[StreamKind::Control.byte()], &join[..]].concat())).await.unwrap();
    socket
}

/// The relay learns of the goodbye and of the broken connection together, while a ping is due: their seats are not kept.
#[tokio::test]
async fn who_says_goodbye_and_hangs_up_has_left() {
    let relay = Launch::new(&CROWDED).start();
    let mut guests = Vec::new();
    for number in 0..HASTY {
        guests.push(seated_websocket(relay.target, number).await);
        guests.push(plain(relay.target, "/hasty", None).await.unwrap());
    }
    for carrier in ["websocket", "plain_websocket"] {
        let seated = format!("tertulia_participants{{carrier=\"{carrier}\"}}");
        relay.until(&seated, |seated| seated == HASTY as i64).await;
    }
    relay.signal("-STOP");
    for mut guest in guests {
        guest.get_mut().set_zero_linger().unwrap();
        guest.close(None).await.unwrap();
    }
    sleep(KEEP_ALIVE_INTERVAL).await;
    relay.signal("-CONT");
    let [left, lost] = [CloseReason::Left, CloseReason::ConnectionLost]
        .map(|reason| format!("tertulia_sessions_closed_total{{reason=\"{}\"}}", reason.label()));
    let ended = async || relay.metric(&left).await + relay.metric(&lost).await;
    soon("the end of all", async { while ended().await < 2 * HASTY as i64 {} }).await;
    assert_eq!(relay.metric(&lost).await, 0, "seats are kept");
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
