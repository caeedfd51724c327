//! The one place that knows by which carrier a session travels.

mod attempts;
mod frame_streams;
pub(crate) mod quic;
mod silence;
mod uplink;
pub(crate) mod websocket;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::select_ok;
use tokio::task::JoinSet;

use self::attempts::{ATTEMPTS_MAX, Failed, attempts};
pub(super) use self::frame_streams::LargeFrame;
use super::address::Address;
use super::connect_error::ConnectError;
use super::options::Options;
use super::session::Session;
use crate::limits::KEEP_ALIVE_INTERVAL;
use crate::wire::{CloseReason, StreamKind};

/// By what a session travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// HTTP/3 over UDP: `https://`.
    WebTransport,
    /// Plain QUIC over UDP: `quic://`.
    Quic,
    /// WebSocket over TCP, where UDP is blocked: `wss://`, `ws://`.
    WebSocket,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebTransport => "WebTransport",
            Self::Quic => "QUIC",
            Self::WebSocket => "WebSocket",
        })
    }
}

/// Messages that wait for one stream before the next sender has to wait.
const OUTBOX_MESSAGES_MAX: usize = 256;

/// The next address of a host is tried when this one was silent for so long (RFC 8305, section 5).
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(250);

/// After this long without anything to say, something is said: three times at least before the other side's silence counts
/// as the end.
fn keep_alive_interval(options: &Options) -> Duration {
    KEEP_ALIVE_INTERVAL.min(options.idle_timeout / 3)
}

/// The session has ended; why is known to [`Session`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The way to the relay.
#[derive(Debug)]
pub(super) enum Link {
    Quic(quic::QuicLink),
    WebSocket(websocket::WebSocketLink),
}

/// The way back.
pub(super) enum Reader {
    Quic(quic::QuicReader),
    WebSocket(websocket::WebSocketReader),
}

/// Connects by whichever of the host's addresses answers first. What the connection needs to run is put into `tasks`.
pub(super) async fn connect(
    address: &Address,
    options: &Options,
    tasks: &mut JoinSet<()>,
) -> Result<(Link, Reader), ConnectError> {
    let addresses = address.resolve().await?;
    let attempts = (0..).zip(addresses).map(|(turn, remote)| {
        async move {
            tokio::time::sleep(ATTEMPT_INTERVAL * turn).await;
            // The kernel repeats what is lost of TCP.
            let attempts_max = if address.carrier == Carrier::WebSocket { 1 } else { ATTEMPTS_MAX };
            attempts(attempts_max, || attempt(address, remote, options).boxed()).await
        }
        .boxed()
    });
    let (raw, _) = select_ok(attempts).await?;
    Ok(raw.start(options, tasks))
}

/// A connection on which nothing has been said yet.
enum Raw {
    Quic(Box<quic::Streams>),
    WebSocket(Box<websocket::Stream>),
}

impl Raw {
    fn start(self, options: &Options, tasks: &mut JoinSet<()>) -> (Link, Reader) {
        match self {
            Self::Quic(streams) => {
                let (link, reader) = streams.start(tasks);
                (Link::Quic(link), Reader::Quic(reader))
            }
            Self::WebSocket(stream) => {
                let (link, reader) = websocket::start(*stream, options);
                (Link::WebSocket(link), Reader::WebSocket(reader))
            }
        }
    }
}

async fn attempt(address: &Address, remote: SocketAddr, options: &Options) -> Result<Raw, Failed> {
    match address.carrier {
        Carrier::WebTransport => open(quic::Endpoint::webtransport(remote, options)?, address, remote).await,
        Carrier::Quic => open(quic::Endpoint::quic(remote, options)?, address, remote).await,
        Carrier::WebSocket => Ok(Raw::WebSocket(Box::new(websocket::connect(address, remote, options).await?))),
    }
}

async fn open(endpoint: quic::Endpoint, address: &Address, remote: SocketAddr) -> Result<Raw, Failed> {
    Ok(Raw::Quic(Box::new(Arc::new(endpoint).connect(address, remote).await?)))
}

impl Link {
    /// Queues a message; waits while the queue is full.
    pub async fn send(&self, kind: StreamKind, message: &[u8]) -> Result<(), Gone> {
        match self {
            Self::Quic(link) => link.send(kind, message).await,
            Self::WebSocket(link) => link.send(kind, message).await,
        }
    }

    /// Queues a message that can as well be left out when the queue is full.
    pub fn try_send(&self, kind: StreamKind, message: &[u8]) {
        match self {
            Self::Quic(link) => link.try_send(kind, message),
            Self::WebSocket(link) => link.try_send(kind, message),
        }
    }

    /// Queues a datagram; waits while there is no room for it.
    pub async fn send_datagram(&self, datagram: Bytes) -> Result<(), Gone> {
        match self {
            Self::Quic(link) => link.send_datagram(datagram).await,
            Self::WebSocket(link) => link.send_datagram(datagram).await,
        }
    }

    /// Queues a frame that travels on a stream of its own; waits while there are as many as can be.
    pub async fn send_on_stream(&self, frame: LargeFrame) -> Result<(), Gone> {
        match self {
            Self::Quic(link) => link.send_on_stream(frame).await,
            Self::WebSocket(link) => {
                for datagram in frame.datagrams {
                    link.send_datagram(datagram).await?;
                }
                Ok(())
            }
        }
    }

    /// Waits until no frame is on its way on a stream.
    pub async fn streams_over(&self) {
        match self {
            Self::Quic(link) => link.streams_over().await,
            Self::WebSocket(_) => {}
        }
    }

    /// Queues a datagram if there is room for it.
    pub fn try_send_datagram(&self, datagram: Bytes) {
        match self {
            Self::Quic(link) => link.try_send_datagram(datagram),
            Self::WebSocket(link) => link.try_send_datagram(datagram),
        }
    }

    /// How long something sent once more takes to come after it was asked for; `None` where nothing is lost.
    pub fn round_trip(&self) -> Option<Duration> {
        match self {
            Self::Quic(link) => Some(link.round_trip()),
            Self::WebSocket(_) => None,
        }
    }

    /// Ends the connection; what is queued is lost.
    pub fn close(&self, reason: CloseReason) {
        match self {
            Self::Quic(link) => link.close(reason),
            Self::WebSocket(link) => link.close(reason),
        }
    }

    /// Waits until the other side can know of [`Link::close`].
    pub async fn closed(&self) {
        match self {
            Self::Quic(link) => link.closed().await,
            Self::WebSocket(link) => link.closed().await,
        }
    }
}

impl Reader {
    /// Brings what arrives to `session`, until the connection ends.
    pub fn start(self, session: &Arc<Session>, tasks: &mut JoinSet<()>) {
        match self {
            Self::Quic(reader) => reader.start(session, tasks),
            Self::WebSocket(reader) => {
                let session = session.clone();
                tasks.spawn(async move { reader.run(&session).await });
            }
        }
    }
}
