//! Sockets and carriers: what the network does, turned into sessions that yield messages and datagrams.

mod endpoint;
mod quic;
mod tls;
mod websocket;

pub use endpoint::{BindError, Sockets};
pub use quic::{MessageReader, QuicCarrier, QuicSession, SendStream, StreamError, Streams};
pub use tls::{CertificateError, CertificateStore};
pub use websocket::{Arrival, WebSocketKind};

use std::fmt;

/// How a session travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// HTTP/3 and WebTransport over QUIC.
    WebTransport,
    /// QUIC alone.
    Quic,
    /// WebSocket with the subprotocol of meeting sessions.
    WebSocket,
    /// WebSocket without a subprotocol: chat as text.
    PlainWebSocket,
}

impl Carrier {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::WebTransport, Self::Quic, Self::WebSocket, Self::PlainWebSocket];

    /// Its name in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::WebTransport => "webtransport",
            Self::Quic => "quic",
            Self::WebSocket => "websocket",
            Self::PlainWebSocket => "plain_websocket",
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
