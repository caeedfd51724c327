//! Chat reaches everyone, once, in one order, on every carrier.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use support::TestRelay;
use tertulia::client::{Event, Options, Room};
use tertulia::limits::Limits;
use tertulia::wire::{ChatMessage, ChatPosition, ParticipantId, RefuseReason, TrackInfo, TrackMedia, TrackSource};

const CARRIERS: [&str; 4] = ["https", "quic", "wss", "ws"];

/// Long enough that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(60);

async fn next_message(room: &Room) -> ChatMessage {
    loop {
        match tokio::time::timeout(DEADLINE, room.next_event()).await.expect("a message comes in time") {
            Some(Event::ChatMessage(message)) => return message,
            Some(Event::Closed { reason, message }) => panic!("closed: {reason} {message}"),
            Some(_) => {}
            None => panic!("the events ended"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_participants_on_mixed_carriers_see_a_thousand_messages_in_one_order() {
    const PARTICIPANTS: usize = 10;
    const EACH: usize = 100;
    let limits = Limits { chat_burst: EACH as u32, ..Limits::default() };
    let relay = TestRelay::start(limits);
    let mut rooms = Vec::new();
    for number in 0..PARTICIPANTS {
        rooms.push(relay.join(CARRIERS[number % CARRIERS.len()], &format!("p{number}")).await);
    }

    let everyone = rooms.into_iter().enumerate().map(|(number, room)| {
        tokio::spawn(async move {
            let chat = room.chat();
            let sending = tokio::spawn(async move {
                let mut own = BTreeMap::new();
                let sends = (0..EACH).map(|index| {
                    let (chat, body) = (chat.clone(), format!("{number}:{index}"));
                    async move { (chat.send(body.clone()).await.expect("accepted"), body) }
                });
                for (sequence, body) in futures_util::future::join_all(sends).await {
                    assert!(own.insert(sequence, body).is_none(), "sequence {sequence} was given twice");
                }
                own
            });
            let mut seen = BTreeMap::new();
            let mut last = 0;
            for _ in 0..(PARTICIPANTS - 1) * EACH {
                let message = next_message(&room).await;
                assert!(message.sequence > last, "{} after {last}", message.sequence);
                last = message.sequence;
                assert_ne!(message.from, room.participant());
                seen.insert(message.sequence, message.body);
            }
            let own = sending.await.unwrap();
            assert_eq!(own.len(), EACH);
            // A sender's own messages keep the order in which it sent them.
            let order: Vec<_> = own.values().cloned().collect();
            assert_eq!(order, (0..EACH).map(|index| format!("{number}:{index}")).collect::<Vec<_>>());
            seen.extend(own);
            (room, seen)
        })
    });
    let mut first: Option<BTreeMap<u64, String>> = None;
    // All stay until the last one has seen everything.
    let mut stay = Vec::new();
    for participant in everyone.collect::<Vec<_>>() {
        let (room, seen) = tokio::time::timeout(DEADLINE, participant).await.unwrap().unwrap();
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), (1..=(PARTICIPANTS * EACH) as u64).collect::<Vec<_>>());
        assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen);
        stay.push(room);
    }
}

#[tokio::test]
async fn a_newcomer_gets_what_was_said_before_and_then_what_is_said_now() {
    let relay = TestRelay::start(Limits { chat_burst: 1000, ..Limits::default() });
    for carrier in CARRIERS {
        let options = |name| Options { room: Some(carrier.into()), ..relay.options(name) };
        let ana = Room::connect(&relay.url(carrier), options("Ana")).await.unwrap();
        // More than an outbox holds at once.
        for index in 0..300 {
            ana.chat().send(format!("{index} {}", "x".repeat(2000))).await.unwrap();
        }
        let history = Some(ChatPosition::START);
        let bo = Room::connect(&relay.url(carrier), Options { history, ..options("Bo") }).await.unwrap();
        ana.chat().send("now").await.unwrap();
        let mut last = 0;
        while last < 301 {
            let message = next_message(&bo).await;
            assert_eq!(message.sequence, last + 1);
            last = message.sequence;
        }
    }
}

#[tokio::test]
async fn a_short_history_comes_whole_on_every_carrier() {
    let relay = TestRelay::start(Limits::default());
    let ana = relay.join("ws", "Ana").await;
    for carrier in CARRIERS {
        let said = ana.chat().send(carrier).await.unwrap();
        let history = Some(ChatPosition { sequence: said - 1, ..ana.welcome().chat });
        let bo = Room::connect(&relay.url(carrier), Options { history, ..relay.options("Bo") }).await.unwrap();
        assert_eq!(next_message(&bo).await.body, carrier);
        loop {
            match tokio::time::timeout(DEADLINE, bo.next_event()).await.unwrap() {
                Some(Event::ChatCaughtUp { position, first_kept }) => {
                    assert_eq!((position.sequence, first_kept), (said, 1));
                    break;
                }
                Some(Event::Closed { reason, .. }) => panic!("{carrier}: {reason}"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_private_message_reaches_one() {
    let relay = TestRelay::start(Limits::default());
    let ana = relay.join("https", "Ana").await;
    let bo = relay.join("ws", "Bo").await;
    let cleo = relay.join("quic", "Cleo").await;
    ana.chat().send_to(bo.participant(), "for Bo").await.unwrap();
    ana.chat().send("for all").await.unwrap();
    assert_eq!(next_message(&bo).await.body, "for Bo");
    assert_eq!(next_message(&bo).await.body, "for all");
    assert_eq!(next_message(&cleo).await.body, "for all");
}

#[tokio::test]
async fn what_is_refused_says_why() {
    use tertulia::client::ChatError;
    let relay = TestRelay::start(Limits { chat_burst: 5, chat_per_second: 1, ..Limits::default() });
    let ana = relay.join("https", "Ana").await;
    let refused = |result: Result<u64, ChatError>| match result {
        Err(ChatError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(matches!(ana.chat().send("x".repeat(16 * 1024 + 1)).await, Err(ChatError::TooLong { .. })));
    let nobody = ParticipantId(99);
    assert_eq!(refused(ana.chat().send_to(nobody, "hello").await), RefuseReason::ParticipantUnknown);
    let begin = Instant::now();
    // It counts as four.
    ana.chat().send("x".repeat(16 * 1024)).await.unwrap();
    let mut said = 4;
    let last = loop {
        match ana.chat().send("one more").await {
            Ok(_) if said < 100 => said += 1,
            last => break last,
        }
    };
    assert_eq!(refused(last), RefuseReason::ChatTooFast);
    // A second that ends lets one more be said.
    let most = 5 + begin.elapsed().as_secs();
    assert!((5..=most).contains(&said), "{said} were said, and {most} may be");
}

#[tokio::test]
async fn a_room_that_was_empty_keeps_its_secrets_and_recognises_repetitions() {
    let relay = TestRelay::start(Limits::default());
    let ana = relay.join("ws", "Ana").await;
    let bo = relay.join("ws", "Bo").await;
    let said = ana.chat().send_to(bo.participant(), "for Bo alone").await.unwrap();
    ana.chat().send("for all").await.unwrap();
    let (ana_id, bo_id) = (ana.participant(), bo.participant());
    ana.disconnect().await;
    bo.disconnect().await;

    let history = Some(ChatPosition::START);
    for _ in 0..2 {
        let newcomer = Room::connect(&relay.url("ws"), Options { history, ..relay.options("Cleo") }).await.unwrap();
        assert!(newcomer.participant() != ana_id && newcomer.participant() != bo_id);
        let message = next_message(&newcomer).await;
        assert_eq!((message.sequence, &*message.body), (said + 1, "for all"));
        newcomer.disconnect().await;
    }
}

#[tokio::test]
async fn what_is_refused_is_counted_by_its_reason() {
    let relay = TestRelay::start(Limits::default());
    let ana = relay.join("quic", "Ana").await;
    for _ in 0..2 {
        ana.chat().send_to(ParticipantId(99), "hello?").await.unwrap_err();
    }
    let media = TrackMedia::Audio { sample_rate: 1, channels: 1 };
    let track = TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: Vec::new() };
    ana.publish(track).await.unwrap_err();
    ana.chat().send("hello").await.unwrap();
    let counted = RefuseReason::ALL.iter().map(|reason| (*reason, relay.relay.metrics().requests_refused(*reason)));
    let counted: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(RefuseReason::TrackInvalid, 1), (RefuseReason::ParticipantUnknown, 2)]);
    assert!(relay.relay.metrics().text().contains("tertulia_requests_refused_total{reason=\"participant_unknown\"} 2"));
}
