//! QUIC connections and HTTP/3 bytes of clients that do what they like.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, ConnectionId, Endpoint, RecvStream, SendStream, TransportConfig,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tertulia::wire::*;
use tokio::time::timeout;

/// Longer than the relay's own deadlines.
pub const DEADLINE: Duration = Duration::from_secs(15);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// TLS settings of a client that takes every certificate.
pub fn tls_config(versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&[u8]]) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(versions).unwrap().dangerous();
    let mut tls = builder.with_custom_certificate_verifier(Arc::new(Trusting(provider))).with_no_client_auth();
    tls.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    tls
}

/// An endpoint that speaks this protocol. It keeps its connections and would wait a minute for an answer.
pub fn endpoint(alpn: &[u8]) -> Endpoint {
    endpoint_with(client_config(alpn))
}

/// One whose first packets go to the shard of this number, of so many: a client chooses the connection id that it sends them to.
pub fn endpoint_to(alpn: &[u8], shard: usize, of: usize) -> Endpoint {
    let mut config = client_config(alpn);
    config.initial_dst_cid_provider(Arc::new(move || {
        let mut id: [u8; 12] = rand::random();
        id[0] = (usize::from(id[0]) % (256 / of) * of + shard) as u8;
        ConnectionId::new(&id)
    }));
    endpoint_with(config)
}

fn client_config(alpn: &[u8]) -> ClientConfig {
    let tls = tls_config(&[&rustls::version::TLS13], &[alpn]);
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

fn endpoint_with(mut config: ClientConfig) -> Endpoint {
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(200)));
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(config);
    endpoint
}

pub async fn dial(address: SocketAddr, alpn: &[u8]) -> Result<Connection, ConnectionError> {
    let connecting = endpoint(alpn).connect(address, "localhost").unwrap();
    soon("a QUIC connection", connecting).await
}

/// A session that is in a room, or how the connection ended instead.
pub async fn join(address: SocketAddr, room: &str) -> Result<QuicMember, ConnectionError> {
    take_seat(dial(address, ALPN_QUIC).await?, room).await
}

/// The same, over this connection.
pub async fn take_seat(connection: Connection, room: &str) -> Result<QuicMember, ConnectionError> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let bytes = join_message(room);
    if send.write_all(&bytes).await.is_err() {
        return Err(connection.closed().await);
    }
    match next_message(&mut receive).await {
        Some(ServerMessage::Welcome(_)) => Ok(QuicMember { connection, control: (send, receive) }),
        _ => Err(connection.closed().await),
    }
}

/// What a control stream begins with.
fn join_message(room: &str) -> Vec<u8> {
    let join = Join {
        version: VERSION,
        room: room.into(),
        name: "Mallory".into(),
        token: None,
        ticket: None,
        chat_after: None,
        auto_subscribe: true,
    };
    [&[StreamKind::Control.byte()], &delimit(&encode(&ClientMessage::Join(join)))[..]].concat()
}

/// Someone in a room over QUIC.
#[derive(Debug)]
pub struct QuicMember {
    pub connection: Connection,
    pub control: (SendStream, RecvStream),
}

impl QuicMember {
    /// Whether the session goes on: it gets an answer.
    pub async fn is_seated(&mut self) -> bool {
        is_seated(&mut self.control).await
    }

    /// Announces a track.
    pub async fn publish(&mut self, track: TrackInfo) -> TrackId {
        let publish = ClientMessage::Publish { request: 1, track };
        self.control.0.write_all(&delimit(&encode(&publish))).await.unwrap();
        loop {
            match next_message(&mut self.control.1).await {
                Some(ServerMessage::Published { track, .. }) => return track,
                Some(_) => {}
                None => panic!("the track is not published: {}", self.connection.closed().await),
            }
        }
    }
}

/// A field section (RFC 9204, section 4.5) of literals alone.
pub fn field_section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        prefixed_integer(&mut section, 0x20, 3, name.len());
        section.extend_from_slice(name.as_bytes());
        prefixed_integer(&mut section, 0, 7, value.len());
        section.extend_from_slice(value.as_bytes());
    }
    section
}

fn prefixed_integer(section: &mut Vec<u8>, flags: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        section.push(flags | value as u8);
        return;
    }
    section.push(flags | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        section.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    section.push(rest as u8);
}

/// A variable-length integer of QUIC.
pub fn varint(value: usize) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        _ => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
    }
}

/// An HTTP/3 frame (RFC 9114, section 7.1).
pub fn frame(kind: usize, payload: &[u8]) -> Vec<u8> {
    [&varint(kind)[..], &varint(payload.len()), payload].concat()
}

/// What a client's control stream begins with: its kind, and settings for datagrams and WebTransport.
pub fn settings() -> Vec<u8> {
    let setting = |id: &[u8], value: u8| [id, &[value]].concat();
    let payload = [
        setting(&[0x08], 1),
        setting(&[0x33], 1),
        setting(&[0xab, 0x60, 0x37, 0x42], 1),
        setting(&[0xc0, 0, 0, 0, 0xc6, 0x71, 0x70, 0x6a], 1),
    ];
    [&[0x00], &frame(0x04, &payload.concat())[..]].concat()
}

/// The fields of a request for a WebTransport session, with some of them replaced or added.
pub fn connect_fields<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":protocol", "webtransport"),
        (":authority", "localhost:4433"),
        (":path", "/"),
    ];
    for change in changes {
        match fields.iter_mut().find(|field| field.0 == change.0) {
            Some(field) => *field = *change,
            None => fields.push(*change),
        }
    }
    fields
}

/// An HTTP/3 connection on which the settings have been sent.
pub struct H3 {
    pub connection: Connection,
    pub control: SendStream,
}

impl H3 {
    pub async fn open(address: SocketAddr) -> Self {
        let connection = dial(address, ALPN_WEBTRANSPORT).await.unwrap();
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(&settings()).await.unwrap();
        Self { connection, control }
    }

    /// Sends bytes on a new request stream and gives what comes back.
    pub async fn request(&self, bytes: &[u8]) -> Answer {
        let (mut send, mut receive) = self.connection.open_bi().await.unwrap();
        // It may be refused before all of it is sent.
        let _ = send.write_all(bytes).await;
        let mut head = [0; 64];
        let answer = soon("an answer to a request", receive.read(&mut head)).await;
        let read = answer.ok().flatten().unwrap_or(0);
        Answer { status: status(&head[..read]), _stream: (send, receive) }
    }

    pub async fn connect(&self, changes: &[(&str, &str)]) -> Answer {
        self.request(&frame(0x01, &field_section(&connect_fields(changes)))).await
    }
}

/// A WebTransport session with a seat.
pub struct WebTransportMember {
    pub h3: H3,
    pub control: (SendStream, RecvStream),
    _session: Answer,
}

impl WebTransportMember {
    pub async fn join(address: SocketAddr, room: &str) -> Self {
        let h3 = H3::open(address).await;
        let session = h3.connect(&[]).await;
        assert_eq!(session.status, Some(200));
        let mut control = h3.connection.open_bi().await.unwrap();
        // A stream of session 0 (draft-ietf-webtrans-http3, section 4.2).
        control.0.write_all(&[&[0x40, 0x41, 0x00][..], &join_message(room)].concat()).await.unwrap();
        let mut member = Self { h3, control, _session: session };
        assert!(matches!(member.next().await, Some(ServerMessage::Welcome(_))));
        member
    }

    /// The next message on the control stream.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        next_message(&mut self.control.1).await
    }

    /// Ends the WebTransport session without a word, as a page does that is closed, and not its connection.
    pub fn end_session(self) -> (H3, (SendStream, RecvStream)) {
        (self.h3, self.control)
    }

    /// Whether the session goes on: it gets an answer.
    pub async fn is_seated(&mut self) -> bool {
        is_seated(&mut self.control).await
    }
}

async fn next_message(receive: &mut RecvStream) -> Option<ServerMessage> {
    let mut length = [0; 4];
    soon("a message", receive.read_exact(&mut length)).await.ok()?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    soon("the rest of a message", receive.read_exact(&mut message)).await.ok()?;
    Some(decode(&message).unwrap())
}

async fn is_seated(control: &mut (SendStream, RecvStream)) -> bool {
    if control.0.write_all(&delimit(&encode(&ClientMessage::Ping { token: 77 }))).await.is_err() {
        return false;
    }
    while let Some(message) = next_message(&mut control.1).await {
        if matches!(message, ServerMessage::Pong { token: 77, .. }) {
            return true;
        }
    }
    false
}

/// What a request is answered with, and its stream.
pub struct Answer {
    pub status: Option<u16>,
    pub _stream: (SendStream, RecvStream),
}

/// The status in a HEADERS frame as the relay writes it: `:status` by its index in the static table, and the digits, in
/// Huffman code where that is shorter (RFC 9204, section 4.5.4).
fn status(frame: &[u8]) -> Option<u16> {
    let value = frame.strip_prefix(&[0x01])?.get(1..)?.strip_prefix(&[0, 0, 0x5f, 0x09])?;
    match value {
        [0x82, 0x10, 0x01, ..] => Some(200),
        [0x03, digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        _ => None,
    }
}

/// Takes every certificate.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
