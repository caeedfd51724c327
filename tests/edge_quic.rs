//! QUIC, HTTP/3 and WebTransport that are broken, hostile or slow: they cost little, and meetings go on.

mod support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, TokenStore};
use support::TestRelay;
use support::quic::{
    H3, WebTransportMember, connect_fields, dial, endpoint, field_section, frame, join, settings, soon, take_seat,
    tls_config,
};
use support::session::{Over, Session, Target};
use tertulia::limits::{
    CONNECTION_WINDOW_BYTES, CONNECTIONS_UNVALIDATED_MAX, HANDSHAKE_TIMEOUT, Limits, MESSAGE_TIMEOUT,
    STREAMS_BIDIRECTIONAL_MAX, STREAMS_UNIDIRECTIONAL_MAX,
};
use tertulia::wire::{ALPN_QUIC, ALPN_WEBTRANSPORT, CloseReason, DropReason};
use tokio::time::{sleep, timeout};

fn relay() -> TestRelay {
    TestRelay::start(Limits { handshakes_burst_per_address: 10_000, ..Limits::default() })
}

/// Someone else still gets in, at once.
async fn assert_served(relay: &TestRelay, case: &str) {
    let begun = Instant::now();
    let mut member = join(relay.relay.address(), "house").await.unwrap_or_else(|error| panic!("after {case}: {error}"));
    assert!(member.is_seated().await, "after {case}");
    assert!(begun.elapsed() < Duration::from_secs(1), "after {case}: {:?}", begun.elapsed());
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, wait).await;
}

/// The first packets of connections, made by a client that talks to a socket which never answers.
async fn initials(count: usize) -> Vec<Vec<u8>> {
    let tap = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = endpoint(ALPN_QUIC);
    let mut packets = Vec::new();
    let mut piece = [0; 2048];
    while packets.len() < count {
        let connecting = client.connect(tap.local_addr().unwrap(), "localhost").unwrap();
        let length = soon("a first packet", tap.recv(&mut piece)).await.unwrap();
        packets.push(piece[..length].to_vec());
        // Dropped connections say goodbye, in packets of their own.
        drop(connecting);
        while timeout(Duration::from_millis(1), tap.recv(&mut piece)).await.is_ok() {}
    }
    packets
}

/// Sends packets from a socket that answers nothing, and counts the bytes that come back for a while.
async fn replay(relay: &TestRelay, packets: &[Vec<u8>], wait: Duration) -> (usize, usize) {
    let attacker = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut sent = 0;
    for packet in packets {
        sent += attacker.send_to(packet, relay.relay.address()).await.unwrap();
    }
    let mut received = 0;
    let mut piece = [0; 2048];
    while let Ok(length) = timeout(wait, attacker.recv(&mut piece)).await {
        received += length.unwrap();
    }
    (sent, received)
}

#[tokio::test]
async fn h1_h2_a_flood_of_first_packets_is_asked_for_proof_and_what_never_finishes_is_dropped() {
    let relay = relay();
    let mut bystander = join(relay.relay.address(), "house").await.unwrap();
    let packets = initials(500).await;
    let begun = Instant::now();
    let (sent, received) = replay(&relay, &packets, Duration::from_millis(300)).await;
    assert_served(&relay, "a flood").await;
    assert!(bystander.is_seated().await);
    let retried = relay.relay.metrics().handshakes_retried();
    let accepted = packets.len() as u64 - retried;
    // Who was served after the flood was asked too.
    assert!(accepted <= CONNECTIONS_UNVALIDATED_MAX as u64 + 1, "{retried} were asked");
    assert!(received <= sent, "{received} bytes answered {sent}");
    until("what never finishes is dropped", || relay.relay.metrics().sessions_failed() >= accepted).await;
    assert!(begun.elapsed() < HANDSHAKE_TIMEOUT * 2, "{:?}", begun.elapsed());
}

/// Not among them: half a stream header. wtransport then keeps the connection, see ARCHITECTURE.md.
#[tokio::test]
async fn h3_a_connection_without_a_session_is_closed() {
    let relay = relay();
    let address = relay.relay.address();
    let begun = Instant::now();
    let nothing = dial(address, ALPN_WEBTRANSPORT).await.unwrap();
    let settings_alone = H3::open(address).await;
    let half_settings = dial(address, ALPN_WEBTRANSPORT).await.unwrap();
    let mut control = half_settings.open_uni().await.unwrap();
    control.write_all(&settings()[..4]).await.unwrap();
    let no_stream = dial(address, ALPN_QUIC).await.unwrap();
    for (case, connection) in [
        ("nothing", &nothing),
        ("settings alone", &settings_alone.connection),
        ("half the settings", &half_settings),
        ("QUIC without a stream", &no_stream),
    ] {
        let ended = soon(case, connection.closed()).await;
        assert!(matches!(ended, ConnectionError::ApplicationClosed(_)), "{case}: {ended:?}");
    }
    let took = begun.elapsed();
    assert!(took >= HANDSHAKE_TIMEOUT && took < HANDSHAKE_TIMEOUT * 2, "{took:?}");
    assert_served(&relay, "connections without sessions").await;
}

#[tokio::test]
async fn h4_an_address_that_is_not_proved_gets_at_most_three_times_what_it_sent() {
    let relay = relay();
    // Until the handshake is given up, and its goodbye has been sent.
    let wait = HANDSHAKE_TIMEOUT + Duration::from_secs(1);
    let (sent, received) = replay(&relay, &initials(1).await, wait).await;
    println!("{received} bytes answered {sent}");
    assert!(received > sent && received <= sent * 3, "{received} bytes answered {sent}");
}

/// Tokens of somebody else, for every connection.
struct Forged(Bytes);

impl TokenStore for Forged {
    fn insert(&self, _: &str, _: Bytes) {}

    fn take(&self, _: &str) -> Option<Bytes> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn h5_a_forged_token_is_worth_nothing() {
    let relay = relay();
    for token in [vec![0], vec![0; 16], vec![1; 64], vec![0xff; 200], (0..=255).collect::<Vec<u8>>()] {
        let tls = tls_config(&[&rustls::version::TLS13], &[ALPN_QUIC]);
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.token_store(Arc::new(Forged(token.clone().into())));
        let connecting = endpoint(ALPN_QUIC).connect_with(config, relay.relay.address(), "localhost").unwrap();
        let connection = soon("a connection", connecting).await.unwrap_or_else(|error| panic!("{token:?}: {error}"));
        assert!(take_seat(connection, "house").await.unwrap().is_seated().await);
    }
}

#[tokio::test]
async fn h7_garbage_is_passed_over() {
    let relay = relay();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(relay.relay.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let long = |version: [u8; 4]| [&[0xc0][..], &version, &[8; 9], &[8; 9], &[0; 1180]].concat();
    let mut answer = [0; 2048];
    for (case, packet) in [
        ("nothing", vec![]),
        ("a byte", vec![0x40]),
        ("a long header's byte", vec![0xc0]),
        ("zeros", vec![0; 1200]),
        ("ones", vec![0xff; 1200]),
        ("a short header", [&[0x40][..], &[7; 40]].concat()),
        ("an Initial that is noise", long([0, 0, 0, 1])),
        ("a short Initial", long([0, 0, 0, 1])[..100].to_vec()),
        ("a version negotiation", long([0, 0, 0, 0])),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("64 KiB less the headers", vec![0xc0; 65_507]),
    ] {
        socket.send(&packet).unwrap();
        let answered = socket.recv(&mut answer).ok();
        assert!(answered.is_none_or(|answered| answered <= packet.len()), "{case}: {answered:?}");
        assert_served(&relay, case).await;
    }
    socket.send(&long([0x1a, 0x2a, 0x3a, 0x4a])).unwrap();
    let length = socket.recv(&mut answer).expect("versions are offered");
    // Version 0 and, at the end, those that are spoken (RFC 9000, section 17.2.1).
    assert_eq!(answer[1..5], [0; 4]);
    assert!(answer[..length].chunks(1).count() < 100 && answer[..length].windows(4).any(|at| at == [0, 0, 0, 1]));
}

#[tokio::test]
async fn h8_a_wrong_client_hello_leads_to_no_session() {
    let relay = relay();
    let alert = |ended: &ConnectionError| matches!(ended, ConnectionError::ConnectionClosed(_));
    let wrong = dial(relay.relay.address(), b"h2").await.unwrap_err();
    assert!(alert(&wrong), "{wrong:?}");
    until("the wrong protocol is counted", || relay.relay.metrics().sessions_failed() == 1).await;
    let none = {
        let tls = tls_config(&[&rustls::version::TLS13], &[]);
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let connecting = endpoint(ALPN_QUIC).connect_with(config, relay.relay.address(), "localhost").unwrap();
        match soon("an answer", connecting).await {
            Ok(connection) => soon("the end", connection.closed()).await,
            Err(error) => error,
        }
    };
    assert!(!matches!(none, ConnectionError::TimedOut), "{none:?}");
    let protocols: Vec<Vec<u8>> = (0..250).map(|number: u8| vec![number; 200]).collect();
    let protocols: Vec<&[u8]> = protocols.iter().map(Vec::as_slice).collect();
    let tls = tls_config(&[&rustls::version::TLS13], &protocols);
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let connecting = endpoint(ALPN_QUIC).connect_with(config, relay.relay.address(), "localhost").unwrap();
    let large = soon("an answer to 50 KB of protocols", connecting).await.unwrap_err();
    assert!(alert(&large), "{large:?}");
    assert_served(&relay, "wrong client hellos").await;
}

#[tokio::test]
async fn h11_h12_a_session_survives_a_new_port_and_a_new_address() {
    let relay = TestRelay::start(Limits::default());
    let client = endpoint(ALPN_QUIC);
    let connecting = client.connect(relay.relay.address(), "localhost").unwrap();
    let mut member = take_seat(soon("a connection", connecting).await.unwrap(), "house").await.unwrap();
    for address in ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0"] {
        client.rebind(UdpSocket::bind(address).unwrap()).unwrap();
        for _ in 0..20 {
            assert!(member.is_seated().await, "after a move to {address}");
        }
    }
}

#[tokio::test]
async fn h17_nothing_is_taken_before_the_handshake() {
    let relay = relay();
    let mut tls = tls_config(&[&rustls::version::TLS13], &[ALPN_QUIC]);
    tls.enable_early_data = true;
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let client = endpoint(ALPN_QUIC);
    for attempt in 0..3 {
        let connecting = client.connect_with(config.clone(), relay.relay.address(), "localhost").unwrap();
        let connection = match connecting.into_0rtt() {
            Ok(_) => panic!("attempt {attempt}: early data would be sent"),
            Err(connecting) => soon("a connection", connecting).await.unwrap(),
        };
        // An answer comes after the tickets that a next connection could use.
        assert!(take_seat(connection, "house").await.unwrap().is_seated().await);
    }
}

#[tokio::test]
async fn w1_w2_a_request_that_cannot_be_read_ends_its_connection_alone() {
    let relay = relay();
    let integer_bomb = [&[0, 0, 0x27][..], &[0xff; 30]].concat();
    let length_bomb = [&[0, 0, 0x27, 0xff, 0xff, 0xff, 0xff, 0x7f][..], b"x"].concat();
    let huffman = [&[0, 0, 0x2f, 0x00, 0x84][..], &[0xff; 4]].concat();
    let large = field_section(&connect_fields(&[("x-large", &"x".repeat(64 * 1024))]));
    for (case, section) in [
        ("an integer without an end", integer_bomb),
        ("a length beyond the section", length_bomb),
        ("Huffman code that is none", huffman),
        ("a reference into the dynamic table", vec![0x02, 0, 0x80]),
        ("a reference beyond the static table", vec![0, 0, 0xff, 0xff, 0x7f]),
        ("a post-base reference", vec![0, 0, 0x10]),
        ("nothing", vec![]),
        ("noise", (0..=255).collect()),
        ("64 KiB of headers", large),
    ] {
        let h3 = H3::open(relay.relay.address()).await;
        let answer = h3.request(&frame(0x01, &section)).await;
        assert_eq!(answer.status, None, "{case}");
        assert_served(&relay, case).await;
    }
    let h3 = H3::open(relay.relay.address()).await;
    let token = "x".repeat(3000);
    assert_eq!(h3.connect(&[("authorization", &token)]).await.status, Some(200), "3000 bytes of headers fit");
}

/// The streams after it wait for it, as wtransport takes one header at a time.
#[tokio::test]
async fn w3_half_a_stream_header_leaves_open_streams_and_other_sessions_alone() {
    let relay = relay();
    let mut member = WebTransportMember::join(relay.relay.address(), "house").await;
    let mut half = Vec::new();
    for _ in 0..4 {
        let mut stream = member.h3.connection.open_bi().await.unwrap();
        stream.0.write_all(&[0x40]).await.unwrap();
        half.push(stream);
    }
    assert!(member.is_seated().await);
    assert_served(&relay, "half a stream header").await;
}

#[tokio::test]
async fn w4_a_control_message_that_does_not_end_ends_the_session() {
    let relay = relay();
    let mut quic = join(relay.relay.address(), "house").await.unwrap();
    let mut webtransport = WebTransportMember::join(relay.relay.address(), "house").await;
    let begun = Instant::now();
    for control in [&mut quic.control, &mut webtransport.control] {
        control.0.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
    }
    let ended = async { tokio::join!(quic.connection.closed(), webtransport.h3.connection.closed()) };
    let (quic, webtransport) = soon("the end of slow sessions", ended).await;
    let slow = u64::from(CloseReason::IdleTimeout.code());
    for ended in [quic, webtransport] {
        let ConnectionError::ApplicationClosed(close) = ended else { panic!("{ended:?}") };
        assert_eq!(close.error_code.into_inner(), slow);
    }
    assert!(begun.elapsed() >= MESSAGE_TIMEOUT, "{:?}", begun.elapsed());
    assert_served(&relay, "slow messages").await;
}

#[tokio::test]
async fn w4_a_chat_message_that_does_not_end_costs_the_stream_and_not_the_session() {
    let relay = relay();
    let target = Target { quic: relay.relay.address(), http: relay.relay.http_address().unwrap() };
    let mut talker = Session::member(target, Over::WebSocket, "house", "Talker").await;
    let mut slow = Vec::new();
    for over in [Over::Quic, Over::WebTransport] {
        let mut session = Session::member(target, over, "house", "Slow").await;
        session.chat_stream().write_all(&[0, 0, 0, 9, 1]).await.unwrap();
        slow.push((over, session, Instant::now()));
    }
    for (over, session, begun) in &mut slow {
        let stopped = soon("the end of a slow stream", session.chat_stream().stopped()).await.unwrap();
        assert!(begun.elapsed() >= MESSAGE_TIMEOUT, "{over:?}: {:?}", begun.elapsed());
        assert_eq!(stopped, Some(u32::from(CloseReason::IdleTimeout.code()).into()), "{over:?}");
        session.assert_seated("the session goes on").await;
        let said = talker.say_kept("do you hear me?").await;
        // Still on the first stream, after what the other slow one said.
        while session.heard().await.sequence != said {}
        session.open_chat_again(*over).await;
        let said = session.say_kept("and now you me").await;
        assert_eq!(talker.heard().await.sequence, said, "{over:?}");
    }
}

#[tokio::test]
async fn w5_what_http3_reserves_for_later_is_ignored() {
    let relay = relay();
    let mut member = WebTransportMember::join(relay.relay.address(), "house").await;
    // Reserved frames and stream kinds (RFC 9114, sections 6.2.3 and 7.2.8).
    member.h3.control.write_all(&frame(0x21, b"grease")).await.unwrap();
    member.h3.control.write_all(&frame(0x21 + 0x1f * 5, &[])).await.unwrap();
    let mut reserved = member.h3.connection.open_uni().await.unwrap();
    reserved.write_all(&[0x21, 1, 2, 3]).await.unwrap();
    assert!(member.is_seated().await);
}

#[tokio::test]
async fn w5_a_session_that_breaks_over_wrong_http3_is_not_a_page_that_was_closed() {
    let relay = relay();
    let closed = |reason| relay.relay.metrics().closed(reason);
    let mut member = WebTransportMember::join(relay.relay.address(), "house").await;
    // A DATA frame belongs to no control stream (RFC 9114, section 7.2.1).
    member.h3.control.write_all(&frame(0x00, b"data")).await.unwrap();
    until("the connection breaks", || closed(CloseReason::ConnectionLost) == 1).await;

    let page = WebTransportMember::join(relay.relay.address(), "house").await;
    let _connection = page.end_session();
    until("the page is closed", || closed(CloseReason::PageClosed) == 1).await;
    assert_eq!(closed(CloseReason::ConnectionLost), 1);
}

#[tokio::test]
async fn w10_a_datagram_of_no_session_is_counted_and_the_session_goes_on() {
    let relay = relay();
    let mut member = WebTransportMember::join(relay.relay.address(), "house").await;
    // wtransport takes a session's first datagram for itself, see ARCHITECTURE.md.
    member.h3.connection.send_datagram(Bytes::from_static(&[0])).unwrap();
    assert!(member.is_seated().await);
    let dropped = |reason| relay.relay.metrics().dropped(reason);
    let largest = [&[0xd0][..], &[0; 7], &[1; 40]].concat();
    for (case, bytes, reason) in [
        ("nothing", vec![], DropReason::Malformed),
        ("a prefix alone", vec![0], DropReason::Malformed),
        ("another session's", [&[1][..], &[0x10; 40]].concat(), DropReason::ForeignSession),
        ("session 2^60", largest, DropReason::ForeignSession),
    ] {
        let before = dropped(reason);
        member.h3.connection.send_datagram(bytes.into()).unwrap();
        until(case, || dropped(reason) == before + 1).await;
        assert!(member.is_seated().await, "{case}");
    }
}

#[tokio::test]
async fn w11_w12_a_request_for_something_else_gets_no_session() {
    let relay = relay();
    for (case, changes, status) in [
        ("a wrong path", vec![(":path", "/other")], Some(404)),
        ("a path out of the root", vec![(":path", "/../etc/passwd")], Some(404)),
        ("GET", vec![(":method", "GET")], None),
        ("POST", vec![(":method", "POST")], None),
        ("plain HTTP", vec![(":scheme", "http")], None),
        ("a protocol to come", vec![(":protocol", "webtransport-h3")], None),
        ("WebSocket", vec![(":protocol", "websocket")], None),
    ] {
        let h3 = H3::open(relay.relay.address()).await;
        assert_eq!(h3.connect(&changes).await.status, status, "{case}");
        assert_served(&relay, case).await;
    }
    let h3 = H3::open(relay.relay.address()).await;
    assert_eq!(h3.connect(&[(":path", "/?room=house")]).await.status, Some(200), "a query changes nothing");
}

#[tokio::test]
async fn w13_streams_that_nobody_reads_are_bounded() {
    let relay = relay();
    let connection = dial(relay.relay.address(), ALPN_QUIC).await.unwrap();
    let patience = Duration::from_millis(200);
    let mut streams = Vec::new();
    let mut bidirectional = Vec::new();
    while let Ok(Ok(stream)) = timeout(patience, connection.open_uni()).await {
        streams.push(stream);
    }
    while let Ok(Ok((send, receive))) = timeout(patience, connection.open_bi()).await {
        bidirectional.push((send, receive));
    }
    assert!(streams.len() <= STREAMS_UNIDIRECTIONAL_MAX as usize, "{} unidirectional", streams.len());
    assert!(bidirectional.len() <= STREAMS_BIDIRECTIONAL_MAX as usize, "{} bidirectional", bidirectional.len());
    let mut taken = 0;
    for stream in &mut streams {
        while let Ok(Ok(written)) = timeout(patience, stream.write(&[0; 16 * 1024])).await {
            taken += written;
        }
    }
    assert!(taken > 0 && taken <= CONNECTION_WINDOW_BYTES as usize, "{taken} bytes were taken");
    assert_served(&relay, "many streams").await;
}
