//! Every limit is reached while a meeting in another room goes on.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use support::bystander::{disturbed, repeatable};
use support::child::{ChildRelay, Launch};
use support::http::{exchange, upgrade};
use support::quic::soon;
use support::rate::Rate;
use support::scene::{CROWDED, Scene};
use support::session::{CARRIERS, Over, Session, camera, join_of, message_id, plain};
use support::sources::Sources;
use support::tokens::unix_s;
use tertulia::history::{History, HistoryPlace, Outcome};
use tertulia::limits::Limits;
use tertulia::room::RoomNotes;
use tertulia::wire::*;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

/// Where each limit is reached: the name of the test. A new limit does not compile until it stands here.
fn reached(limits: Limits) -> Vec<(&'static str, &'static str)> {
    let Limits {
        sessions: _,
        sessions_per_address: _,
        tcp_connections_per_address: _,
        handshakes_per_second_per_address: _,
        handshakes_burst_per_address: _,
        refused_tokens_per_minute_per_address: _,
        rooms: _,
        participants_per_room: _,
        tracks_per_participant: _,
        subscriptions_per_participant: _,
        chat_bytes: _,
        chat_per_second: _,
        chat_burst: _,
        requests_per_second: _,
        requests_burst: _,
        messages_per_second: _,
        messages_burst: _,
        history_messages: _,
        history_bytes: _,
        history_rooms: _,
        history_days: _,
        media_datagrams_per_second: _,
        media_bits_per_second: _,
        loudest_audio: _,
        last_videos: _,
        audio_deadline_ms: _,
        video_deadline_ms: _,
        seat_seconds: _,
        removed_minutes: _,
        same_identity: _,
        outbox_bytes: _,
        outbox_messages: _,
        memory_megabytes: _,
    } = limits;
    vec![
        ("sessions", "sessions_in_all_are_bounded_beside_a_meeting"),
        ("sessions_per_address", "sessions_of_one_address_are_bounded_beside_a_meeting"),
        ("tcp_connections_per_address", "tcp_connections_are_bounded_beside_a_meeting"),
        ("handshakes_per_second_per_address", "connections_that_begin_too_fast_are_refused_beside_a_meeting"),
        ("handshakes_burst_per_address", "connections_that_begin_too_fast_are_refused_beside_a_meeting"),
        ("refused_tokens_per_minute_per_address", "tokens_are_guessed_no_faster_than_the_limit"),
        ("rooms", "rooms_people_tracks_and_requests_are_bounded"),
        ("participants_per_room", "rooms_people_tracks_and_requests_are_bounded"),
        ("tracks_per_participant", "rooms_people_tracks_and_requests_are_bounded"),
        ("subscriptions_per_participant", "subscriptions_are_bounded_beside_a_meeting"),
        ("chat_bytes", "m4_chat_that_is_too_long_or_too_fast_is_refused_and_the_rest_is_said"),
        ("chat_per_second", "m4_chat_that_is_too_long_or_too_fast_is_refused_and_the_rest_is_said"),
        ("chat_burst", "m4_chat_that_is_too_long_or_too_fast_is_refused_and_the_rest_is_said"),
        ("requests_per_second", "rooms_people_tracks_and_requests_are_bounded"),
        ("requests_burst", "rooms_people_tracks_and_requests_are_bounded"),
        ("messages_per_second", "m4_a_flood_of_messages_ends_its_session_whatever_they_are"),
        ("messages_burst", "m4_a_flood_of_messages_ends_its_session_whatever_they_are"),
        ("history_messages", "what_is_kept_of_a_room_is_bounded"),
        ("history_bytes", "what_is_kept_of_a_room_is_bounded"),
        ("history_rooms", "m17_rooms_with_random_names_are_bounded_and_forgotten"),
        ("history_days", "chat_that_is_too_old_is_forgotten_beside_a_meeting"),
        ("media_datagrams_per_second", "m5_a_flood_of_datagrams_is_cut_before_it_is_passed_on"),
        ("media_bits_per_second", "media_is_bounded_in_bits_as_well"),
        ("loudest_audio", "the_loudest_are_heard_and_the_last_speakers_are_seen_beside_a_meeting"),
        ("last_videos", "the_loudest_are_heard_and_the_last_speakers_are_seen_beside_a_meeting"),
        ("audio_deadline_ms", "what_waits_beyond_its_deadline_is_left_out_beside_a_meeting"),
        ("video_deadline_ms", "what_waits_beyond_its_deadline_is_left_out_beside_a_meeting"),
        ("seat_seconds", "seats_that_nobody_comes_back_to_end_beside_a_meeting"),
        ("removed_minutes", "removed_people_knock_in_vain_beside_a_meeting"),
        ("same_identity", "a5_a_token_that_is_used_twice_is_one_person"),
        ("outbox_bytes", "m8_a_slow_reader_is_closed_and_finds_the_rest_when_it_comes_back"),
        ("outbox_messages", "an_outbox_is_bounded_in_messages_as_well"),
        ("memory_megabytes", "m13_nobody_new_comes_in_while_memory_is_short"),
    ]
}

/// Where each constant is reached that a client can run into, beside a meeting too.
const CONSTANTS_REACHED: [(&str, &str); 15] = [
    (
        "CONNECTIONS_UNVALIDATED_MAX",
        "h1_h2_a_flood_of_first_packets_is_asked_for_proof_and_what_never_finishes_is_dropped",
    ),
    ("CONNECTIONS_PENDING_MAX", "h1_beyond_as_many_as_may_wait_first_packets_are_passed_over"),
    ("HANDSHAKE_TIMEOUT", "h3_a_connection_without_a_session_is_closed"),
    ("MESSAGE_TIMEOUT", "w4_a_control_message_that_does_not_end_ends_the_session"),
    ("IDLE_TIMEOUT", "n8_a_dead_uplink_is_noticed_by_the_relay"),
    ("STREAMS_BIDIRECTIONAL_MAX", "w13_streams_that_nobody_reads_are_bounded"),
    ("STREAMS_UNIDIRECTIONAL_MAX", "w13_streams_that_nobody_reads_are_bounded"),
    ("STREAM_WINDOW_BYTES", "w13_streams_that_nobody_reads_are_bounded"),
    ("CONNECTION_WINDOW_BYTES", "w13_streams_that_nobody_reads_are_bounded"),
    ("STREAM_FRAMES_PER_PACKET_MAX", "h10_streams_with_gaps_are_bounded"),
    ("STREAM_FRAMES_FREE", "h10_streams_with_gaps_are_bounded"),
    ("PINGS_PER_SECOND", "s5_pings_beyond_ten_a_second_end_the_websocket"),
    ("MESSAGE_BYTES_MAX", "m4_chat_that_is_too_long_or_too_fast_is_refused_and_the_rest_is_said"),
    ("FRAGMENTS_MAX", "a_wrong_datagram_is_counted_by_what_is_wrong_and_the_session_goes_on"),
    ("MEDIA_BYTES_MAX", "a_wrong_datagram_is_counted_by_what_is_wrong_and_the_session_goes_on"),
];

#[test]
fn every_limit_has_a_test_that_reaches_it() {
    let sources = Sources::read();
    let reached = reached(Limits::default());
    let debugged = format!("{:?}", Limits::default());
    assert_eq!(reached.len(), debugged.matches(": ").count(), "one line for each limit");
    for (limit, _) in &reached {
        assert!(debugged.contains(&format!("{limit}: ")), "{limit} is none");
    }
    for (constant, _) in CONSTANTS_REACHED {
        assert!(sources.contain(&format!("pub const {constant}: ")), "{constant} is none");
    }
    let missing = reached.into_iter().chain(CONSTANTS_REACHED).filter_map(|(bound, test)| {
        let missing = sources.beside_a_meeting(test).err()?;
        Some(format!("{bound}: {missing}"))
    });
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn every_test_that_the_page_of_faults_names_is_there() {
    let sources = Sources::read();
    let page = include_str!("FAULTS.md");
    let mut named = 0;
    for word in page.split('`') {
        let Some((file, test)) = word.split_once("::") else { continue };
        let path = format!("tests/{file}.rs");
        let function = format!("fn {test}(");
        let is_there = match std::fs::read_to_string(&path) {
            Ok(text) => text.contains(&function),
            // Beside the code: `room`, `auth`.
            Err(_) => sources.contain(&function),
        };
        assert!(is_there, "there is no {word}");
        named += 1;
    }
    let covered = page.lines().filter(|line| line.starts_with("| ") && line.contains("`")).count();
    assert!(named >= 70 && covered >= 70, "{named} tests for {covered} cases");
}

fn failed(answer: &ServerMessage) -> Option<RefuseReason> {
    match answer {
        ServerMessage::Failed { reason, .. } => Some(*reason),
        _ => None,
    }
}

/// Stops a relay for a while, again and again, until the value is dropped.
struct HeldUp<'a> {
    relay: &'a ChildRelay,
    shell: std::process::Child,
}

impl<'a> HeldUp<'a> {
    /// It goes on for twice as long between two stops.
    fn begin(relay: &'a ChildRelay, stopped: Duration) -> Self {
        let line = "while kill -STOP $0; do sleep $1; kill -CONT $0; sleep $2; done 2>/dev/null";
        let [id, stopped, between] =
            [relay.id().to_string(), stopped.as_secs_f64().to_string(), (2 * stopped).as_secs_f64().to_string()];
        let shell = std::process::Command::new("sh").args(["-c", line, &id, &stopped, &between]).spawn().unwrap();
        Self { relay, shell }
    }
}

impl Drop for HeldUp<'_> {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        self.relay.signal("-CONT");
    }
}

/// Whether the meeting notices that the relay stands still for so long, again and again. `None` where the meeting that nothing is
/// beside was held up nearly as long: then a twentieth of what was measured is not above the bound.
async fn is_noticed(scene: &mut Scene, stopped: Duration) -> Option<bool> {
    let _held_up = HeldUp::begin(&scene.relay, stopped);
    scene.bystander.begin_measuring();
    match scene.bystander.compare(&format!("held up for {stopped:.1?}")).await {
        (_, Err(_)) => Some(true),
        (bound, Ok(())) => (bound < stopped.mul_f64(0.85)).then_some(false),
    }
}

/// How often a short stop may pass unnoticed, as the machine may be slower meanwhile than it was before.
const SHORT_STOPS: usize = 3;

/// How often the machine may hold up both meetings, and nothing is learned.
const LEARNED_NOTHING_MAX: usize = 6;

/// Of so many times that the relay stands still, one is noticed; those do not count of which nothing is learned.
async fn assert_noticed(scene: &mut Scene, stopped: impl AsyncFn(&mut Scene) -> Duration, tries: usize) {
    let (mut unnoticed, mut learned_nothing) = (0, 0);
    loop {
        let stopped = stopped(scene).await;
        match is_noticed(scene, stopped).await {
            Some(true) => return,
            Some(false) => unnoticed += 1,
            None => learned_nothing += 1,
        }
        assert!(unnoticed < tries, "{stopped:.1?} are not noticed");
        if learned_nothing > LEARNED_NOTHING_MAX {
            disturbed(format!("{stopped:.1?} are not noticed where everything is held up"));
        }
    }
}

/// The bound of all these tests can be missed: by a relay that stands still, now and then, for 100 ms, and for no longer than
/// twice the p99 that the meeting has anyway.
#[tokio::test]
async fn a_relay_that_is_held_up_is_noticed() {
    repeatable(async || {
        let mut scene = Scene::crowded(&[]).await;
        let long = async |_: &mut Scene| Duration::from_millis(100);
        assert_noticed(&mut scene, long, 1).await;
        let short = async |scene: &mut Scene| {
            scene.bystander.begin_measuring();
            2 * scene.bystander.usual().await
        };
        assert_noticed(&mut scene, short, SHORT_STOPS).await;
        scene.bystander.begin_measuring();
        scene.close("no more held up").await;
    })
    .await;
}

#[tokio::test]
async fn rooms_people_tracks_and_requests_are_bounded() {
    repeatable(async || {
        let limits = ["--rooms", "3", "--participants-per-room", "3", "--tracks-per-participant", "2"];
        let rates = ["--requests-per-second", "5", "--requests-burst", "20"];
        let scene = Scene::crowded(&[&limits[..], &rates].concat()).await;
        let target = scene.target();
        for over in CARRIERS {
            let mut members = Vec::new();
            for name in ["a", "b", "c"] {
                members.push(Session::member(target, over, "full", name).await);
            }
            let one_more = Session::join(target, over, join_of("full", "d")).await.err();
            assert_eq!(one_more, Some(CloseReason::RoomFull), "{over:?}");
            let other = Session::member(target, over, "other", "a").await;
            let one_more = Session::join(target, over, join_of("third", "a")).await.err();
            assert_eq!(one_more, Some(CloseReason::RoomsFull), "{over:?}");

            let publisher = &mut members[0];
            publisher.publish().await;
            publisher.publish().await;
            let third = publisher.request(&ClientMessage::Publish { request: 1, track: camera() }).await;
            assert_eq!(failed(&third), Some(RefuseReason::TracksFull), "{over:?}");

            let greedy = &mut members[1];
            let mut refused = 0;
            for request in 0..60 {
                let answer = greedy.request(&ClientMessage::SetAutoSubscribe { request, enabled: true }).await;
                refused += usize::from(failed(&answer) == Some(RefuseReason::TooFast));
            }
            assert!((1..=40).contains(&refused), "{refused} of 60 over {over:?}");
            for member in members {
                member.leave().await;
            }
            other.leave().await;
            scene.relay.until("tertulia_rooms", |rooms| rooms == 1).await;
        }
        scene.close("full rooms").await;
    })
    .await;
}

#[tokio::test]
async fn subscriptions_are_bounded_beside_a_meeting() {
    repeatable(async || {
        let scene = Scene::crowded(&["--subscriptions-per-participant", "2"]).await;
        for over in CARRIERS {
            let mut listener = Session::member(scene.target(), over, "many-tracks", "Listener").await;
            let mut publisher = Session::member(scene.target(), Over::Quic, "many-tracks", "Publisher").await;
            for _ in 0..2 {
                publisher.publish().await;
            }
            let track = publisher.publish().await;
            // Two came by themselves.
            let third = listener.request(&ClientMessage::Subscribe { request: 7, track }).await;
            assert_eq!(failed(&third), Some(RefuseReason::SubscriptionsFull), "{over:?}");
            listener.leave().await;
            publisher.leave().await;
            scene.relay.until("tertulia_rooms", |rooms| rooms == 1).await;
        }
        scene.close("many subscriptions").await;
    })
    .await;
}

#[tokio::test]
async fn seats_that_nobody_comes_back_to_end_beside_a_meeting() {
    repeatable(async || {
        let scene = Scene::crowded(&["--seat-seconds", "1"]).await;
        let mut witness = Session::member(scene.target(), Over::Quic, "ghosts", "Witness").await;
        for over in CARRIERS {
            for _ in 0..5 {
                Session::member(scene.target(), over, "ghosts", "Ghost").await.cut();
            }
        }
        let mut left = 0;
        while left < 5 * CARRIERS.len() {
            left += usize::from(matches!(witness.told().await, ServerMessage::ParticipantLeft { .. }));
        }
        witness.leave().await;
        scene.close("ghosts").await;
    })
    .await;
}

#[tokio::test]
async fn tcp_connections_are_bounded_beside_a_meeting() {
    repeatable(async || {
        let few = ["--tcp-connections-per-address", "20"];
        let mut scene = Scene::open(&[&CROWDED[..2], &CROWDED[4..], &few].concat()).await;
        let mut silent = Vec::new();
        for _ in 0..60 {
            silent.push(TcpStream::connect(scene.target().http).await.unwrap());
        }
        scene.assert_undisturbed("silent TCP connections").await;
        drop(silent);
        let refused = "tertulia_refused_total{reason=\"connections_of_address\"}";
        scene.relay.until(refused, |refused| refused >= 40).await;
        scene.close("silent TCP connections").await;
    })
    .await;
}

/// A plain client understands no refusal: what it says too fast is read later, and all of it is said.
#[tokio::test]
async fn a_plain_client_that_says_too_much_is_read_on_later_beside_a_meeting() {
    repeatable(async || {
        let scene = Scene::crowded(&[]).await;
        let limits = Limits::default();
        let mut listener = Session::member(scene.target(), Over::WebSocket, "plain", "Listener").await;
        let mut talker = plain(scene.target(), "/r/plain", None).await.unwrap();
        let begin = Instant::now();
        let late = 2 * limits.chat_per_second;
        for number in 0..limits.chat_burst + late {
            talker.feed(Message::text(number.to_string())).await.unwrap();
        }
        talker.flush().await.unwrap();
        for number in 0..limits.chat_burst + late {
            assert_eq!(listener.heard().await.body, number.to_string());
        }
        assert!(begin.elapsed() >= Duration::from_millis(1900), "{:?}", begin.elapsed());
        let waits = scene.relay.metric("tertulia_plain_waits_total").await;
        assert!((1..=i64::from(late)).contains(&waits), "{waits} waits for {late} that were too fast");
        drop(talker);
        listener.leave().await;
        scene.close("a plain client that says too much").await;
    })
    .await;
}

#[tokio::test]
async fn what_is_kept_of_a_room_is_bounded() {
    repeatable(async || {
        for (limit, value, body, most) in
            [("--history-messages", "20", "short".to_owned(), 20), ("--history-bytes", "20000", "x".repeat(3000), 6)]
        {
            let scene = Scene::crowded(&["--chat-burst", "1000", limit, value]).await;
            let mut talker = Session::member(scene.target(), Over::Quic, "kept", "Talker").await;
            let mut last = 0;
            for _ in 0..50 {
                last = talker.say_kept(&body).await;
            }
            let join = Join { chat_after: Some(ChatPosition::START), ..join_of("kept", "Newcomer") };
            let (mut newcomer, _) = Session::join(scene.target(), Over::WebSocket, join).await.unwrap();
            let kept: Vec<_> = newcomer.history().await.iter().map(|message| message.sequence).collect();
            assert!(kept.len() <= most && kept.len() > most / 2, "{limit}: {kept:?}");
            let first = last + 1 - kept.len() as u64;
            assert_eq!(kept, (first..=last).collect::<Vec<_>>(), "{limit}: the last ones");
            talker.leave().await;
            newcomer.leave().await;
            scene.close(limit).await;
        }
    })
    .await;
}

/// Rooms with chat of 31 days ago, in the data directory of a relay that has not begun.
async fn keep_old_chat(directory: &Path, rooms: usize) {
    let limits = Limits { history_days: 0, ..Limits::default() };
    let (history, mut outcomes) = History::start(HistoryPlace::Directory(directory.into()), limits).unwrap();
    let month_ago = (unix_s() - 31 * 24 * 60 * 60) * 1000;
    for number in 0..rooms {
        let room = RoomName::parse(&format!("old-{number}")).unwrap();
        history.open(room.clone(), 1 + number as u64, month_ago).await.unwrap();
        for sequence in 1..=20 {
            let message = ChatMessage {
                sequence,
                message_id: message_id(),
                from: ParticipantId(1),
                from_name: "Long ago".into(),
                to: None,
                sent_at_ms: month_ago,
                body: "x".repeat(1000),
            };
            history.append(&room, message.into());
        }
        while !matches!(outcomes.recv().await, Some(Outcome::Stored { through: 20, .. })) {}
        history.close(&room, RoomNotes::default(), month_ago);
    }
    history.stop().await;
}

#[tokio::test]
async fn chat_that_is_too_old_is_forgotten_beside_a_meeting() {
    repeatable(async || {
        for (days, expected) in [("32", 20), ("30", 0)] {
            let launch = Launch::new(&[&CROWDED[..], &["--history-days", days]].concat());
            keep_old_chat(&launch.directory.path().join("data"), 60).await;
            let scene = Scene::of(launch, |_| None).await;
            for number in 0..60 {
                let room = format!("old-{number}");
                let join = Join { chat_after: Some(ChatPosition::START), ..join_of(&room, "Visitor") };
                let (mut visitor, _) = Session::join(scene.target(), Over::WebSocket, join).await.unwrap();
                assert_eq!(visitor.history().await.len(), expected, "{days} days");
                visitor.leave().await;
            }
            scene.close(&format!("chat of {days} days")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_outbox_is_bounded_in_messages_as_well() {
    repeatable(async || {
        let rates = ["--chat-per-second", "100000", "--chat-burst", "100000", "--history-messages", "100000"];
        let large = ["--outbox-messages", "50", "--outbox-bytes", "100000000", "--history-bytes", "100000000"];
        let scene = Scene::crowded(&[&rates[..], &large, &["--seat-seconds", "1"]].concat()).await;
        let slow_consumers = "tertulia_sessions_closed_total{reason=\"slow_consumer\"}";
        for (count, over) in (1..).zip(CARRIERS) {
            let mut talker = Session::member(scene.target(), Over::Quic, "outbox", "Talker").await;
            let mut slow = Session::member(scene.target(), over, "outbox", "Slow").await;
            slow.set_reading(false);
            let body = "x".repeat(16_000);
            // More than its outbox and what is on the way to it hold.
            for _ in 0..100 {
                if scene.relay.metric(slow_consumers).await >= count {
                    break;
                }
                let ids: Vec<_> = (0..10).map(|_| message_id()).collect();
                for id in &ids {
                    talker.chat(&ClientChat::Send { message_id: *id, to: None, body: body.clone() }).await;
                }
                for id in ids {
                    talker.answer_to(id).await;
                }
            }
            scene.relay.until(slow_consumers, |closed| closed >= count).await;
            slow.set_reading(true);
            let reason = slow.ended().await;
            assert!(matches!(reason, CloseReason::SlowConsumer | CloseReason::ConnectionLost), "{over:?}: {reason:?}");
            talker.leave().await;
        }
        scene.close("full outboxes").await;
    })
    .await;
}

/// The answer to someone who wants a WebSocket.
async fn refused_websocket(scene: &Scene) -> (Option<u16>, String) {
    let reply = exchange(scene.target().http, &upgrade("/", "localhost", "")).await;
    (reply.status(), reply.body().to_owned())
}

/// There are the two of the bystanders' meeting and four more; then nobody comes in until one has left.
async fn sessions_are_bounded(mut scene: Scene, metric: &str, told: &str) {
    let mut members = Vec::new();
    for over in [Over::Quic, Over::WebTransport, Over::WebSocket, Over::Quic] {
        members.push(Session::member(scene.target(), over, "few", "one").await);
    }
    for _ in 0..30 {
        let (status, body) = refused_websocket(&scene).await;
        assert_eq!(status, Some(503));
        assert!(body.contains(told), "{body}");
        assert!(Session::connect(scene.target(), Over::Quic).await.is_err());
    }
    assert!(scene.relay.metric(metric).await >= 60);
    scene.assert_undisturbed(told).await;
    members.pop().unwrap().leave().await;
    let again = async {
        loop {
            match Session::connect(scene.target(), Over::Quic).await {
                Ok(session) => return session.seated(join_of("few", "again")).await.unwrap().0,
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    members.push(soon("the place that was given back", again).await);
    for member in members {
        member.leave().await;
    }
    scene.close(told).await;
}

#[tokio::test]
async fn sessions_in_all_are_bounded_beside_a_meeting() {
    repeatable(async || {
        let scene = Scene::crowded(&["--sessions", "6"]).await;
        sessions_are_bounded(scene, "tertulia_refused_total{reason=\"sessions\"}", "as many sessions as it can hold")
            .await;
    })
    .await;
}

#[tokio::test]
async fn sessions_of_one_address_are_bounded_beside_a_meeting() {
    repeatable(async || {
        let scene = Scene::open(&[&CROWDED[2..], &["--sessions-per-address", "6"]].concat()).await;
        let metric = "tertulia_refused_total{reason=\"sessions_of_address\"}";
        sessions_are_bounded(scene, metric, "sessions from this address").await;
    })
    .await;
}

#[tokio::test]
async fn connections_that_begin_too_fast_are_refused_beside_a_meeting() {
    repeatable(async || {
        let rates = ["--handshakes-per-second-per-address", "1", "--handshakes-burst-per-address", "10"];
        let mut rate = Rate::begin(10);
        let scene = Scene::open(&rates).await;
        let refused = "tertulia_refused_total{reason=\"handshakes\"}";
        // The bystanders.
        rate.let_in(2);
        let mut over_the_rate = 0;
        for _ in 0..40 {
            match refused_websocket(&scene).await {
                (Some(101), _) => rate.let_in(1),
                (status, told) => {
                    assert!(status == Some(429) && told.contains("too many connections"), "{status:?}: {told}");
                    over_the_rate += 1;
                }
            }
        }
        for over in [Over::Quic, Over::WebSocket] {
            rate.refused(&format!("{over:?} is over the rate"), async || {
                Session::connect(scene.target(), over).await.map_or_else(Err, |_| Ok(()))
            })
            .await;
        }
        let counted = scene.relay.metric(refused).await;
        assert!(over_the_rate > 0 && counted >= over_the_rate + 2, "{over_the_rate} of {counted}");
        let later = async {
            while Session::connect(scene.target(), Over::Quic).await.is_err() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        soon("the rate allows another one", later).await;
        assert!(scene.relay.metric("tertulia_handshakes_retried_total").await > 0);
        scene.close("too many handshakes").await;
    })
    .await;
}
