//! What stands in for a relay and does as a test says: for what a real one does by chance alone.

use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use ring::digest::{SHA256, digest};
use rustls::pki_types::PrivateKeyDer;
use tertulia::client::{Certificates, Options};
use tertulia::wire::*;
use tokio::task::JoinSet;

use super::quic::soon;

pub struct StandIn {
    endpoint: Endpoint,
    sha256: [u8; 32],
}

impl StandIn {
    /// One that speaks this protocol over QUIC.
    pub fn start(alpn: &[u8]) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let sha256 = digest(&SHA256, &certificate).as_ref().try_into().unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap().with_no_client_auth();
        let mut tls = builder.with_single_cert(vec![certificate], key).unwrap();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        Self { endpoint, sha256 }
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/", self.endpoint.local_addr().unwrap())
    }

    pub fn options(&self, name: &str) -> Options {
        Options { name: name.into(), certificates: Certificates::Sha256(vec![self.sha256]), ..Options::default() }
    }

    /// The next connection. A client that has to wait begins another one beside it, and gives one of them up: that one is passed over.
    pub async fn accept(&self) -> Connection {
        loop {
            let incoming = soon("a connection", self.endpoint.accept()).await.unwrap();
            if let Ok(connection) = soon("a handshake", incoming.accept().unwrap()).await {
                return connection;
            }
        }
    }

    /// The next connection, with a seat in an empty room.
    pub async fn seat(&self) -> SeatedClient {
        let (connection, (send, mut receive)) = loop {
            let connection = self.accept().await;
            if let Ok(stream) = soon("a stream", connection.accept_bi()).await {
                break (connection, stream);
            }
        };
        let mut kind = [0];
        receive.read_exact(&mut kind).await.unwrap();
        assert_eq!(StreamKind::from_byte(kind[0]), Some(StreamKind::Control));
        let mut client = SeatedClient { connection, send, receive, echoes: JoinSet::new() };
        let ClientMessage::Join(join) = client.next().await else { panic!("the first message is a join") };
        client.say(&ServerMessage::Welcome(welcome(&join))).await;
        client
    }
}

fn welcome(join: &Join) -> Welcome {
    Welcome {
        participant: ParticipantId(1),
        ticket: b"a seat".to_vec(),
        seat_ms: 30_000,
        resumed: join.ticket.is_some(),
        tracks: Vec::new(),
        participants: 0,
        chat: ChatPosition { epoch: 1, sequence: 0 },
        locked: false,
        name: join.name.clone(),
        permissions: Permissions { publish: Vec::new(), subscribe: true, chat: true, admin: false, hidden: false },
        media_bytes_max: 1200,
        chat_bytes_max: 1000,
        relay: "stand-in".into(),
    }
}

/// A client that has a seat.
pub struct SeatedClient {
    pub connection: Connection,
    send: SendStream,
    receive: RecvStream,
    echoes: JoinSet<()>,
}

impl SeatedClient {
    /// Sends datagrams back from now on.
    pub fn echo(&mut self) {
        let connection = self.connection.clone();
        self.echoes.spawn(async move {
            while let Ok(datagram) = connection.read_datagram().await {
                let _ = connection.send_datagram(datagram);
            }
        });
    }

    /// The next message on the control stream.
    pub async fn next(&mut self) -> ClientMessage {
        let mut length = [0; 4];
        soon("a message", self.receive.read_exact(&mut length)).await.unwrap();
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        soon("the rest of a message", self.receive.read_exact(&mut message)).await.unwrap();
        decode(&message).unwrap()
    }

    pub async fn say(&mut self, message: &ServerMessage) {
        self.send.write_all(&delimit(&encode(message))).await.unwrap();
    }
}
