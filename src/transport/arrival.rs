use std::net::SocketAddr;

use axum::extract::ws::WebSocket;

use super::{BearerToken, Place};
use crate::wire::RoomName;

/// A WebSocket that was upgraded and waits for its session.
#[derive(Debug)]
pub struct Arrival {
    /// The connection.
    pub socket: WebSocket,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// What is spoken on it.
    pub kind: WebSocketKind,
    /// Its place in the relay.
    pub place: Place,
}

/// What is spoken on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebSocketKind {
    /// The subprotocol of meeting sessions.
    Meeting,
    /// Text.
    Plain(PlainEntry),
}

/// What a plain WebSocket client asks for by connecting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainEntry {
    /// The room of the path.
    pub room: RoomName,
    /// The access token of the `Authorization` header (RFC 6750, section 2.1).
    pub token: Option<BearerToken>,
}
