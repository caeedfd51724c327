//! HTTP and WebSocket that are broken, hostile or slow: each is answered as the standards say, and meetings go on.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::TestRelay;
use support::bystander::{in_time, repeatable};
use support::http::{PATIENCE, exchange, get, read, upgrade};
use support::quic::soon;
use support::scene::Scene;
use support::{https, quic};
use tertulia::limits::{HANDSHAKE_TIMEOUT, Limits, PINGS_PER_SECOND};
use tertulia::wire::CloseReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

fn relay() -> TestRelay {
    TestRelay::start(Limits::default())
}

async fn tcp(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// What is wrong with requests, WebSockets and TLS, beside a meeting.
#[tokio::test]
async fn s_requests_and_websockets_of_all_kinds_beside_a_meeting() {
    repeatable(async || {
        let scene = Scene::crowded(&[]).await;
        tokio::join!(s8_who_is_slow_is_given_up_and_holds_up_nobody(&scene), async {
            s2_frames_that_rfc_6455_forbids_end_the_websocket(&scene).await;
            s5_pings_beyond_ten_a_second_end_the_websocket(&scene).await;
            s9_what_a_proxy_could_understand_in_another_way_is_refused(&scene).await;
            s9_what_follows_an_upgrade_is_read_as_frames_only(&scene).await;
            s10_a_wrong_request_for_a_websocket_is_answered_with_what_is_wrong(&scene).await;
            s14_there_is_no_way_out_of_the_pages_folder(&scene).await;
            plain_http_on_the_tls_port_and_tls_on_the_plain_port_harm_nobody(&scene).await;
        });
        s8_many_connections_that_say_nothing_leave_room_for_others(&scene).await;
        scene.close("requests and WebSockets").await;
    })
    .await;
}

/// Someone else is still served.
async fn assert_served(scene: &Scene, case: &str) {
    let reply = exchange(scene.target().http, &get("/health", "")).await;
    assert_eq!((reply.status(), reply.body()), (Some(200), "ok\n"), "after {case}");
}

#[tokio::test]
async fn s1_s7_a_websocket_begins_as_rfc_6455_says_and_nothing_is_compressed() {
    let relay = relay();
    let extensions = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let subprotocols = "Sec-WebSocket-Protocol: other, tertulia.v1\r\n";
    for (more, subprotocol) in [("", None), (extensions, None), (subprotocols, Some("tertulia.v1"))] {
        let reply = exchange(relay.relay.http_address().unwrap(), &upgrade("/", "localhost", more)).await;
        assert_eq!(reply.status(), Some(101), "{}", reply.text);
        // The example of RFC 6455, section 1.3.
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(reply.header("sec-websocket-extensions"), None);
        assert_eq!(reply.header("sec-websocket-protocol"), subprotocol);
    }
}

/// A request for a WebSocket without the header line that begins so, and with other lines.
fn upgrade_with(without: &str, instead: &str) -> Vec<u8> {
    let whole = String::from_utf8(upgrade("/", "localhost", "")).unwrap();
    let kept = whole.split_inclusive("\r\n").filter(|line| without.is_empty() || !line.starts_with(without));
    let kept: String = kept.filter(|line| *line != "\r\n").collect();
    format!("{kept}{instead}\r\n").into_bytes()
}

async fn s10_a_wrong_request_for_a_websocket_is_answered_with_what_is_wrong(scene: &Scene) {
    let (mut wrong, mut slowest) = (Vec::new(), (Duration::ZERO, ""));
    let many: String = (0..101).map(|number| format!("X-{number}: 1\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "x".repeat(64 * 1024));
    for (case, request, status) in [
        ("another version", upgrade_with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8\r\n"), 426),
        ("no version", upgrade_with("Sec-WebSocket-Version", ""), 426),
        ("no key", upgrade_with("Sec-WebSocket-Key", ""), 400),
        ("a short key", upgrade_with("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        (
            "a key that is no Base64",
            upgrade_with("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n"),
            400,
        ),
        ("no Connection: upgrade", upgrade_with("Connection", "Connection: keep-alive\r\n"), 400),
        ("another upgrade", upgrade_with("Upgrade", "Upgrade: h2c\r\n"), 400),
        ("POST", String::from_utf8(upgrade("/", "localhost", "")).unwrap().replace("GET", "POST").into_bytes(), 405),
        ("more than 100 headers", upgrade_with("", &many), 431),
        ("64 KiB of a header", upgrade_with("", &large), 431),
        ("a long path", get(&format!("/{}", "x".repeat(10_000)), ""), 431),
    ] {
        let begun = Instant::now();
        let reply = exchange(scene.target().http, &request).await;
        let told = status != 426 || reply.header("sec-websocket-version") == Some("13");
        if reply.status() != Some(status) || !told {
            wrong.push(format!("{case}: {reply:?}"));
        }
        slowest = slowest.max((begun.elapsed(), case));
        assert_served(scene, case).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    in_time(slowest.1, slowest.0, Duration::from_millis(500));
}

async fn s9_what_a_proxy_could_understand_in_another_way_is_refused(scene: &Scene) {
    let mut wrong = Vec::new();
    let ask = |lines: &str, body: &str| format!("GET /health HTTP/1.1\r\n{lines}\r\n{body}").into_bytes();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let next = "GET /relay.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (case, request) in [
        ("no Host", ask("", "")),
        ("two Hosts", ask("Host: localhost\r\nHost: evil.example\r\n", "")),
        ("two equal Hosts", ask("Host: localhost\r\nHost: localhost\r\n", "")),
        (
            "a length and chunks",
            ask(&format!("Host: localhost\r\nContent-Length: 4\r\n{chunked}"), &format!("0\r\n\r\n{next}")),
        ),
        (
            "chunks and a length",
            ask(&format!("Host: localhost\r\n{chunked}Content-Length: 4\r\n"), &format!("0\r\n\r\n{next}")),
        ),
        ("a body that nobody asked for", ask("Host: localhost\r\nContent-Length: 44\r\n", next)),
        ("two lengths", ask("Host: localhost\r\nContent-Length: 0\r\nContent-Length: 44\r\n", next)),
        ("a signed length", ask("Host: localhost\r\nContent-Length: +44\r\n", next)),
        (
            "chunks that are not the last coding",
            ask("Host: localhost\r\nTransfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ),
        ("a folded header", ask("Host: localhost\r\nX-Folded: one\r\n two\r\n", "")),
        ("a space before the colon", ask("Host: localhost\r\nTransfer-Encoding : chunked\r\n", "0\r\n\r\n")),
        ("a NUL in a header", ask("Host: localhost\r\nX-Nul: a\0b\r\n", "")),
        ("a bare CR in a header", ask("Host: localhost\r\nX-Cr: a\rb\r\n", "")),
        ("an upgrade with a length", upgrade("/", "localhost", "Content-Length: 5\r\n")),
        ("an upgrade with chunks", upgrade("/", "localhost", chunked)),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
    ] {
        let reply = exchange(scene.target().http, &request).await;
        let refused = matches!(reply.status(), Some(400) | None);
        // What came after it must not be answered.
        if !reply.closed || !refused || reply.text.contains("tertulia") {
            wrong.push(format!("{case}: {reply:?}"));
        }
        assert_served(scene, case).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A WebSocket that is open, as bytes.
async fn websocket(address: SocketAddr, more: &str) -> TcpStream {
    let mut stream = tcp(address).await;
    stream.write_all(&upgrade("/", "localhost", more)).await.unwrap();
    let reply = read(&mut stream, Duration::from_secs(5)).await;
    assert_eq!(reply.status(), Some(101), "{}", reply.text);
    stream
}

/// A frame of a client (RFC 6455, section 5.2), masked with zeros.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    [&[first_byte, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
}

/// The next frame, as opcode and payload.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).await.unwrap();
    Some((head[0] & 0x0f, payload))
}

/// The frames that come, up to the close frame or the end.
async fn frames(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(frame) = next_frame(stream).await {
        let is_last = frame.0 == 8;
        frames.push(frame);
        if is_last {
            break;
        }
    }
    frames
}

/// The code in the close frame.
fn close_code(frames: &[(u8, Vec<u8>)]) -> Option<u16> {
    let (opcode, payload) = frames.last()?;
    let code = payload.first_chunk().filter(|_| *opcode == 8)?;
    Some(u16::from_be_bytes(*code))
}

async fn s2_frames_that_rfc_6455_forbids_end_the_websocket(scene: &Scene) {
    let mut wrong = Vec::new();
    for (case, bytes) in [
        ("a frame without a mask", vec![0x81, 2, b'h', b'i']),
        ("a reserved bit", frame(0xc1, b"hi")),
        ("another reserved bit", frame(0xa1, b"hi")),
        ("an unknown opcode", frame(0x83, b"hi")),
        ("an unknown control opcode", frame(0x8b, b"hi")),
        ("a continuation of nothing", frame(0x80, b"hi")),
        ("a message within a message", [frame(0x01, b"h"), frame(0x81, b"i")].concat()),
        ("a ping in pieces", frame(0x09, b"hi")),
        ("a ping that is too long", [&[0x89, 0x80 | 126, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat()),
        ("a close frame of one byte", frame(0x88, &[3])),
    ] {
        for more in ["", "Sec-WebSocket-Protocol: tertulia.v1\r\n"] {
            let mut stream = websocket(scene.target().http, more).await;
            stream.write_all(&bytes).await.unwrap();
            let code = close_code(&soon(case, frames(&mut stream)).await);
            if code != Some(CloseReason::Malformed.websocket_code()) {
                wrong.push(format!("{case}: {code:?}"));
            }
        }
        assert_served(scene, case).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn s5_pings_beyond_ten_a_second_end_the_websocket(scene: &Scene) {
    for more in ["", "Sec-WebSocket-Protocol: tertulia.v1\r\n"] {
        let mut stream = websocket(scene.target().http, more).await;
        let pings = |count| -> Vec<u8> { (1..=count).flat_map(|number| frame(0x89, &[number])).collect() };
        let allowed = PINGS_PER_SECOND as u8;
        stream.write_all(&pings(allowed)).await.unwrap();
        // Pings may be answered together, and the relay pings as well; the last pong says that all were read.
        let last_pong = (10, vec![allowed]);
        while soon("a pong", next_frame(&mut stream)).await.unwrap() != last_pong {}
        stream.write_all(&pings(2 * allowed)).await.unwrap();
        let code = close_code(&soon("the end", frames(&mut stream)).await);
        assert_eq!(code, Some(CloseReason::TooFast.websocket_code()), "{more}");
        assert_served(scene, "pings").await;
    }
    // A meeting's client has not joined in that time, so both are counted.
    let closed = "tertulia_sessions_closed_total{reason=\"too_fast\"}";
    assert_eq!(scene.relay.metric(closed).await, 2);
}

#[tokio::test]
async fn s6_who_never_reads_is_closed_and_holds_up_nobody() {
    let limits = Limits { outbox_bytes: 64 * 1024, chat_per_second: 10_000, chat_burst: 10_000, ..Limits::default() };
    let relay = TestRelay::start(limits);
    let (ana, ben) = (relay.join("ws", "Ana").await, relay.join("ws", "Ben").await);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(relay.relay.http_address().unwrap()).await.unwrap();
    deaf.write_all(&upgrade("/", "localhost", "")).await.unwrap();
    let reader = tokio::spawn(async move { while ben.next_event().await.is_some() {} });
    let body = "x".repeat(16_000);
    let metrics = relay.relay.metrics();
    // More than its outbox and what is on the way to it hold; then a busy relay has the time to notice it.
    for _ in 0..2000 {
        if metrics.closed(CloseReason::SlowConsumer) > 0 {
            break;
        }
        ana.chat().send(&body).await.unwrap();
    }
    let closed = async {
        while metrics.closed(CloseReason::SlowConsumer) == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the slow one is closed", closed).await;
    assert_eq!(metrics.closed(CloseReason::SlowConsumer), 1, "it alone");
    assert!(!reader.is_finished());
    reader.abort();
}

async fn s9_what_follows_an_upgrade_is_read_as_frames_only(scene: &Scene) {
    let mut stream = tcp(scene.target().http).await;
    let next = b"GET /relay.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(&[&upgrade("/", "localhost", "")[..], next].concat()).await.unwrap();
    let reply = soon("the end", read(&mut stream, Duration::from_secs(5))).await;
    assert_eq!(reply.status(), Some(101), "{}", reply.text);
    assert!(!reply.text.contains("\"tertulia\""), "{}", reply.text);
}

async fn s8_who_is_slow_is_given_up_and_holds_up_nobody(scene: &Scene) {
    let begun = Instant::now();
    let mut idle = tcp(scene.target().http).await;
    let mut half = tcp(scene.target().http).await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
    let mut slow_tls = TcpStream::connect(scene.target().quic).await.unwrap();
    slow_tls.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
    let mut idle_tls = TcpStream::connect(scene.target().quic).await.unwrap();
    let mut after_tls = https::connect(scene.target().quic, &[&rustls::version::TLS13], &[b"http/1.1"]).await.unwrap();
    let patience = Duration::from_secs(30);
    assert_served(scene, "slow ones").await;
    let given_up = async {
        tokio::join!(
            read(&mut idle, patience),
            read(&mut half, patience),
            read(&mut slow_tls, patience),
            read(&mut idle_tls, patience),
            read(&mut after_tls, patience),
        )
    };
    let (idle, half, slow_tls, idle_tls, after_tls) = soon("slow ones are given up", given_up).await;
    for (case, reply) in [idle, half, slow_tls, idle_tls, after_tls].iter().enumerate() {
        assert!(reply.closed, "{case}: {}", reply.text);
    }
    let took = begun.elapsed();
    assert!(took >= HANDSHAKE_TIMEOUT, "{took:?}");
    in_time("slow ones are given up", took, HANDSHAKE_TIMEOUT * 2);
    assert_served(scene, "slow ones").await;
}

async fn s8_many_connections_that_say_nothing_leave_room_for_others(scene: &Scene) {
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(tcp(scene.target().http).await);
    }
    let begun = Instant::now();
    assert_served(scene, "400 silent connections").await;
    in_time("400 silent connections", begun.elapsed(), Duration::from_secs(1));
}

async fn s14_there_is_no_way_out_of_the_pages_folder(scene: &Scene) {
    let mut wrong = Vec::new();
    for path in [
        "/../Cargo.toml",
        "/../../../../etc/passwd",
        "/sdk/../../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/%2e%2e%2fCargo.toml",
        "/..%2f..%2fetc/passwd",
        "/..%5cCargo.toml",
        "/..\\Cargo.toml",
        "/%00",
        "/index.html%00.js",
        "//etc/passwd",
        "/etc/passwd",
        "/sdk/",
        "/sdk",
        "/package.json",
        "/web/index.html",
        "/.git/config",
        "/certs/development.key",
        "/data/endpoint.keys",
        "/r/../index.html",
    ] {
        let reply = exchange(scene.target().http, &get(path, "")).await;
        if !matches!(reply.status(), Some(400 | 404)) || !reply.body().is_empty() {
            wrong.push(format!("{path}: {}", reply.text));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_served(scene, "wrong paths").await;
}

#[tokio::test]
async fn s15_pages_say_what_they_may_do() {
    let relay = relay();
    for path in ["/", "/r/team", "/app.js", "/style.css", "/sdk/tertulia.js"] {
        let reply = exchange(relay.relay.http_address().unwrap(), &get(path, "")).await;
        assert_eq!(reply.status(), Some(200), "{path}: {}", reply.text);
        let policy = reply.header("content-security-policy").unwrap_or_default();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
    }
    for path in ["/", "/health", "/metrics", "/relay.json", "/certificate.sha256", "/nothing"] {
        let reply = exchange(relay.relay.http_address().unwrap(), &get(path, "")).await;
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}: {}", reply.text);
        assert_eq!(reply.header("alt-svc"), None, "{path}");
        assert_eq!(reply.header("set-cookie"), None, "{path}");
    }
}

/// What `/relay.json` tells whoever sends these header lines beside `Host`.
async fn description(at: SocketAddr, path: &str, host: &str, more: &str) -> serde_json::Value {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
    let reply = exchange(at, request.as_bytes()).await;
    assert_eq!((reply.status(), reply.header("vary")), (Some(200), Some("Origin")), "{}", reply.text);
    serde_json::from_str(reply.body()).unwrap()
}

#[tokio::test]
async fn the_relays_own_page_on_its_machine_is_told_where_others_find_it_and_nobody_else_is() {
    let relay = relay();
    let at = relay.relay.http_address().unwrap();
    for host in ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"] {
        let told = description(at, "/relay.json", host, "").await;
        assert_eq!(told["addresses"], serde_json::json!([]), "{host}: it listens to this machine alone");
    }
    for (host, more) in [
        ("192.0.2.7:8000", ""),
        ("localhost", "Origin: https://elsewhere.example\r\n"),
        ("localhost", "Origin: http://localhost:3000\r\n"),
        ("localhost", "X-Forwarded-For: 192.0.2.7\r\n"),
        ("localhost", "Via: 1.1 proxy\r\n"),
    ] {
        assert_eq!(
            description(at, "/relay.json", host, more).await["addresses"],
            serde_json::Value::Null,
            "{host} {more}"
        );
    }
}

#[tokio::test]
async fn a_page_is_told_whether_it_may_connect() {
    let relay = relay();
    let at = relay.relay.http_address().unwrap();
    let own = "?origin=http%3A%2F%2F192.0.2.7%3A8000";
    let behind_a_proxy = "?origin=https%3A%2F%2Fmeet.example";
    for (query, more, allowed) in [
        ("", "", true),
        ("", "Origin: http://localhost:3000\r\n", true),
        ("", "Origin: http://192.0.2.7:8000\r\n", true),
        ("", "Origin: https://elsewhere.example\r\n", false),
        ("", "Origin: null\r\n", false),
        ("", "Origin: http://192.0.2.7\r\nOrigin: http://192.0.2.7\r\n", false),
        (own, "", true),
        (own, "Origin: https://elsewhere.example\r\n", false),
        (behind_a_proxy, "", false),
        ("?origin=", "", false),
        ("?origin=%ff%00&origin", "", false),
    ] {
        let told = description(at, &format!("/relay.json{query}"), "192.0.2.7:8000", more).await;
        assert_eq!(told["originAllowed"], allowed, "{query} {more}");
    }
}

#[tokio::test]
async fn s16_tls_begins_at_1_2_and_speaks_http_1_alone() {
    let relay = relay();
    let address = relay.relay.address();
    for (version, expected) in [
        (&rustls::version::TLS12, rustls::ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, rustls::ProtocolVersion::TLSv1_3),
    ] {
        let stream = https::connect(address, &[version], &[b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(expected));
    }
    assert!(https::connect(address, &[&rustls::version::TLS13], &[b"h2"]).await.is_err(), "HTTP/2 alone");
    let reply = https::exchange(address, &get("/health", "")).await;
    assert_eq!(reply.status(), Some(200), "{}", reply.text);
    // A fatal alert: protocol_version (RFC 8446, section 6). With version 1.2 the same bytes get a handshake.
    for (case, version, alert) in [("TLS 1.0", 0x01, true), ("TLS 1.1", 0x02, true), ("TLS 1.2", 0x03, false)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&client_hello(version)).await.unwrap();
        let mut answer = [0; 7];
        soon(case, stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(matches!(answer, [0x15, 3, _, 0, 2, 2, 70]), alert, "{case}: {answer:02x?}");
        assert_eq!(answer[0] == 0x16, !alert, "{case}: {answer:02x?}");
    }
}

/// A ClientHello as TLS 1.2 has it, with the version given.
fn client_hello(minor: u8) -> Vec<u8> {
    let suites = [0xc0, 0x2b];
    let signature_algorithms = [0, 0x0d, 0, 4, 0, 2, 4, 3];
    let groups = [0, 0x0a, 0, 4, 0, 2, 0, 0x1d];
    let point_formats = [0, 0x0b, 0, 2, 1, 0];
    let extensions = [&signature_algorithms[..], &groups, &point_formats].concat();
    let fields = [&[3, minor][..], &[7; 32], &[0, 0, suites.len() as u8], &suites, &[1, 0]].concat();
    let hello = [&fields[..], &[0, extensions.len() as u8], &extensions].concat();
    let handshake = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
    [&[0x16, 3, minor.min(3), 0, handshake.len() as u8][..], &handshake].concat()
}

async fn plain_http_on_the_tls_port_and_tls_on_the_plain_port_harm_nobody(scene: &Scene) {
    let reply = exchange(scene.target().quic, &get("/", "")).await;
    assert!(reply.closed && reply.status().is_none(), "{}", reply.text);
    let hello = quic::tls_config(&[&rustls::version::TLS13], &[b"http/1.1"]);
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(hello));
    let failed = connector.connect("localhost".try_into().unwrap(), tcp(scene.target().http).await).await;
    assert!(failed.is_err());
    assert_served(scene, "the wrong port").await;
}

#[tokio::test]
async fn a_file_that_the_browser_has_is_not_sent_again() {
    let relay = relay();
    let address = relay.relay.http_address().unwrap();
    let mut tags = Vec::new();
    for path in ["/", "/app.js", "/sdk/tertulia.js", "/sdk/room.js"] {
        let first = exchange(address, &get(path, "")).await;
        let tag = first.header("etag").unwrap_or_else(|| panic!("{path} has no tag: {}", first.text)).to_owned();
        assert!(first.status() == Some(200) && !first.body().is_empty(), "{path}");
        assert!(tag.len() > 32 && tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = exchange(address, &get(path, &format!("If-None-Match: {known}\r\n"))).await;
            assert_eq!((again.status(), again.body()), (Some(304), ""), "{path} {known}: {}", again.text);
            for header in ["etag", "cache-control", "content-security-policy", "access-control-allow-origin"] {
                assert_eq!(again.header(header), first.header(header), "{path} {known}");
            }
        }
        for unknown in ["\"other\"", "nonsense", &tag[1..], "\"\""] {
            let again = exchange(address, &get(path, &format!("If-None-Match: {unknown}\r\n"))).await;
            assert_eq!((again.status(), again.body()), (Some(200), first.body()), "{path} {unknown}");
        }
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "every file has its own tag");
}

#[tokio::test]
async fn a_page_may_start_its_workers_from_a_blob_and_one_connection_brings_all_files() {
    let relay = relay();
    let mut stream = tcp(relay.relay.http_address().unwrap()).await;
    for path in ["/", "/app.js", "/sdk/tertulia.js", "/sdk/room.js", "/nothing", "/style.css"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 192.0.2.7:4433\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let reply = read(&mut stream, PATIENCE).await;
        assert_eq!((reply.status(), reply.closed), (Some(if path == "/nothing" { 404 } else { 200 }), false), "{path}");
        if let Some(policy) = reply.header("content-security-policy") {
            assert!(policy.contains("worker-src 'self' blob:") && policy.contains("script-src 'self';"), "{policy}");
        }
    }
    let more = "Origin: https://192.0.2.7:4433\r\nSec-WebSocket-Protocol: tertulia.v1\r\n";
    stream.write_all(&upgrade("/ws", "192.0.2.7:4433", more)).await.unwrap();
    let reply = read(&mut stream, PATIENCE).await;
    assert_eq!(reply.status(), Some(101), "the page that came from an address connects to it: {}", reply.text);
}
