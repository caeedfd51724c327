//! Section M of the faults: many sessions, and a relay that is short of memory, file descriptors or time; and what is left afterwards.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use support::bystander::repeatable;
use support::child::{ChildRelay, Launch, Resources};
use support::http::{exchange, upgrade};
use support::quic::{endpoint, soon};
use support::scene::{CROWDED, MEMORY_KEPT_MAX, Scene, turn};
use support::session::{CARRIERS, Incoming, Over, Session, Target, join_of, message_id, plain};
use tertulia::limits::IDLE_TIMEOUT;
use tertulia::wire::*;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// CPU time that a process has used.
fn cpu_time(relay: &ChildRelay) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/stat", relay.id())).unwrap();
    let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // The kernel tells it in hundredths of a second, whatever its own clock does.
    Duration::from_millis(ticks * 10)
}

/// How many sessions there are in the tests of many: most tests run with a bound of 1,024 file descriptors.
const MANY_WEBSOCKETS: usize = 400;
const MANY_QUIC: usize = 600;

/// As many handshakes as one thread of this process carries through before the relay gives them up; the others wait for them.
const RETURNING_AT_A_TIME: usize = 100;

/// Many sessions with seats, a hundred to a room, and their tickets.
async fn many(target: Target) -> Vec<(Session, Join)> {
    let shared = endpoint(ALPN_QUIC);
    let mut sessions = Vec::new();
    for number in 0..MANY_WEBSOCKETS + MANY_QUIC {
        let join = Join { auto_subscribe: false, ..join_of(&format!("many-{}", number / 100), "someone") };
        let session = match number < MANY_QUIC {
            true => Session::connect_by(&shared, target.quic).await,
            false => Session::connect(target, Over::WebSocket).await,
        };
        let (mut session, welcome) = session.unwrap().seated(join.clone()).await.unwrap();
        session.rest();
        sessions.push((session, Join { ticket: Some(welcome.ticket), ..join }));
    }
    sessions
}

/// What an idle session may cost, in bytes, on average of [`MANY_QUIC`] over QUIC and [`MANY_WEBSOCKETS`] over WebSocket.
const IDLE_SESSION_BYTES_MAX: usize = 48 * 1024;

/// The same by carrier and by how many are in a room. These clients ping five times a second, which fills the 32 places of quinn's
/// channel for each connection, and a hundred in a room are told of each other: over WebTransport 2 to 8 KiB more than really idle ones of
/// small rooms cost, and on a busy machine 2 to 6 KiB on top of that.
const SESSION_BYTES_MAX: [(Over, usize, usize); 3] =
    [(Over::WebTransport, 10, 92 * 1024), (Over::WebTransport, 100, 96 * 1024), (Over::WebSocket, 10, 18 * 1024)];

/// Sessions that join before it is measured: what all share, and what the allocator takes in large pieces, is there then.
const SHARERS: usize = 100;

#[tokio::test]
async fn m10_an_idle_session_costs_little() {
    let _turn = turn().await;
    for (over, in_a_room, bytes_max) in SESSION_BYTES_MAX {
        let relay = Launch::new(&CROWDED).start();
        let (mut sessions, mut few) = (Vec::new(), None);
        for number in 0..SHARERS + 400 {
            if number == SHARERS {
                few = Some(relay.resources().await.resident_bytes);
            }
            let room = format!("many-{}", number / in_a_room);
            let join = Join { auto_subscribe: false, ..join_of(&room, "someone") };
            let (mut session, _) = Session::join(relay.target, over, join).await.unwrap();
            session.rest();
            sessions.push(session);
        }
        let more = relay.resources().await.resident_bytes - few.unwrap();
        let each = more / (sessions.len() - SHARERS);
        println!("over {over:?}, {in_a_room} in a room: {each} bytes each");
        assert!(each < bytes_max, "{each} bytes each");
    }
}

#[tokio::test]
async fn m10_m12_m13_a_thousand_wait_and_all_come_back_after_a_crash() {
    let _turn = turn().await;
    let mut launch = Launch::new(&CROWDED);
    let relay = launch.start();
    let target = relay.target;
    let empty = relay.resources().await;
    let begin = Instant::now();
    let sessions = many(target).await;
    let full = relay.resources().await;
    let each = (full.resident_bytes - empty.resident_bytes) / sessions.len();
    let came_in = begin.elapsed();
    let used_coming = cpu_time(&relay);
    println!("{} sessions in {came_in:?} and {used_coming:?} of the relay's, {each} bytes each", sessions.len());
    assert!(each < IDLE_SESSION_BYTES_MAX, "{each} bytes each");
    let begin = Instant::now();
    sleep(Duration::from_secs(2)).await;
    let (used, time) = (cpu_time(&relay) - used_coming, begin.elapsed());
    let later = relay.resources().await;
    println!(
        "waiting takes {used:?} of {time:?}, and {} bytes more",
        later.resident_bytes as i64 - full.resident_bytes as i64
    );
    assert!(used < time / 2, "{used:?} of {time:?} for nothing");
    assert!(later.resident_bytes < full.resident_bytes + 4 * 1024 * 1024);

    relay.kill();
    let mut joins = Vec::new();
    for (session, join) in sessions {
        drop(session);
        joins.push(join);
    }
    let relay = launch.start();
    let begin = Instant::now();
    let shared = endpoint(ALPN_QUIC);
    let at_a_time = Semaphore::new(RETURNING_AT_A_TIME);
    let back = join_all((0..).zip(&joins).map(|(number, join)| {
        let (shared, at_a_time) = (&shared, &at_a_time);
        async move {
            // As clients do it: at a random moment, which the number is good enough for.
            sleep(Duration::from_millis((number as u64 * 7919) % 2000)).await;
            loop {
                let turn = at_a_time.acquire().await.unwrap();
                let session = match number < MANY_QUIC {
                    true => Session::connect_by(shared, target.quic).await,
                    false => Session::connect(target, Over::WebSocket).await,
                };
                if let Ok(session) = session {
                    match session.seated(join.clone()).await {
                        Ok(seated) => return seated,
                        // What this process sends may come too late as well, or what it gets.
                        Err(CloseReason::JoinTimeout | CloseReason::HandshakeTimeout | CloseReason::ConnectionLost) => {
                        }
                        Err(reason) => panic!("{number}: {reason:?}"),
                    }
                }
                drop(turn);
                sleep(Duration::from_millis(300)).await;
            }
        }
    }))
    .await;
    let (took, used) = (begin.elapsed(), cpu_time(&relay));
    println!("all are back {took:?} after the restart, which took the relay {used:?}");
    // Most of the time is that of a thousand clients in one thread, and of other tests beside. The relay's own work is to be that of letting
    // them in for the first time, and not much more, on whichever machine.
    assert!(used < 2 * used_coming, "{used:?} of work for {} returns, {used_coming:?} before", joins.len());
    // Optimised, it has to leave the others enough of ten seconds.
    assert!(cfg!(debug_assertions) || used < Duration::from_secs(5), "{used:?} of work for {} returns", joins.len());
    let most = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 10 });
    assert!(took < most.max(Duration::from_secs(2) + 4 * came_in), "{took:?}");
    let mut seats = BTreeMap::new();
    for ((_, welcome), join) in back.iter().zip(&joins) {
        assert!(seats.insert((&join.room, welcome.participant), ()).is_none(), "two have one seat");
    }
    let resources = soon("everyone is counted once", once(&relay, joins.len())).await;
    assert!(resources.resident_bytes < 256 * 1024 * 1024, "{resources:?}");
    relay.assert_sound("a storm of reconnections").await;
}

/// When there are so many participants: those that gave up an attempt may be counted in two sessions before.
async fn once(relay: &ChildRelay, participants: usize) -> Resources {
    loop {
        let resources = relay.resources().await;
        if resources.participants == participants as i64 {
            return resources;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn m13_nobody_new_comes_in_while_memory_is_short() {
    repeatable(async || {
        let empty = {
            let _turn = turn().await;
            let relay = Launch::new(&CROWDED).start();
            Session::member(relay.target, Over::Quic, "first", "First").await;
            relay.resources().await.resident_bytes
        };
        // Four fifths of it are what one with a few sessions has, and 20 MB.
        let bytes_max = (empty + 20_000_000) / 4 * 5;
        let megabytes = (bytes_max / 1_000_000).to_string();
        let mut scene = Scene::crowded(&["--memory-megabytes", &megabytes]).await;
        let shared = endpoint(ALPN_QUIC);
        let mut members = Vec::new();
        let refused = loop {
            assert!(members.len() < 2000, "it never refuses");
            let session = match Session::connect_by(&shared, scene.target().quic).await {
                Ok(session) => session,
                Err(refused) => break refused,
            };
            let room = format!("many-{}", members.len() / 20);
            match session.seated(join_of(&room, "someone")).await {
                Ok((member, _)) => members.push(member),
                // Memory has become short during its handshake.
                Err(CloseReason::TooFast) => break "too late".to_owned(),
                Err(reason) => panic!("{reason:?}"),
            }
        };
        let resources = scene.relay.resources().await;
        println!("{} sessions, {refused}, {resources:?} of {bytes_max}", members.len());
        assert!(members.len() > 50 && resources.resident_bytes < bytes_max);
        scene.bystander.begin_measuring();
        for _ in 0..100 {
            let reply = exchange(scene.target().http, &upgrade("/", "localhost", "")).await;
            assert!(reply.status() == Some(503) && reply.body().contains("busy"), "{}", reply.text);
            assert!(Session::connect_by(&shared, scene.target().quic).await.is_err());
        }
        assert_eq!(scene.relay.metric("tertulia_memory_short").await, 1);
        scene.assert_undisturbed("short memory").await;
        assert!(scene.relay.resources().await.resident_bytes < bytes_max);
        // Who leaves makes place for someone else.
        members.pop().unwrap().leave().await;
        let again = async {
            loop {
                match Session::connect_by(&shared, scene.target().quic).await {
                    Ok(session) => return session.seated(join_of("many", "again")).await.unwrap().0,
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            }
        };
        members.push(soon("a place", again).await);
        for member in members {
            member.leave().await;
        }
        scene.relay.until("tertulia_rooms", |rooms| rooms == 1).await;
        scene.assert_undisturbed("short memory that is free again").await;
    })
    .await;
}

#[tokio::test]
async fn m14_without_file_descriptors_those_who_are_in_notice_nothing() {
    repeatable(async || {
        let limited = Launch::new(&CROWDED).after("ulimit -n 64");
        let mut scene = Scene::of(limited, |_| None).await;
        let mut idle = Vec::new();
        for _ in 0..100 {
            idle.push(TcpStream::connect(scene.target().http).await.unwrap());
        }
        scene.bystander.assert_undisturbed("no file descriptors").await;
        let log = scene.relay.log();
        assert!(log.contains("no TCP connection could be accepted"), "{log}");
        drop(idle);
        // Who comes over UDP needs none.
        Session::member(scene.target(), Over::Quic, "late", "Late").await.leave().await;
        scene.close("no file descriptors").await;
    })
    .await;
}

/// Stops the relay's process for a while.
async fn freeze(relay: &ChildRelay, time: Duration) {
    relay.signal("-STOP");
    sleep(time).await;
    relay.signal("-CONT");
}

#[tokio::test]
async fn m15_a_relay_that_stood_still_goes_on_and_repeats_nothing() {
    let mut launch = Launch::new(&CROWDED);
    let relay = launch.start();
    let mut sessions = Vec::new();
    for over in CARRIERS {
        let join = join_of("still", "Talker");
        sessions.push((over, join.clone(), Session::join(relay.target, over, join).await.unwrap()));
    }
    let mut said = Vec::new();
    for (_, _, (session, _)) in &mut sessions {
        let id = message_id();
        session.chat(&ClientChat::Send { message_id: id, to: None, body: "before".into() }).await;
        said.push(id);
    }
    freeze(&relay, Duration::from_secs(3)).await;
    for ((over, _, (session, _)), id) in sessions.iter_mut().zip(&said) {
        let answer = session.answer_to(*id).await;
        assert!(matches!(answer, ServerChat::Accepted { .. }), "{over:?}: {answer:?}");
        session.assert_seated("three seconds are not too long").await;
    }
    // Longer than silence may last: everyone is given up, and comes back to the own seat.
    freeze(&relay, IDLE_TIMEOUT + Duration::from_secs(1)).await;
    for ((over, join, (mut session, welcome)), id) in sessions.into_iter().zip(&said) {
        let reason = session.ended().await;
        assert!(matches!(reason, CloseReason::ConnectionLost | CloseReason::IdleTimeout), "{over:?}: {reason:?}");
        let chat_after = Some(ChatPosition { epoch: welcome.chat.epoch, sequence: 0 });
        let back = Join { ticket: Some(welcome.ticket), chat_after, ..join };
        let (mut back, welcomed) = Session::join(relay.target, over, back).await.unwrap();
        assert!(welcomed.resumed && welcomed.participant == welcome.participant, "{over:?}");
        let mut heard: Vec<_> = back.history().await.iter().map(|message| message.message_id).collect();
        heard.sort_unstable();
        assert_eq!(heard, said, "{over:?}: each once");
        // It cannot know that this was said.
        back.say_as(*id, "before").await;
        assert_eq!(welcomed.chat.sequence, said.len() as u64, "{over:?}");
    }
    relay.assert_sound("standing still").await;
}

/// Two that never rest on the relay's processor, until the value is dropped.
struct Spinners([std::process::Child; 2]);

impl Spinners {
    /// They inherit from `sh` where they may run, which is on the processor of the process with this id.
    fn beside(id: u32) -> Self {
        let line = format!(
            "taskset --pid --cpu-list $(taskset --pid --cpu-list {id} | sed 's/.*: //') $$ >/dev/null; while :; do :; done"
        );
        Self([(); 2].map(|()| std::process::Command::new("sh").args(["-c", &line]).spawn().unwrap()))
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for spinner in &mut self.0 {
            let _ = spinner.kill();
            let _ = spinner.wait();
        }
    }
}

/// Of a processor that two others want as well, a relay with the lowest priority gets about a hundredth.
#[tokio::test]
async fn m15_a_relay_that_is_starved_gives_nobody_up_and_repeats_nothing() {
    let _turn = turn().await;
    let relay = Launch::new(&CROWDED).after("renice -n 19 -p $$ >/dev/null").on_one_processor().start();
    let mut sessions = Vec::new();
    for over in CARRIERS {
        let mut session = Session::member(relay.target, over, "starved", "Talker").await;
        // Where others want the processor too, an answer may take seconds.
        session.patience = Duration::from_secs(60);
        sessions.push((over, session));
    }
    let used = cpu_time(&relay);
    let spinners = Spinners::beside(relay.id());
    let begin = Instant::now();
    let mut said = Vec::new();
    // Longer than silence may last.
    while begin.elapsed() < IDLE_TIMEOUT + Duration::from_secs(2) {
        for (_, session) in &mut sessions {
            said.push(session.say_kept("hungry").await);
        }
        sleep(Duration::from_millis(500)).await;
    }
    drop(spinners);
    println!("{} messages in {:?}, {:?} of the processor", said.len(), begin.elapsed(), cpu_time(&relay) - used);
    assert!(said.is_sorted_by(|one, next| one < next), "{said:?}");
    for (over, session) in &mut sessions {
        session.assert_seated("nobody was given up").await;
        let from_others = session.rest().into_iter().filter_map(|incoming| match incoming {
            Incoming::Chat(ServerChat::Message(message)) => Some(message.sequence),
            _ => None,
        });
        let heard: Vec<_> = from_others.collect();
        assert!(heard.is_sorted_by(|one, next| one < next), "{over:?}: each once and in order: {heard:?}");
        assert_eq!(heard.len(), said.len() / CARRIERS.len() * (CARRIERS.len() - 1), "{over:?}: {heard:?}");
    }
    relay.assert_sound("starving").await;
}

/// Some come over each carrier, and go: by a goodbye, by a close, or without a word.
async fn come_and_go(target: Target, rounds: usize) {
    let shared = endpoint(ALPN_QUIC);
    for number in 0..rounds {
        let room = format!("cycle-{}", number % 7);
        for count in 0..8 {
            let session = Session::connect_by(&shared, target.quic).await.unwrap();
            let (session, _) = session.seated(join_of(&room, "a")).await.unwrap();
            if count % 2 == 0 { session.leave().await } else { session.connection().close(0u32.into(), b"") }
        }
        Session::member(target, Over::WebTransport, &room, "a").await.leave().await;
        for _ in 0..12 {
            Session::member(target, Over::WebSocket, &room, "a").await.leave().await;
            drop(plain(target, &format!("/{room}"), None).await.unwrap());
            drop(TcpStream::connect(target.http).await.unwrap());
        }
    }
}

#[tokio::test]
async fn m16_nothing_is_left_of_those_who_came_and_went() {
    // Two shards have one processor here as well: fewer rounds.
    for (shards, rounds) in [("1", 20), ("2", 10)] {
        repeatable(async || nothing_is_left(shards, rounds).await).await;
    }
}

async fn nothing_is_left(shards: &str, rounds: usize) {
    let scene = Scene::crowded(&["--seat-seconds", "1", "--shards", shards]).await;
    come_and_go(scene.target(), rounds).await;
    scene.relay.assert_at_rest("the first round", scene.before, 4 * MEMORY_KEPT_MAX).await;
    let first = scene.relay.resources().await;
    come_and_go(scene.target(), rounds).await;
    let more = first.resident_bytes / 20;
    println!("{} sessions; {first:?}", rounds * 45 * 2);
    scene.relay.assert_at_rest("the second round", first, more).await;
    assert!(scene.relay.resources().await.threads <= first.threads);
    scene.relay.assert_sound("coming and going").await;
}

#[tokio::test]
async fn m17_rooms_with_random_names_are_bounded_and_forgotten() {
    repeatable(async || {
        let mut scene = Scene::crowded(&["--history-rooms", "10"]).await;
        for number in 0..300 {
            let mut visitor = Session::member(scene.target(), Over::WebSocket, &format!("random-{number}"), "a").await;
            if number % 3 == 0 {
                visitor.say_kept(&"x".repeat(10_000)).await;
            }
            visitor.leave().await;
        }
        scene.relay.until("tertulia_rooms", |rooms| rooms == 1).await;
        scene.assert_undisturbed("random rooms").await;
        let file = fs::metadata(scene.launch.directory.path().join("data/chat.redb")).unwrap().len();
        assert!(file < 8 * 1024 * 1024, "{file} bytes");
        let mut kept = 0;
        for number in (0..300).step_by(3) {
            let join = Join { chat_after: Some(ChatPosition::START), ..join_of(&format!("random-{number}"), "b") };
            let (mut visitor, _) = Session::join(scene.target(), Over::WebSocket, join).await.unwrap();
            kept += visitor.history().await.len();
            visitor.leave().await;
        }
        assert!((1..=20).contains(&kept), "the chat of {kept} rooms is kept");
        scene.close("random rooms").await;
    })
    .await;
}
