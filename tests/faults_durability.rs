//! Section D of the faults: crashes, disks that are full, damaged or not there, and mistakes of those who run a relay.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::TestRelay;
use support::bystander::repeatable;
use support::child::Launch;
use support::quic::soon;
use support::scene::{CROWDED, Scene};
use support::session::{CARRIERS, Over, Session, Target, datagram, join_of, message_id, payload, plain};
use tertulia::limits::Limits;
use tertulia::relay::{Callbacks, Verdict};
use tertulia::wire::*;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Everything that is kept of a room.
async fn history(target: Target, room: &str) -> Vec<ChatMessage> {
    let join = Join { chat_after: Some(ChatPosition::START), ..join_of(room, "Newcomer") };
    let (mut session, _) = Session::join(target, Over::WebSocket, join).await.unwrap();
    let messages = session.history().await;
    session.leave().await;
    messages
}

#[tokio::test]
async fn d1_d2_no_acknowledged_message_is_lost_when_the_relay_is_killed() {
    let mut launch = Launch::on_disk(&[&CROWDED[..], &LARGE].concat());
    let mut relay = launch.start();
    let mut acknowledged: Vec<(MessageId, u64)> = Vec::new();
    let mut ticket = None;
    for round in 0..6u64 {
        let over = CARRIERS[round as usize % 3];
        let join = Join { ticket: ticket.clone(), ..join_of("crash", "Talker") };
        let (mut talker, welcome) = Session::join(relay.target, over, join).await.unwrap();
        ticket = Some(welcome.ticket);
        let (tenth, ten) = (Notify::new(), acknowledged.len() + 10);
        let talking = async {
            loop {
                let ids: Vec<_> = (0..5).map(|_| message_id()).collect();
                for id in &ids {
                    talker.chat(&ClientChat::Send { message_id: *id, to: None, body: format!("{round}") }).await;
                }
                for id in ids {
                    let ServerChat::Accepted { sequence, .. } = talker.answer_to(id).await else { panic!("refused") };
                    acknowledged.push((id, sequence));
                }
                if acknowledged.len() >= ten {
                    tenth.notify_one();
                }
            }
        };
        // It is killed somewhere within what follows ten of them, while messages are on their way.
        let killing = async {
            tenth.notified().await;
            sleep(Duration::from_millis(37 * round)).await;
        };
        tokio::select! {
            () = talking => {}
            () = soon("ten acknowledgements", killing) => {}
        }
        relay.kill();
        relay = launch.start();
    }
    assert!(acknowledged.len() >= 60, "{}", acknowledged.len());
    let kept: Vec<_> =
        history(relay.target, "crash").await.iter().map(|kept| (kept.message_id, kept.sequence)).collect();
    let numbers: Vec<_> = kept.iter().map(|(_, sequence)| *sequence).collect();
    assert_eq!(numbers, (1..=kept.len() as u64).collect::<Vec<_>>(), "one after the other");
    for message in &acknowledged {
        assert!(kept.contains(message), "{message:?} was acknowledged and is lost");
    }
    println!("{} acknowledged, {} kept", acknowledged.len(), kept.len());
    // Who repeats what may have been said finds out.
    let mut talker = Session::member(relay.target, Over::Quic, "crash", "Again").await;
    let (id, sequence) = *acknowledged.last().unwrap();
    let again = talker.say_as(id, "again").await;
    assert!(matches!(again, ServerChat::Accepted { sequence: known, .. } if known == sequence), "{again:?}");
    relay.assert_sound("kill -9").await;
}

#[tokio::test]
async fn d3_a_flipped_bit_costs_one_message_at_most() {
    let mut launch = Launch::on_disk(&CROWDED).with("--chat-burst", "10000").with("--log", "warn");
    let relay = launch.start();
    let mut talker = Session::member(relay.target, Over::Quic, "flip", "Talker").await;
    let bodies: Vec<_> = (0..40).map(|number| format!("message {number} {}", "x".repeat(2000))).collect();
    for body in &bodies {
        talker.say_kept(body).await;
    }
    talker.leave().await;
    relay.stop();
    let path = launch.directory.path().join("data/chat.redb");
    let whole = fs::read(&path).unwrap();
    for number in [3, 20, 39] {
        let at = whole.windows(bodies[number].len()).rposition(|window| window == bodies[number].as_bytes()).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[whole[at + 1000] ^ 0x10], (at + 1000) as u64).unwrap();
    }
    let relay = launch.start();
    let kept: Vec<_> = history(relay.target, "flip").await.into_iter().map(|message| message.body).collect();
    for body in &kept {
        assert!(bodies.contains(body), "garbage is served: {}", &body[..20]);
    }
    assert_eq!(kept.len(), bodies.len() - 3, "those three alone are lost");
    relay.until("tertulia_chat_lost_total", |lost| lost == 3).await;
    let mut talker = Session::member(relay.target, Over::Quic, "flip", "Talker").await;
    assert_eq!(talker.say_kept("life goes on").await, bodies.len() as u64 + 1);
    relay.assert_sound("flipped bits").await;
}

/// Talks until something is not kept, which is heard all the same; gives what was kept before.
async fn talk_until_not_kept(ana: &mut Session, ben: &mut Session) -> Vec<u64> {
    let mut kept = Vec::new();
    let body = "x".repeat(15_000);
    for _ in 0..2000 {
        let id = message_id();
        let answer = ana.say_as(id, &body).await;
        let heard = ben.heard().await;
        assert_eq!(heard.message_id, id);
        match answer {
            ServerChat::Accepted { sequence, .. } => {
                assert_eq!(heard.sequence, sequence);
                kept.push(sequence);
            }
            ServerChat::NotKept { .. } => {
                assert_eq!(heard.sequence, 0);
                return kept;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("the disk does not fill up");
}

const LARGE: [&str; 8] = [
    "--chat-per-second",
    "100000",
    "--chat-burst",
    "100000",
    "--history-bytes",
    "1000000000",
    "--history-messages",
    "100000",
];

#[tokio::test]
async fn d4_a_full_disk_ends_no_meeting_and_chat_is_kept_again_when_there_is_space() {
    repeatable(async || {
        // Without that the kernel ends the process instead of refusing the write.
        let launch = Launch::on_disk(&[&CROWDED[..], &LARGE].concat()).after("trap '' XFSZ");
        let mut scene = Scene::of(launch, |_| None).await;
        let limit = |bytes: &str| {
            let id = scene.relay.id().to_string();
            let set = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}")]).status();
            set.is_ok_and(|status| status.success())
        };
        // The kernel lets no file grow beyond that: as if the disk were full, without filling one.
        let size = fs::metadata(scene.launch.directory.path().join("data/chat.redb")).unwrap().len();
        assert!(
            limit(&format!("{}:unlimited", size + 200_000)),
            "prlimit (of util-linux) is there and may set a limit"
        );
        let mut ana = Session::member(scene.target(), Over::Quic, "full", "Ana").await;
        let mut ben = Session::member(scene.target(), Over::WebSocket, "full", "Ben").await;
        let mut plain = plain(scene.target(), "/full", None).await.unwrap();
        let mut kept = talk_until_not_kept(&mut ana, &mut ben).await;
        let failures = scene.relay.metric("tertulia_chat_failures_total").await;
        assert!(failures > 0);
        for attempt in 0..5 {
            // The database may find a place for one more.
            kept.extend(talk_until_not_kept(&mut ana, &mut ben).await);
            let track = ana.publish().await;
            ana.media(datagram(track, &[attempt])).await;
            assert_eq!(payload(&ben.datagram().await), [attempt], "media goes on");
            ana.request(&ClientMessage::Unpublish { request: 1, track }).await;
        }
        assert!(futures_util::StreamExt::next(&mut plain).await.is_some(), "plain clients hear it too");
        scene.relay.assert_sound("a full disk").await;
        scene.bystander.assert_nothing_lost("a full disk").await;
        assert!(limit("unlimited:unlimited"));
        let again = async {
            loop {
                match ana.say("is it kept?").await {
                    ServerChat::Accepted { sequence, .. } => return sequence,
                    _ => sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let again = timeout(Duration::from_secs(10), again).await.expect("space is back");
        assert_eq!(again, kept.last().unwrap() + 1, "numbers go on where they were");
        kept.push(again);
        let found: Vec<_> = history(scene.target(), "full").await.iter().map(|message| message.sequence).collect();
        assert_eq!(found, kept, "what was said to be kept is kept, nothing else");
        ana.leave().await;
        ben.leave().await;
        drop(plain);
        scene.bystander.begin_measuring();
        scene.assert_undisturbed("after a full disk").await;
    })
    .await;
}

/// A relay that does not start says why, in one line.
fn assert_refuses(launch: &Launch, case: &str, expected: &str) {
    let (code, error) = launch.fail();
    assert_eq!(code, Some(78), "{case}: {error}");
    let lines: Vec<_> = error.lines().filter(|line| line.starts_with("tertulia: ")).collect();
    assert!(lines.len() == 1 && lines[0].contains(expected), "{case}: {error}");
    assert!(!error.contains("panicked"), "{case}: {error}");
}

/// Writes the number of a format into a store.
fn write_format(path: &Path, format: u64) {
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", format).unwrap();
    transaction.commit().unwrap();
}

#[tokio::test]
async fn d4_d10_a_data_directory_that_cannot_be_used_is_explained_in_one_line() {
    let launch = Launch::on_disk(&[]);
    let data = launch.directory.path().join("data");
    fs::write(&data, "a file").unwrap();
    assert_refuses(&launch, "a file in the place of the directory", "data");
    fs::remove_file(&data).unwrap();

    fs::create_dir(&data).unwrap();
    fs::write(data.join("chat.redb"), "x".repeat(100_000)).unwrap();
    assert_refuses(&launch, "a store that is none", "chat.redb is damaged");
    fs::remove_file(data.join("chat.redb")).unwrap();
    fs::create_dir(data.join("chat.redb")).unwrap();
    assert_refuses(&launch, "a directory in the place of the store", "cannot keep chat in");
    fs::remove_dir(data.join("chat.redb")).unwrap();

    write_format(&data.join("chat.redb"), 99);
    assert_refuses(&launch, "a newer store", "was written by a newer Tertulia");
    fs::remove_file(data.join("chat.redb")).unwrap();

    // The administrator may write everywhere.
    fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    if File::create(data.join("probe")).is_err() {
        assert_refuses(&launch, "a directory that cannot be written to", "data");
    } else {
        println!("run by the administrator: a directory that cannot be written to is not tested");
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();

    let mut launch = launch;
    let relay = launch.start();
    let mut other = Launch::on_disk(&[]);
    other.directory = launch.directory.clone();
    assert_refuses(&other, "another relay in the same directory", "another relay keeps its chat in");
    Session::member(relay.target, Over::Quic, "undisturbed", "Ana").await.say_kept("still here").await;
    // A relay that was killed leaves nothing behind that keeps the next one out.
    relay.kill();
    launch.start().stop();
}

#[tokio::test]
async fn d10_a_setting_that_cannot_be_is_explained_in_one_line() {
    let launch = Launch::new(&[]);
    let write = |name: &str, text: &str| {
        let path = launch.file(name);
        fs::write(&path, text).unwrap();
        path
    };
    let with = |name: &str, value: &str| Launch::new(&[]).with(name, value);
    for (case, wrong, expected) in [
        ("an unknown setting", with("--config", &write("a", "rooom = 1")), "line 1: unknown field"),
        ("a setting twice", with("--config", &write("b", "rooms = 1\nrooms = 2")), "line 2: duplicate key"),
        ("a weak secret", with("--keys", &write("c", "[secrets]\na = 'short'")), "fewer than 32 bytes"),
        ("no key", with("--keys", &write("d", "")), "holds no key"),
        ("keys that are not there", with("--keys", &launch.file("none")), "cannot read"),
        ("a JWKS that is none", with("--jwks", &write("e", "{}")), "/e"),
        ("no chat at all", with("--chat-bytes", "0"), "must be between 1 and"),
        ("no origin", with("--origin", "app.example"), "is not an origin"),
        ("half a certificate", with("--certificate", &write("f", "")), "--private-key"),
        ("open to the world", with("--open-relay", "refuse").with("--listen", "0.0.0.0:0"), "the relay has no keys"),
    ] {
        if case == "open to the world" {
            // The address is given twice, which the command line refuses by itself.
            let config = write("g", "listen = '0.0.0.0:0'\nhttp = '127.0.0.1:0'\nopen-relay = 'refuse'\n");
            let output = Command::new(env!("CARGO_BIN_EXE_tertulia")).args(["serve", "--config", &config]).output();
            let output = output.unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{case}: {error}");
            assert!(error.lines().last().is_some_and(|line| line.contains(expected)), "{case}: {error}");
            continue;
        }
        assert_refuses(&wrong, case, expected);
    }
    let mut launch = launch;
    let relay = launch.start();
    let (code, error) = launch.fail();
    assert_eq!(code, Some(78));
    assert!(error.contains("another program uses port"), "{error}");
    relay.stop();
}

#[tokio::test]
async fn d11_a_closed_output_and_a_full_disk_of_logs_end_nothing() {
    let mut relay = Launch::new(&["--log", "debug"]).start();
    relay.close_stdout();
    // Everything that is written to it fails, as on a disk that is full.
    let mut full = Launch::new(&["--log", "debug"]).after("exec 2>/dev/full");
    let full = full.start();
    for target in [relay.target, full.target] {
        for over in CARRIERS {
            let mut session = Session::member(target, over, "logs", "Ana").await;
            session.say_kept("hello").await;
            session.leave().await;
        }
    }
    relay.assert_sound("a closed output").await;
    relay.stop();
    full.stop();
}

/// No input from outside makes the relay panic, so a program that hosts it has to: its callbacks run in the session's task.
#[tokio::test]
async fn d12_a_panic_ends_one_session_which_comes_back_and_is_counted() {
    let callbacks = Callbacks::default().on_message(|said| {
        assert_ne!(said.body, "panic");
        Verdict::Accept
    });
    let relay = TestRelay::start_with(Limits::default(), callbacks);
    let target = Target { quic: relay.relay.address(), http: relay.relay.http_address().unwrap() };
    let mut ana = Session::member(target, Over::WebSocket, "panic", "Ana").await;
    for (count, over) in (1..).zip(CARRIERS) {
        let join = join_of("panic", "Mallory");
        let (mut session, welcome) = Session::join(target, over, join.clone()).await.unwrap();
        session.chat(&ClientChat::Send { message_id: message_id(), to: None, body: "panic".into() }).await;
        let ended = session.ended().await;
        let told = if over == Over::WebSocket { CloseReason::ConnectionLost } else { CloseReason::Internal };
        assert_eq!(ended, told, "{over:?}: what ends a session like that is worth trying again");
        // The session's connection is gone a moment before its task is looked at.
        while relay.relay.metrics().closed(CloseReason::Internal) < count {
            sleep(Duration::from_millis(1)).await;
        }
        let back = Join { ticket: Some(welcome.ticket), ..join };
        let (back, again) = Session::join(target, over, back).await.unwrap();
        assert!(again.resumed && again.participant == welcome.participant, "{over:?}");
        back.leave().await;
        ana.say_kept("I am still here").await;
    }
}
