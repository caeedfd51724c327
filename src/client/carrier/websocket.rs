use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::{Gone, OUTBOX_MESSAGES_MAX, keep_alive_interval};
use crate::client::address::Address;
use crate::client::connect_error::ConnectError;
use crate::client::options::Options;
use crate::client::session::Session;
use crate::limits::{
    CLOSE_TIMEOUT, DATAGRAM_SEND_BYTES_MAX, MESSAGE_BYTES_MAX, WEBSOCKET_WRITE_BUFFER_BYTES,
    WEBSOCKET_WRITE_BUFFER_BYTES_MAX,
};
use crate::wire::{CloseReason, SUBPROTOCOL, StreamKind};

/// What is read at a time, in bytes. A client has one connection, so it can be larger than the relay's.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// The first byte of a media datagram, which is its own.
const MEDIA: u8 = 0x00;

/// A TCP connection, with TLS or without.
pub(crate) type Stream = WebSocketStream<Box<dyn Socket>>;

pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// Connects by WebSocket.
pub(crate) async fn connect(address: &Address, remote: SocketAddr, options: &Options) -> Result<Stream, ConnectError> {
    let unreachable = |error: std::io::Error| ConnectError::unreachable(remote, error);
    let tcp = TcpStream::connect(remote).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let (scheme, socket): (_, Box<dyn Socket>) = match address.encrypted {
        false => ("ws", Box::new(tcp)),
        true => {
            let name = ServerName::try_from(address.host.clone())
                .map_err(|_| ConnectError::Url(format!("{} is no host name", address.host)))?;
            let connector = TlsConnector::from(Arc::new(options.certificates.configuration(b"http/1.1")?));
            ("wss", Box::new(connector.connect(name, tcp).await.map_err(unreachable)?))
        }
    };
    let failed = |error: Error| ConnectError::unreachable(remote, error);
    let mut request = format!("{scheme}://{}/ws", address.authority()).into_client_request().map_err(failed)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let (stream, _) = client_async_with_config(request, socket, Some(configuration())).await.map_err(failed)?;
    Ok(stream)
}

fn configuration() -> WebSocketConfig {
    let message_bytes_max = Some(1 + MESSAGE_BYTES_MAX);
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WEBSOCKET_WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WEBSOCKET_WRITE_BUFFER_BYTES_MAX)
        .max_message_size(message_bytes_max)
        .max_frame_size(message_bytes_max)
}

/// Takes up the work on a connection.
pub(super) fn start(stream: Stream, options: &Options) -> (WebSocketLink, WebSocketReader) {
    let (sink, stream) = stream.split();
    let (outbox, queue) = mpsc::channel(OUTBOX_MESSAGES_MAX);
    let (held, dropped) = oneshot::channel();
    // Not one of the session's tasks: it outlives them by the time that a close frame may take to leave. Without that frame
    // the relay would take it for a connection that broke, and keep the seat.
    tokio::spawn(write_until(sink, queue, keep_alive_interval(options), dropped));
    let link = WebSocketLink { outbox, media: Arc::new(Semaphore::new(DATAGRAM_SEND_BYTES_MAX)), _held: held };
    (link, WebSocketReader { stream: Some(stream), idle_timeout: options.idle_timeout })
}

/// One message, and its part of what media may take in the queue: it is given back when the message has left.
struct Outgoing {
    message: Message,
    _media: Option<OwnedSemaphorePermit>,
}

/// The way to the relay on WebSocket. There is one queue for all, so that everything arrives in its order; media takes a
/// bounded part of it, so that chat does not wait long.
#[derive(Debug)]
pub(in crate::client) struct WebSocketLink {
    outbox: mpsc::Sender<Outgoing>,
    media: Arc<Semaphore>,
    /// Its end is the writer's, a moment later.
    _held: oneshot::Sender<()>,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.message.fmt(f)
    }
}

impl Outgoing {
    fn new(kind: StreamKind, message: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(1 + message.len());
        bytes.put_u8(kind.byte());
        bytes.extend_from_slice(message);
        Self { message: Message::Binary(bytes.freeze()), _media: None }
    }
}

impl WebSocketLink {
    pub async fn send(&self, kind: StreamKind, message: &[u8]) -> Result<(), Gone> {
        self.outbox.send(Outgoing::new(kind, message)).await.map_err(|_| Gone)
    }

    pub fn try_send(&self, kind: StreamKind, message: &[u8]) {
        let _ = self.outbox.try_send(Outgoing::new(kind, message));
    }

    pub async fn send_datagram(&self, datagram: Bytes) -> Result<(), Gone> {
        let permit = self.media.clone().acquire_many_owned(datagram.len() as u32).await.map_err(|_| Gone)?;
        let outgoing = Outgoing { message: Message::Binary(datagram), _media: Some(permit) };
        self.outbox.send(outgoing).await.map_err(|_| Gone)
    }

    pub fn try_send_datagram(&self, datagram: Bytes) {
        if let Ok(permit) = self.media.clone().try_acquire_many_owned(datagram.len() as u32) {
            let _ = self.outbox.try_send(Outgoing { message: Message::Binary(datagram), _media: Some(permit) });
        }
    }

    pub fn close(&self, reason: CloseReason) {
        let frame = CloseFrame { code: CloseCode::from(reason.websocket_code()), reason: reason.label().into() };
        let _ = self.outbox.try_send(Outgoing { message: Message::Close(Some(frame)), _media: None });
    }

    pub async fn closed(&self) {
        // The writer ends after the close frame.
        let _ = timeout(CLOSE_TIMEOUT, self.outbox.closed()).await;
    }
}

async fn write_until(
    sink: SplitSink<Stream, Message>,
    queue: mpsc::Receiver<Outgoing>,
    pause: Duration,
    dropped: oneshot::Receiver<()>,
) {
    let last_words = async {
        let _ = dropped.await;
        sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        () = write(sink, queue, pause) => {}
        () = last_words => {}
    }
}

async fn write(mut sink: SplitSink<Stream, Message>, mut queue: mpsc::Receiver<Outgoing>, pause: Duration) {
    let mut keep_alive = interval(pause.max(Duration::from_millis(1)));
    loop {
        let first = tokio::select! {
            next = queue.recv() => match next {
                Some(outgoing) => outgoing,
                None => return,
            },
            _ = keep_alive.tick() => Outgoing { message: Message::Ping(Bytes::new()), _media: None },
        };
        // What waits together leaves together.
        let mut next = Some(first);
        while let Some(Outgoing { message, _media }) = next {
            let is_last = message.is_close();
            // The reader learns why the connection ended.
            if sink.feed(message).await.is_err() {
                return;
            }
            if is_last {
                let _ = sink.flush().await;
                return;
            }
            next = queue.try_recv().ok();
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

/// The way back on WebSocket. Whoever drops it leaves the rest unread no longer than the relay takes to close: bytes that nobody
/// reads make the kernel reset the connection, and a reset overtakes the goodbye.
pub(in crate::client) struct WebSocketReader {
    /// `None` once it is dropped.
    stream: Option<SplitStream<Stream>>,
    idle_timeout: Duration,
}

impl Drop for WebSocketReader {
    fn drop(&mut self) {
        let (Some(mut stream), Ok(runtime)) = (self.stream.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let rest = async move { while let Some(Ok(_)) = stream.next().await {} };
        runtime.spawn(timeout(CLOSE_TIMEOUT, rest));
    }
}

impl WebSocketReader {
    pub async fn run(mut self, session: &Arc<Session>) {
        let stream = self.stream.as_mut().expect("it is taken in drop alone");
        let (reason, why) = loop {
            match timeout(self.idle_timeout, stream.next()).await {
                Ok(Some(Ok(Message::Binary(bytes)))) => receive(session, bytes),
                Ok(Some(Ok(Message::Close(frame)))) => break close_reason(frame),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => break (CloseReason::ConnectionLost, error.to_string()),
                Ok(None) => break (CloseReason::ConnectionLost, CloseReason::ConnectionLost.to_string()),
                Err(_) => break (CloseReason::IdleTimeout, CloseReason::IdleTimeout.to_string()),
            }
        };
        session.end(reason, why);
    }
}

fn receive(session: &Arc<Session>, bytes: Bytes) {
    let Some((&first, message)) = bytes.split_first() else {
        return;
    };
    if first == MEDIA {
        return session.receive_datagrams([bytes]);
    }
    // Other kinds of messages are those of a later relay.
    if let Some(kind) = StreamKind::from_byte(first) {
        session.receive(kind, message);
    }
}

/// Why a connection ended, by what was said last, for programs and for people.
pub(crate) fn close_reason(frame: Option<CloseFrame>) -> (CloseReason, String) {
    let Some(frame) = frame else {
        return (CloseReason::ConnectionLost, CloseReason::ConnectionLost.to_string());
    };
    let code = u16::from(frame.code).checked_sub(CloseReason::Left.websocket_code());
    let reason = code.and_then(CloseReason::from_code).unwrap_or(CloseReason::ConnectionLost);
    (reason, if frame.reason.is_empty() { reason.to_string() } else { frame.reason.to_string() })
}
