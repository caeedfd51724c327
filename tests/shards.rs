//! A meeting whose participants are on different threads of the relay is one meeting.

mod support;

use std::net::UdpSocket;
use std::ops::ControlFlow::{self, Break, Continue};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::Value;
use support::http::{exchange, get};
use support::quic::{endpoint_to, soon};
use support::session::{CARRIERS, Incoming, Over, Session, Target, datagram, join_of};
use support::tokens::{API_KEY, SECRET, grant, minted, write_keys};
use support::{Directory, TestRelay};
use tertulia::auth::Grant;
use tertulia::config::{Config, KeySources};
use tertulia::limits::Limits;
use tertulia::relay::Callbacks;
use tertulia::wire::*;
use tokio::time::sleep;

const SHARDS: usize = 2;

/// By then a session has come to either shard: each comes to one by chance.
const TRIES_MAX: usize = 64;

/// A relay of two shards, for many who come from one address.
fn start(config: Config) -> TestRelay {
    let many = u32::MAX;
    let limits = Limits {
        sessions_per_address: many,
        handshakes_per_second_per_address: many,
        handshakes_burst_per_address: many,
        requests_per_second: many,
        requests_burst: many,
        chat_per_second: many,
        chat_burst: many,
        ..config.limits
    };
    TestRelay::start_config(Config { shards: SHARDS, limits, ..config }, Callbacks::default())
}

fn target(relay: &TestRelay) -> Target {
    Target { quic: relay.relay.address(), http: relay.relay.http_address().unwrap() }
}

async fn sessions(relay: &TestRelay) -> Vec<Value> {
    let reply = exchange(relay.relay.http_address().unwrap(), &get("/sessions.json", "")).await;
    serde_json::from_str(reply.body()).unwrap()
}

/// The shard on which a participant's session is.
async fn shard_of(relay: &TestRelay, room: &str, participant: ParticipantId) -> usize {
    let sessions = sessions(relay).await;
    let session = sessions.iter().find(|one| one["room"] == room && one["participant"] == participant.0);
    session.expect("it is listed")["shard"].as_u64().unwrap() as usize
}

/// Someone who joins on this shard.
async fn join_on(relay: &TestRelay, shard: usize, over: Over, join: Join) -> (Session, Welcome) {
    for _ in 0..TRIES_MAX {
        let session = match over {
            // The first packets say where they go.
            Over::Quic => {
                let endpoint = endpoint_to(ALPN_QUIC, shard, SHARDS);
                Session::connect_by(&endpoint, relay.relay.address()).await
            }
            Over::WebTransport | Over::WebSocket => Session::connect(target(relay), over).await,
        };
        let session = session.expect("a connection");
        let (mut session, welcome) = session.seated(join.clone()).await.expect("a seat");
        // wtransport keeps the first datagram of a session for itself.
        session.media(datagram(TrackId::ECHO, b"x")).await;
        if shard_of(relay, &join.room, welcome.participant).await == shard {
            return (session, welcome);
        }
        assert_ne!(over, Over::Quic, "the kernel gives it to the shard that it says");
        session.leave().await;
    }
    panic!("nobody came to shard {shard} over {over:?} in {TRIES_MAX} tries");
}

async fn member_on(relay: &TestRelay, shard: usize, over: Over, name: &str) -> (Session, ParticipantId) {
    let (session, welcome) = join_on(relay, shard, over, join_of("lobby", name)).await;
    (session, welcome.participant)
}

/// A datagram of a frame of this number.
fn frame(track: TrackId, number: u32, keyframe: bool) -> Bytes {
    let header = MediaHeader {
        frame: number,
        keyframe,
        depends_on_distance: u8::from(!keyframe),
        ..MediaHeader::decode(&datagram(track, b"x")).unwrap()
    };
    Datagram::new(header, format!("frame {number}").as_bytes()).bytes
}

fn is_of(track: TrackId, datagram: &[u8]) -> bool {
    MediaHeader::decode(datagram).is_ok_and(|header| header.track == track)
}

/// The next datagram of a track.
async fn received(session: &mut Session, track: TrackId) -> Bytes {
    session
        .wait_for("a datagram", |incoming| match incoming {
            Incoming::Media(datagram) if is_of(track, &datagram) => Break(datagram),
            other => Continue(other),
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_is_one_order_on_all_shards_and_carriers() {
    const EACH: usize = 10;
    let relay = start(Config::default());
    let mut all = Vec::new();
    for over in CARRIERS {
        for shard in 0..SHARDS {
            all.push(member_on(&relay, shard, over, &format!("{over:?} {shard}")).await);
        }
    }
    let others = (all.len() - 1) * EACH;
    let everyone = all.into_iter().map(|(mut session, participant)| async move {
        let mut own = Vec::new();
        for number in 0..EACH {
            own.push((session.say_kept(&format!("{number}")).await, participant, format!("{number}")));
        }
        let mut heard = Vec::new();
        for _ in 0..others {
            let message = session.heard().await;
            heard.push((message.sequence, message.from, message.body));
        }
        assert!(heard.is_sorted(), "in order");
        heard.extend(own);
        heard.sort();
        (session, heard)
    });
    let heard: Vec<_> = join_all(everyone).await;
    for (_, one) in &heard {
        assert_eq!(one, &heard[0].1);
        assert!(one.iter().map(|message| message.0).eq(1..=(others + EACH) as u64), "each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_comes_once_to_each_who_takes_it_wherever_they_are() {
    let relay = start(Config::default());
    for (number, over) in CARRIERS.into_iter().enumerate() {
        let (mut ana, _) = member_on(&relay, number % SHARDS, over, "Ana").await;
        let (mut ben, _) = member_on(&relay, (number + 1) % SHARDS, over, "Ben").await;
        let (mut cat, _) = member_on(&relay, (number + 1) % SHARDS, over, "Cat").await;
        let [one, other] = [ana.publish().await, ben.publish().await];
        for number in 0..20 {
            ana.media(frame(one, number, true)).await;
            assert_eq!(received(&mut ben, one).await, frame(one, number, true), "{over:?}");
            assert_eq!(received(&mut cat, one).await, frame(one, number, true), "{over:?}");
            ben.media(frame(other, number, true)).await;
            assert_eq!(received(&mut ana, other).await, frame(other, number, true), "{over:?}");
            assert_eq!(received(&mut cat, other).await, frame(other, number, true), "{over:?}");
        }
        // What was unsubscribed does not cross any more.
        for session in [&mut ben, &mut cat] {
            session.request(&ClientMessage::Unsubscribe { request: 2, track: one }).await;
        }
        ana.media(frame(one, 20, true)).await;
        ana.say_kept("it was sent before").await;
        for session in [&mut ben, &mut cat] {
            session.heard().await;
            session.assert_seated("after what was sent").await;
            let is_media = |incoming: &Incoming| matches!(incoming, Incoming::Media(datagram) if is_of(one, datagram));
            assert_eq!(session.rest().iter().filter(|incoming| is_media(incoming)).count(), 0, "{over:?}");
        }
        for session in [ana, ben, cat] {
            session.leave().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_sent_once_more_by_the_shard_of_whoever_misses_it() {
    let relay = start(Config::default());
    let (mut ana, _) = member_on(&relay, 0, Over::Quic, "Ana").await;
    let track = ana.publish().await;
    let (mut ben, _) = member_on(&relay, 1, Over::Quic, "Ben").await;
    ben.assert_seated("it takes the track").await;
    ana.media(frame(track, 0, true)).await;
    assert_eq!(received(&mut ben, track).await, frame(track, 0, true));
    let request = RepeatRequest { track, spatial_layer: 0, wanted: vec![Wanted::whole(0)] };
    ben.media(request.encode()).await;
    assert_eq!(received(&mut ben, track).await, frame(track, 0, true), "once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_on_another_shard_sees_a_picture_at_once_and_asks_for_one_where_there_is_none() {
    let relay = start(Config::default());
    let (mut ana, _) = member_on(&relay, 0, Over::Quic, "Ana").await;
    let track = ana.publish().await;
    let asked = |what: &'static str| {
        move |incoming| match incoming {
            Incoming::Control(ServerMessage::KeyframeRequested { track: of, .. }) if of == track => Break(what),
            other => Continue(other),
        }
    };
    // Nobody on the other shard has taken it before.
    let (mut ben, _) = member_on(&relay, 1, Over::Quic, "Ben").await;
    ana.wait_for("a request for a keyframe", asked("nothing was kept")).await;
    ana.media(frame(track, 0, true)).await;
    ana.media(frame(track, 1, false)).await;
    for number in [0, 1] {
        assert_eq!(received(&mut ben, track).await, frame(track, number, number == 0));
    }
    ben.leave().await;
    let (mut cat, _) = member_on(&relay, 1, Over::Quic, "Cat").await;
    for number in [0, 1] {
        assert_eq!(received(&mut cat, track).await, frame(track, number, number == 0), "kept on the publisher's shard");
    }
    ana.media(frame(track, 2, false)).await;
    assert_eq!(received(&mut cat, track).await, frame(track, 2, false));
    // That one is on the other shard now as well.
    let (mut dan, _) = member_on(&relay, 1, Over::Quic, "Dan").await;
    for number in [0, 1, 2] {
        assert_eq!(received(&mut dan, track).await, frame(track, number, number == 0), "kept on its own shard");
    }
    sleep(KEYFRAME_PAUSE).await;
    dan.control(&ClientMessage::RequestKeyframe { track, spatial_layer: 0 }).await;
    ana.wait_for("another request", asked("it was asked for")).await;
}

/// Longer than a keyframe that was asked for counts for others.
const KEYFRAME_PAUSE: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_that_comes_back_on_another_shard_is_as_it_was() {
    let relay = start(Config::default());
    for (from, to) in [(0, 1), (1, 0)] {
        let room = format!("room-{from}");
        let on = |shard, name| join_on(&relay, shard, Over::Quic, join_of(&room, name));
        let (mut ana, welcome) = on(from, "Ana").await;
        let (mut ben, _) = on(from, "Ben").await;
        let [one, other] = [ana.publish().await, ben.publish().await];
        ben.media(frame(other, 0, true)).await;
        assert_eq!(received(&mut ana, other).await, frame(other, 0, true));
        ana.cut();
        let join = Join { ticket: Some(welcome.ticket), ..join_of(&room, "Ana") };
        let (mut ana, again) = join_on(&relay, to, Over::Quic, join).await;
        assert_eq!((again.participant, again.resumed), (welcome.participant, true));
        // The picture that is kept comes first.
        assert_eq!(received(&mut ana, other).await, frame(other, 0, true));
        ben.media(frame(other, 1, true)).await;
        assert_eq!(received(&mut ana, other).await, frame(other, 1, true));
        ana.media(frame(one, 7, true)).await;
        assert_eq!(received(&mut ben, one).await, frame(one, 7, true));
    }
}

/// So many come while as many leave, so often.
const CHANGING: usize = 16;
const CHANGES: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_while_others_leave_is_sent_media_on_every_shard() {
    let limits = Limits { seat_seconds: 0, ..Limits::default() };
    let relay = start(Config { limits, ..Config::default() });
    let newcomer = join_of("turnstile", "Ana");
    // One of the two is not the home of the room.
    for shard in 0..SHARDS {
        let (mut stays, _) = join_on(&relay, shard, Over::Quic, newcomer.clone()).await;
        let endpoint = endpoint_to(ALPN_QUIC, shard, SHARDS);
        let mut seated = Vec::new();
        for _ in 0..CHANGES {
            let connecting = (0..CHANGING).map(|_| Session::connect_by(&endpoint, relay.relay.address()));
            let mut coming: Vec<_> = join_all(connecting).await.into_iter().map(Result::unwrap).collect();
            let mut leaving = seated.into_iter();
            for session in &mut coming {
                session.control(&ClientMessage::Join(newcomer.clone())).await;
                leaving.next().into_iter().for_each(Session::cut);
            }
            let answered = coming.iter_mut().map(|session| async move {
                session.wait_for("a seat", welcomed).await;
                session.media(datagram(TrackId::ECHO, b"x")).await;
                received(session, TrackId::ECHO).await;
            });
            join_all(answered).await;
            seated = coming;
        }
        stays.assert_seated("to the end").await;
    }
}

fn welcomed(incoming: Incoming) -> ControlFlow<(), Incoming> {
    match incoming {
        Incoming::Control(ServerMessage::Welcome(_)) => Break(()),
        other => Continue(other),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_on_one_shard_moderates_who_is_on_the_other() {
    let keys = Directory::new();
    let file = keys.path().join("keys.toml");
    write_keys(&file, &[(API_KEY, SECRET)]);
    let relay = start(Config { keys: KeySources { keys: Some(file), jwks: None }, ..Config::default() });
    let join = |name: &str, admin| {
        let token = minted(name, &Grant { admin, ..grant("team") });
        Join { token: Some(token), ..join_of("team", name) }
    };
    let (mut admin, _) = join_on(&relay, 0, Over::Quic, join("admin", true)).await;
    let (mut ana, welcome) = join_on(&relay, 1, Over::WebSocket, join("ana", false)).await;
    let (mut ben, _) = join_on(&relay, 1, Over::WebTransport, join("ben", false)).await;
    let track = ana.publish().await;
    assert!(matches!(admin.request(&ClientMessage::MuteTrack { request: 1, track }).await, ServerMessage::Done { .. }));
    ana.wait_for("the mute", |incoming| match incoming {
        Incoming::Control(ServerMessage::TrackMuted { track: of, muted: true, .. }) if of == track => Break(()),
        other => Continue(other),
    })
    .await;
    let remove = ClientMessage::RemoveParticipant { request: 2, participant: welcome.participant };
    assert!(matches!(admin.request(&remove).await, ServerMessage::Done { .. }));
    assert_eq!(ana.ended().await, CloseReason::Removed);
    admin.control(&ClientMessage::EndMeeting { request: 3 }).await;
    assert_eq!(ben.ended().await, CloseReason::MeetingEnded);
    assert_eq!(admin.ended().await, CloseReason::MeetingEnded);
    let empty = async {
        while !sessions(&relay).await.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    soon("nobody is there any more", empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_port_changes_stays_on_its_shard_and_goes_on() {
    let relay = start(Config::default());
    for shard in 0..SHARDS {
        let endpoint = endpoint_to(ALPN_QUIC, shard, SHARDS);
        let ana = Session::connect_by(&endpoint, relay.relay.address()).await.expect("a connection");
        let (mut ana, welcome) = ana.seated(join_of("lobby", "Ana")).await.expect("a seat");
        assert_eq!(shard_of(&relay, "lobby", welcome.participant).await, shard);
        let (mut ben, _) = member_on(&relay, 1 - shard, Over::Quic, "Ben").await;
        let track = ben.publish().await;
        let failed = relay.relay.metrics().sessions_failed();
        // Enough ports that each would come to another shard by chance.
        for number in 0..8 {
            endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
            assert_eq!(ana.say_kept("here").await, ben.heard().await.sequence);
            ben.media(frame(track, number, true)).await;
            assert_eq!(received(&mut ana, track).await, frame(track, number, true));
        }
        assert_eq!(relay.relay.metrics().sessions_failed(), failed);
        assert_eq!(relay.relay.metrics().closed(CloseReason::ConnectionLost), 0);
        for session in [ana, ben] {
            session.leave().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_of_all_shards_hear_that_the_relay_stops() {
    let relay = start(Config::default());
    let mut all = Vec::new();
    for over in CARRIERS {
        for shard in 0..SHARDS {
            all.push(member_on(&relay, shard, over, "Ana").await.0);
        }
    }
    let told = join_all(all.iter_mut().map(Session::ended));
    let (reasons, ()) = tokio::join!(told, relay.relay.stop());
    assert_eq!(reasons, [CloseReason::ShuttingDown; CARRIERS.len() * SHARDS]);
}

/// Who is gone before the seat is there, each in a room of its own.
const GONE: usize = 100;

#[tokio::test]
async fn whoever_is_gone_when_the_seat_is_given_leaves_nothing_behind() {
    let limits = Limits { seat_seconds: 0, ..Limits::default() };
    let relay = start(Config { limits, ..Config::default() });
    let before = relay.relay.metrics().text();
    let gone = |number| {
        let target = target(&relay);
        async move {
            let mut session = Session::connect(target, Over::WebSocket).await.unwrap();
            session.control(&ClientMessage::Join(join_of(&format!("gone-{number}"), "Ana"))).await;
            session.cut();
        }
    };
    for number in 0..GONE {
        gone(number).await;
    }
    let rooms = |text: &str| text.lines().find_map(|line| line.strip_prefix("tertulia_rooms ")?.parse::<i64>().ok());
    assert_eq!(rooms(&before), Some(0));
    let ended = || CloseReason::ALL.iter().map(|reason| relay.relay.metrics().closed(*reason)).sum::<u64>();
    soon("all are gone", async {
        while ended() < GONE as u64 || rooms(&relay.relay.metrics().text()) != Some(0) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
