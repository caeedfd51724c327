use axum::extract::ws::WebSocket;
use std::net::SocketAddr;

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
}

/// What is spoken on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebSocketKind {
    /// The subprotocol of meeting sessions.
    Meeting,
    /// Text, in the room of the path.
    Plain(RoomName),
}
