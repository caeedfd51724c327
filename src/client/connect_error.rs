use std::fmt;
use std::net::SocketAddr;

use thiserror::Error;

use crate::wire::{CloseReason, NameError};

/// What rustls says of a certificate that it does not take. wtransport passes on no more than the text.
const CERTIFICATE_REFUSED: &str = "invalid peer certificate";

/// Why a room was not joined.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The URL cannot be understood.
    #[error("the URL is not valid: {0}; use https://, quic://, wss:// or ws://, a host and a port")]
    Url(String),
    /// The room's name is not valid.
    #[error("the room's name is not valid: {0}; use 1 to 128 letters, digits, - and _")]
    RoomName(NameError),
    /// The host has no address.
    #[error("the host {host} was not found ({why}); check its name and the network")]
    Resolve {
        /// Its name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// No socket could be opened on this machine.
    #[error("no UDP socket could be opened: {0}")]
    Socket(std::io::Error),
    /// The system's certificates could not be read.
    #[error(
        "the system's certificates could not be read ({0}); install ca-certificates or trust the relay by its hash"
    )]
    SystemCertificates(String),
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// No connection came about.
    #[error("{address} could not be connected to ({why}); check the address, that the relay runs, and its certificate")]
    Unreachable {
        /// The last address that was tried.
        address: SocketAddr,
        /// What went wrong.
        why: String,
    },
    /// The relay has a certificate that is not trusted.
    #[error("{address} is not trusted ({why}); check the relay's certificate, or its hash if it was given")]
    Certificate {
        /// The address of the relay.
        address: SocketAddr,
        /// What is wrong with the certificate.
        why: String,
    },
    /// The relay did not answer in time.
    #[error("the relay did not answer within {seconds} s; check the address, or use wss:// where UDP is blocked")]
    Timeout {
        /// How long it had.
        seconds: u64,
    },
    /// The relay gave no seat.
    #[error("the relay refused the session ({label}): {message}", label = .reason.label())]
    Refused {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
    /// The room was left or lost meanwhile.
    #[error("the room was left or lost; join it again")]
    Closed,
    /// Messages pass, media datagrams do not.
    #[error("media datagrams do not pass on this network; use wss://")]
    NoDatagrams,
}

impl ConnectError {
    pub(super) fn unreachable(address: SocketAddr, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        match why.contains(CERTIFICATE_REFUSED) {
            true => Self::Certificate { address, why },
            false => Self::Unreachable { address, why },
        }
    }

    /// Whether trying again cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Url(_)
            | Self::RoomName(_)
            | Self::SystemCertificates(_)
            | Self::Tls(_)
            | Self::Certificate { .. } => true,
            Self::Refused { reason, .. } => reason.is_final(),
            Self::Resolve { .. }
            | Self::Socket(_)
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::NoDatagrams => false,
            Self::Closed => true,
        }
    }

    /// Why the relay gave no seat, if it said so.
    pub(super) fn reason(&self) -> Option<CloseReason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}
