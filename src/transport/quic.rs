use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, ConnectionError, VarInt};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use wtransport::proto::error::ErrorCode;

use super::crumbs::Crumbs;
use super::{Carrier, Gate, GateError, MediaStream};
use crate::limits::{BURST_DATAGRAMS_MAX, HANDSHAKE_TIMEOUT, MESSAGE_TIMEOUT};
use crate::wire::{ALPN_QUIC, ALPN_WEBTRANSPORT, CloseReason, MessageBuffer, OversizedMessage, StreamKind};

/// The two carriers over QUIC.
#[derive(Debug)]
pub enum QuicCarrier {
    /// HTTP/3 and WebTransport.
    WebTransport(wtransport::Connection),
    /// QUIC alone.
    Quic,
}

/// A session over QUIC or WebTransport: streams and datagrams, the same for both.
///
/// Datagrams always go by way of the QUIC connection: wtransport's own functions copy once per subscriber and break up
/// bursts.
#[derive(Debug)]
pub struct QuicSession {
    connection: Connection,
    carrier: QuicCarrier,
    crumbs: Arc<Crumbs>,
}

/// Why no session came of a connection.
#[derive(Debug, Error)]
pub enum EstablishError {
    /// The connection broke, or the remote gave up.
    #[error("the connection failed: {0}")]
    Connection(#[from] ConnectionError),
    /// The WebTransport session failed.
    #[error("the WebTransport session failed: {0}")]
    WebTransport(#[from] wtransport::error::ConnectionError),
    /// The remote wants another protocol.
    #[error("the application protocol is not spoken here")]
    Protocol,
    /// The URL's path is not served.
    #[error("no WebTransport session is served at {0}")]
    Path(String),
    /// The session is not the connection's first.
    #[error("the session is not the first of its connection")]
    NotFirst,
    /// The page is of another site, or the relay is not known under this name.
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl QuicSession {
    /// Makes a session of a connection whose handshake is under way. What the gate refuses is `refused` before the answer leaves:
    /// whoever is turned away finds it counted.
    ///
    /// # Errors
    /// [`EstablishError`]. There is no deadline in here: the caller sets one.
    pub async fn establish(
        mut connecting: quinn::Connecting,
        gate: &Gate,
        refused: impl Fn(&GateError),
    ) -> Result<Self, EstablishError> {
        let handshake = connecting.handshake_data().await?;
        let protocol = handshake.downcast::<HandshakeData>().ok().and_then(|handshake| handshake.protocol);
        match protocol.as_deref() {
            Some(ALPN_QUIC) => Ok(Self::new(connecting.await?, QuicCarrier::Quic)),
            Some(ALPN_WEBTRANSPORT) => Self::establish_webtransport(connecting, gate, refused).await,
            _ => Err(EstablishError::Protocol),
        }
    }

    async fn establish_webtransport(
        connecting: quinn::Connecting,
        gate: &Gate,
        refused: impl Fn(&GateError),
    ) -> Result<Self, EstablishError> {
        let request = wtransport::endpoint::IncomingSessionFuture::with_quic_connecting(connecting).await?;
        // A server has to look at the origin before it accepts (draft-ietf-webtrans-http3, section 3.2).
        let host = request.authority();
        if let Err(error) = gate.allows_host(host).and_then(|()| gate.allows_origin(request.origin(), host)) {
            refused(&error);
            request.forbidden().await;
            return Err(error.into());
        }
        let path = request.path().split('?').next().unwrap_or_default();
        if path != "/" {
            let path = path.to_owned();
            request.not_found().await;
            return Err(EstablishError::Path(path));
        }
        let session = request.accept().await?;
        // Media datagrams carry the session's number as their first byte; it is 0 for the first session alone.
        if session.session_id().into_u64() != 0 {
            return Err(EstablishError::NotFirst);
        }
        Ok(Self::new(session.quic_connection().clone(), QuicCarrier::WebTransport(session)))
    }

    fn new(connection: Connection, carrier: QuicCarrier) -> Self {
        let crumbs = Crumbs::of(&connection);
        Self { connection, carrier, crumbs }
    }

    /// Which of the two carriers it is.
    pub fn carrier(&self) -> Carrier {
        match self.carrier {
            QuicCarrier::WebTransport(_) => Carrier::WebTransport,
            QuicCarrier::Quic => Carrier::Quic,
        }
    }

    /// The QUIC connection, for datagrams and figures.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Waits until the remote has sent its streams in too many pieces, which are dear to put together:
    /// [`STREAM_FRAMES_PER_PACKET_MAX`](crate::limits::STREAM_FRAMES_PER_PACKET_MAX). Nothing of it is read any more then. One may
    /// wait at a time.
    pub async fn crumbs_found(&self) {
        self.crumbs.found().await;
    }

    /// Waits for datagrams and takes all that have arrived, up to [`BURST_DATAGRAMS_MAX`], into `burst`.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn read_burst(&self, burst: &mut Vec<Bytes>) -> Result<(), ConnectionError> {
        burst.push(self.connection.read_datagram().await?);
        while burst.len() < BURST_DATAGRAMS_MAX
            && let Some(datagram) = self.connection.read_datagram().now_or_never()
        {
            burst.push(datagram?);
        }
        Ok(())
    }

    /// Ends the connection. Scripts in browsers do not see the code: what they should know was sent before.
    pub fn close(&self, reason: CloseReason) {
        self.connection.close(VarInt::from_u32(reason.code().into()), reason.label().as_bytes());
    }

    /// Waits for the next stream on which the remote sends media.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn accept_media(&self) -> Result<MediaStream, StreamError> {
        let stream = match &self.carrier {
            QuicCarrier::Quic => RecvStream::Quic(self.connection.accept_uni().await?),
            QuicCarrier::WebTransport(session) => {
                RecvStream::WebTransport(session.accept_uni().await.map_err(|_| StreamError::Ended)?)
            }
        };
        Ok(MediaStream(stream))
    }

    /// Whether the other side has ended the WebTransport session, once the connection is closed on this side: wtransport also
    /// closes it over HTTP/3 that is wrong. A session's stream that was reset is its end as well.
    pub async fn was_ended_by_remote(&self) -> bool {
        use wtransport::error::ConnectionError::{ApplicationClosed, LocalH3Error};
        let QuicCarrier::WebTransport(session) = &self.carrier else {
            return false;
        };
        loop {
            match session.receive_datagram().await {
                // One that wtransport has taken for itself.
                Ok(_) => {}
                Err(ApplicationClosed(_)) => return true,
                // Its code can be read in no other way.
                Err(LocalH3Error(error)) => return error.to_string() == ErrorCode::ClosedCriticalStream.to_string(),
                Err(_) => return false,
            }
        }
    }

    async fn accept_stream(&self) -> Result<(SendStream, RecvStream), StreamError> {
        match &self.carrier {
            QuicCarrier::Quic => {
                let (send, receive) = self.connection.accept_bi().await?;
                Ok((SendStream::Quic(send), RecvStream::Quic(receive)))
            }
            QuicCarrier::WebTransport(session) => {
                let (send, receive) = session.accept_bi().await.map_err(|_| StreamError::Ended)?;
                Ok((SendStream::WebTransport(send), RecvStream::WebTransport(receive)))
            }
        }
    }
}

impl Drop for QuicSession {
    /// A session that panics does not get to say why it ends. Without a word the code would be 0, which means that the
    /// participant left. Whoever has closed it before has had the first word.
    fn drop(&mut self) {
        self.close(CloseReason::Internal);
    }
}

/// The sending half of a stream.
#[derive(Debug)]
pub enum SendStream {
    /// Of a QUIC session.
    Quic(quinn::SendStream),
    /// Of a WebTransport session.
    WebTransport(wtransport::SendStream),
}

impl SendStream {
    /// The QUIC stream underneath.
    pub fn quic(&mut self) -> &mut quinn::SendStream {
        match self {
            Self::Quic(stream) => stream,
            Self::WebTransport(stream) => stream.quic_stream_mut(),
        }
    }
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(super) enum RecvStream {
    Quic(quinn::RecvStream),
    WebTransport(wtransport::RecvStream),
}

impl RecvStream {
    pub(super) fn quic(&mut self) -> &mut quinn::RecvStream {
        match self {
            Self::Quic(stream) => stream,
            Self::WebTransport(stream) => stream.quic_stream_mut(),
        }
    }
}

/// Why a stream yields no more messages.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StreamError {
    /// The stream or its connection ended.
    #[error("the stream ended")]
    Ended,
    /// The stream ended within a message.
    #[error("the stream ended within a message")]
    Truncated,
    /// A message is larger than allowed.
    #[error(transparent)]
    Oversized(#[from] OversizedMessage),
    /// A message did not end in time.
    #[error("a message took longer than allowed")]
    Slow,
    /// Nothing came on the stream in time.
    #[error("nothing came on the stream")]
    Silent,
    /// The stream's first byte is none that is known.
    #[error("the stream's first byte is {0:#04x}, which is not known")]
    Kind(u8),
}

impl From<ConnectionError> for StreamError {
    fn from(_: ConnectionError) -> Self {
        Self::Ended
    }
}

impl StreamError {
    /// What a session ends with because of it.
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::Ended => CloseReason::ConnectionLost,
            Self::Truncated => CloseReason::Malformed,
            Self::Oversized(_) => CloseReason::TooLarge,
            Self::Slow => CloseReason::IdleTimeout,
            Self::Silent => CloseReason::JoinTimeout,
            Self::Kind(_) => CloseReason::UnexpectedStream,
        }
    }
}

/// Messages of one stream, in order.
#[derive(Debug)]
pub struct MessageReader {
    stream: RecvStream,
    buffer: MessageBuffer,
    /// When the message that has begun has to be there.
    due: Option<Instant>,
}

impl MessageReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: MessageBuffer::default(), due: None }
    }

    pub(super) fn of_media(stream: RecvStream) -> Self {
        Self { stream, buffer: MessageBuffer::of_media(), due: None }
    }

    /// Waits for the next message. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`StreamError`]; there is no next message after it.
    pub async fn next(&mut self) -> Result<Bytes, StreamError> {
        loop {
            if let Some(message) = self.buffer.pop()? {
                self.due = None;
                return Ok(message);
            }
            if self.buffer.is_mid_message() {
                self.due.get_or_insert_with(|| Instant::now() + MESSAGE_TIMEOUT);
            }
            let read = self.stream.quic().read_chunk(usize::MAX, true);
            let read = match self.due {
                None => read.await,
                Some(due) => timeout_at(due, read).await.map_err(|_| StreamError::Slow)?,
            };
            match read {
                Ok(Some(chunk)) => self.buffer.push(&chunk.bytes),
                Ok(None) if self.buffer.is_mid_message() => return Err(StreamError::Truncated),
                Ok(None) | Err(_) => return Err(StreamError::Ended),
            }
        }
    }
}

impl MessageReader {
    /// Waits for messages and takes all that have come together, up to [`BURST_DATAGRAMS_MAX`], into `burst`.
    ///
    /// # Errors
    /// [`StreamError`]; there is no next message after it.
    pub async fn next_burst(&mut self, burst: &mut Vec<Bytes>) -> Result<(), StreamError> {
        burst.push(self.next().await?);
        while burst.len() < BURST_DATAGRAMS_MAX
            && let Ok(Some(message)) = self.buffer.pop()
        {
            burst.push(message);
        }
        Ok(())
    }

    /// Asks the other side to send nothing more on this stream.
    pub fn stop(&mut self, reason: CloseReason) {
        // It may have ended meanwhile; then there is nothing to stop.
        let _ = self.stream.quic().stop(VarInt::from_u32(reason.code().into()));
    }
}

/// A stream whose kind is known.
pub type KnownStream = (StreamKind, SendStream, MessageReader);

/// The streams that the remote opens, as their kinds become known: one that stays silent holds up no other, and is reset
/// after [`HANDSHAKE_TIMEOUT`].
pub struct Streams {
    session: Rc<QuicSession>,
    note_silent: Box<dyn Fn()>,
    silent: FuturesUnordered<LocalBoxFuture<'static, Option<Result<KnownStream, StreamError>>>>,
}

impl Streams {
    /// The streams of a session; `note_silent` is told of each that is reset.
    pub fn new(session: Rc<QuicSession>, note_silent: impl Fn() + 'static) -> Self {
        Self { session, note_silent: Box::new(note_silent), silent: FuturesUnordered::new() }
    }

    /// Waits for the next stream that says what it is.
    ///
    /// # Errors
    /// [`StreamError`], also of a stream of an unknown kind.
    pub async fn next(&mut self) -> Result<KnownStream, StreamError> {
        loop {
            tokio::select! {
                accepted = self.session.accept_stream() => {
                    let (send, receive) = accepted?;
                    self.silent.push(Box::pin(learn_kind(send, receive)));
                }
                Some(known) = self.silent.next(), if !self.silent.is_empty() => {
                    match known {
                        Some(known) => return known,
                        None => (self.note_silent)(),
                    }
                }
            }
        }
    }
}

/// Reads the first byte of a stream. `None`: it never came, and the stream is reset.
async fn learn_kind(mut send: SendStream, mut receive: RecvStream) -> Option<Result<KnownStream, StreamError>> {
    let mut first = [0];
    let deadline: Duration = HANDSHAKE_TIMEOUT;
    match tokio::time::timeout(deadline, receive.quic().read_exact(&mut first)).await {
        Ok(Ok(())) => Some(match StreamKind::from_byte(first[0]) {
            Some(kind) => Ok((kind, send, MessageReader::new(receive))),
            None => Err(StreamError::Kind(first[0])),
        }),
        Ok(Err(_)) | Err(_) => {
            let code = VarInt::from_u32(CloseReason::JoinTimeout.code().into());
            // Both halves may be gone already; then there is nothing to reset.
            let _ = send.quic().reset(code);
            let _ = receive.quic().stop(code);
            None
        }
    }
}
