//! What the bytes mean: control and chat messages, the media header, and how messages share a stream.
//!
//! Everything here is pure. `PROTOCOL.md` says the same things for those who write another client, and
//! `tests/golden/wire.json` holds the bytes that the Rust and the JavaScript code both have to produce.

mod chat;
mod codec;
mod control;
mod measurements;
mod media;
mod names;
mod reason;
mod repeat;
mod stream;

pub use chat::{ChatMessage, ChatPosition, ClientChat, MessageId, NOT_KEPT, ServerChat};
pub use codec::{DecodeError, decode, decode_first_message, encode};
pub use control::{
    ClientMessage, Join, ParticipantInfo, ParticipantKind, Permissions, PublishedTrack, Rational, ServerMessage,
    TrackInfo, TrackMedia, TrackReport, TrackSource, Welcome,
};
pub use measurements::{LeftOut, Measurements};
pub use media::{AudioLevel, Datagram, HEADER_BYTES, HeaderError, Layers, MediaHeader};
pub use names::{DisplayName, Identity, NameError, ParticipantId, RoomName, TrackId};
pub use reason::{CloseReason, DropReason, RefuseReason};
pub use repeat::{RepeatRequest, Wanted};
pub use stream::{MEDIA_STREAM, MessageBuffer, OversizedMessage, StreamKind, delimit, delimit_datagram};

/// The protocol version. It is the first field of [`Join`], part of the ALPN and of the WebSocket subprotocol.
pub const VERSION: u16 = 1;

/// The ALPN of native QUIC connections (RFC 7301).
pub const ALPN_QUIC: &[u8] = b"tertulia/1";

/// The ALPN of WebTransport connections: HTTP/3 (RFC 9114, section 3.1).
pub const ALPN_WEBTRANSPORT: &[u8] = b"h3";

/// The WebSocket subprotocol of meeting sessions (RFC 6455, section 1.9).
pub const SUBPROTOCOL: &str = "tertulia.v1";
