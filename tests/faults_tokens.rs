//! Section A of the faults: tokens that are wrong, used twice, or for something else; and rooms that stay apart.

mod support;

use std::ops::ControlFlow::{Break, Continue};
use std::time::{Duration, Instant};

use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use support::bystander::{in_time, repeatable};
use support::child::{ChildRelay, Launch};
use support::quic::{endpoint, soon};
use support::scene::{CROWDED, Scene, turn};
use support::session::{
    CARRIERS, Incoming, Over, Session, Target, camera, datagram, join_of, payload, plain, plain_ended,
};
use support::tokens::{API_KEY, SECRET, claims, claims_with, grant, minted, signed, token_with, unix_s, write_keys};
use tertulia::auth::{Grant, Sources};
use tertulia::wire::*;
use tokio::time::sleep;

/// A key of 2048 bits that signs nothing but tests.
const RSA: &str = include_str!("support/rsa.pem");

/// A relay with a secret and a public key, which looks at any number of wrong tokens.
fn with_keys(arguments: &[&str]) -> Launch {
    let many = ["--refused-tokens-per-minute-per-address", "100000"];
    let launch = Launch::new(&[&CROWDED, &many[..], arguments].concat());
    let rsa = KeyPair::from_pem(RSA).unwrap().public_key_pem();
    std::fs::write(launch.file("rsa.pem"), rsa).unwrap();
    let path = launch.file("keys.toml");
    let public = "[[public]]\nkid = 'RS256'\nalgorithm = 'RS256'\nfile = 'rsa.pem'\n";
    std::fs::write(&path, format!("[secrets]\n{API_KEY} = '{SECRET}'\n{public}")).unwrap();
    launch.with("--keys", &path)
}

/// Wherever it is reached from: who wants no keys and no warning says so.
#[test]
fn a_relay_without_keys_says_so_once() {
    let warnings = |launch: &mut Launch| launch.start().log().matches("no keys are configured").count();
    assert_eq!(warnings(&mut Launch::new(&[])), 1);
    assert_eq!(warnings(&mut Launch::new(&["--open-relay", "refuse"])), 1, "nobody else reaches it");
    assert_eq!(warnings(&mut Launch::new(&["--open-relay", "allow"])), 0);
    assert_eq!(warnings(&mut with_keys(&[])), 0);
}

async fn scene(arguments: &[&str]) -> Scene {
    Scene::of(with_keys(arguments), |identity| Some(minted(identity, &grant("bystanders")))).await
}

/// A request for a seat in the room `team` with this token.
fn join_with(token: &str) -> Join {
    Join { token: Some(token.into()), ..join_of("team", "Mallory") }
}

/// How a session with this token is answered.
async fn answer(target: Target, over: Over, join: Join) -> Option<CloseReason> {
    match Session::join(target, over, join).await {
        Ok((session, _)) => {
            session.leave().await;
            None
        }
        Err(reason) => Some(reason),
    }
}

async fn assert_answers(target: Target, cases: Vec<(&str, String, Option<CloseReason>)>) {
    for (carrier, (case, token, expected)) in CARRIERS.iter().cycle().zip(cases) {
        assert_eq!(answer(target, *carrier, join_with(&token)).await, expected, "{case} over {carrier:?}");
    }
}

fn forged() -> Vec<(&'static str, String, Option<CloseReason>)> {
    let refused = Some(CloseReason::TokenInvalid);
    let public = KeyPair::from_pem(RSA).unwrap();
    let with = |header: Value, secret: &[u8]| signed(&header, &claims(), secret);
    let secret = SECRET.as_bytes();
    let good = token_with(&claims());
    let unsigned = |alg: &str| {
        let token = with(json!({ "alg": alg }), secret);
        token.rsplit_once('.').unwrap().0.to_owned() + "."
    };
    let changed = {
        let other = token_with(&claims_with(&json!({ "sub": "ana" })));
        let (signature, claims) = (good.rsplit('.').next().unwrap(), other.rsplit_once('.').unwrap().0);
        format!("{claims}.{signature}")
    };
    let pointing = |name: &str| {
        let mut header = json!({ "alg": "HS256" });
        header[name] = json!("https://evil.example/keys");
        with(header, secret)
    };
    vec![
        ("a good one", good.clone(), None),
        ("alg none", unsigned("none"), refused),
        ("alg nOnE", unsigned("nOnE"), refused),
        ("no signature", unsigned("HS256"), refused),
        ("no alg", with(json!({ "typ": "JWT" }), secret), refused),
        ("HS384", with(json!({ "alg": "HS384" }), secret), refused),
        ("another secret", with(json!({ "alg": "HS256" }), b"another secret that is long enough"), refused),
        (
            "HS256 with the public key in PEM",
            with(json!({ "alg": "HS256", "kid": "RS256" }), public.public_key_pem().as_bytes()),
            refused,
        ),
        (
            "HS256 with the public key in DER",
            with(json!({ "alg": "HS256", "kid": "RS256" }), &public.subject_public_key_info()),
            refused,
        ),
        ("RS256 with the secret", with(json!({ "alg": "RS256", "kid": "RS256" }), secret), refused),
        ("the secret under the public key's name", with(json!({ "alg": "HS256", "kid": "RS256" }), secret), refused),
        ("an unknown kid", with(json!({ "alg": "RS256", "kid": "other" }), secret), refused),
        ("a path as kid", with(json!({ "alg": "RS256", "kid": "../../rsa.pem" }), secret), refused),
        ("SQL as kid", with(json!({ "alg": "RS256", "kid": "' OR 1=1 --" }), secret), refused),
        ("a number as kid", with(json!({ "alg": "HS256", "kid": 1 }), secret), refused),
        ("jku", pointing("jku"), refused),
        ("x5u", pointing("x5u"), refused),
        ("x5c", pointing("x5c"), refused),
        ("jwk", pointing("jwk"), refused),
        ("crit", pointing("crit"), refused),
        ("claims of another token", changed, refused),
        ("half a token", good[..good.len() / 2].to_owned(), refused),
        ("nothing", String::new(), refused),
        ("dots", "..".into(), refused),
        ("a NUL", format!("{good}\0"), refused),
        ("4097 bytes", "x".repeat(4097), refused),
        ("60,000 bytes", "x".repeat(60_000), refused),
    ]
}

fn with_strange_claims() -> Vec<(&'static str, String, Option<CloseReason>)> {
    let refused = Some(CloseReason::TokenInvalid);
    let later = unix_s() + 600;
    let with = |changes: Value| token_with(&claims_with(&changes));
    let room = |video: Value| with(json!({ "video": video }));
    vec![
        ("exp missing", with(json!({ "exp": null })), refused),
        ("exp a text", with(json!({ "exp": later.to_string() })), refused),
        ("exp a fraction", with(json!({ "exp": later as f64 + 0.5 })), refused),
        ("exp negative", with(json!({ "exp": -1 })), refused),
        ("exp 2^63", with(json!({ "exp": 1u64 << 63 })), refused),
        ("exp 1e300", with(json!({ "exp": 1e300 })), refused),
        ("exp a list", with(json!({ "exp": [later] })), refused),
        ("nbf a text", with(json!({ "nbf": "0" })), refused),
        ("nbf a fraction", with(json!({ "nbf": 0.5 })), refused),
        ("nbf negative", with(json!({ "nbf": -1 })), refused),
        ("nbf 2^63", with(json!({ "nbf": 1u64 << 63 })), refused),
        ("iss missing", with(json!({ "iss": null })), refused),
        ("iss unknown", with(json!({ "iss": "other" })), refused),
        ("iss a number", with(json!({ "iss": 1 })), refused),
        ("sub missing", with(json!({ "sub": null })), refused),
        ("sub a number", with(json!({ "sub": 1 })), refused),
        ("no video", with(json!({ "video": null })), refused),
        ("video a text", with(json!({ "video": "team" })), refused),
        ("no room", room(json!({ "roomJoin": true })), refused),
        ("roomJoin missing", room(json!({ "room": "team" })), refused),
        ("roomJoin false", room(json!({ "room": "team", "roomJoin": false })), refused),
        ("roomJoin a text", room(json!({ "room": "team", "roomJoin": "true" })), refused),
        ("another room", room(json!({ "room": "other", "roomJoin": true })), refused),
        ("metadata of 2 KiB", with(json!({ "metadata": "x".repeat(2048) })), refused),
    ]
}

fn by_other_clocks() -> Vec<(&'static str, String, Option<CloseReason>)> {
    let (now, late) = (unix_s(), Some(CloseReason::TokenExpired));
    let early = Some(CloseReason::TokenClock);
    let with = |changes: Value| token_with(&claims_with(&changes));
    vec![
        ("expired 30 s ago", with(json!({ "exp": now - 30 })), None),
        ("expired 50 s ago", with(json!({ "exp": now - 50 })), None),
        ("expired 90 s ago", with(json!({ "exp": now - 90 })), late),
        ("expired 120 s ago", with(json!({ "exp": now - 120 })), late),
        ("good in 30 s", with(json!({ "nbf": now + 30 })), None),
        ("good in 60 s", with(json!({ "nbf": now + 60 })), None),
        ("good in 90 s", with(json!({ "nbf": now + 90 })), early),
        ("good in 120 s", with(json!({ "nbf": now + 120 })), early),
        ("issued in 120 s", with(json!({ "iat": now + 120 })), early),
    ]
}

#[tokio::test]
async fn a1_a2_a3_a4_a_token_that_is_wrong_lets_nobody_in() {
    repeatable(async || {
        let mut scene = scene(&[]).await;
        let target = scene.target();
        assert_answers(target, forged()).await;
        scene.assert_undisturbed("forged tokens").await;
        assert_answers(target, with_strange_claims()).await;
        assert_answers(target, by_other_clocks()).await;
        for over in CARRIERS {
            let none = answer(target, over, join_of("team", "Mallory")).await;
            assert_eq!(none, Some(CloseReason::TokenMissing), "{over:?}");
            let elsewhere = Join { token: Some(minted("mallory", &grant("team"))), ..join_of("other", "Mallory") };
            assert_eq!(answer(target, over, elsewhere).await, Some(CloseReason::TokenInvalid), "{over:?}");
        }
        let token = minted("mallory", &grant("team"));
        for (path, token, expected) in [
            ("/team", Some(&*token), None),
            ("/r/team", Some(&*token), None),
            ("/other", Some(&*token), Some(CloseReason::TokenInvalid)),
            ("/", Some(&*token), Some(CloseReason::TokenInvalid)),
            ("/team", None, Some(CloseReason::TokenMissing)),
            ("/team", Some("nonsense"), Some(CloseReason::TokenInvalid)),
        ] {
            let mut socket = plain(target, path, token).await.unwrap();
            match expected {
                None => drop(socket),
                Some(_) => assert_eq!(plain_ended(&mut socket).await, expected, "{path}"),
            }
        }
        scene.close("wrong tokens").await;
    })
    .await;
}

#[tokio::test]
async fn a5_a_token_that_is_used_twice_is_one_person() {
    repeatable(async || {
        for (setting, first_ends, second) in
            [("replace", Some(CloseReason::Replaced), None), ("refuse", None, Some(CloseReason::IdentityInUse))]
        {
            let mut scene = scene(&["--same-identity", setting]).await;
            let token = minted("ana", &grant("team"));
            let (mut first, _) = Session::join(scene.target(), Over::WebSocket, join_with(&token)).await.unwrap();
            let elsewhere = endpoint(ALPN_QUIC);
            elsewhere.rebind(std::net::UdpSocket::bind("127.0.0.2:0").unwrap()).unwrap();
            for _ in 0..30 {
                let again = Session::connect_by(&elsewhere, scene.target().quic).await.unwrap();
                let again = again.seated(join_with(&token)).await;
                assert_eq!(again.as_ref().err(), second.as_ref(), "{setting}");
                match first_ends {
                    Some(reason) => assert_eq!(first.ended().await, reason),
                    None => first.assert_seated(setting).await,
                }
                if let Ok((again, _)) = again {
                    first = again;
                }
            }
            scene.assert_undisturbed(setting).await;
            first.leave().await;
            scene.close(setting).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a6_a_session_ends_with_its_token() {
    let _turn = turn().await;
    let relay = with_keys(&[]).start();
    let target = relay.target;
    let witness = minted("witness", &grant("team"));
    let (mut witness, _) = Session::join(target, Over::Quic, join_with(&witness)).await.unwrap();
    let token = |identity: &str, at: u64| token_with(&claims_with(&json!({ "exp": at, "sub": identity })));
    // All of them come in more than a second before the end, or others do.
    let (expires_at, mut sessions) = loop {
        // Its leeway of 60 s ends in three.
        let expires_at = unix_s() - 57;
        let mut sessions = Vec::new();
        for (over, identity) in CARRIERS.iter().zip(["a", "b", "c"]) {
            sessions.push(Session::join(target, *over, join_with(&token(identity, expires_at))).await);
        }
        if unix_s() + 1 < expires_at + 60 {
            break (expires_at, sessions.into_iter().map(|joined| joined.unwrap().0).collect::<Vec<_>>());
        }
    };
    for session in &mut sessions {
        session.assert_seated("its time has not come").await;
    }
    for session in &mut sessions {
        assert_eq!(session.ended().await, CloseReason::TokenExpired);
        assert!(unix_s() >= expires_at + 60, "it ended too early");
        let left = witness.wait_for("the witness sees it", |incoming| match incoming {
            Incoming::Control(ServerMessage::ParticipantLeft { reason, .. }) => Break(reason),
            other => Continue(other),
        });
        assert_eq!(left.await, CloseReason::TokenExpired);
    }
    // Whole seconds count.
    while unix_s() <= expires_at + 60 {
        sleep(Duration::from_millis(20)).await;
    }
    for over in CARRIERS {
        assert_eq!(
            answer(target, over, join_with(&token("a", expires_at))).await,
            Some(CloseReason::TokenExpired),
            "{over:?}"
        );
    }
    relay.assert_sound("expired tokens").await;
}

#[tokio::test]
async fn a7_new_sessions_use_new_keys_within_a_second() {
    repeatable(async || {
        let _turn = turn().await;
        let mut launch = Launch::new(&["--refused-tokens-per-minute-per-address", "100000"]);
        let keys = launch.file("keys.toml");
        launch = launch.with("--keys", &keys);
        let path = launch.directory.path().join("keys.toml");
        write_keys(&path, &[(API_KEY, SECRET), ("old", "a key that is about to be taken out")]);
        let relay = launch.start();
        let by = |api_key: &str, secret: &str| {
            let claims = claims_with(&json!({ "iss": api_key, "sub": api_key }));
            signed(&json!({ "alg": "HS256" }), &claims, secret.as_bytes())
        };
        let old = by("old", "a key that is about to be taken out");
        let new = by("new", "a key that is about to be put in here");
        let (mut before, _) = Session::join(relay.target, Over::Quic, join_with(&old)).await.unwrap();
        assert_eq!(answer(relay.target, Over::Quic, join_with(&new)).await, Some(CloseReason::TokenInvalid));
        write_keys(&path, &[(API_KEY, SECRET), ("new", "a key that is about to be put in here")]);
        let begin = Instant::now();
        let taken = async {
            while answer(relay.target, Over::WebSocket, join_with(&new)).await.is_some() {
                // An address has so many new connections in a second.
                sleep(Duration::from_millis(20)).await;
            }
        };
        soon("a new key", taken).await;
        in_time("a new key", begin.elapsed(), Duration::from_secs(1));
        for over in CARRIERS {
            assert_eq!(answer(relay.target, over, join_with(&old)).await, Some(CloseReason::TokenInvalid), "{over:?}");
        }
        before.assert_seated("who is in stays in").await;
        // A file that is broken changes nothing.
        std::fs::write(&path, "[secrets").unwrap();
        let told = async {
            while !relay.log().contains("the keys stay as they were") {
                sleep(Duration::from_millis(20)).await;
            }
        };
        soon("a warning", told).await;
        assert_eq!(answer(relay.target, Over::Quic, join_with(&new)).await, None);
        relay.assert_sound("exchanged keys").await;
    })
    .await;
}

fn failed(answer: &ServerMessage) -> Option<RefuseReason> {
    match answer {
        ServerMessage::Failed { reason, .. } => Some(*reason),
        _ => None,
    }
}

#[tokio::test]
async fn a8_whoever_may_not_is_refused_and_whoever_is_hidden_is_not_seen() {
    repeatable(async || {
        let scene = scene(&[]).await;
        let target = scene.target();
        let join = |identity: &str, grant: Grant| join_with(&minted(identity, &grant));
        let everyone = || grant("team");
        let (mut ana, _) = Session::join(target, Over::Quic, join("ana", everyone())).await.unwrap();
        let track = ana.publish().await;

        for over in CARRIERS {
            let limited = Grant { publish: Sources::NONE, subscribe: false, chat: false, ..everyone() };
            let (mut mute, welcome) = Session::join(target, over, join("mute", limited)).await.unwrap();
            let not_allowed = Some(RefuseReason::NotAllowed);
            for message in [
                ClientMessage::Publish { request: 1, track: camera() },
                ClientMessage::Subscribe { request: 2, track },
                ClientMessage::RemoveParticipant { request: 3, participant: ParticipantId(1) },
                ClientMessage::MuteTrack { request: 4, track },
                ClientMessage::SetLocked { request: 5, locked: true },
                ClientMessage::EndMeeting { request: 6 },
            ] {
                assert_eq!(failed(&mute.request(&message).await), not_allowed, "{message:?} over {over:?}");
            }
            let said = mute.say("hello").await;
            assert!(matches!(said, ServerChat::Refused { reason: RefuseReason::NotAllowed, .. }), "{said:?}");
            assert!(!welcome.permissions.chat && welcome.permissions.publish.is_empty());
            // It gets no media either, although it asked for all when it joined.
            ana.media(datagram(track, b"picture")).await;
            ana.assert_seated("a datagram is on its way").await;
            mute.assert_seated("after refusals").await;
            assert!(!mute.rest().iter().any(|incoming| matches!(incoming, Incoming::Media(_))), "{over:?}");
            mute.leave().await;
        }
        let only_camera = Grant { publish: Sources::only(&[TrackSource::Camera]), ..everyone() };
        let (mut cam, _) = Session::join(target, Over::WebSocket, join("cam", only_camera)).await.unwrap();
        let screen = TrackInfo { source: TrackSource::Screen, ..camera() };
        let answer = cam.request(&ClientMessage::Publish { request: 1, track: screen }).await;
        assert_eq!(failed(&answer), Some(RefuseReason::NotAllowed));
        cam.publish().await;
        cam.leave().await;
        scene.relay.until("tertulia_participants{carrier=\"websocket\"}", |count| count == 1).await;
        hidden_is_not_seen(target, &mut ana).await;
        ana.leave().await;
        scene.close("grants").await;
    })
    .await;
}

async fn hidden_is_not_seen(target: Target, ana: &mut Session) {
    ana.assert_seated("what came before has been seen").await;
    ana.rest();
    for over in CARRIERS {
        let hidden = Grant { hidden: true, ..grant("team") };
        let (mut eve, _) = Session::join(target, over, join_with(&minted("eve", &hidden))).await.unwrap();
        let publish = ClientMessage::Publish { request: 1, track: camera() };
        assert_eq!(failed(&eve.request(&publish).await), Some(RefuseReason::NotAllowed));
        let said = eve.say("boo").await;
        assert!(matches!(said, ServerChat::Refused { reason: RefuseReason::NotAllowed, .. }), "{said:?}");
        eve.chat(&ClientChat::Typing { active: true }).await;
        let (newcomer, welcome) = Session::join(target, over, join_with(&minted("ben", &grant("team")))).await.unwrap();
        assert_eq!(welcome.participants, 1, "Ana alone is shown over {over:?}");
        newcomer.leave().await;
        eve.leave().await;
        ana.assert_seated("what there was to see has been seen").await;
        // That somebody takes her picture is said of the hidden one as well, and not who.
        let is_about_her =
            |incoming: &Incoming| matches!(incoming, Incoming::Control(ServerMessage::LayersWanted { .. }));
        let seen: Vec<_> = ana.rest().into_iter().filter(|incoming| !is_about_her(incoming)).collect();
        let shown = format!("{seen:?}");
        assert_eq!(seen.len(), 2, "Ben came and went, nothing else: {shown}");
        assert!(!shown.contains("eve"), "{shown}");
    }
}

#[tokio::test]
async fn a9_a_name_is_letters_digits_and_two_signs() {
    let _turn = turn().await;
    let relay = with_keys(&[]).start();
    let open = Launch::new(&CROWDED).start();
    for name in [
        "",
        &"x".repeat(129),
        &"x".repeat(257),
        "a\0b",
        "a\nb",
        "a\u{202e}b",
        "a\u{200b}b",
        "../a",
        "a/b",
        "a:b",
        "*",
        ">",
        ".",
        "a.b",
        "caf\u{e9}",
        "cafe\u{301}",
        " a",
        "a%20b",
    ] {
        let identity = token_with(&claims_with(&json!({ "sub": name })));
        let answered = answer(relay.target, Over::WebSocket, join_with(&identity)).await;
        assert_eq!(answered, Some(CloseReason::TokenInvalid), "the identity {name:?}");
        let room = token_with(&claims_with(&json!({ "video": { "room": name, "roomJoin": true } })));
        let join = Join { token: Some(room), ..join_of(name, "Mallory") };
        let answered = answer(relay.target, Over::WebSocket, join).await;
        assert_eq!(answered, Some(CloseReason::RoomName), "a token for the room {name:?}");
        let answered = answer(open.target, Over::Quic, join_of(name, "Mallory")).await;
        assert_eq!(answered, Some(CloseReason::RoomName), "the room {name:?}");
    }
    assert_eq!(relay.metric("tertulia_rooms").await + open.metric("tertulia_rooms").await, 0);
    // Free text is for display names, and not all of it.
    for (name, is_good) in [("Ana Mar\u{ed}a \u{1f469}\u{200d}\u{1f4bb}", true), ("a\u{202e}b", false), ("a\0b", false)]
    {
        let token = token_with(&claims_with(&json!({ "name": name })));
        let expected = (!is_good).then_some(CloseReason::TokenInvalid);
        assert_eq!(answer(relay.target, Over::Quic, join_with(&token)).await, expected, "{name:?}");
    }
}

/// Rooms whose tracks and participants have the same numbers, all at once.
const ROOMS: usize = 10;

#[tokio::test]
async fn a10_nothing_comes_from_another_room() {
    repeatable(async || {
        let scene = Scene::crowded(&["--chat-burst", "1000"]).await;
        let target = scene.target();
        let mut rooms = Vec::new();
        for number in 0..ROOMS {
            let mut members = Vec::new();
            for over in CARRIERS {
                members.push(Session::member(target, over, &format!("room-{number}"), "someone").await);
            }
            let mut tracks = Vec::new();
            for member in &mut members {
                tracks.push(member.publish().await);
            }
            assert_eq!(tracks, [1, 2, 3].map(TrackId));
            rooms.push((format!("canary of room {number}."), members, tracks));
        }
        for round in 0..10 {
            for (canary, members, tracks) in &mut rooms {
                for (member, track) in members.iter_mut().zip(tracks) {
                    member.media(datagram(*track, canary.as_bytes())).await;
                    let body = format!("{canary} round {round}");
                    member.chat(&ClientChat::Send { message_id: support::session::message_id(), to: None, body }).await;
                }
                // Many rooms at once, but not all of them in one millisecond.
                sleep(Duration::from_millis(5)).await;
            }
        }
        for (canary, members, _) in &mut rooms {
            for member in members {
                for _ in 0..20 {
                    let message = member.heard().await;
                    assert!(message.body.starts_with(&*canary), "{} in {canary}", message.body);
                }
                member.assert_seated(canary).await;
                let mut datagrams = 0;
                for incoming in member.rest() {
                    match incoming {
                        Incoming::Media(datagram) => {
                            assert_eq!(payload(&datagram), canary.as_bytes());
                            datagrams += 1;
                        }
                        Incoming::Chat(ServerChat::Message(message)) => panic!("{message:?} in {canary}"),
                        _ => {}
                    }
                }
                assert!((15..=20).contains(&datagrams), "{datagrams} datagrams in {canary}");
            }
        }
        for (_, members, _) in rooms {
            for member in members {
                member.leave().await;
            }
        }
        scene.close("many rooms").await;
    })
    .await;
}

#[tokio::test]
async fn a11_a_session_sends_on_its_own_tracks_alone() {
    repeatable(async || {
        let scene = Scene::crowded(&[]).await;
        let target = scene.target();
        let mut ana = Session::member(target, Over::Quic, "team", "Ana").await;
        let mut ben = Session::member(target, Over::WebSocket, "team", "Ben").await;
        let track = ana.publish().await;
        for over in CARRIERS {
            let before = [scene.relay.metric(NOT_OWNED).await, scene.relay.metric(UNKNOWN).await];
            let mut mallory = Session::member(target, over, "team", "Mallory").await;
            // wtransport takes a session's first datagram for itself, see ARCHITECTURE.md.
            mallory.media(datagram(TrackId(4000), b"forged")).await;
            mallory.assert_seated("the first datagram").await;
            mallory.media(datagram(track, b"forged")).await;
            mallory.media(datagram(TrackId(4000), b"forged")).await;
            mallory.media(datagram(TrackId(u32::MAX), b"forged")).await;
            mallory.assert_seated("after forged datagrams").await;
            // The bystanders' tracks have the numbers 1 and 2 in their room.
            mallory.media(datagram(TrackId(2), b"forged")).await;
            scene.relay.until(NOT_OWNED, |count| count > before[0]).await;
            scene.relay.until(UNKNOWN, |count| count >= before[1] + 3).await;
            mallory.leave().await;
        }
        ana.media(datagram(track, b"true")).await;
        assert_eq!(payload(&ben.datagram().await), b"true");
        assert!(!ben.rest().iter().any(|incoming| matches!(incoming, Incoming::Media(_))));
        ana.leave().await;
        ben.leave().await;
        scene.close("forged tracks").await;
    })
    .await;
}

const NOT_OWNED: &str = "tertulia_datagrams_dropped_total{reason=\"track_not_owned\"}";
const UNKNOWN: &str = "tertulia_datagrams_dropped_total{reason=\"track_unknown\"}";

#[tokio::test]
async fn a13_whoever_was_removed_stays_out_with_ticket_and_after_a_restart() {
    let _turn = turn().await;
    let mut launch = with_keys(&[]);
    let mut relay = launch.start();
    let token = |identity: &str| minted(identity, &grant("team"));
    let admin = minted("admin", &Grant { admin: true, ..grant("team") });
    let (mut admin, _) = Session::join(relay.target, Over::Quic, join_with(&admin)).await.unwrap();
    let mut tickets = Vec::new();
    for (over, identity, is_away) in [
        (Over::Quic, "a", false),
        (Over::WebTransport, "b", false),
        (Over::WebSocket, "c", false),
        // Its session has just broken, and it is on its way back.
        (Over::Quic, "d", true),
    ] {
        let (mut session, welcome) = Session::join(relay.target, over, join_with(&token(identity))).await.unwrap();
        let participant = welcome.participant;
        let remove = ClientMessage::RemoveParticipant { request: 1, participant };
        if is_away {
            session.cut();
            relay.until("tertulia_sessions_closed_total{reason=\"connection_lost\"}", |count| count == 1).await;
            assert!(matches!(admin.request(&remove).await, ServerMessage::Done { .. }));
        } else {
            assert!(matches!(admin.request(&remove).await, ServerMessage::Done { .. }));
            assert_eq!(session.ended().await, CloseReason::Removed, "{identity}");
        }
        tickets.push((identity, welcome.ticket));
    }
    let (_stays, kept) = Session::join(relay.target, Over::Quic, join_with(&token("stays"))).await.unwrap();
    for restart in ["before", "after"] {
        for (identity, ticket) in &tickets {
            for ticket in [Some(ticket.clone()), Some(kept.ticket.clone()), None] {
                let join = Join { ticket, ..join_with(&token(identity)) };
                for over in CARRIERS {
                    let answered = answer(relay.target, over, join.clone()).await;
                    assert_eq!(answered, Some(CloseReason::Removed), "{identity} {restart} the restart");
                }
            }
        }
        if restart == "before" {
            relay.kill();
            relay = launch.start();
        }
    }
    let back = Join { ticket: Some(kept.ticket), ..join_with(&token("stays")) };
    let (_back, welcome) = Session::join(relay.target, Over::WebSocket, back).await.unwrap();
    assert_eq!(welcome.participant, kept.participant);
}

#[tokio::test]
async fn removed_people_knock_in_vain_beside_a_meeting() {
    repeatable(async || {
        let mut scene = scene(&["--removed-minutes", "1"]).await;
        let target = scene.target();
        let admin = minted("admin", &Grant { admin: true, ..grant("team") });
        let (mut admin, _) = Session::join(target, Over::Quic, join_with(&admin)).await.unwrap();
        let mut tokens = Vec::new();
        for number in 0..10 {
            let token = minted(&format!("removed-{number}"), &grant("team"));
            let (mut session, welcome) = Session::join(target, Over::WebSocket, join_with(&token)).await.unwrap();
            let remove = ClientMessage::RemoveParticipant { request: 1, participant: welcome.participant };
            assert!(matches!(admin.request(&remove).await, ServerMessage::Done { .. }));
            assert_eq!(session.ended().await, CloseReason::Removed);
            tokens.push(token);
        }
        let begin = Instant::now();
        for (token, over) in tokens.iter().cycle().zip(CARRIERS.into_iter().cycle()).take(60) {
            assert_eq!(answer(target, over, join_with(token)).await, Some(CloseReason::Removed), "{over:?}");
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "they may come back after a minute: {:?}", begin.elapsed());
        scene.assert_undisturbed("removed people").await;
        admin.leave().await;
        scene.close("removed people").await;
    })
    .await;
}

/// Text that is in no output, whatever was tried with it.
fn assert_silent(relay: &ChildRelay, metrics: &str, secrets: &[String]) {
    let outputs = [("log", relay.log()), ("metrics", metrics.to_owned()), ("output", relay.printed.clone())];
    let arguments = ("command line", relay.arguments.clone());
    for (place, text) in outputs.iter().chain([&arguments]) {
        for secret in secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in the {place}: {}", line_with(text, secret));
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!text.contains(&hex), "{secret} is in the {place} as hexadecimal: {}", line_with(text, &hex));
        }
    }
}

fn line_with<'a>(text: &'a str, part: &str) -> &'a str {
    let line = text.lines().find(|line| line.contains(part)).unwrap_or_default();
    &line[..line.len().min(300)]
}

#[tokio::test]
async fn a15_no_token_key_ticket_or_chat_is_in_any_output() {
    let _turn = turn().await;
    let relay = with_keys(&["--log", "trace"]).start();
    let target = relay.target;
    let good = token_with(&claims_with(&json!({ "metadata": "canary-metadata" })));
    let expired = token_with(&claims_with(&json!({ "exp": unix_s() - 1000 })));
    let wrong = signed(&json!({ "alg": "HS256" }), &claims(), b"canary-secret-canary-secret-canary");
    let mut secrets = vec![SECRET.to_owned(), "canary-chat".into(), "canary-metadata".into(), "canary-typo".into()];
    for token in [&good, &expired, &wrong] {
        let parts: Vec<_> = token.split('.').collect();
        secrets.extend([parts[1].to_owned(), parts[2].to_owned()]);
    }
    for over in CARRIERS {
        let (mut session, welcome) = Session::join(target, over, join_with(&good)).await.unwrap();
        session.say_kept("canary-chat").await;
        let ticket = welcome.ticket.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        secrets.push(ticket);
        session.leave().await;
        for token in [&expired, &wrong, "canary-typo"] {
            assert!(answer(target, over, join_with(token)).await.is_some());
        }
        let mut session = Session::connect(target, over).await.unwrap();
        session.send(StreamKind::Control, format!("\0\x01{wrong}").as_bytes()).await;
        session.ended().await;
    }
    for token in [&good, &wrong, "canary-typo"] {
        drop(plain(target, "/team", Some(token)).await.unwrap());
        drop(plain(target, "/other", Some(token)).await.unwrap());
    }
    soon("all of it is logged", relay.until(CLOSED_INVALID, |count| count >= 6)).await;
    assert_silent(&relay, &relay.metrics().await, &secrets);
    assert!(relay.log().contains("TRACE"), "the log would show it");
    relay.stop();
}

const CLOSED_INVALID: &str = "tertulia_sessions_closed_total{reason=\"token_invalid\"}";

/// What is too fast is not looked at, and costs nobody else anything: whoever is in stays in.
#[tokio::test]
async fn tokens_are_guessed_no_faster_than_the_limit() {
    repeatable(async || {
        let launch = Launch::new(&[&CROWDED[..], &["--refused-tokens-per-minute-per-address", "10"]].concat());
        let keys = launch.file("keys.toml");
        write_keys(&launch.directory.path().join("keys.toml"), &[(API_KEY, SECRET)]);
        let token = |identity: &str| Some(minted(identity, &grant("bystanders")));
        let scene = Scene::of(launch.with("--keys", &keys), token).await;
        let begin = Instant::now();
        let mut answers = Vec::new();
        for (_, over) in (0..60).zip(CARRIERS.iter().cycle()) {
            answers.push(answer(scene.target(), *over, join_with("nonsense")).await.unwrap());
        }
        let looked_at = answers.iter().filter(|reason| **reason == CloseReason::TokenInvalid).count();
        let most = 10 + begin.elapsed().as_secs() as usize / 6 + 1;
        assert!((10..=most).contains(&looked_at), "{looked_at}");
        assert!(answers.contains(&CloseReason::TooFast));
        assert!(scene.relay.metric("tertulia_refused_total{reason=\"tokens\"}").await > 0);
        scene.close("guessed tokens").await;
    })
    .await;
}
