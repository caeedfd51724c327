use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, EndpointConfig, IdleTimeout, SendDatagramError, TransportConfig, VarInt, WriteError};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use wtransport::config::DnsResolver;
use wtransport::endpoint::endpoint_side;
use wtransport::error::ConnectingError;

use super::attempts::Failed;
use super::frame_streams::{self, FrameStreams, LargeFrame};
use super::silence::{Hearing, Silence};
use super::uplink::{LOOK_INTERVAL, Signs, Uplink, Verdict};
use super::{Gone, OUTBOX_MESSAGES_MAX, keep_alive_interval};
use crate::client::address::Address;
use crate::client::connect_error::ConnectError;
use crate::client::options::Options;
use crate::client::session::{Session, Stage};
use crate::limits::{DATAGRAM_SEND_BYTES_MAX, FRAMES_ON_STREAMS_MAX, UDP_SOCKET_BUFFER_BYTES};
use crate::transport;
use crate::wire::{
    ALPN_QUIC, ALPN_WEBTRANSPORT, ClientMessage, CloseReason, MessageBuffer, StreamKind, delimit, encode,
};

/// Datagrams that arrived and were not read yet, in bytes: a keyframe in one burst is no reason to lose a part of it.
const DATAGRAM_RECEIVE_BYTES_MAX: usize = 1024 * 1024;

/// Datagrams taken from the connection before they are looked at.
const BURST_DATAGRAMS_MAX: usize = 256;

/// The pings' token: nobody waits for their answers.
const UPLINK_TOKEN: u64 = 0;

/// Round-trip time that is assumed before there is a measurement: three times as long after it a lost packet is sent again.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// What HTTP/3 ends a connection for (RFC 9114, section 8.1).
const H3_ERRORS: RangeInclusive<u64> = 0x101..=0x110;

/// Unidirectional streams that HTTP/3 has for itself: control, and two of QPACK (RFC 9114, section 6.2).
const HTTP3_STREAMS: u32 = 3;

/// How long the packet that ends a connection may take to leave.
const LAST_PACKET_TIMEOUT: Duration = Duration::from_millis(200);

/// A connection with its two streams.
pub(crate) struct Streams {
    pub link: Held,
    pub control: Bidirectional,
    pub chat: Bidirectional,
}

/// The connection, and what has to live as long as it does.
#[derive(Debug)]
pub(crate) struct Held {
    pub quic: quinn::Connection,
    endpoint: Arc<Endpoint>,
    /// Its end would be the end of the WebTransport session.
    webtransport: Option<Arc<wtransport::Connection>>,
}

/// A UDP socket by which one relay is reached. Several connections may share it.
pub(crate) enum Endpoint {
    Quic(quinn::Endpoint),
    WebTransport(wtransport::Endpoint<endpoint_side::Client>),
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Endpoint")
    }
}

pub(crate) type Bidirectional = (SendStream, ReceiveStream);

/// wtransport has its own streams around those of quinn.
pub(crate) enum SendStream {
    Quic(quinn::SendStream),
    WebTransport(wtransport::SendStream),
}

/// The other direction of the same.
pub(crate) enum ReceiveStream {
    Quic(quinn::RecvStream),
    WebTransport(wtransport::RecvStream),
}

impl SendStream {
    pub fn quic(&mut self) -> &mut quinn::SendStream {
        match self {
            Self::Quic(stream) => stream,
            Self::WebTransport(stream) => stream.quic_stream_mut(),
        }
    }
}

impl ReceiveStream {
    pub fn quic(&mut self) -> &mut quinn::RecvStream {
        match self {
            Self::Quic(stream) => stream,
            Self::WebTransport(stream) => stream.quic_stream_mut(),
        }
    }
}

impl Endpoint {
    /// One for plain QUIC to this address.
    pub fn quic(remote: SocketAddr, options: &Options) -> Result<Self, ConnectError> {
        let socket = bind(remote).map_err(ConnectError::Socket)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint =
            quinn::Endpoint::new(EndpointConfig::default(), None, socket, runtime).map_err(ConnectError::Socket)?;
        endpoint.set_default_client_config(configuration(options, ALPN_QUIC)?);
        Ok(Self::Quic(endpoint))
    }

    /// One for WebTransport to this address.
    pub fn webtransport(remote: SocketAddr, options: &Options) -> Result<Self, ConnectError> {
        let socket = bind(remote).map_err(ConnectError::Socket)?;
        let mut configuration = wtransport::ClientConfig::builder()
            .with_bind_socket(socket)
            .build_with_quic_config(configuration(options, ALPN_WEBTRANSPORT)?);
        configuration.set_dns_resolver(Resolved(remote));
        Ok(Self::WebTransport(wtransport::Endpoint::client(configuration).map_err(ConnectError::Socket)?))
    }

    /// Connects to the relay by its address, under its name.
    pub async fn connect(self: Arc<Self>, address: &Address, remote: SocketAddr) -> Result<Streams, Failed> {
        match &*self {
            Self::Quic(endpoint) => {
                let streams = connect(endpoint, address, remote).await?;
                Ok(streams.announced(self.clone(), remote).await?)
            }
            Self::WebTransport(endpoint) => {
                let streams = connect_webtransport(endpoint, address, remote).await?;
                Ok(streams.announced(self.clone(), remote).await?)
            }
        }
    }

    /// Waits until no connection is left.
    async fn wait_idle(&self) {
        match self {
            Self::Quic(endpoint) => endpoint.wait_idle().await,
            Self::WebTransport(endpoint) => endpoint.wait_idle().await,
        }
    }
}

/// A connection whose streams have not said what they are for.
struct Unannounced {
    quic: quinn::Connection,
    webtransport: Option<Arc<wtransport::Connection>>,
    control: Bidirectional,
    chat: Bidirectional,
}

/// Connects by plain QUIC.
async fn connect(
    endpoint: &quinn::Endpoint,
    address: &Address,
    remote: SocketAddr,
) -> Result<Unannounced, ConnectError> {
    let failed = |error: ConnectionError| ConnectError::unreachable(remote, error);
    let connecting =
        endpoint.connect(remote, &address.host).map_err(|error| ConnectError::unreachable(remote, error))?;
    let quic = connecting.await.map_err(failed)?;
    let (send, receive) = quic.open_bi().await.map_err(failed)?;
    let control = (SendStream::Quic(send), ReceiveStream::Quic(receive));
    let (send, receive) = quic.open_bi().await.map_err(failed)?;
    let chat = (SendStream::Quic(send), ReceiveStream::Quic(receive));
    Ok(Unannounced { quic, webtransport: None, control, chat })
}

/// Connects by WebTransport. The session is the first of its connection, so that its datagrams begin with `0x00`.
async fn connect_webtransport(
    endpoint: &wtransport::Endpoint<endpoint_side::Client>,
    address: &Address,
    remote: SocketAddr,
) -> Result<Unannounced, Failed> {
    let failed = |error: wtransport::error::ConnectionError| {
        let is_accident = is_accident(&error);
        Failed { error: ConnectError::unreachable(remote, error), is_accident }
    };
    let url = format!("https://{}/", address.authority());
    let session = endpoint.connect(url).await.map_err(|error| match error {
        ConnectingError::ConnectionError(error) => failed(error),
        error => ConnectError::unreachable(remote, error).into(),
    })?;
    if session.session_id().into_u64() != 0 {
        let why = "the WebTransport session is not the first of its connection";
        return Err(ConnectError::unreachable(remote, why).into());
    }
    let opened = |error: wtransport::error::StreamOpeningError| ConnectError::unreachable(remote, error);
    let (send, receive) = session.open_bi().await.map_err(failed)?.await.map_err(opened)?;
    let control = (SendStream::WebTransport(send), ReceiveStream::WebTransport(receive));
    let (send, receive) = session.open_bi().await.map_err(failed)?.await.map_err(opened)?;
    let chat = (SendStream::WebTransport(send), ReceiveStream::WebTransport(receive));
    let quic = session.quic_connection().clone();
    Ok(Unannounced { quic, webtransport: Some(Arc::new(session)), control, chat })
}

/// Whether HTTP/3 ended a connection for a frame that nobody sent. wtransport writes its settings piece by piece, and on the
/// other side it forgets the pieces of them that it has read when a stream arrives before the rest: then it takes settings for
/// frames.
fn is_accident(error: &wtransport::error::ConnectionError) -> bool {
    match error {
        wtransport::error::ConnectionError::LocalH3Error(_) => true,
        wtransport::error::ConnectionError::ApplicationClosed(close) => H3_ERRORS.contains(&close.code().into_inner()),
        _ => false,
    }
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
        .initial_rtt(INITIAL_RTT)
        .max_concurrent_uni_streams(VarInt::from_u32(FRAMES_ON_STREAMS_MAX as u32 + HTTP3_STREAMS))
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES_MAX)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES_MAX))
        .congestion_controller_factory(options.congestion.factory());
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

impl Unannounced {
    /// Says on each stream what it is for, at once: a silent stream would hold up the ones after it.
    async fn announced(mut self, endpoint: Arc<Endpoint>, remote: SocketAddr) -> Result<Streams, ConnectError> {
        for (stream, kind) in [(&mut self.control, StreamKind::Control), (&mut self.chat, StreamKind::Chat)] {
            let written = stream.0.quic().write_all(&[kind.byte()]).await;
            written.map_err(|error| ConnectError::unreachable(remote, error))?;
        }
        let Self { quic, webtransport, control, chat } = self;
        Ok(Streams { link: Held { quic, endpoint, webtransport }, control, chat })
    }
}

impl Held {
    /// Waits for a datagram.
    pub async fn next_datagram(&self) -> Result<Bytes, ConnectionError> {
        next_datagram(&self.quic, self.webtransport.as_deref()).await
    }
}

impl Streams {
    pub(in crate::client) fn start(self, tasks: &mut JoinSet<()>) -> (QuicLink, QuicReader) {
        let (control, control_outbox) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let (chat, chat_outbox) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let quic = self.link.quic.clone();
        tasks.spawn(write(self.control.0, control_outbox, quic.clone()));
        tasks.spawn(write(self.chat.0, chat_outbox, quic.clone()));
        let webtransport = self.link.webtransport.clone();
        let carrier = match webtransport {
            Some(_) => transport::Carrier::WebTransport,
            None => transport::Carrier::Quic,
        };
        let frames = FrameStreams::start(quic.clone(), carrier, tasks);
        let link = QuicLink { held: self.link, control, chat, frames };
        (link, QuicReader { quic, webtransport, control: self.control.1, chat: self.chat.1 })
    }
}

async fn write(mut stream: SendStream, mut outbox: mpsc::Receiver<Bytes>, quic: quinn::Connection) {
    while let Some(bytes) = outbox.recv().await {
        match stream.quic().write_all(&bytes).await {
            Ok(()) => {}
            // The relay has waited for too long for a whole message: the next connection says it again.
            Err(WriteError::Stopped(_)) => {
                let reason = CloseReason::ConnectionLost;
                return quic.close(VarInt::from(u32::from(reason.code())), reason.label().as_bytes());
            }
            // The reader of the connection learns why it ended.
            Err(_) => return,
        }
    }
}

/// The way to the relay on QUIC and WebTransport.
#[derive(Debug)]
pub(in crate::client) struct QuicLink {
    held: Held,
    control: mpsc::Sender<Bytes>,
    chat: mpsc::Sender<Bytes>,
    frames: FrameStreams,
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

    pub async fn send_on_stream(&self, frame: LargeFrame) -> Result<(), Gone> {
        self.frames.send(frame).await
    }

    pub async fn streams_over(&self) {
        self.frames.over().await;
    }

    pub fn try_send_datagram(&self, datagram: Bytes) {
        let quic = &self.held.quic;
        if quic.datagram_send_buffer_space() >= datagram.len() {
            // What the path does not take is lost, as on any path.
            let _ = quic.send_datagram(datagram);
        }
    }

    pub fn round_trip(&self) -> Duration {
        self.held.quic.rtt()
    }

    pub fn close(&self, reason: CloseReason) {
        self.held.quic.close(VarInt::from(u32::from(reason.code())), reason.label().as_bytes());
    }

    pub async fn closed(&self) {
        // What has not left by then will not matter: the relay's idle timeout says the same.
        let _ = tokio::time::timeout(LAST_PACKET_TIMEOUT, self.held.endpoint.wait_idle()).await;
    }
}

/// The way back on QUIC and WebTransport.
pub(in crate::client) struct QuicReader {
    quic: quinn::Connection,
    webtransport: Option<Arc<wtransport::Connection>>,
    control: ReceiveStream,
    chat: ReceiveStream,
}

impl QuicReader {
    pub fn start(self, session: &Arc<Session>, tasks: &mut JoinSet<()>) {
        tasks.spawn(read_messages(session.clone(), self.control, StreamKind::Control));
        tasks.spawn(read_messages(session.clone(), self.chat, StreamKind::Chat));
        tasks.spawn(watch_uplink(session.clone(), self.quic.clone()));
        tasks.spawn(frame_streams::read(session.clone(), self.quic.clone(), self.webtransport.clone()));
        tasks.spawn(read_datagrams(session.clone(), self.quic, self.webtransport));
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

/// Waits for a datagram. wtransport takes one now and then, perhaps the first of a keyframe: it gives it back without its prefix.
async fn next_datagram(
    quic: &quinn::Connection,
    webtransport: Option<&wtransport::Connection>,
) -> Result<Bytes, ConnectionError> {
    let Some(webtransport) = webtransport else {
        return quic.read_datagram().await;
    };
    tokio::select! {
        datagram = quic.read_datagram() => datagram,
        Ok(taken) = webtransport.receive_datagram() => Ok([&[0][..], &taken.payload()].concat().into()),
    }
}

async fn read_datagrams(
    session: Arc<Session>,
    quic: quinn::Connection,
    webtransport: Option<Arc<wtransport::Connection>>,
) {
    tokio::select! {
        // Datagrams can overtake what says who is there; they wait in the connection.
        () = session.reached(Stage::Seated) => {}
        _ = quic.closed() => {}
    }
    let mut burst = Vec::with_capacity(BURST_DATAGRAMS_MAX);
    let ended = loop {
        match next_datagram(&quic, webtransport.as_deref()).await {
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
    session.end(reason_of(&ended), ended.to_string());
}

/// Why a connection ended.
pub(crate) fn reason_of(ended: &ConnectionError) -> CloseReason {
    match ended {
        ConnectionError::ApplicationClosed(close) => close_reason(close.error_code),
        ConnectionError::TimedOut => CloseReason::IdleTimeout,
        _ => CloseReason::ConnectionLost,
    }
}

/// Says when nothing arrives at all, and ends a session of which packets arrive while none of its own do: the relay would notice it by its idle timeout alone, because
/// to the relay it looks as if everything was lost. An answer to a ping would not do as a sign of life, since it waits behind
/// all else that the relay says; QUIC's acknowledgements do not wait.
async fn watch_uplink(session: Arc<Session>, quic: quinn::Connection) {
    session.reached(Stage::Seated).await;
    let signs = || {
        let quinn::ConnectionStats { udp_rx: received, udp_tx: sent, .. } = quic.stats();
        Signs { round_trip: quic.rtt(), packets: received.datagrams, bytes: received.bytes, bytes_sent: sent.bytes }
    };
    let began = Instant::now();
    let mut uplink = Uplink::new(signs(), session.seat.usual_rate());
    let mut silence = Silence::new(signs());
    loop {
        sleep(LOOK_INTERVAL).await;
        let (now, signs) = (began.elapsed(), signs());
        let verdict = uplink.look(now, signs);
        let hearing = silence.look(now, signs, uplink.is_media_usual());
        session.seat.note_usual_rate(uplink.usual_rate());
        session.note_silence(hearing == Hearing::Silent);
        if verdict == Verdict::Deaf {
            break;
        }
        if verdict == Verdict::Ping || hearing != Hearing::Fine {
            silence.asked(now);
            let ping = ClientMessage::Ping { token: UPLINK_TOKEN };
            session.link.try_send(StreamKind::Control, &encode(&ping));
        }
    }
    session.end(CloseReason::IdleTimeout, "the relay does not hear what is sent".to_owned());
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
