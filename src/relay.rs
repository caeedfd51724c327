//! The relay itself: it starts the shard, seats sessions in rooms, and carries out what the rooms decide.

mod callbacks;
mod downlink;
mod entry;
mod flight;
mod frame_streams;
mod key_file;
mod key_store;
mod listen;
mod live_room;
mod media_outbox;
mod media_streams;
mod memory;
mod metrics;
mod outbox;
mod outlet;
mod plain_session;
mod quic_session;
mod rosters;
mod samples;
mod seat;
mod shard;
mod slots;
mod tally;
mod websocket_session;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread;

use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

pub use callbacks::{Callbacks, Closed, Failed, Opened, Said, Subject, Verdict};
pub use key_file::{KeyError, KeyFile};
pub use key_store::KeyStore;
pub use metrics::Metrics;

use crate::auth::TicketKey;
use crate::config::{Config, OpenError};
use crate::transport::{
    BindError, CertificateError, CertificateStore, Congestion, EndpointKeys, Gate, HostPolicy, InvalidOrigin,
    KeysError, OriginPolicy, Sockets, UdpDrops,
};

/// Why a relay could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port could not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The keys of tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] KeyError),
    /// Everyone could come in, and that was not wanted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Chat cannot be kept.
    #[error(transparent)]
    History(#[from] crate::history::HistoryError),
    /// The keys could not be read or made.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// An origin is none.
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// The operating system refused a thread, a runtime or the QUIC endpoint.
    #[error("the relay could not start: {0}")]
    Thread(#[from] io::Error),
}

/// A running relay. Dropping it stops it as [`Relay::stop`] does, but does not wait for it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    http_address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    certificates: Arc<CertificateStore>,
    metrics: Arc<Metrics>,
    stop: watch::Sender<bool>,
    stopped: oneshot::Receiver<()>,
}

impl Relay {
    /// Starts a relay on a thread of its own; it serves as soon as this returns.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way and what to do.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Callbacks::default())
    }

    /// Starts a relay that tells `callbacks` what happens, and asks them what may happen.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way and what to do.
    pub fn start_with(config: Config, callbacks: Callbacks) -> Result<Self, StartError> {
        let certificates = Arc::new(CertificateStore::open(config.certificate.clone())?);
        let keys = KeyStore::open(&config.keys)?;
        let is_open = keys.is_open();
        if is_open {
            config.open_relay.check(&config)?;
        }
        let endpoint_keys = EndpointKeys::open(config.data_directory.as_deref())?;
        let origins = OriginPolicy::new(&config.origins)?;
        let gate = Gate::new(config.limits, origins, HostPolicy::new(&config.hosts), certificates.clone());
        let sockets = Sockets::bind(&config)?;
        let address = sockets.udp.local_addr()?;
        let http_address = sockets.plain.first().map(TcpListener::local_addr).transpose()?;
        let admin_address = sockets.admin.as_ref().map(TcpListener::local_addr).transpose()?;
        let Sockets { udp, tls, plain, admin } = sockets;
        let udp_drops = UdpDrops::of(&udp);
        let metrics = Arc::new(Metrics::default());
        let (history, outcomes) = crate::history::History::start(config.history, config.limits)?;
        let (stop, stopping) = watch::channel(false);
        let (ended, stopped) = oneshot::channel();

        let shard = shard::ShardParts {
            limits: config.limits,
            metrics: metrics.clone(),
            gate: Arc::new(gate),
            keys: Arc::new(keys),
            tickets: TicketKey::new(&endpoint_keys.ticket),
            open_to_plain: config.plain_without_token,
            history,
            callbacks,
            unproved: Arc::default(),
        };
        let part = listen::Part {
            shard,
            outcomes,
            udp_drops,
            certificates: certificates.clone(),
            port: address.port(),
            stopping,
        };
        let (ready, is_ready) = mpsc::channel();
        // The thread makes its runtime itself: if nothing comes of it, it must not be dropped inside an async program.
        thread::Builder::new().name("tertulia-0".into()).spawn(move || {
            let (runtime, endpoint) = match start_endpoint(udp, &part, &endpoint_keys, config.congestion) {
                Ok(started) => started,
                Err(error) => return drop(ready.send(Err(error))),
            };
            // Whoever starts the relay waits for it.
            let _ = ready.send(Ok(()));
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, listen::serve(part, endpoint, listen::Listeners { tls, plain, admin }));
            // Whoever waited may be gone: then nobody needs to know.
            let _ = ended.send(());
        })?;
        is_ready.recv().map_err(io::Error::other)??;
        if is_open {
            config.open_relay.tell();
        }
        Ok(Self { address, http_address, admin_address, certificates, metrics, stop, stopped })
    }

    /// Where QUIC, WebTransport, HTTPS and WSS are served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where plain HTTP and WS are served, if anywhere.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Where metrics and how sessions do are told to whoever comes, if anywhere: [`Config::admin`].
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The SHA-256 of the development certificate, for clients that take it by its hash.
    pub fn certificate_sha256(&self) -> Option<[u8; 32]> {
        self.certificates.sha256()
    }

    /// What has been counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Tells every session that the relay is shutting down and waits until they have heard it, at most a few seconds.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // An error means that the thread has ended already.
        let _ = self.stopped.await;
    }

    /// Waits until the relay has ended by itself, which it does only if its thread fails.
    pub async fn ended(&mut self) {
        // Either way it has ended.
        let _ = (&mut self.stopped).await;
    }
}

/// The runtime of the relay's thread, with the QUIC endpoint on it.
fn start_endpoint(
    udp: UdpSocket,
    part: &listen::Part,
    keys: &EndpointKeys,
    congestion: Congestion,
) -> io::Result<(Runtime, quinn::Endpoint)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let endpoint = {
        let _entered = runtime.enter();
        Sockets::endpoint(udp, &part.certificates, keys, congestion, part.shard.unproved.clone())?
    };
    Ok((runtime, endpoint))
}
