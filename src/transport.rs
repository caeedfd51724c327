//! Sockets and carriers: what the network does, turned into sessions that yield messages and datagrams.

mod arrival;
mod bearer_token;
mod congestion;
mod crumbs;
mod endpoint;
mod gate;
mod host;
mod keys;
mod media_stream;
mod origin;
mod ping_budget;
mod quic;
mod reach;
mod steering;
mod tls;
mod udp_drops;
mod unproved;

pub use arrival::{Arrival, PlainEntry, WebSocketKind};
pub use bearer_token::BearerToken;
pub use congestion::{Congestion, Media as MediaCongestion};
pub(crate) use congestion::{Estimate, VOICE_BYTES_MAX, VOICE_SHARE, Window};
pub use endpoint::{BindError, Sockets};
pub use gate::{Gate, GateError, Place, Refusal, TcpPlace};
pub use host::{HostError, HostPolicy, is_name_of_own_machine};
pub use keys::{EndpointKeys, KeysError};
pub use media_stream::{FrameStream, MediaStream, StreamStopped, media_preface, reset_code};
pub use origin::{InvalidOrigin, OriginError, OriginPolicy};
pub use ping_budget::PingBudget;
pub use quic::{
    EstablishError, KnownStream, MessageReader, QuicCarrier, QuicSession, SendStream, StreamError, Streams,
};
pub use reach::addresses_for_others;
pub use steering::Share;
pub use tls::{CertificateError, CertificateStore, hex};
pub use udp_drops::UdpDrops;
pub use unproved::{Counted, Unproved};

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
