//! A program that hosts a relay watches and refuses what happens.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::quic::soon;
use support::session::{Over, Session, Target};
use support::{Directory, TestRelay};
use tertulia::client::{ChatError, ConnectError, Room};
use tertulia::config::{CertificateSource, Config, HistoryPlace};
use tertulia::history::HistoryError;
use tertulia::limits::Limits;
use tertulia::relay::{Callbacks, Relay, StartError, Subject, Verdict};
use tertulia::wire::{CloseReason, RefuseReason};
use tokio::time::sleep;

fn who(subject: &Subject) -> String {
    match subject {
        Subject::Room => "room".into(),
        Subject::Participant { name, carrier, .. } => format!("{name} over {carrier}"),
    }
}

#[tokio::test]
async fn the_four_events_tell_the_life_of_a_meeting() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |log: &Arc<Mutex<Vec<String>>>| {
        let log = log.clone();
        move |line: String| log.lock().unwrap().push(line)
    };
    let (open, message, close) = (note(&log), note(&log), note(&log));
    let callbacks = Callbacks::default()
        .on_open(move |opened| {
            open(format!("open {}: {}", opened.room, who(&opened.subject)));
            Verdict::Accept
        })
        .on_message(move |said| {
            message(format!("message {}: {} said {}", said.room, said.from_name, said.body));
            Verdict::Accept
        })
        .on_close(move |closed| {
            let why = closed.reason.map_or(String::new(), |reason| format!(", {}", reason.label()));
            close(format!("close {}: {}{why}", closed.room, who(&closed.subject)));
        });
    let relay = TestRelay::start_with(Limits::default(), callbacks);
    let ana = relay.join("https", "Ana").await;
    ana.chat().send("hello").await.unwrap();
    ana.disconnect().await;
    relay.relay.stop().await;
    assert_eq!(
        *log.lock().unwrap(),
        [
            "open lobby: room",
            "open lobby: Ana over webtransport",
            "message lobby: Ana said hello",
            "close lobby: Ana over webtransport, left",
            "close lobby: room",
        ]
    );
}

#[tokio::test]
async fn what_the_host_refuses_does_not_happen() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let noted = failures.clone();
    let callbacks = Callbacks::default()
        .on_open(|opened| match opened.subject {
            Subject::Participant { name, .. } if name == "Mallory" => Verdict::Refuse,
            _ => Verdict::Accept,
        })
        .on_message(|said| if said.body.contains("spam") { Verdict::Refuse } else { Verdict::Accept })
        .on_error(move |failed| noted.lock().unwrap().push(failed.reason));
    let relay = TestRelay::start_with(Limits::default(), callbacks);
    for scheme in ["https", "quic", "ws", "wss"] {
        let refused = Room::connect(&relay.url(scheme), relay.options("Mallory")).await.unwrap_err();
        let ConnectError::Refused { reason, .. } = refused else { panic!("{scheme}: {refused}") };
        assert_eq!(reason, CloseReason::RefusedByHost, "{scheme}");
    }
    let ana = relay.join("https", "Ana").await;
    let refused = ana.chat().send("buy spam").await.unwrap_err();
    assert!(matches!(refused, ChatError::Refused { reason: RefuseReason::RefusedByHost, .. }), "{refused}");
    assert_eq!(relay.relay.metrics().requests_refused(RefuseReason::RefusedByHost), 1);
    assert_eq!(ana.chat().send("hello").await.unwrap(), 1, "what was refused takes no number");
    assert_eq!(*failures.lock().unwrap(), [CloseReason::RefusedByHost; 4]);
}

#[tokio::test]
async fn a_callback_that_panics_over_a_seat_that_has_ended_is_counted_and_the_room_goes_on() {
    let callbacks = Callbacks::default().on_close(|closed| {
        assert!(!who(&closed.subject).starts_with("Ghost"), "a fault of the hosting program's own");
    });
    let relay = TestRelay::start_with(Limits { seat_seconds: 1, ..Limits::default() }, callbacks);
    let ana = relay.join("https", "Ana").await;
    let target = Target { quic: relay.relay.address(), http: relay.relay.address() };
    Session::member(target, Over::Quic, "lobby", "Ghost").await.cut();
    let counted = async {
        while relay.relay.metrics().closed(CloseReason::Internal) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the panic is counted", counted).await;
    assert_eq!(ana.chat().send("hello").await.unwrap(), 1);
}

#[tokio::test]
async fn what_keeps_a_relay_from_starting_is_told_and_the_program_goes_on() {
    let directory = Directory::new();
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        http: Vec::new(),
        certificate: CertificateSource::Development { directory: directory.path().into() },
        history: HistoryPlace::Directory(directory.path().into()),
        data_directory: Some(directory.path().into()),
        ..Config::default()
    };
    let first = Relay::start(config.clone()).unwrap();
    let second = Relay::start(config.clone()).unwrap_err();
    assert!(matches!(second, StartError::History(HistoryError::InUse { .. })), "{second}");
    first.stop().await;
    Relay::start(config).expect("the directory is free again").stop().await;
}
