//! Who comes in: so many from one address, pages of known sites, requests to known names. Everyone else is told why.

mod support;

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use quinn::ConnectionError;
use support::http::{PATIENCE, Reply, exchange, get, upgrade};
use support::quic::{H3, QuicMember, join, soon};
use support::rate::Rate;
use support::{Directory, TestRelay};
use tertulia::auth::{Grant, SecretKey};
use tertulia::client::{Event, Room};
use tertulia::config::{CertificateSource, Config, HistoryPlace, KeySources};
use tertulia::limits::Limits;
use tertulia::now::Now;
use tertulia::relay::{Callbacks, Relay};
use tertulia::transport::{Carrier, Refusal};
use tertulia::wire::{CloseReason, Identity, RoomName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// The transport error code CONNECTION_REFUSED (RFC 9000, section 20.1).
fn is_refused(ended: &Result<QuicMember, ConnectionError>) -> bool {
    matches!(ended, Err(ConnectionError::ConnectionClosed(close)) if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED)
}

async fn websocket(relay: &TestRelay) -> Reply {
    exchange(relay.relay.http_address().unwrap(), &upgrade("/", "localhost", "")).await
}

/// An answer with this status is a refusal, and gives what was said.
fn told_at(reply: Reply, status: u16) -> Result<(), Reply> {
    if reply.status() == Some(status) { Err(reply) } else { Ok(()) }
}

/// Two in a meeting still hear each other.
async fn assert_undisturbed(ana: &Room, ben: &Room) {
    let sequence = soon("an acknowledgement", ana.chat().send("still here")).await.unwrap();
    let heard = async {
        loop {
            match ben.next_event().await {
                Some(Event::ChatMessage(message)) if message.sequence == sequence => return,
                Some(_) => {}
                None => panic!("a bystander's session has ended"),
            }
        }
    };
    soon("a message", heard).await;
}

/// Reaches a limit of sessions with two bystanders and two more; then nobody comes in until one has left.
async fn sessions_are_bounded(limits: Limits, refusal: Refusal, told: &str) {
    let relay = TestRelay::start(limits);
    let (ana, ben) = (relay.join("quic", "Ana").await, relay.join("ws", "Ben").await);
    let address = relay.relay.address();
    let first = join(address, "other").await.unwrap();
    let _second = join(address, "other").await.unwrap();

    let over_quic = join(address, "other").await;
    assert!(is_refused(&over_quic), "{over_quic:?}");
    let refused = || relay.relay.metrics().refused(refusal);
    assert_eq!(refused(), 1);
    let reply = websocket(&relay).await;
    assert_eq!(reply.status(), Some(503), "{}", reply.text);
    assert!(reply.body().contains(told), "{}", reply.text);
    assert_eq!(refused(), 2);
    let webtransport = Room::connect(&relay.url("https"), relay.options("Eve")).await;
    assert!(webtransport.is_err(), "WebTransport");
    // Once for each attempt, of which there are more where the first one takes long, and the last may be counted later.
    assert!(refused() > 2, "WebTransport");
    assert_undisturbed(&ana, &ben).await;

    first.connection.close(0u32.into(), b"");
    let again = async {
        loop {
            match join(address, "other").await {
                Ok(member) => return member,
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let _again = soon("the place that was given back", again).await;
}

#[tokio::test]
async fn sessions_of_one_address_are_bounded() {
    let limits = Limits { sessions_per_address: 4, ..Limits::default() };
    sessions_are_bounded(limits, Refusal::SessionsOfAddress, "sessions from this address").await;
}

#[tokio::test]
async fn sessions_in_all_are_bounded() {
    let limits = Limits { sessions: 4, ..Limits::default() };
    sessions_are_bounded(limits, Refusal::Sessions, "as many sessions as it can hold").await;
}

#[tokio::test]
async fn a_websocket_that_is_closed_gives_its_place_back() {
    // Whoever is refused tries again at once.
    let [handshakes_per_second_per_address, handshakes_burst_per_address] = [100_000; 2];
    let limits = Limits { handshakes_per_second_per_address, handshakes_burst_per_address, ..Limits::default() };
    let relay = TestRelay::start(Limits { sessions_per_address: 1, ..limits });
    for _ in 0..5 {
        let mut stream = TcpStream::connect(relay.relay.http_address().unwrap()).await.unwrap();
        let entered = async {
            loop {
                stream.write_all(&upgrade("/", "localhost", "")).await.unwrap();
                let reply = support::http::read(&mut stream, PATIENCE).await;
                if reply.status() == Some(101) {
                    return;
                }
                assert_eq!(reply.status(), Some(503), "{}", reply.text);
                sleep(Duration::from_millis(5)).await;
                stream = TcpStream::connect(relay.relay.http_address().unwrap()).await.unwrap();
            }
        };
        soon("a place", entered).await;
    }
}

#[tokio::test]
async fn a_meeting_session_that_has_ended_gives_its_place_back_on_every_carrier() {
    // Whoever is refused tries again at once.
    let [handshakes_per_second_per_address, handshakes_burst_per_address] = [100_000; 2];
    let limits = Limits { handshakes_per_second_per_address, handshakes_burst_per_address, ..Limits::default() };
    let relay = TestRelay::start(Limits { sessions_per_address: 1, ..limits });
    for scheme in ["ws", "https", "quic"] {
        for _ in 0..3 {
            let entered = async {
                loop {
                    match Room::connect(&relay.url(scheme), relay.options("Ana")).await {
                        Ok(room) => return room,
                        Err(_) => sleep(Duration::from_millis(5)).await,
                    }
                }
            };
            soon(scheme, entered).await.disconnect().await;
        }
    }
}

#[tokio::test]
async fn connections_that_begin_too_fast_are_refused_until_a_moment_later() {
    let limits = Limits { handshakes_per_second_per_address: 1, handshakes_burst_per_address: 6, ..Limits::default() };
    let mut rate = Rate::begin(limits.handshakes_burst_per_address);
    let relay = TestRelay::start(limits);
    let (ana, ben) = (relay.join("quic", "Ana").await, relay.join("ws", "Ben").await);
    let address = relay.relay.address();
    let _members = [join(address, "other").await.unwrap(), join(address, "other").await.unwrap()];
    rate.let_in(4);
    let mut over_quic = Vec::new();
    for _ in 0..6 {
        over_quic.push(join(address, "other").await);
    }
    assert!(over_quic.iter().any(is_refused), "{over_quic:?}");
    rate.let_in(over_quic.iter().filter(|member| member.is_ok()).count());
    // Whoever is refused has first been asked to prove the address: nobody is refused for what others forge.
    assert!(relay.relay.metrics().handshakes_retried() > 0);
    let told = rate.refused("a WebSocket is over the rate", async || told_at(websocket(&relay).await, 429)).await;
    assert!(told.body().contains("too many connections"), "{}", told.text);
    assert!(relay.relay.metrics().refused(Refusal::Handshakes) >= 2);
    assert_undisturbed(&ana, &ben).await;
    let later = async {
        while join(address, "other").await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    soon("the rate allows another one", later).await;
}

/// Waits until a request is answered with 200.
async fn served_again(relay: &TestRelay) {
    let again = async {
        while exchange(relay.relay.http_address().unwrap(), &get("/health", "")).await.status() != Some(200) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("an answer", again).await;
}

/// A connection that was answered and is left open, so that it certainly holds a place. One that has just been closed
/// may still hold the last place for a moment: whoever is refused tries again.
async fn place(relay: &TestRelay) -> TcpStream {
    loop {
        let mut stream = TcpStream::connect(relay.relay.http_address().unwrap()).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let reply = support::http::read(&mut stream, PATIENCE).await;
        if reply.status() == Some(200) {
            return stream;
        }
        assert_eq!(reply.status(), Some(503), "{}", reply.text);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn tcp_connections_of_one_address_are_bounded_and_the_others_are_told() {
    let relay = TestRelay::start(Limits { tcp_connections_per_address: 3, ..Limits::default() });
    let (ana, ben) = (relay.join("quic", "Ana").await, relay.join("ws", "Ben").await);
    // What became a WebSocket is a session and holds no such place.
    served_again(&relay).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(soon("a place", place(&relay)).await);
    }
    let reply = exchange(relay.relay.http_address().unwrap(), &get("/health", "")).await;
    assert!(reply.closed && reply.status() == Some(503), "{}", reply.text);
    assert!(reply.body().contains("TCP connections from this address"), "{}", reply.text);
    let tls = support::https::connect(relay.relay.address(), &[&rustls::version::TLS13], &[b"http/1.1"]).await;
    assert!(tls.is_err(), "the places are those of both ports");
    assert!(relay.relay.metrics().refused(Refusal::ConnectionsOfAddress) >= 2);
    assert_undisturbed(&ana, &ben).await;
    held.pop();
    served_again(&relay).await;
}

#[tokio::test]
async fn tls_handshakes_and_plain_requests_that_begin_too_fast_are_refused() {
    let limits = Limits { handshakes_per_second_per_address: 1, handshakes_burst_per_address: 10, ..Limits::default() };
    let mut rate = Rate::begin(limits.handshakes_burst_per_address);
    let relay = TestRelay::start(limits);
    let (ana, ben) = (relay.join("quic", "Ana").await, relay.join("ws", "Ben").await);
    rate.let_in(2);
    let mut handshakes = 0;
    for _ in 0..20 {
        let tls = support::https::connect(relay.relay.address(), &[&rustls::version::TLS13], &[b"http/1.1"]).await;
        handshakes += usize::from(tls.is_ok());
    }
    assert!((6..20).contains(&handshakes), "{handshakes} of 20");
    rate.let_in(handshakes);
    let address = relay.relay.http_address().unwrap();
    let asked = async || told_at(exchange(address, &get("/health", "")).await, 429);
    let reply = rate.refused("a request is over the rate", asked).await;
    assert!(reply.closed, "{}", reply.text);
    assert!(reply.body().contains("too many connections"), "{}", reply.text);
    assert!(relay.relay.metrics().refused(Refusal::Handshakes) as usize > 20 - handshakes);
    assert_undisturbed(&ana, &ben).await;
    served_again(&relay).await;
}

/// A browser loads a page over six connections, and goes on with them as long as they are open.
#[tokio::test]
async fn a_page_that_is_loaded_again_and_again_is_well_within_the_limits() {
    let relay = TestRelay::start(Limits::default());
    for _ in 0..10 {
        let connections = (0..6).map(|_| async {
            let mut stream = TcpStream::connect(relay.relay.http_address().unwrap()).await.unwrap();
            for path in ["/", "/app.js", "/style.css", "/sdk/tertulia.js", "/relay.json"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let reply = support::http::read(&mut stream, Duration::from_secs(5)).await;
                assert_eq!(reply.status(), Some(200), "{path}: {}", reply.text);
            }
        });
        futures_util::future::join_all(connections).await;
    }
    assert_eq!(Refusal::ALL.map(|refusal| relay.relay.metrics().refused(refusal)), [0; 7]);
}

/// What `Origin` a page sends, and whether a relay that is asked for at `localhost` lets it in.
const ORIGINS: [(Option<&str>, bool); 11] = [
    (None, true),
    (Some("https://localhost:4433"), true),
    (Some("http://localhost:8000"), true),
    (Some("http://127.0.0.1:8000"), true),
    (Some("http://[::1]:8000"), true),
    (Some("https://app.example"), true),
    (Some("https://evil.example"), false),
    (Some("http://app.example"), false),
    (Some("https://localhost.evil.example"), false),
    (Some("null"), false),
    (Some("nonsense"), false),
];

fn with_origins(origins: &[&str]) -> TestRelay {
    let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    TestRelay::start_config(Config { origins, ..Config::default() }, Callbacks::default())
}

#[tokio::test]
async fn s11_a_page_of_another_site_gets_no_websocket() {
    let relay = with_origins(&["https://app.example"]);
    let address = relay.relay.http_address().unwrap();
    let mut refused = 0;
    for (origin, allowed) in ORIGINS {
        let header = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
        for subprotocol in ["", "Sec-WebSocket-Protocol: tertulia.v1\r\n"] {
            let reply = exchange(address, &upgrade("/", "localhost", &format!("{header}{subprotocol}"))).await;
            assert_eq!(reply.status(), Some(if allowed { 101 } else { 403 }), "{origin:?}: {}", reply.text);
            assert!(allowed || reply.body().to_lowercase().contains("origin"), "{origin:?}: {}", reply.text);
            refused += u64::from(!allowed);
        }
    }
    let twice = "Origin: https://app.example\r\nOrigin: https://evil.example\r\n";
    assert_eq!(exchange(address, &upgrade("/", "localhost", twice)).await.status(), Some(403), "two origins");
    // A cookie is no right to anything.
    let cookie = "Origin: https://evil.example\r\nCookie: session=victim\r\n";
    assert_eq!(exchange(address, &upgrade("/", "localhost", cookie)).await.status(), Some(403), "with a cookie");
    assert_eq!(relay.relay.metrics().refused(Refusal::Origin), refused + 2);
}

#[tokio::test]
async fn w11_a_page_of_another_site_gets_no_webtransport_session() {
    let relay = with_origins(&["https://app.example"]);
    let mut refused = 0;
    for (origin, allowed) in ORIGINS {
        let h3 = H3::open(relay.relay.address()).await;
        let changes: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        let answer = h3.connect(&changes).await;
        assert_eq!(answer.status, Some(if allowed { 200 } else { 403 }), "{origin:?}");
        refused += u64::from(!allowed);
    }
    assert_eq!(relay.relay.metrics().refused(Refusal::Origin), refused);
}

#[tokio::test]
async fn every_page_may_connect_where_that_is_set() {
    let relay = with_origins(&["*"]);
    let anywhere = upgrade("/", "localhost", "Origin: https://any.example\r\n");
    assert_eq!(exchange(relay.relay.http_address().unwrap(), &anywhere).await.status(), Some(101));
    let h3 = H3::open(relay.relay.address()).await;
    assert_eq!(h3.connect(&[("origin", "https://any.example")]).await.status, Some(200));
}

/// Names that a request is sent to, and whether a relay with the development certificate and `--host relay.example`
/// answers to them.
const HOSTS: [(&str, bool); 9] = [
    ("localhost:8000", true),
    ("app.localhost", true),
    ("127.0.0.1", true),
    ("[::1]:4433", true),
    ("192.0.2.1", true),
    ("relay.example:4433", true),
    ("evil.example", false),
    ("relay.example.evil.example", false),
    ("localhost.evil.example:8000", false),
];

#[tokio::test]
async fn s12_a_name_that_somebody_had_point_here_is_not_answered() {
    let config = Config { hosts: vec!["relay.example".into()], ..Config::default() };
    let relay = TestRelay::start_config(config, Callbacks::default());
    let address = relay.relay.http_address().unwrap();
    for (host, known) in HOSTS {
        for path in ["/", "/relay.json", "/metrics", "/health", "/sdk/tertulia.js"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let reply = exchange(address, request.as_bytes()).await;
            assert_eq!(reply.status(), Some(if known { 200 } else { 421 }), "{host}{path}");
            assert!(known || reply.body().contains("--host"), "{}", reply.text);
        }
        let reply = exchange(address, &upgrade("/", host, &format!("Origin: http://{host}\r\n"))).await;
        assert_eq!(reply.status(), Some(if known { 101 } else { 421 }), "{host}");
        let answer = H3::open(relay.relay.address()).await.connect(&[(":authority", host)]).await;
        assert_eq!(answer.status, Some(if known { 200 } else { 403 }), "{host}");
    }
    // The request's target counts more than its Host header (RFC 9112, section 3.2.2).
    let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(address, absolute.as_bytes()).await.status(), Some(421));
    let nameless = exchange(address, b"GET /health HTTP/1.0\r\n\r\n").await;
    assert_eq!(nameless.status(), Some(200), "HTTP/1.0 needs no name");
}

/// What only those who run the relay are told.
const TOLD: [&str; 2] = ["/metrics", "/sessions.json"];

#[tokio::test]
async fn a14_metrics_are_not_on_the_public_port() {
    let admin = Some("127.0.0.1:0".parse().unwrap());
    let relay = TestRelay::start_config(Config { admin, ..Config::default() }, Callbacks::default());
    let plain = exchange(relay.relay.http_address().unwrap(), &get("/metrics", "")).await;
    assert!(plain.body().contains("tertulia_refused_total{reason=\"origin\"} 0"), "{}", plain.text);
    assert!(plain.body().contains("tertulia_udp_dropped_total 0"), "{}", plain.text);
    for path in TOLD {
        let public = support::https::exchange(relay.relay.address(), &get(path, "")).await;
        assert_eq!(public.status(), Some(404), "{}", public.text);
        for proxy in ["X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=192.0.2.1\r\n", "Via: 1.1 proxy\r\n"] {
            let passed_on = exchange(relay.relay.http_address().unwrap(), &get(path, proxy)).await;
            assert_eq!(passed_on.status(), Some(404), "{}", passed_on.text);
            let admin = exchange(relay.relay.admin_address().unwrap(), &get(path, proxy)).await;
            assert_eq!(admin.status(), Some(200), "{}", admin.text);
        }
    }
    let page = exchange(relay.relay.admin_address().unwrap(), &get("/", "")).await;
    assert_eq!(page.status(), Some(404), "{}", page.text);
}

#[tokio::test]
async fn a14_plain_http_for_other_machines_tells_them_no_metrics() {
    let certificates = Directory::new();
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        http: vec!["0.0.0.0:0".parse().unwrap()],
        certificate: CertificateSource::Development { directory: certificates.path().into() },
        history: HistoryPlace::Memory,
        data_directory: None,
        ..Config::default()
    };
    let relay = Relay::start(config).unwrap();
    let port = relay.http_address().unwrap().port();
    for (path, status) in TOLD.map(|path| (path, 404)).into_iter().chain([("/health", 200)]) {
        let reply = exchange(([127, 0, 0, 1], port).into(), &get(path, "")).await;
        assert_eq!(reply.status(), Some(status), "{}", reply.text);
    }
}

/// Connects a plain client with these headers, and gives back the code that it is closed with, or nothing once it has its
/// seat.
async fn plain(relay: &TestRelay, headers: &[&str]) -> Option<u16> {
    let mut request = relay.url("ws").into_client_request().unwrap();
    for header in headers {
        request.headers_mut().append("authorization", header.parse().unwrap());
    }
    let stream = TcpStream::connect(relay.relay.http_address().unwrap()).await.unwrap();
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    let seated = || relay.relay.metrics().participants(Carrier::PlainWebSocket) > 0;
    let closed = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return u16::from(frame.code),
                Some(Ok(_)) => {}
                other => panic!("it has ended without a word: {other:?}"),
            }
        }
    };
    let entered = async {
        while !seated() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let code = tokio::select! {
        code = soon("a close", closed) => Some(code),
        () = entered => None,
    };
    drop(socket);
    let left = async {
        while seated() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the seat is free", left).await;
    code
}

#[tokio::test]
async fn a_plain_client_shows_its_token_in_a_header() {
    let directory = Directory::new();
    let secret = "a secret of enough bytes for these tests";
    let keys = directory.path().join("keys.toml");
    std::fs::write(&keys, format!("[secrets]\napplication = '{secret}'\n")).unwrap();
    let keys = KeySources { keys: Some(keys), jwks: None };
    let unix_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let now = Now { since_start: Duration::ZERO, unix_ms };
    let bearer = |room: &str| {
        let grant = Grant::everyone(RoomName::parse(room).unwrap());
        let key = SecretKey::new("application", secret).unwrap();
        let token = key.mint(&Identity::parse("ana").unwrap(), &grant, now, Duration::from_secs(60));
        format!("Bearer {token}")
    };
    let (good, elsewhere) = (bearer("lobby"), bearer("elsewhere"));
    let [missing, invalid] =
        [CloseReason::TokenMissing, CloseReason::TokenInvalid].map(|reason| Some(reason.websocket_code()));
    for (plain_without_token, without) in [(false, missing), (true, None)] {
        let config = Config { keys: keys.clone(), plain_without_token, ..Config::default() };
        let relay = TestRelay::start_config(config, Callbacks::default());
        assert_eq!(plain(&relay, &[]).await, without);
        assert_eq!(plain(&relay, &["Basic YTpi"]).await, without, "another scheme");
        assert_eq!(plain(&relay, &[&good, &good]).await, without, "several headers");
        assert_eq!(plain(&relay, &[&good]).await, None);
        assert_eq!(plain(&relay, &[&good.replace("Bearer", "bEARER")]).await, None);
        assert_eq!(plain(&relay, &[&elsewhere]).await, invalid);
        assert_eq!(plain(&relay, &["Bearer nonsense"]).await, invalid);
    }
}
