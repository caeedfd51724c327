use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use thiserror::Error;

use super::{CertificateStore, HostError, HostPolicy, OriginError, OriginPolicy};
use crate::limits::{Admission, AdmissionError, Limits};
use crate::now::Now;

/// Why a connection or a session is turned away at the gate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GateError {
    /// There are too many, in all or from one address.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// A page of another site wants to connect.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The relay is not known under this name.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What is counted of those who are turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Connections that began too fast.
    Handshakes,
    /// Sessions beyond all that there can be, by their number or by the memory that is left.
    Sessions,
    /// Sessions beyond those of one address.
    SessionsOfAddress,
    /// TCP connections beyond those of one address.
    ConnectionsOfAddress,
    /// Tokens that were not looked at, after many that were refused.
    Tokens,
    /// Pages of other sites.
    Origin,
    /// Requests to another name.
    Host,
}

impl Refusal {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::Handshakes,
        Self::Sessions,
        Self::SessionsOfAddress,
        Self::ConnectionsOfAddress,
        Self::Tokens,
        Self::Origin,
        Self::Host,
    ];

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Handshakes => "handshakes",
            Self::Sessions => "sessions",
            Self::SessionsOfAddress => "sessions_of_address",
            Self::ConnectionsOfAddress => "connections_of_address",
            Self::Tokens => "tokens",
            Self::Origin => "origin",
            Self::Host => "host",
        }
    }
}

impl From<&GateError> for Refusal {
    fn from(error: &GateError) -> Self {
        match error {
            GateError::Admission(AdmissionError::Handshakes) => Self::Handshakes,
            GateError::Admission(AdmissionError::Sessions | AdmissionError::Memory) => Self::Sessions,
            GateError::Admission(AdmissionError::SessionsOfAddress) => Self::SessionsOfAddress,
            GateError::Admission(AdmissionError::ConnectionsOfAddress) => Self::ConnectionsOfAddress,
            GateError::Origin(_) => Self::Origin,
            GateError::Host(_) => Self::Host,
        }
    }
}

/// Who comes into the relay, whatever carrier it is: by address, by the page that asks, and by the name that is asked for.
///
/// It is the one thing that all listeners share, so there is a lock around the counts; nothing is done under it that
/// takes time.
#[derive(Debug)]
pub struct Gate {
    admission: Mutex<Admission>,
    started: Instant,
    origins: OriginPolicy,
    hosts: HostPolicy,
    certificates: Arc<CertificateStore>,
}

impl Gate {
    /// A gate through which nobody has come yet.
    pub fn new(limits: Limits, origins: OriginPolicy, hosts: HostPolicy, certificates: Arc<CertificateStore>) -> Self {
        Self { admission: Mutex::new(Admission::new(limits)), started: Instant::now(), origins, hosts, certificates }
    }

    /// Judges the name that a request was sent to.
    ///
    /// # Errors
    /// [`GateError::Host`].
    pub fn allows_host(&self, host: &str) -> Result<(), GateError> {
        Ok(self.hosts.allows(host, &self.certificates.names())?)
    }

    /// Judges the page that wants a session.
    ///
    /// # Errors
    /// [`GateError::Origin`].
    pub fn allows_origin(&self, origin: Option<&str>, host: &str) -> Result<(), GateError> {
        Ok(self.origins.allows(origin, host)?)
    }

    /// Whether a connection from an address that is not proved may begin and lead to a session.
    ///
    /// # Errors
    /// [`GateError::Admission`].
    pub fn may_begin(&self, address: IpAddr) -> Result<(), GateError> {
        Ok(self.admission().may_begin(self.now(), address)?)
    }

    /// Notes that a connection begins, from an address that is proved.
    ///
    /// # Errors
    /// [`GateError::Admission`].
    pub fn begin(&self, address: IpAddr) -> Result<(), GateError> {
        Ok(self.admission().begin(self.now(), address)?)
    }

    /// Notes that a TCP connection begins, and takes a place for it.
    ///
    /// # Errors
    /// [`GateError::Admission`].
    pub fn connect(self: &Arc<Self>, address: IpAddr) -> Result<TcpPlace, GateError> {
        self.admission().connect(self.now(), address)?;
        Ok(TcpPlace { gate: self.clone(), address })
    }

    /// Whether there is a place for a session.
    ///
    /// # Errors
    /// [`GateError::Admission`].
    pub fn may_enter(&self, address: IpAddr) -> Result<(), GateError> {
        Ok(self.admission().may_enter(address)?)
    }

    /// Takes a place for a session, from an address that is proved.
    ///
    /// # Errors
    /// [`GateError::Admission`].
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, GateError> {
        self.admission().enter(self.now(), address)?;
        Ok(Place { gate: self.clone(), address })
    }

    /// Notes whether memory is short: then no more sessions begin than end.
    pub fn note_memory(&self, is_short: bool) {
        self.admission().note_memory(is_short);
    }

    /// Notes that a token was refused.
    pub fn token_refused(&self, address: IpAddr) {
        self.admission().token_refused(self.now(), address);
    }

    /// Whether a token is looked at: not after many that were refused.
    pub fn may_present_token(&self, address: IpAddr) -> bool {
        self.admission().may_present_token(self.now(), address)
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { since_start: self.started.elapsed(), unix_ms: unix.as_millis() as u64 }
    }
}

/// A session's place in the relay: dropping it gives the place back.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.gate.now();
        self.gate.admission().leave(now, self.address);
    }
}

/// A TCP connection's place in the relay, until it has ended or is a WebSocket: dropping it gives the place back.
#[derive(Debug)]
pub struct TcpPlace {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Drop for TcpPlace {
    fn drop(&mut self) {
        let now = self.gate.now();
        self.gate.admission().disconnect(now, self.address);
    }
}
