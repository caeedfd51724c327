//! Every setting of a relay, as values. [`crate::limits::Limits`] holds the bounds among them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use thiserror::Error;
use tracing::warn;

use crate::limits::{Limits, SHARDS_MAX};
use crate::transport::Congestion;

/// The line of a TOML file that an error is about, from 1.
pub fn line_of(text: &str, error: &toml::de::Error) -> usize {
    error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1)
}

/// What a relay is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where QUIC and WebTransport (UDP) and HTTPS and WSS (TCP) are served. Port 0: any free one.
    pub listen: SocketAddr,
    /// Where plain HTTP and WS are served: several addresses share the first one's port. Empty: nowhere.
    pub http: Vec<SocketAddr>,
    /// Where metrics and how sessions do are told, besides the loopback addresses of [`Config::http`]. `None`: nowhere else.
    pub admin: Option<SocketAddr>,
    /// What the relay proves its name with.
    pub certificate: CertificateSource,
    /// The keys that access tokens are checked with. None: the relay is open, and everyone may come in.
    pub keys: KeySources,
    /// Whether it may be open and reached from other machines.
    pub open_relay: OpenRelay,
    /// Whether plain WebSocket clients come in without a token although keys are configured.
    pub plain_without_token: bool,
    /// Where chat is kept.
    pub history: HistoryPlace,
    /// Origins of pages that may connect, like `https://app.example`, besides those of the relay's own host and of the
    /// visitor's own machine; `*`: all.
    pub origins: Vec<String>,
    /// Names by which the relay is reached, like `relay.example` or `*.relay.example`, besides `localhost`, addresses and
    /// the names in its certificate; `*`: all.
    pub hosts: Vec<String>,
    /// Where the relay keeps what has to outlive it, such as its keys. `None`: nothing is kept.
    pub data_directory: Option<PathBuf>,
    /// Threads that serve sessions, at most [`SHARDS_MAX`]; 0: one for each core. One where the system does not divide a port among
    /// several.
    pub shards: usize,
    /// How connections over QUIC and WebTransport find out how much the path carries.
    pub congestion: Congestion,
    /// The bounds.
    pub limits: Limits,
}

/// Where the keys that access tokens are checked with come from. The files are read again when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySources {
    /// A TOML file: a table `[secrets]` of API keys and their secrets, and `[[public]]` entries with `kid`, `algorithm`
    /// and `file`, a PEM file beside it.
    pub keys: Option<PathBuf>,
    /// A set of public keys in JSON (RFC 7517, section 5).
    pub jwks: Option<PathBuf>,
}

impl KeySources {
    /// Whether no keys are configured: the relay is open.
    pub fn is_empty(&self) -> bool {
        self.keys.is_none() && self.jwks.is_none()
    }
}

/// Whether a relay without keys may be reached from other machines, and whether it says that it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OpenRelay {
    /// Yes, with a warning.
    #[default]
    Warn,
    /// Yes: it is meant to be open.
    Allow,
    /// No: it does not start. On this machine alone it does, with a warning.
    Refuse,
}

/// A relay without keys is not to be reached from other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the relay has no keys and {0} is reached from other machines: everyone there could come in; give it --keys, or listen on \
     127.0.0.1, or say --open-relay allow"
)]
pub struct OpenError(SocketAddr);

impl OpenRelay {
    /// Judges a configuration without keys.
    ///
    /// # Errors
    /// [`OpenError`] names the address.
    pub fn check(self, config: &Config) -> Result<(), OpenError> {
        let mut all = std::iter::once(&config.listen).chain(&config.http);
        match all.find(|address| !address.ip().is_loopback()) {
            Some(address) if self == Self::Refuse => Err(OpenError(*address)),
            _ => Ok(()),
        }
    }

    /// Says that a relay which has started has no keys, unless it is meant to be open.
    pub fn tell(self) {
        if self != Self::Allow {
            warn!("no keys are configured: everyone who reaches this relay can join every room; see --keys");
        }
    }
}

/// Where chat is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryPlace {
    /// In memory, as long as the relay runs.
    Memory,
    /// In a file in this directory, which is made if there is none. One relay at a time can use it.
    Directory(PathBuf),
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// A self-signed one, made when there is none in this directory or it nears its end.
    Development {
        /// Where it is kept.
        directory: PathBuf,
    },
    /// PEM files.
    Files {
        /// The chain, the relay's own certificate first.
        chain: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

impl Config {
    /// How many threads are to serve sessions.
    pub(crate) fn shard_count(&self) -> usize {
        let shards = match self.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        shards.min(SHARDS_MAX)
    }

    /// The port of [`Config::listen`], unless it is set.
    pub const PORT: u16 = 4433;

    /// The port of [`Config::http`], unless it is set.
    pub const HTTP_PORT: u16 = 8000;

    /// Plain HTTP for this machine alone, on both address families: browsers differ in which one `localhost` is.
    pub fn localhost(port: u16) -> Vec<SocketAddr> {
        [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            .map(|address| (address, port).into())
            .to_vec()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv6Addr::UNSPECIFIED, Self::PORT).into(),
            http: Self::localhost(Self::HTTP_PORT),
            admin: None,
            certificate: CertificateSource::Development { directory: "certs".into() },
            keys: KeySources::default(),
            open_relay: OpenRelay::default(),
            plain_without_token: false,
            history: HistoryPlace::Directory("data".into()),
            origins: Vec::new(),
            hosts: Vec::new(),
            data_directory: Some("data".into()),
            shards: 0,
            congestion: Congestion::default(),
            limits: Limits::default(),
        }
    }
}
