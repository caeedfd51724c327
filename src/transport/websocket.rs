use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::ws::WebSocket;

use super::Place;
use crate::limits::{Bucket, PINGS_PER_SECOND, Rate};
use crate::now::Now;
use crate::wire::{CloseReason, RoomName};

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

/// How many pings and pongs a WebSocket client may still send: each ping costs a pong.
#[derive(Debug)]
pub struct PingBudget {
    bucket: Bucket,
    started: Instant,
}

impl Default for PingBudget {
    fn default() -> Self {
        Self { bucket: Bucket::default(), started: Instant::now() }
    }
}

impl PingBudget {
    /// Notes a ping or pong.
    ///
    /// # Errors
    /// [`CloseReason::TooFast`]: it is one too many.
    pub fn take(&mut self) -> Result<(), CloseReason> {
        let rate = Rate { per_second: PINGS_PER_SECOND, burst: PINGS_PER_SECOND };
        let now = Now { since_start: self.started.elapsed(), unix_ms: 0 };
        if self.bucket.take(now, rate, 1) { Ok(()) } else { Err(CloseReason::TooFast) }
    }
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

/// A token that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(pub String);

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken")
    }
}
