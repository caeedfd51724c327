//! Section M of the faults: messages and media that are too much, too large, too fast, too slow.

mod support;

use std::ops::ControlFlow::{Break, Continue};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use support::bystander::repeatable;
use support::child::Launch;
use support::quic::soon;
use support::scene::{MEMORY_KEPT_MAX, Scene, turn};
use support::session::{CARRIERS, Incoming, Over, Session, datagram, join_of, message_id, plain};
use tertulia::limits::{Limits, MESSAGE_BYTES_MAX};
use tertulia::room::PassedOver;
use tertulia::wire::*;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

/// Messages whose lengths and counts promise far more than they hold.
fn bombs() -> Vec<(&'static str, StreamKind, Vec<u8>)> {
    // bincode writes a length of 64 bits as 253 and eight bytes, one of 32 bits as 252 and four.
    let huge = [&[253][..], &(1u64 << 40).to_le_bytes()].concat();
    let large = [&[252][..], &u32::MAX.to_le_bytes()].concat();
    let million = [&[252][..], &1_000_000u32.to_le_bytes()].concat();
    let publish = |codec: &[u8], rest: &[u8]| [&[1, 1, 1][..], codec, rest].concat();
    let send = |body: &[u8]| [&[0][..], &[7; 16], &[0], body].concat();
    vec![
        ("a codec of 2^40 bytes", StreamKind::Control, publish(&huge, &[])),
        ("a codec of 2^32 bytes", StreamKind::Control, publish(&large, b"vp8")),
        ("a description of a million bytes", StreamKind::Control, publish(b"\x03vp8\0\x01\x01", &million)),
        ("a description of 2^40 bytes", StreamKind::Control, publish(b"\x03vp8\0\x01\x01", &huge)),
        ("a chat message of 2^40 bytes", StreamKind::Chat, send(&huge)),
        ("a chat message of 2^32 bytes", StreamKind::Chat, send(&[&large[..], b"hello"].concat())),
        ("a chat message of a million bytes", StreamKind::Chat, send(&million)),
        ("a variant of 2^40", StreamKind::Control, huge.clone()),
        ("64 KiB of zeros", StreamKind::Control, vec![0; MESSAGE_BYTES_MAX - 1]),
        ("64 KiB of ones", StreamKind::Chat, vec![0xff; MESSAGE_BYTES_MAX - 1]),
        ("a request with four million things in it", StreamKind::Control, vec![1; MESSAGE_BYTES_MAX - 1]),
    ]
}

#[tokio::test]
async fn m1_m2_m3_a_message_that_promises_more_than_it_holds_costs_nothing() {
    repeatable(async || {
        let scene = Scene::crowded(&[]).await;
        for over in CARRIERS {
            for (case, kind, bomb) in bombs() {
                let mut session = Session::member(scene.target(), over, "bombs", "Mallory").await;
                session.send(kind, &bomb).await;
                let ended = session.ended().await;
                // What is a whole message by chance may be refused for another reason.
                let is_told = matches!(ended, CloseReason::Malformed | CloseReason::UnexpectedMessage);
                assert!(is_told, "{case} over {over:?}: {ended:?}");
            }
        }
        let grown = scene.relay.resources().await.resident_bytes.saturating_sub(scene.before.resident_bytes);
        assert!(grown < MEMORY_KEPT_MAX, "{grown} bytes");
        scene.close("bombs").await;
    })
    .await;
}

#[tokio::test]
async fn m4_chat_that_is_too_long_or_too_fast_is_refused_and_the_rest_is_said() {
    repeatable(async || {
        let mut scene = Scene::crowded(&[]).await;
        let limits = Limits::default();
        let mut listener = Session::member(scene.target(), Over::Quic, "chat", "Listener").await;
        let kept = "tertulia_chat_messages_total";
        for over in CARRIERS {
            let kept_before = scene.relay.metric(kept).await;
            let mut talker = Session::member(scene.target(), over, "chat", "Talker").await;
            let long = talker.say(&"x".repeat(limits.chat_bytes as usize + 1)).await;
            assert!(matches!(long, ServerChat::Refused { reason: RefuseReason::ChatTooLong, .. }), "{long:?}");

            let begin = Instant::now();
            let ids: Vec<_> = (0..1000).map(|_| message_id()).collect();
            for id in &ids {
                let body = "hello".to_owned();
                talker.chat(&ClientChat::Send { message_id: *id, to: None, body }).await;
            }
            let (mut said, mut refused) = (Vec::new(), 0);
            for id in ids {
                match talker.answer_to(id).await {
                    ServerChat::Accepted { sequence, .. } => said.push(sequence),
                    ServerChat::Refused { reason: RefuseReason::ChatTooFast, .. } => refused += 1,
                    other => panic!("{other:?} over {over:?}"),
                }
            }
            let most =
                limits.chat_burst as usize + (limits.chat_per_second as u64 * (begin.elapsed().as_secs() + 1)) as usize;
            assert!((limits.chat_burst as usize..=most).contains(&said.len()), "{} over {over:?}", said.len());
            assert_eq!(said.len() + refused, 1000);
            assert!(scene.relay.metric(kept).await - kept_before >= said.len() as i64, "{over:?}");
            for sequence in said {
                assert_eq!(listener.heard().await.sequence, sequence, "{over:?}");
            }
            talker.send(StreamKind::Chat, &vec![0; MESSAGE_BYTES_MAX + 1]).await;
            assert_eq!(talker.ended().await, CloseReason::TooLarge, "{over:?}");
            scene.assert_undisturbed("chat that is too fast").await;
        }
        listener.leave().await;
        scene.close("chat").await;
    })
    .await;
}

/// Messages that change nothing and are answered all the same, and one that is passed over.
fn cheap_messages() -> Vec<(StreamKind, Vec<u8>)> {
    let chat = |to| encode(&ClientChat::Send { message_id: message_id(), to, body: "again".into() });
    vec![
        (StreamKind::Control, encode(&ClientMessage::Ping { token: 1 })),
        (StreamKind::Control, encode(&ClientMessage::RequestKeyframe { track: TrackId(99), spatial_layer: 0 })),
        (StreamKind::Chat, chat(None)),
        (StreamKind::Chat, chat(Some(ParticipantId(99)))),
    ]
}

#[tokio::test]
async fn m4_a_flood_of_messages_ends_its_session_whatever_they_are() {
    repeatable(async || {
        // Fewer than an outbox takes, so that nobody is a slow consumer before.
        let mut scene = Scene::crowded(&["--messages-per-second", "100", "--messages-burst", "600"]).await;
        let too_fast = "tertulia_sessions_closed_total{reason=\"too_fast\"}";
        let mut closed = 0;
        for over in CARRIERS {
            for (kind, message) in cheap_messages() {
                let mut mallory = Session::member(scene.target(), over, "cheap", "Mallory").await;
                let begin = Instant::now();
                for _ in 0..3000 {
                    mallory.send(kind, &message).await;
                }
                assert_eq!(mallory.ended().await, CloseReason::TooFast, "{over:?}");
                closed += 1;
                scene.relay.until(too_fast, |count| count == closed).await;
                let is_answer = |incoming: &Incoming| match incoming {
                    Incoming::Control(message) => matches!(message, ServerMessage::Pong { .. }),
                    Incoming::Chat(_) => true,
                    _ => false,
                };
                let answers = mallory.rest().iter().filter(|incoming| is_answer(incoming)).count() as u64;
                let most = 600 + 100 * (begin.elapsed().as_secs() + 1);
                assert!(answers <= most, "{answers} answers over {over:?}, {most} may");
            }
        }
        scene.assert_undisturbed("a flood of messages").await;
        scene.close("a flood of messages").await;
    })
    .await;
}

/// Messages of a kind that has no answer, in turns.
fn unanswered(kind: PassedOver) -> [(StreamKind, Vec<u8>); 2] {
    let typing = |active| (StreamKind::Chat, encode(&ClientChat::Typing { active }));
    let control = |message| (StreamKind::Control, encode(&message));
    match kind {
        PassedOver::KeyframeRequest => {
            [TrackId(98), TrackId(99)].map(|track| control(ClientMessage::RequestKeyframe { track, spatial_layer: 0 }))
        }
        PassedOver::Report => [vec![], vec![]].map(|tracks| control(ClientMessage::Report { tracks })),
        PassedOver::Typing => [true, false].map(typing),
    }
}

/// With the limits as they are: what has no answer is passed over and counted beyond the rate of requests, and whoever goes on like
/// that is closed at the end of a burst of 5,000 messages.
#[tokio::test]
async fn m4_what_has_no_answer_is_counted_until_its_session_is_ended() {
    repeatable(async || {
        let mut scene = Scene::crowded(&[]).await;
        let limits = Limits::default();
        for (over, kind) in CARRIERS.into_iter().zip(PassedOver::ALL) {
            let mut mallory = Session::member(scene.target(), over, "unheeded", "Mallory").await;
            let counter = format!("tertulia_passed_over_total{{kind=\"{}\"}}", kind.label());
            let before = scene.relay.metric(&counter).await;
            let begin = Instant::now();
            let messages = unanswered(kind);
            for (stream, message) in messages.iter().cycle().take(FAR_TOO_MANY) {
                mallory.send(*stream, message).await;
            }
            assert_eq!(mallory.ended().await, CloseReason::TooFast, "{over:?}");
            let time_s = begin.elapsed().as_secs() as u32 + 1;
            let counted = (scene.relay.metric(&counter).await - before) as u32;
            // Whoever is taken to be typing is not told of again, so every other change may be none.
            let changes = if kind == PassedOver::Typing { limits.messages_burst / 2 } else { limits.messages_burst };
            let least = changes.saturating_sub(limits.requests_burst + limits.requests_per_second * time_s);
            let most = limits.messages_burst + limits.messages_per_second * time_s;
            println!("{counted} of {kind:?} over {over:?}, in less than {time_s} s");
            assert!((least..=most).contains(&counted), "{counted} of {kind:?} over {over:?}, not {least} to {most}");
        }
        scene.assert_undisturbed("messages that have no answer").await;
        scene.close("messages that have no answer").await;
    })
    .await;
}

/// So many messages are beyond the burst and what the rate adds meanwhile, also where both sides are slow.
const FAR_TOO_MANY: usize = 20_000;

/// What is passed on of one participant's datagrams in a second; as much may have been saved up.
const PASSED_ON_PER_SECOND: u64 = 1500;

/// A flood of datagrams by one participant, as fast as its connection takes them, for a second; longer where both sides are so slow
/// that less than twice as many come as are passed on.
async fn flood(session: &mut Session, track: TrackId) -> u64 {
    let begin = Instant::now();
    let packet = datagram(track, &[7; 200]);
    let mut sent = 0;
    let is_enough =
        |sent, took: Duration| took.as_secs() >= 1 && sent > 2 * PASSED_ON_PER_SECOND * (took.as_secs() + 3);
    while !is_enough(sent, begin.elapsed()) && begin.elapsed() < Duration::from_secs(10) {
        for _ in 0..50 {
            session.media(packet.clone()).await;
            sent += 1;
        }
        // 50,000 a second are enough; a loop without a pause would be a fault of the test's own.
        sleep(Duration::from_millis(1)).await;
    }
    sent
}

#[tokio::test]
async fn m5_a_flood_of_datagrams_is_cut_before_it_is_passed_on() {
    repeatable(async || {
        let mut scene = Scene::crowded(&[]).await;
        let over_budget = "tertulia_datagrams_dropped_total{reason=\"over_budget\"}";
        let [received, passed_on] = ["tertulia_datagrams_received_total", "tertulia_datagrams_sent_total"];
        for over in CARRIERS {
            let mut victim = Session::member(scene.target(), Over::Quic, "flood", "Victim").await;
            let mut mallory = Session::member(scene.target(), over, "flood", "Mallory").await;
            let track = mallory.publish().await;
            let before = scene.relay.metric(over_budget).await;
            let all_before = [scene.relay.metric(received).await, scene.relay.metric(passed_on).await];
            let begin = Instant::now();
            let may_be = || PASSED_ON_PER_SECOND * (begin.elapsed().as_secs() + 2);
            let mut sent = 0;
            let most = loop {
                sent += flood(&mut mallory, track).await;
                mallory.assert_seated("after a flood").await;
                let most = may_be();
                // A slow relay may take so long to read what is under way that it was no flood: then it goes on.
                if sent > 2 * most || begin.elapsed() > Duration::from_secs(30) {
                    break most;
                }
            };
            let dropped = (scene.relay.metric(over_budget).await - before) as u64;
            victim.assert_seated("after a flood").await;
            let arrived = victim.rest().iter().filter(|incoming| matches!(incoming, Incoming::Media(_))).count() as u64;
            println!("{over:?}: {sent} sent, {dropped} over budget, {arrived} arrived");
            assert!(sent > 2 * most, "that was no flood: {sent}");
            assert!(dropped > 0, "{over:?}");
            // What had not been read yet of it was passed on meanwhile.
            assert!(arrived > 100 && arrived <= may_be(), "{arrived} over {over:?}");
            let all = [scene.relay.metric(received).await, scene.relay.metric(passed_on).await];
            let [received, passed_on] = [0, 1].map(|at| (all[at] - all_before[at]) as u64);
            assert!(received >= dropped + arrived && passed_on >= arrived, "{received} came, {passed_on} went");
            scene.assert_undisturbed(&format!("a flood over {over:?}")).await;
            mallory.leave().await;
            victim.leave().await;
        }
        scene.close("floods").await;
    })
    .await;
}

/// Listeners of one speaker: what they get together, built without optimisation, stays below what one thread can send.
const AUDIENCE: usize = if cfg!(debug_assertions) { 60 } else { 120 };

#[tokio::test]
async fn m6_one_who_sends_to_many_is_one_among_others() {
    repeatable(async || {
        let mut scene = Scene::crowded(&[]).await;
        let mut listeners = Vec::new();
        for number in 0..AUDIENCE {
            let over = if number % 3 == 0 { Over::Quic } else { Over::WebSocket };
            listeners.push(Session::member(scene.target(), over, "audience", "Listener").await);
        }
        let mut speaker = Session::member(scene.target(), Over::Quic, "audience", "Speaker").await;
        let track = speaker.publish().await;
        scene.bystander.begin_measuring();
        let mut said = Vec::new();
        for _ in 0..20 {
            for _ in 0..3 {
                speaker.media(datagram(track, b"picture")).await;
            }
            said.push(speaker.say_kept("to all of you").await);
            sleep(Duration::from_millis(20)).await;
        }
        scene.assert_undisturbed("a large audience").await;
        for listener in &mut listeners {
            let mut heard = Vec::new();
            while heard.len() < said.len() {
                heard.push(listener.heard().await.sequence);
            }
            assert_eq!(heard, said);
        }
        for listener in listeners {
            listener.leave().await;
        }
        speaker.leave().await;
        scene.close("a large audience").await;
    })
    .await;
}

/// How much each of `TALKERS` says at once: all that one may, and together less than the history keeps.
const TALKERS: usize = 5;
const TEXTS: usize = 12;
const TEXT_BYTES: usize = 16_000;

#[tokio::test]
async fn m8_what_all_may_say_at_once_costs_nobody_who_reads_the_seat() {
    let _turn = turn().await;
    // Two texts wait for one at most, and two more from the history.
    let relay = Launch::new(&["--outbox-bytes", "65536"]).start();
    let mut listener = plain(relay.target, "/everyone", None).await.unwrap();
    let mut sessions = Vec::new();
    for over in CARRIERS.into_iter().cycle().take(TALKERS) {
        sessions.push(Session::join(relay.target, over, join_of("everyone", "Talker")).await.unwrap());
    }
    for (session, _) in &mut sessions {
        for _ in 0..TEXTS {
            let body = "x".repeat(TEXT_BYTES);
            session.chat(&ClientChat::Send { message_id: message_id(), to: None, body }).await;
        }
    }
    let heard =
        join_all(sessions.iter_mut().map(|(session, welcome)| hear(session, welcome.participant, TALKERS * TEXTS)));
    let listened = async {
        for _ in 0..TALKERS * TEXTS {
            let text = soon("a text", async {
                loop {
                    if let Message::Text(text) = listener.next().await.unwrap().unwrap() {
                        return text;
                    }
                }
            })
            .await;
            assert_eq!(text.len(), TEXT_BYTES);
        }
    };
    let all: Vec<u64> = (1..=(TALKERS * TEXTS) as u64).collect();
    for heard in tokio::join!(heard, listened).0 {
        assert_eq!(heard, all, "no gap and no double");
    }
    assert!(relay.metric("tertulia_chat_fell_behind_total").await > 0, "it was more than waits for one");
    assert_eq!(relay.metric("tertulia_sessions_closed_total{reason=\"slow_consumer\"}").await, 0);
}

/// The numbers of so many messages, in the order in which they or their acknowledgements come.
async fn hear(session: &mut Session, participant: ParticipantId, count: usize) -> Vec<u64> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let next = session.wait_for("chat", |incoming| match incoming {
            Incoming::Chat(chat) => Break(chat),
            other => Continue(other),
        });
        match next.await {
            ServerChat::Message(message) => heard.push(message.sequence),
            ServerChat::Accepted { sequence, .. } => heard.push(sequence),
            other => panic!("{participant} is told {other:?}"),
        }
    }
    heard
}

/// Texts of 16,000 bytes.
const SAID_TO_ONE_WHO_DOES_NOT_READ: usize = 1000;

#[tokio::test]
async fn m8_a_slow_reader_is_closed_and_finds_the_rest_when_it_comes_back() {
    repeatable(async || {
        let mut scene = Scene::crowded(&[
            "--outbox-bytes",
            "65536",
            "--chat-per-second",
            "100000",
            "--chat-burst",
            "100000",
            "--history-bytes",
            "100000000",
            "--history-messages",
            "100000",
            // It is away until all of that is said, however long it takes.
            "--seat-seconds",
            "600",
        ])
        .await;
        let slow_consumers = "tertulia_sessions_closed_total{reason=\"slow_consumer\"}";
        for over in CARRIERS {
            let room = format!("slow-{over:?}");
            let mut talker = Session::member(scene.target(), Over::Quic, &room, "Talker").await;
            let mut witness = Session::member(scene.target(), Over::WebSocket, &room, "Witness").await;
            let join = join_of(&room, "Slow");
            let (mut slow, welcome) = Session::join(scene.target(), over, join.clone()).await.unwrap();
            slow.set_reading(false);
            let before = scene.relay.metric(slow_consumers).await;
            let mut said = Vec::new();
            let body = "x".repeat(16_000);
            // More than its outbox and what is on the way to it hold.
            for _ in 0..SAID_TO_ONE_WHO_DOES_NOT_READ {
                said.push(talker.say_kept(&body).await);
            }
            soon("somebody notices that it does not read", async {
                while scene.relay.metric(slow_consumers).await == before {
                    sleep(Duration::from_millis(100)).await;
                }
            })
            .await;
            slow.set_reading(true);
            let mut heard = Vec::new();
            slow.ended().await;
            for incoming in slow.rest() {
                if let Incoming::Chat(ServerChat::Message(message)) = incoming {
                    heard.push(message.sequence);
                }
            }
            assert!(heard.len() < said.len(), "{over:?}");
            let after = heard.last().copied().unwrap_or_default();
            let chat_after = Some(ChatPosition { epoch: welcome.chat.epoch, sequence: after });
            let back = Join { ticket: Some(welcome.ticket), chat_after, ..join };
            let (mut back, again) = Session::join(scene.target(), over, back).await.unwrap();
            assert!(again.resumed && again.participant == welcome.participant, "{over:?}");
            heard.extend(back.history().await.iter().map(|message| message.sequence));
            assert_eq!(heard, said, "{over:?}: no gap and no double");
            witness.assert_seated("it read all the time").await;
            for session in [talker, witness, back] {
                session.leave().await;
            }
        }
        scene.assert_undisturbed("slow readers").await;
        scene.close("slow readers").await;
    })
    .await;
}
