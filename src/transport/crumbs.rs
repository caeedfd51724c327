//! Clients whose streams come in crumbs with gaps between them are read no further.
//!
//! quinn keeps each piece of a stream by itself as long as one before it is missing, and sorts all that it keeps with every few of
//! them: a packet full of crumbs costs the relay many times what it costs its sender, and everybody else on the thread waits. How many
//! frames a packet has can be seen before quinn has taken them in one place alone: where it is opened.

mod frames;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::BytesMut;
use quinn::ConnectionId;
use quinn::crypto::{
    CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use tokio::sync::Notify;

use self::frames::stream_frames;
use crate::limits::{STREAM_FRAMES_FREE, STREAM_FRAMES_PER_PACKET_MAX};

/// How many frames of streams a connection may still be sent: some come with each packet, and few can be saved up.
#[derive(Debug)]
pub struct Crumbs {
    left: AtomicU64,
    are_too_many: AtomicBool,
    found: Notify,
}

impl Default for Crumbs {
    fn default() -> Self {
        let left = AtomicU64::new(STREAM_FRAMES_FREE);
        Self { left, are_too_many: AtomicBool::default(), found: Notify::default() }
    }
}

impl Crumbs {
    /// Those of a connection that the relay has accepted.
    ///
    /// # Panics
    /// If the connection is of an endpoint that looks at nothing.
    pub fn of(connection: &quinn::Connection) -> Arc<Self> {
        let identity = connection.peer_identity().and_then(|identity| identity.downcast::<Arc<Self>>().ok());
        *identity.expect("the relay's own TLS is watched")
    }

    /// Waits until there are too many. Nothing that the client sends is read any more then, so it cannot acknowledge a goodbye either.
    /// One may wait at a time.
    pub async fn found(&self) {
        self.found.notified().await;
    }

    /// Counts what was in a packet, and says whether it may be read.
    fn take(&self, payload: &[u8]) -> bool {
        // All packets of a connection are opened in one place, one after the other.
        let left =
            self.left.load(Ordering::Relaxed).saturating_add(STREAM_FRAMES_PER_PACKET_MAX).min(STREAM_FRAMES_FREE);
        let rest = left.checked_sub(stream_frames(payload));
        self.left.store(rest.unwrap_or_default(), Ordering::Relaxed);
        if rest.is_none() {
            self.are_too_many.store(true, Ordering::Relaxed);
            self.found.notify_one();
        }
        rest.is_some()
    }
}

/// TLS as it is, with an eye on what comes out of it.
pub(super) struct Watching(pub Arc<dyn ServerConfig>);

impl ServerConfig for Watching {
    /// What a client sends before its session is counted by itself: if it is too much, the attempt comes to nothing.
    fn initial_keys(&self, version: u32, id: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        let Keys { header, packet } = self.0.initial_keys(version, id)?;
        let remote = Box::new(WatchedKey { inner: packet.remote, crumbs: Arc::default() });
        Ok(Keys { header, packet: KeyPair { local: packet.local, remote } })
    }

    fn retry_tag(&self, version: u32, id: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, id, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, parameters: &TransportParameters) -> Box<dyn Session> {
        let inner = self.0.clone().start_session(version, parameters);
        Box::new(WatchedSession { inner, crumbs: Arc::default() })
    }
}

struct WatchedSession {
    inner: Box<dyn Session>,
    crumbs: Arc<Crumbs>,
}

impl WatchedSession {
    fn watched(&self, key: Box<dyn PacketKey>) -> Box<dyn PacketKey> {
        Box::new(WatchedKey { inner: key, crumbs: self.crumbs.clone() })
    }

    fn watched_pair(&self, pair: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
        KeyPair { local: pair.local, remote: self.watched(pair.remote) }
    }
}

impl Session for WatchedSession {
    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let Keys { header, packet } = self.inner.write_handshake(buffer)?;
        Some(Keys { header, packet: self.watched_pair(packet) })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let pair = self.inner.next_1rtt_keys()?;
        Some(self.watched_pair(pair))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let (header, packet) = self.inner.early_crypto()?;
        Some((header, self.watched(packet)))
    }

    /// Clients have no certificates here: in that place is what has been counted.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.crumbs.clone()))
    }

    fn initial_keys(&self, id: &ConnectionId, side: quinn::Side) -> Keys {
        self.inner.initial_keys(id, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
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

struct WatchedKey {
    inner: Box<dyn PacketKey>,
    crumbs: Arc<Crumbs>,
}

impl PacketKey for WatchedKey {
    fn encrypt(&self, packet: u64, buffer: &mut [u8], header_bytes: usize) {
        self.inner.encrypt(packet, buffer, header_bytes);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        // To open it would be work for nothing.
        if self.crumbs.are_too_many.load(Ordering::Relaxed) {
            return Err(CryptoError);
        }
        self.inner.decrypt(packet, header, payload)?;
        if self.crumbs.take(payload) { Ok(()) } else { Err(CryptoError) }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// So many frames of one byte each.
    fn packet(frames: u64) -> Vec<u8> {
        (0..frames).flat_map(|_| [0x0e, 2, 1, 1, 0xaa]).collect()
    }

    /// How many packets are read of which each is full of crumbs.
    fn read_of(crumbs: &Crumbs) -> usize {
        (0..100).take_while(|_| crumbs.take(&packet(150))).count()
    }

    #[test]
    fn a_few_frames_in_each_packet_are_read_for_ever_and_crumbs_for_a_moment() {
        let crumbs = Crumbs::default();
        assert!((0..100_000).all(|_| crumbs.take(&packet(STREAM_FRAMES_PER_PACKET_MAX))));
        assert_eq!(read_of(&crumbs), 3);
        assert!(crumbs.are_too_many.load(Ordering::Relaxed));
    }

    #[test]
    fn packets_without_a_stream_save_nothing_up() {
        let crumbs = Crumbs::default();
        assert!((0..100_000).all(|_| crumbs.take(&[0x01])));
        assert_eq!(read_of(&crumbs), 3);
    }

    #[test]
    fn a_burst_of_short_streams_is_read_again_after_some_packets() {
        let crumbs = Crumbs::default();
        for _ in 0..10 {
            assert!((0..20).all(|_| crumbs.take(&packet(25))));
            assert!((0..120).all(|_| crumbs.take(&[0x01])));
        }
    }
}
