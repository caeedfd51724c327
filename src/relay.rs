//! The relay itself: it starts the shards, seats sessions in rooms, and carries out what the rooms decide.

mod callbacks;
mod common;
mod downlink;
mod entry;
mod flight;
mod frame_streams;
mod home;
mod key_file;
mod key_store;
mod listen;
mod mail;
mod media_outbox;
mod media_streams;
mod memory;
mod metrics;
mod outbox;
mod outlet;
mod own_turn;
mod part;
mod path;
mod plain_session;
mod post;
mod quic_session;
mod rosters;
mod samples;
mod seat;
mod shard;
mod slots;
mod tally;
mod threads;
mod websocket_session;

use std::hash::RandomState;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Instant;

use common::Common;
use futures_util::future::select_all;
use thiserror::Error;
use threads::Threads;
use tokio::sync::{oneshot, watch};

pub use callbacks::{Callbacks, Closed, Failed, Opened, Said, Subject, Verdict};
pub use key_file::{KeyError, KeyFile};
pub use key_store::KeyStore;
pub use metrics::Metrics;

use crate::auth::TicketKey;
use crate::config::{Config, OpenError};
use crate::media::PictureBudget;
use crate::transport::{
    BindError, CertificateError, CertificateStore, EndpointKeys, Gate, HostPolicy, InvalidOrigin, KeysError,
    OriginPolicy, Sockets,
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
    /// By thread.
    stopped: Vec<oneshot::Receiver<()>>,
}

impl Relay {
    /// Starts a relay on threads of its own; it serves as soon as this returns.
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
        let sockets = Sockets::bind_all(&config, config.shard_count())?;
        let address = sockets[0].udp.local_addr()?;
        let http_address = sockets[0].plain.first().map(TcpListener::local_addr).transpose()?;
        let admin_address = sockets[0].admin.as_ref().map(TcpListener::local_addr).transpose()?;
        let metrics = Arc::new(Metrics::default());
        let (history, outcomes) = crate::history::History::start(config.history, config.limits)?;
        let common = Arc::new(Common {
            limits: config.limits,
            metrics: metrics.clone(),
            gate: Arc::new(gate),
            keys: Arc::new(keys),
            tickets: TicketKey::new(&endpoint_keys.ticket),
            open_to_plain: config.plain_without_token,
            history,
            callbacks,
            pictures: PictureBudget::default(),
            roster_bytes: Arc::default(),
            started: Instant::now(),
            connections_pending: AtomicUsize::new(0),
            rooms_open: AtomicUsize::new(0),
            connections_open: sockets.iter().map(|_| AtomicUsize::new(0)).collect(),
            keys_given: AtomicU64::new(0),
            homes: RandomState::new(),
        });
        let (stop, _) = watch::channel(false);
        let threads = Threads {
            common,
            certificates: certificates.clone(),
            endpoint_keys,
            congestion: config.congestion,
            address,
            stop: stop.clone(),
        };
        let stopped = threads.start(sockets, outcomes)?;
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

    /// Tells every session that the relay is shutting down and waits until they have heard it and chat is kept, less than 5 s.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // One that `ended` told of is not asked again.
        for stopped in self.stopped.into_iter().filter(|stopped| !stopped.is_terminated()) {
            // An error means that the thread has ended already.
            let _ = stopped.await;
        }
    }

    /// Waits until the relay has ended by itself, which it does only if one of its threads fails.
    pub async fn ended(&mut self) {
        // Either way it has ended.
        let _ = select_all(&mut self.stopped).await;
    }
}
