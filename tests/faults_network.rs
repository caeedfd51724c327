//! Section N of the faults: networks that lose, double, reorder and change packets, or carry none for a while.

mod support;

use std::ops::ControlFlow::{Break, Continue};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use support::TestRelay;
use support::bystander::{in_time, repeatable};
use support::child::{ChildRelay, Launch};
use support::impair::Proxy;
use support::quic::soon;
use support::scene::{CROWDED, Scene, turn};
use support::session::{Incoming, Over, Session, Target, datagram, join_of, payload};
use tertulia::client::{Carrier, Certificates, ConnectError, Event, Options, Room};
use tertulia::limits::{HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, KEEP_ALIVE_INTERVAL, Limits};
use tertulia::wire::*;
use tokio::time::{sleep, timeout};

/// Both carriers over UDP.
const OVER_UDP: [Over; 2] = [Over::Quic, Over::WebTransport];

fn by(relay: &ChildRelay, way: &Proxy) -> Target {
    Target { quic: way.address, ..relay.target }
}

fn options(relay: &ChildRelay) -> Options {
    let certificates = Certificates::Sha256(vec![relay.certificate_sha256()]);
    Options { room: Some("net".into()), certificates, ..Options::default() }
}

fn seen_leaving(session: &mut Session) -> Vec<ParticipantId> {
    let left = |incoming| match incoming {
        Incoming::Control(ServerMessage::ParticipantLeft { participant, .. }) => Some(participant),
        _ => None,
    };
    session.rest().into_iter().filter_map(left).collect()
}

#[tokio::test]
async fn n2_chat_is_quick_where_packets_are_lost_in_bursts() {
    repeatable(async || {
        let mut scene = Scene::crowded(&["--chat-burst", "1000"]).await;
        // 40 ms there and back, some of it more, and losses as on a crowded wireless network.
        let way = Proxy::start(scene.target().quic, "delay 20ms reorder 10% 5ms burst 1.2% 6", 2).await;
        for over in OVER_UDP {
            let mut ana = Session::member(by(&scene.relay, &way), over, "net", "Ana").await;
            let mut ben = Session::member(by(&scene.relay, &way), over, "net", "Ben").await;
            let mut took = Vec::new();
            for _ in 0..50 {
                let begin = Instant::now();
                let sequence = ana.say_kept("hello").await;
                assert_eq!(ben.heard().await.sequence, sequence);
                took.push(begin.elapsed());
            }
            took.sort_unstable();
            println!("{over:?}: median {:?}, the slowest {:?}", took[25], took[49]);
            // Of fifty, one may have met two bursts.
            in_time(&format!("chat over {over:?}"), took[48], Duration::from_millis(300));
            ana.leave().await;
            ben.leave().await;
        }
        scene.assert_undisturbed("losses in bursts").await;
        scene.close("losses in bursts").await;
    })
    .await;
}

/// Joins, again and again if need be, as a person would.
async fn join_somehow(relay: &ChildRelay, way: &Proxy, scheme: &str) -> (Duration, usize, Room) {
    let begin = Instant::now();
    let url = format!("{scheme}://{}/", way.address);
    for attempt in 1.. {
        match Room::connect(&url, options(relay)).await {
            Ok(room) => return (begin.elapsed(), attempt, room),
            Err(error) => println!("{scheme}, attempt {attempt}: {error}"),
        }
        assert!(attempt < 10, "{scheme}: nobody gets in");
    }
    unreachable!("the attempts end")
}

/// How many people join at a time, and how many times.
const JOINING: u64 = 10;
const TIMES: u64 = 6;

/// How long people take to join over this network, over both carriers, sorted.
async fn joining(scene: &Scene, network: &str, seeds: std::ops::Range<u64>) -> Vec<Duration> {
    let mut ways = Vec::new();
    for seed in seeds {
        ways.push(Proxy::start(scene.target().quic, network, seed).await);
    }
    let schemes = ["quic", "https"];
    let joins = ways.iter().zip(schemes.iter().cycle()).map(|(way, scheme)| join_somehow(&scene.relay, way, scheme));
    let joined = join_all(joins).await;
    join_all(joined.iter().map(|(.., room)| room.disconnect())).await;
    joined.iter().map(|(took, ..)| *took).collect()
}

fn p95(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() * 95 / 100 - 1]
}

#[tokio::test]
async fn n5_everyone_joins_where_every_third_packet_is_lost() {
    repeatable(async || {
        // Whose goodbye is lost is not waited for.
        let scene = Scene::crowded(&["--seat-seconds", "1"]).await;
        let (mut took, mut took_clear) = (Vec::new(), Vec::new());
        for time in 0..TIMES {
            let first = time * 2 * JOINING;
            let (lossy, clear) = tokio::join!(
                // Of a hundred round trips fifty fail.
                joining(&scene, "delay 20ms loss 30%", first..first + JOINING),
                // What a busy machine adds to it.
                joining(&scene, "delay 20ms", first..first + JOINING / 2),
            );
            took.extend(lossy);
            took_clear.extend(clear);
        }
        let (p95, p95_clear) = (p95(&mut took), p95(&mut took_clear));
        println!(
            "30 % lost each way: median {:.1?}, p95 {p95:.1?}; nothing lost: p95 {p95_clear:.1?}",
            took[took.len() / 2]
        );
        in_time("joining where packets are lost", p95, Duration::from_secs(3) + p95_clear);
        scene.close("30 % of loss").await;
    })
    .await;
}

#[tokio::test]
async fn n6_what_is_doubled_reordered_or_changed_comes_once_and_whole() {
    repeatable(async || {
        let scene = Scene::crowded(&["--chat-burst", "1000"]).await;
        let network = "delay 2ms reorder 25% 5ms duplicate 5% change 1%";
        let way = Proxy::start(scene.target().quic, network, 6).await;
        for over in OVER_UDP {
            let mut ana = Session::member(by(&scene.relay, &way), over, "net", "Ana").await;
            let mut ben = Session::member(by(&scene.relay, &way), over, "net", "Ben").await;
            let track = ana.publish().await;
            // wtransport takes a session's first datagram for itself, see ARCHITECTURE.md.
            ana.media(datagram(TrackId(4000), b"first")).await;
            let mut said = Vec::new();
            for number in 0..100u8 {
                ana.media(datagram(track, &[number; 500])).await;
                said.push(ana.say_kept("hello").await);
            }
            for number in &said {
                assert_eq!(ben.heard().await.sequence, *number, "{over:?}");
            }
            ben.assert_seated("all has come").await;
            let mut seen = Vec::new();
            for incoming in ben.rest() {
                match incoming {
                    Incoming::Media(datagram) => {
                        let number = payload(&datagram)[0];
                        assert_eq!(payload(&datagram), [number; 500], "{over:?}");
                        seen.push(number);
                    }
                    Incoming::Chat(message) => panic!("{message:?}"),
                    _ => {}
                }
            }
            let arrived = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(arrived, seen.len(), "{over:?}: something came twice");
            assert!(arrived > 80, "{arrived} of 100 over {over:?}");
            ana.leave().await;
            ben.leave().await;
        }
        scene.close("a strange network").await;
    })
    .await;
}

/// Someone over UDP whose network is away for a while, while someone else talks.
struct Blackout {
    way: Proxy,
    session: Session,
    welcome: Welcome,
    join: Join,
    over: Over,
}

impl Blackout {
    async fn new(relay: &ChildRelay, over: Over) -> Self {
        let way = Proxy::start(relay.target.quic, "", 7).await;
        let join = join_of("net", "Victim");
        let (mut session, welcome) = Session::join(by(relay, &way), over, join.clone()).await.unwrap();
        session.publish().await;
        session.patience = Duration::from_secs(30);
        Self { way, session, welcome, join, over }
    }

    /// Comes back by this carrier, and gives what was said meanwhile.
    async fn come_back(&self, relay: &ChildRelay, over: Over, heard: u64) -> (Session, Welcome, Vec<u64>) {
        let chat_after = Some(ChatPosition { epoch: self.welcome.chat.epoch, sequence: heard });
        let join = Join { ticket: Some(self.welcome.ticket.clone()), chat_after, ..self.join.clone() };
        let (mut session, welcome) = Session::join(by(relay, &self.way), over, join).await.unwrap();
        let missed = session.history().await.iter().map(|message| message.sequence).collect();
        (session, welcome, missed)
    }
}

#[tokio::test]
async fn n7_n10_a_blackout_costs_no_message_and_no_seat() {
    let relay = Launch::new(&CROWDED).start();
    let mut ana = Session::member(relay.target, Over::WebSocket, "net", "Ana").await;
    // Away for a while, longer than silence may last, and for good: then WebSocket is what is left.
    let mut short = Blackout::new(&relay, Over::Quic).await;
    let mut long = Blackout::new(&relay, Over::WebTransport).await;
    let mut dead = Blackout::new(&relay, Over::Quic).await;
    let before = ana.say_kept("before").await;
    for victim in [&mut short, &mut long, &mut dead] {
        assert_eq!(victim.session.heard().await.sequence, before);
        victim.way.apply("block");
    }
    let mut said = Vec::new();
    let begin = Instant::now();
    let mut moved = None;
    while begin.elapsed() < IDLE_TIMEOUT + Duration::from_secs(1) {
        said.push(ana.say_kept("are you there?").await);
        if begin.elapsed() > Duration::from_secs(6) {
            short.way.apply("pass");
        }
        if begin.elapsed() > Duration::from_secs(2) && moved.is_none() {
            moved = Some(dead.come_back(&relay, Over::WebSocket, before).await);
        }
        sleep(Duration::from_millis(200)).await;
    }
    short.session.assert_seated("six seconds are not too long").await;
    let (mut moved, welcome, mut missed) = moved.unwrap();
    assert!(welcome.resumed && welcome.participant == dead.welcome.participant && welcome.tracks.len() == 1);
    while missed.len() < said.len() {
        missed.push(moved.heard().await.sequence);
    }
    assert_eq!(missed, said, "on WebSocket: no gap and no double");
    for expected in &said {
        assert_eq!(short.session.heard().await.sequence, *expected);
    }
    assert_eq!(long.session.ended().await, CloseReason::ConnectionLost, "it has given up");
    long.way.apply("pass");
    let (_back, welcome, missed) = long.come_back(&relay, long.over, before).await;
    assert!(welcome.resumed && welcome.participant == long.welcome.participant && welcome.tracks.len() == 1);
    assert_eq!(missed, said, "no gap and no double");
    ana.assert_seated("all of it was seen").await;
    assert_eq!(seen_leaving(&mut ana), [], "nobody was seen leaving");
    relay.assert_sound("blackouts").await;
}

#[tokio::test]
async fn n7_n12_whoever_is_away_for_too_long_is_seen_leaving_and_finds_the_chat() {
    repeatable(async || {
        let relay = Launch::new(&[&CROWDED[..], &["--seat-seconds", "2"]].concat()).start();
        let mut ana = Session::member(relay.target, Over::WebSocket, "net", "Ana").await;
        ana.patience = Duration::from_secs(30);
        // As if its process had been killed: nothing comes any more, not even a goodbye.
        let mut victim = Blackout::new(&relay, Over::Quic).await;
        let mut deaf = Session::member(relay.target, Over::WebSocket, "net", "Deaf").await;
        let before = ana.say_kept("before").await;
        assert_eq!(victim.session.heard().await.sequence, before);
        deaf.heard().await;
        deaf.set_reading(false);
        victim.way.apply("block");
        let begin = Instant::now();
        let mut left = Vec::new();
        for _ in 0..2 {
            let gone = ana.wait_for("someone is seen leaving", |incoming| match incoming {
                Incoming::Control(ServerMessage::ParticipantLeft { participant, reason }) => {
                    Break((participant, reason))
                }
                other => Continue(other),
            });
            left.push(gone.await);
        }
        let took = begin.elapsed();
        println!("they were seen leaving after {took:?}");
        in_time("seen leaving", took, IDLE_TIMEOUT + KEEP_ALIVE_INTERVAL + Duration::from_secs(2 + 1));
        let is_loss = |reason| matches!(reason, CloseReason::ConnectionLost | CloseReason::IdleTimeout);
        assert!(left.iter().all(|(_, reason)| is_loss(*reason)), "{left:?}");
        let said = ana.say_kept("after").await;
        victim.way.apply("pass");
        let (_back, welcome, missed) = victim.come_back(&relay, Over::Quic, before).await;
        assert!(!welcome.resumed && welcome.participant == victim.welcome.participant && welcome.tracks.is_empty());
        assert_eq!(missed, [said]);
        relay.assert_sound("too long a blackout").await;
    })
    .await;
}

#[tokio::test]
async fn n8_a_client_notices_a_dead_uplink_within_two_keep_alives() {
    repeatable(async || {
        let relay = Launch::new(&CROWDED).start();
        let mut ana = Session::member(relay.target, Over::WebSocket, "net", "Ana").await;
        for scheme in ["quic", "https"] {
            let way = Proxy::start(relay.target.quic, "", 8).await;
            let fallbacks = vec![format!("ws://{}/", relay.target.http)];
            let url = way.url(scheme);
            // A network that carries nothing at all for a while is another matter, and what is done about that too: see tests/udp_cut.rs.
            let options = Options { follow_udp: false, fallbacks, ..options(&relay) };
            let room = Room::connect(&url, options).await.unwrap();
            way.apply("block");
            sleep(KEEP_ALIVE_INTERVAL * 2).await;
            way.apply("pass");
            let took = room.ping().await.unwrap_or_else(|error| panic!("{scheme}: {error}"));
            in_time(&format!("a ping over {scheme}"), took, Duration::from_secs(2));
            way.apply("up block");
            let begin = Instant::now();
            let noticed = async {
                loop {
                    match room.next_event().await.expect("the room goes on") {
                        Event::Reconnecting { reason, .. } => return (reason, begin.elapsed()),
                        Event::Reconnected { .. } => panic!("{scheme}: it has reconnected before the uplink was dead"),
                        _ => {}
                    }
                }
            };
            let (reason, took) = soon("the dead uplink is noticed", noticed).await;
            println!("{scheme}: noticed after {took:?}");
            assert_eq!(reason, CloseReason::IdleTimeout, "{scheme}");
            in_time(scheme, took, KEEP_ALIVE_INTERVAL * 2 + Duration::from_millis(100));
            let back = async {
                loop {
                    if let Event::Reconnected { resumed, carrier } = room.next_event().await.expect("the room goes on")
                    {
                        return (resumed, carrier);
                    }
                }
            };
            assert_eq!(soon("it is back", back).await, (true, Carrier::WebSocket), "{scheme}");
            assert_eq!(seen_leaving(&mut ana), [], "{scheme}");
            room.disconnect().await;
            ana.wait_for("it is seen leaving", |incoming| match incoming {
                Incoming::Control(ServerMessage::ParticipantLeft { .. }) => Break(()),
                other => Continue(other),
            })
            .await;
        }
        relay.assert_sound("dead uplinks").await;
    })
    .await;
}

#[tokio::test]
async fn n8_a_dead_uplink_is_noticed_by_the_relay() {
    repeatable(async || {
        let scene = Scene::crowded(&[]).await;
        let idle = "tertulia_sessions_closed_total{reason=\"idle_timeout\"}";
        let mut ana = Session::member(scene.target(), Over::WebSocket, "net", "Ana").await;
        let mut back = Vec::new();
        for over in OVER_UDP {
            let before = scene.relay.metric(idle).await;
            let mut victim = Blackout::new(&scene.relay, over).await;
            victim.way.apply("up block");
            let begin = Instant::now();
            // What still comes down is no sign of life.
            while scene.relay.metric(idle).await == before {
                ana.say_kept("hello").await;
                in_time("a dead uplink", begin.elapsed(), IDLE_TIMEOUT + Duration::from_secs(2));
                sleep(Duration::from_millis(200)).await;
            }
            println!("{over:?}: noticed after {:?}", begin.elapsed());
            victim.session.heard().await;
            victim.way.apply("pass");
            let (session, welcome, _) = victim.come_back(&scene.relay, over, 0).await;
            assert!(welcome.resumed, "{over:?}");
            // Its way stays open as well.
            back.push((session, victim));
        }
        assert_eq!(seen_leaving(&mut ana), []);
        for (session, _way) in back {
            session.leave().await;
        }
        ana.leave().await;
        scene.close("dead uplinks").await;
    })
    .await;
}

#[tokio::test]
async fn n9_where_udp_is_blocked_the_client_says_what_to_do_and_websocket_works() {
    repeatable(async || {
        let _turn = turn().await;
        let relay = Launch::new(&CROWDED).start();
        let blocked = Proxy::start(relay.target.quic, "block", 9).await;
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let attempt = async |scheme: &str, address: std::net::SocketAddr| {
            let begin = Instant::now();
            let error = Room::connect(&format!("{scheme}://{address}/"), options(&relay)).await.unwrap_err();
            (begin.elapsed(), error)
        };
        let attempts = tokio::join!(
            attempt("quic", blocked.address),
            attempt("https", blocked.address),
            // Packets are refused there, not lost.
            attempt("quic", closed),
        );
        for (took, error) in [attempts.0, attempts.1, attempts.2] {
            in_time("giving up", took, HANDSHAKE_TIMEOUT + Duration::from_secs(1));
            let told = matches!(error, ConnectError::Timeout { .. } | ConnectError::Unreachable { .. });
            assert!(told, "{error:?}");
            println!("after {took:?}: {error}");
        }
        let begin = Instant::now();
        let room =
            soon("WebSocket", Room::connect(&format!("ws://{}/", relay.target.http), options(&relay))).await.unwrap();
        in_time("WebSocket", begin.elapsed(), Duration::from_secs(1));
        room.disconnect().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_finds_no_way_for_media_leaves_no_empty_seat() {
    // Both ways carry messages, and no datagram of either is answered.
    let relay = TestRelay::start(Limits { media_datagrams_per_second: 0, ..Limits::default() });
    let witness = relay.join("ws", "Witness").await;
    let options = Options { fallbacks: vec![relay.url("https")], ..relay.options("Ana") };
    let refused = Room::connect(&relay.url("quic"), options).await;
    assert!(matches!(refused, Err(ConnectError::NoDatagrams)), "{refused:?}");
    let left = async {
        loop {
            if let Event::ParticipantLeft { reason, .. } = witness.next_event().await.expect("the room is open") {
                return reason;
            }
        }
    };
    assert_eq!(soon("she has left", left).await, CloseReason::Left);
}

#[tokio::test]
async fn h14_large_packets_that_vanish_stop_neither_chat_nor_media() {
    let relay = Launch::new(&CROWDED).start();
    for (over, from_the_start) in [(Over::Quic, false), (Over::WebTransport, false), (Over::Quic, true)] {
        let way = Proxy::start(relay.target.quic, "", 14).await;
        let narrow = || way.apply("mtu 1232");
        if from_the_start {
            narrow();
        }
        let mut ana = Session::member(by(&relay, &way), over, "narrow", "Ana").await;
        let mut ben = Session::member(by(&relay, &way), over, "narrow", "Ben").await;
        let track = ana.publish().await;
        for round in 0..10u8 {
            let sequence = ana.say_kept(&"x".repeat(10_000)).await;
            assert_eq!(ben.heard().await.sequence, sequence, "{over:?}");
            if round == 4 {
                // Larger packets have been found to pass, and suddenly do not any more.
                narrow();
            }
        }
        let media = async {
            loop {
                ana.media(datagram(track, &[7; Datagram::PAYLOAD_BYTES_MAX])).await;
                if let Ok(Some(Incoming::Media(datagram))) =
                    timeout(Duration::from_millis(50), ben.incoming.recv()).await
                {
                    return datagram;
                }
            }
        };
        assert_eq!(payload(&soon("media", media).await), [7; Datagram::PAYLOAD_BYTES_MAX], "{over:?}");
        ana.leave().await;
        ben.leave().await;
    }
    relay.assert_sound("a narrow path").await;
}
