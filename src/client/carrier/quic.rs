use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, EndpointConfig, IdleTimeout, SendDatagramError, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use wtransport::config::DnsResolver;
use wtransport::endpoint::endpoint_side;

use super::{Gone, OUTBOX_MESSAGES_MAX, keep_alive_interval};
use crate::client::address::Address;
use crate::client::connect_error::ConnectError;
use crate::client::options::Options;
use crate::client::session::{Session, Stage};
use crate::limits::{DATAGRAM_SEND_BYTES_MAX, UDP_SOCKET_BUFFER_BYTES};
use crate::transport::Congestion;
use crate::wire::{ALPN_QUIC, ALPN_WEBTRANSPORT, CloseReason, MessageBuffer, StreamKind, delimit};

/// Datagrams that arrived and were not read yet, in bytes: a keyframe in one burst is no reason to lose a part of it.
const DATAGRAM_RECEIVE_BYTES_MAX: usize = 1024 * 1024;

/// Datagrams taken from the connection before they are looked at.
const BURST_DATAGRAMS_MAX: usize = 256;

/// How long the packet that ends a connection may take to leave.
const LAST_PACKET_TIMEOUT: Duration = Duration::from_millis(200);

/// A connection with its two streams.
pub(super) struct Streams {
    link: Held,
    control: Bidirectional,
    chat: Bidirectional,
}

/// The connection, and what has to live as long as it does.
#[derive(Debug)]
struct Held {
    quic: quinn::Connection,
    endpoint: HeldEndpoint,
    /// Its end would be the end of the WebTransport session.
    _webtransport: Option<wtransport::Connection>,
}

enum HeldEndpoint {
    Quic(quinn::Endpoint),
    WebTransport(wtransport::Endpoint<endpoint_side::Client>),
}

impl std::fmt::Debug for HeldEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HeldEndpoint")
    }
}

type Bidirectional = (SendStream, ReceiveStream);

/// wtransport has its own streams around those of quinn.
enum SendStream {
    Quic(quinn::SendStream),
    WebTransport(wtransport::SendStream),
}

enum ReceiveStream {
    Quic(quinn::RecvStream),
    WebTransport(wtransport::RecvStream),
}

impl SendStream {
    fn quic(&mut self) -> &mut quinn::SendStream {
        match self {
            Self::Quic(stream) => stream,
            Self::WebTransport(stream) => stream.quic_stream_mut(),
        }
    }
}

impl ReceiveStream {
    fn quic(&mut self) -> &mut quinn::RecvStream {
        match self {
            Self::Quic(stream) => stream,
            Self::WebTransport(stream) => stream.quic_stream_mut(),
        }
    }
}

/// Connects by plain QUIC.
pub(super) async fn connect(address: &Address, remote: SocketAddr, options: &Options) -> Result<Streams, ConnectError> {
    let failed = |error: ConnectionError| ConnectError::unreachable(remote, error);
    let socket = bind(remote).map_err(ConnectError::Socket)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let endpoint =
        quinn::Endpoint::new(EndpointConfig::default(), None, socket, runtime).map_err(ConnectError::Socket)?;
    let configuration = configuration(options, ALPN_QUIC)?;
    let connecting = endpoint
        .connect_with(configuration, remote, &address.host)
        .map_err(|error| ConnectError::unreachable(remote, error))?;
    let quic = connecting.await.map_err(failed)?;
    let (send, receive) = quic.open_bi().await.map_err(failed)?;
    let control = (SendStream::Quic(send), ReceiveStream::Quic(receive));
    let (send, receive) = quic.open_bi().await.map_err(failed)?;
    let chat = (SendStream::Quic(send), ReceiveStream::Quic(receive));
    let link = Held { quic, endpoint: HeldEndpoint::Quic(endpoint), _webtransport: None };
    Streams { link, control, chat }.announced(remote).await
}

/// Connects by WebTransport. The session is the first of its connection, so that its datagrams begin with `0x00`.
pub(super) async fn connect_webtransport(
    address: &Address,
    remote: SocketAddr,
    options: &Options,
) -> Result<Streams, ConnectError> {
    let failed = |error: wtransport::error::ConnectionError| ConnectError::unreachable(remote, error);
    let socket = bind(remote).map_err(ConnectError::Socket)?;
    let mut configuration = wtransport::ClientConfig::builder()
        .with_bind_socket(socket)
        .build_with_quic_config(configuration(options, ALPN_WEBTRANSPORT)?);
    configuration.set_dns_resolver(Resolved(remote));
    let endpoint = wtransport::Endpoint::client(configuration).map_err(ConnectError::Socket)?;
    let url = format!("https://{}/", address.authority());
    let session = endpoint.connect(url).await.map_err(|error| ConnectError::unreachable(remote, error))?;
    if session.session_id().into_u64() != 0 {
        return Err(ConnectError::unreachable(remote, "the WebTransport session is not the first of its connection"));
    }
    let opened = |error: wtransport::error::StreamOpeningError| ConnectError::unreachable(remote, error);
    let (send, receive) = session.open_bi().await.map_err(failed)?.await.map_err(opened)?;
    let control = (SendStream::WebTransport(send), ReceiveStream::WebTransport(receive));
    let (send, receive) = session.open_bi().await.map_err(failed)?.await.map_err(opened)?;
    let chat = (SendStream::WebTransport(send), ReceiveStream::WebTransport(receive));
    let quic = session.quic_connection().clone();
    let link = Held { quic, endpoint: HeldEndpoint::WebTransport(endpoint), _webtransport: Some(session) };
    Streams { link, control, chat }.announced(remote).await
}

/// The address that was resolved before is the one to connect to.
#[derive(Debug)]
struct Resolved(SocketAddr);

impl DnsResolver for Resolved {
    fn resolve(&self, _host: &str) -> Pin<Box<dyn wtransport::config::DnsLookupFuture>> {
        let address = self.0;
        Box::pin(async move { Ok(Some(address)) })
    }
}

fn configuration(options: &Options, alpn: &[u8]) -> Result<quinn::ClientConfig, ConnectError> {
    let tls = options.certificates.configuration(alpn)?;
    let tls = QuicClientConfig::try_from(tls).expect("ring has the cipher suite that QUIC begins with");
    let mut configuration = quinn::ClientConfig::new(Arc::new(tls));
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(keep_alive_interval(options)))
        // Longer than can be said is for ever.
        .max_idle_timeout(IdleTimeout::try_from(options.idle_timeout).ok())
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES_MAX)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES_MAX))
        .congestion_controller_factory(Congestion::default().factory());
    configuration.transport_config(Arc::new(transport));
    Ok(configuration)
}

fn bind(remote: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel may give less than was asked for; that is no reason not to connect.
    let _ = socket.set_recv_buffer_size(UDP_SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(UDP_SOCKET_BUFFER_BYTES);
    let any = match remote {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    socket.bind(&any.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Streams {
    /// Says on each stream what it is for, at once: a silent stream would hold up the ones after it.
    async fn announced(mut self, remote: SocketAddr) -> Result<Self, ConnectError> {
        for (stream, kind) in [(&mut self.control, StreamKind::Control), (&mut self.chat, StreamKind::Chat)] {
            let written = stream.0.quic().write_all(&[kind.byte()]).await;
            written.map_err(|error| ConnectError::unreachable(remote, error))?;
        }
        Ok(self)
    }

    pub fn start(self, tasks: &mut JoinSet<()>) -> (QuicLink, QuicReader) {
        let (control, control_outbox) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let (chat, chat_outbox) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        tasks.spawn(write(self.control.0, control_outbox));
        tasks.spawn(write(self.chat.0, chat_outbox));
        let quic = self.link.quic.clone();
        let link = QuicLink { held: self.link, control, chat };
        (link, QuicReader { quic, control: self.control.1, chat: self.chat.1 })
    }
}

async fn write(mut stream: SendStream, mut outbox: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = outbox.recv().await {
        // The reader of the connection learns why it ended.
        if stream.quic().write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// The way to the relay on QUIC and WebTransport.
#[derive(Debug)]
pub(in crate::client) struct QuicLink {
    held: Held,
    control: mpsc::Sender<Bytes>,
    chat: mpsc::Sender<Bytes>,
}

impl QuicLink {
    fn outbox(&self, kind: StreamKind) -> &mpsc::Sender<Bytes> {
        match kind {
            StreamKind::Control => &self.control,
            StreamKind::Chat => &self.chat,
        }
    }

    pub async fn send(&self, kind: StreamKind, message: &[u8]) -> Result<(), Gone> {
        self.outbox(kind).send(delimit(message)).await.map_err(|_| Gone)
    }

    pub fn try_send(&self, kind: StreamKind, message: &[u8]) {
        let _ = self.outbox(kind).try_send(delimit(message));
    }

    pub async fn send_datagram(&self, datagram: Bytes) -> Result<(), Gone> {
        let quic = &self.held.quic;
        let sent = match quic.datagram_send_buffer_space() >= datagram.len() {
            true => quic.send_datagram(datagram),
            false => quic.send_datagram_wait(datagram).await,
        };
        match sent {
            // A path that carries no datagram of this size loses it, as paths do.
            Ok(()) | Err(SendDatagramError::TooLarge) => Ok(()),
            Err(_) => Err(Gone),
        }
    }

    pub fn close(&self, reason: CloseReason) {
        self.held.quic.close(VarInt::from(u32::from(reason.code())), reason.label().as_bytes());
    }

    pub async fn closed(&self) {
        let idle = async {
            match &self.held.endpoint {
                HeldEndpoint::Quic(endpoint) => endpoint.wait_idle().await,
                HeldEndpoint::WebTransport(endpoint) => endpoint.wait_idle().await,
            }
        };
        // What has not left by then will not matter: the relay's idle timeout says the same.
        let _ = tokio::time::timeout(LAST_PACKET_TIMEOUT, idle).await;
    }
}

/// The way back on QUIC and WebTransport.
pub(in crate::client) struct QuicReader {
    quic: quinn::Connection,
    control: ReceiveStream,
    chat: ReceiveStream,
}

impl QuicReader {
    pub fn start(self, session: &Arc<Session>, tasks: &mut JoinSet<()>) {
        tasks.spawn(read_messages(session.clone(), self.control, StreamKind::Control));
        tasks.spawn(read_messages(session.clone(), self.chat, StreamKind::Chat));
        tasks.spawn(read_datagrams(session.clone(), self.quic));
    }
}

async fn read_messages(session: Arc<Session>, mut stream: ReceiveStream, kind: StreamKind) {
    if kind == StreamKind::Chat {
        // Each stream has its own order: what is said can overtake what says who is there.
        session.reached(Stage::Seated).await;
    }
    let mut buffer = MessageBuffer::default();
    // The end of a stream is not the end of the connection, which alone can say why.
    while let Ok(Some(chunk)) = stream.quic().read_chunk(usize::MAX, true).await {
        buffer.push(&chunk.bytes);
        loop {
            match buffer.pop() {
                Ok(Some(message)) => session.receive(kind, &message),
                Ok(None) => break,
                Err(error) => return session.end(CloseReason::TooLarge, error.to_string()),
            }
        }
    }
}

async fn read_datagrams(session: Arc<Session>, quic: quinn::Connection) {
    tokio::select! {
        // Datagrams can overtake what says who is there; they wait in the connection.
        () = session.reached(Stage::Seated) => {}
        _ = quic.closed() => {}
    }
    let mut burst = Vec::with_capacity(BURST_DATAGRAMS_MAX);
    let ended = loop {
        match quic.read_datagram().await {
            Ok(datagram) => burst.push(datagram),
            Err(error) => break error,
        }
        while burst.len() < BURST_DATAGRAMS_MAX
            && let Some(Ok(datagram)) = quic.read_datagram().now_or_never()
        {
            burst.push(datagram);
        }
        session.receive_datagrams(burst.drain(..));
    };
    grace_for_last_words(&session).await;
    let reason = match &ended {
        ConnectionError::ApplicationClosed(close) => close_reason(close.error_code),
        ConnectionError::TimedOut => CloseReason::IdleTimeout,
        _ => CloseReason::ConnectionLost,
    };
    session.end(reason, ended.to_string());
}

/// `Closing` says more than the connection's code; where both have arrived, let its reader go first.
fn grace_for_last_words(session: &Session) -> impl Future<Output = ()> + '_ {
    const GRACE: Duration = Duration::from_millis(20);
    async { drop(tokio::time::timeout(GRACE, session.ended()).await) }
}

/// A relay that has lost track of a connection closes it with 0, which would say that this participant left.
fn close_reason(code: VarInt) -> CloseReason {
    let code = u16::try_from(code.into_inner()).ok();
    let reason = code.and_then(CloseReason::from_code).filter(|reason| *reason != CloseReason::Left);
    reason.unwrap_or(CloseReason::ConnectionLost)
}
