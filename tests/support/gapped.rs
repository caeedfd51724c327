//! A QUIC client whose streams arrive with a gap beside each byte. quinn leaves none, so its packets are written anew before they
//! are sealed: each large one becomes as many STREAM frames of a single byte as fit.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
};
use quinn::{ConnectError, ConnectionId, RecvStream, SendStream, Side, TransportConfig};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use tertulia::wire::ALPN_QUIC;

use super::quic::{QuicMember, endpoint, soon, take_seat, tls_config};

/// A packet with so many bytes of frames is one that the test fills; those of quinn itself have fewer.
const LARGE_BYTES: usize = 1000;

/// How many packets come before the gaps. A datagram that says nothing is counted and passed over.
const DATAGRAMS: usize = 500;

/// A STREAM frame of one byte: kind, stream, offset in four bytes, length, the byte (RFC 9000, section 19.8).
const FRAME_BYTES: usize = 8;

/// Someone in a room whose further streams have gaps.
pub struct Gapped {
    pub member: QuicMember,
    gaps: Arc<Mutex<Gaps>>,
    _streams: (Vec<SendStream>, Vec<(SendStream, RecvStream)>),
}

/// Which bytes are still to be sent.
#[derive(Debug, Default)]
struct Gaps {
    /// The ids of the streams that have gaps, of one byte each.
    streams: Vec<u8>,
    /// So many bytes have been sent on each of them, but for the first ones, which have one more.
    bytes: usize,
    /// And so many are to be sent.
    wanted: usize,
    /// How many of the streams have one more.
    ahead: usize,
}

impl Gapped {
    /// A session with a seat, and all the other streams that it may open.
    pub async fn join(address: SocketAddr, room: &str) -> Self {
        let gaps = Arc::default();
        let tls = tls_config(&[&rustls::version::TLS13], &[ALPN_QUIC]);
        let tls =
            Arc::new(Rewriting { inner: Arc::new(QuicClientConfig::try_from(tls).unwrap()), gaps: Arc::clone(&gaps) });
        let mut transport = TransportConfig::default();
        // Few packets wait that are filled when they leave.
        transport.datagram_send_buffer_size(2 * LARGE_BYTES);
        let mut config = quinn::ClientConfig::new(tls);
        config.transport_config(Arc::new(transport));
        let connecting = endpoint(ALPN_QUIC).connect_with(config, address, "localhost").unwrap();
        let member = take_seat(soon("a connection", connecting).await.unwrap(), room).await.unwrap();
        let (mut one_way, mut both_ways) = (Vec::new(), Vec::new());
        while let Some(Ok(stream)) = member.connection.open_uni().now_or_never() {
            one_way.push(stream);
        }
        while let Some(Ok(stream)) = member.connection.open_bi().now_or_never() {
            both_ways.push(stream);
        }
        let ids = one_way.iter().map(SendStream::id).chain(both_ways.iter().map(|(send, _)| send.id()));
        // Larger ones have more than one byte (RFC 9000, section 16).
        let ids = ids.filter_map(|id| u8::try_from(u64::from(id)).ok().filter(|id| *id < 64));
        gaps.lock().unwrap().streams = ids.collect();
        Self { member, gaps, _streams: (one_way, both_ways) }
    }

    /// Sends until so many bytes are on each stream, with gaps between them, and the relay has answered something that came later,
    /// or has ended the session.
    pub async fn send(&mut self, bytes_of_each: usize) -> bool {
        self.gaps.lock().unwrap().wanted = bytes_of_each;
        while !self.gaps.lock().unwrap().are_sent() {
            let filled = Bytes::from(vec![0; self.member.connection.max_datagram_size().unwrap_or(LARGE_BYTES)]);
            if self.member.connection.send_datagram_wait(filled).await.is_err() {
                return false;
            }
        }
        self.member.is_seated().await
    }

    /// Sends many packets that nothing is wrong with, but for what is in them.
    pub async fn send_datagrams(&self) {
        for _ in 0..DATAGRAMS {
            let small = Bytes::from_static(&[0; 100]);
            self.member.connection.send_datagram_wait(small).await.unwrap();
        }
    }
}

impl Gaps {
    fn are_sent(&self) -> bool {
        self.bytes >= self.wanted
    }

    /// Writes frames over those of a packet, as many as fit, and padding behind them.
    fn write_over(&mut self, payload: &mut [u8]) {
        let mut frames = payload.chunks_exact_mut(FRAME_BYTES);
        for frame in &mut frames {
            frame.fill(0);
            if self.are_sent() {
                continue;
            }
            // Every other byte, and never the first one: nothing can be read.
            let offset = 2 * self.bytes as u32 + 1;
            frame[0] = 0x0e;
            frame[1] = self.streams[self.ahead];
            frame[2..6].copy_from_slice(&(offset | 0x8000_0000).to_be_bytes());
            frame[6..].copy_from_slice(&[1, 0xaa]);
            self.ahead += 1;
            if self.ahead == self.streams.len() {
                (self.ahead, self.bytes) = (0, self.bytes + 1);
            }
        }
        frames.into_remainder().fill(0);
    }
}

/// TLS as it is, with the keys in another hand.
struct Rewriting {
    inner: Arc<QuicClientConfig>,
    gaps: Arc<Mutex<Gaps>>,
}

impl ClientConfig for Rewriting {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = Arc::clone(&self.inner).start_session(version, name, parameters)?;
        Ok(Box::new(RewritingSession { inner, gaps: Arc::clone(&self.gaps) }))
    }
}

struct RewritingSession {
    inner: Box<dyn Session>,
    gaps: Arc<Mutex<Gaps>>,
}

impl RewritingSession {
    fn with_gaps(&self, mut keys: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
        keys.local = Box::new(RewritingKey { inner: keys.local, gaps: Arc::clone(&self.gaps) });
        keys
    }
}

impl Session for RewritingSession {
    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let Keys { header, packet } = self.inner.write_handshake(buffer)?;
        Some(Keys { header, packet: self.with_gaps(packet) })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.inner.next_1rtt_keys()?;
        Some(self.with_gaps(keys))
    }

    fn initial_keys(&self, id: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(id, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buffer: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buffer)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn is_valid_retry(&self, id: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(id, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

struct RewritingKey {
    inner: Box<dyn PacketKey>,
    gaps: Arc<Mutex<Gaps>>,
}

impl PacketKey for RewritingKey {
    fn encrypt(&self, packet: u64, buffer: &mut [u8], header_bytes: usize) {
        let end = buffer.len() - self.inner.tag_len();
        let mut gaps = self.gaps.lock().unwrap();
        if end - header_bytes >= LARGE_BYTES && !gaps.streams.is_empty() && !gaps.are_sent() {
            gaps.write_over(&mut buffer[header_bytes..end]);
        }
        drop(gaps);
        self.inner.encrypt(packet, buffer, header_bytes);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.inner.decrypt(packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.inner.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.inner.integrity_limit()
    }
}
