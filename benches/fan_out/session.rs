use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use quinn::crypto::rustls::QuicClientConfig;
use tertulia::wire::{
    ALPN_QUIC, ALPN_WEBTRANSPORT, ClientMessage, Join, MessageBuffer, SUBPROTOCOL, ServerMessage, StreamKind, TrackId,
    TrackInfo, VERSION, decode, delimit, encode,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes, client::IntoClientRequest};
use wtransport::endpoint::endpoint_side;

use super::tally::Receiver;
use super::{naive, socket, tls};

/// The first byte of a media datagram, on every carrier.
const MEDIA: u8 = 0x00;

/// How sessions of the load reach what is measured. The sessions of one endpoint share a UDP socket.
pub enum Endpoint {
    Quic {
        endpoint: quinn::Endpoint,
        server: SocketAddr,
    },
    WebTransport {
        endpoint: wtransport::Endpoint<endpoint_side::Client>,
        server: SocketAddr,
    },
    WebSocket {
        server: SocketAddr,
    },
    /// A client that sends and gets texts and knows of nothing else.
    PlainWebSocket {
        server: SocketAddr,
    },
}

/// A participant of the load.
pub struct Session {
    control: Control,
    media: Media,
}

enum Control {
    Stream {
        send: Pin<Box<dyn AsyncWrite>>,
        receive: Pin<Box<dyn AsyncRead>>,
        buffer: MessageBuffer,
    },
    WebSocket,
    /// The naive relay has none, and plain clients want none.
    None,
}

enum Media {
    Quic(quinn::Connection),
    WebTransport(wtransport::Connection),
    WebSocket { send: SplitSink<WebSocketStream<TcpStream>, Message>, receive: SplitStream<WebSocketStream<TcpStream>> },
    Texts { send: SplitSink<WebSocketStream<TcpStream>, Message>, receive: SplitStream<WebSocketStream<TcpStream>> },
}

/// Sends the datagrams of a track.
pub enum Sender {
    Quic(quinn::Connection),
    /// The session ends with the `wtransport` connection.
    WebTransport(wtransport::Connection),
    WebSocket(SplitSink<WebSocketStream<TcpStream>, Message>),
    Texts(SplitSink<WebSocketStream<TcpStream>, Message>),
}

impl Endpoint {
    pub fn quic(server: SocketAddr) -> Self {
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket::udp(), runtime)
            .expect("the socket is good");
        let config = QuicClientConfig::try_from(tls::client(ALPN_QUIC)).expect("AES-128-GCM is there");
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
        Self::Quic { endpoint, server }
    }

    pub fn webtransport(server: SocketAddr) -> Self {
        let socket: UdpSocket = socket::udp();
        let config = wtransport::ClientConfig::builder()
            .with_bind_socket(socket)
            .with_custom_tls(tls::client(ALPN_WEBTRANSPORT))
            .build();
        let endpoint = wtransport::Endpoint::client(config).expect("the socket is good");
        Self::WebTransport { endpoint, server }
    }

    /// A session with nobody in it yet.
    pub async fn connect(&self, path: &str) -> Session {
        let media = match self {
            Self::Quic { endpoint, server } => {
                let connecting = endpoint.connect(*server, "localhost").expect("the address is good");
                Media::Quic(connecting.await.expect("the relay accepts"))
            }
            Self::WebTransport { endpoint, server } => {
                let url = format!("https://{server}{path}");
                Media::WebTransport(endpoint.connect(url).await.expect("the relay accepts"))
            }
            Self::WebSocket { server } => {
                let mut request = format!("ws://{server}/ws").into_client_request().expect("the URL is good");
                let subprotocol = SUBPROTOCOL.parse().expect("it is a header value");
                request.headers_mut().insert("sec-websocket-protocol", subprotocol);
                let (send, receive) = open_websocket(request, *server).await.split();
                Media::WebSocket { send, receive }
            }
            Self::PlainWebSocket { server } => {
                let request = format!("ws://{server}/").into_client_request().expect("the URL is good");
                let (send, receive) = open_websocket(request, *server).await.split();
                Media::Texts { send, receive }
            }
        };
        Session { control: Control::None, media }
    }
}

async fn open_websocket(request: Request, server: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(server).await.expect("the server listens");
    stream.set_nodelay(true).expect("TCP has it");
    let (stream, _) = tokio_tungstenite::client_async(request, stream).await.expect("the server accepts");
    stream
}

impl Session {
    /// Takes a seat in a room.
    pub async fn join(&mut self, room: String, name: String) {
        self.control = match &mut self.media {
            Media::Quic(connection) => {
                let (send, receive) = connection.open_bi().await.expect("the relay allows streams");
                Control::Stream { send: Box::pin(send), receive: Box::pin(receive), buffer: MessageBuffer::default() }
            }
            Media::WebTransport(connection) => {
                let opening = connection.open_bi().await.expect("the relay allows streams");
                let (send, receive) = opening.await.expect("the relay allows streams");
                Control::Stream { send: Box::pin(send), receive: Box::pin(receive), buffer: MessageBuffer::default() }
            }
            Media::WebSocket { .. } => Control::WebSocket,
            Media::Texts { .. } => unreachable!("plain clients take no seat"),
        };
        if let Control::Stream { send, .. } = &mut self.control {
            send.write_all(&[StreamKind::Control.byte()]).await.expect("the stream is open");
        }
        let join =
            Join { version: VERSION, room, name, token: None, ticket: None, chat_after: None, auto_subscribe: true };
        self.tell(&ClientMessage::Join(join)).await;
        while !matches!(self.hear().await, ServerMessage::Welcome(_)) {}
    }

    /// Publishes a track; its media may flow at once.
    pub async fn publish(&mut self, track: TrackInfo) -> TrackId {
        self.tell(&ClientMessage::Publish { request: 1, track }).await;
        loop {
            match self.hear().await {
                ServerMessage::Published { track, .. } => return track,
                ServerMessage::Failed { message, .. } => panic!("the relay refuses the track: {message}"),
                _ => {}
            }
        }
    }

    async fn tell(&mut self, message: &ClientMessage) {
        let message = encode(message);
        match (&mut self.control, &mut self.media) {
            (Control::Stream { send, .. }, _) => {
                send.write_all(&delimit(&message)).await.expect("the stream is open");
                send.flush().await.expect("the stream is open");
            }
            (_, Media::WebSocket { send, .. }) => {
                let message = [&[StreamKind::Control.byte()], &message[..]].concat();
                send.send(Message::binary(message)).await.expect("the connection is open");
            }
            _ => unreachable!("the naive relay is told nothing"),
        }
    }

    async fn hear(&mut self) -> ServerMessage {
        let message = match (&mut self.control, &mut self.media) {
            (Control::Stream { receive, buffer, .. }, _) => loop {
                if let Some(message) = buffer.pop().expect("the relay keeps to the bounds") {
                    break message;
                }
                let mut bytes = [0; 4096];
                let length = receive.read(&mut bytes).await.expect("the stream is open");
                assert_ne!(length, 0, "the relay keeps the control stream open");
                buffer.push(&bytes[..length]);
            },
            (_, Media::WebSocket { receive, .. }) => loop {
                let message = receive.next().await.expect("the connection is open").expect("the relay frames well");
                if let Message::Binary(bytes) = message
                    && bytes.first() == Some(&StreamKind::Control.byte())
                {
                    break bytes.slice(1..);
                }
            },
            _ => unreachable!("the naive relay says nothing"),
        };
        let message = decode(&message).expect("the relay speaks the protocol");
        if let ServerMessage::Closing { message, .. } = &message {
            panic!("the relay closes the session: {message}");
        }
        message
    }

    /// Counts what arrives from now on, and returns what to send with.
    pub fn run(self, receiver: Receiver) -> Sender {
        if let Control::Stream { send, receive, .. } = self.control {
            tokio::task::spawn_local(ignore(send, receive));
        }
        match self.media {
            Media::Quic(connection) => {
                tokio::task::spawn_local(receive_datagrams(connection.clone(), receiver));
                Sender::Quic(connection)
            }
            Media::WebTransport(connection) => {
                tokio::task::spawn_local(receive_datagrams(connection.quic_connection().clone(), receiver));
                Sender::WebTransport(connection)
            }
            Media::WebSocket { send, receive } => {
                tokio::task::spawn_local(receive_messages(receive, receiver));
                Sender::WebSocket(send)
            }
            Media::Texts { send, receive } => {
                tokio::task::spawn_local(receive_texts(receive, receiver));
                Sender::Texts(send)
            }
        }
    }
}

impl Sender {
    /// Sends a frame at once.
    pub async fn send(&mut self, datagrams: Vec<Bytes>) {
        match self {
            Self::Quic(connection) => send_datagrams(connection, datagrams),
            Self::WebTransport(connection) => send_datagrams(connection.quic_connection(), datagrams),
            Self::WebSocket(sink) => {
                for datagram in datagrams {
                    sink.feed(Message::Binary(datagram)).await.expect("the connection is open");
                }
                sink.flush().await.expect("the connection is open");
            }
            Self::Texts(sink) => {
                for text in datagrams {
                    let text = Utf8Bytes::try_from(text).expect("a text is UTF-8");
                    sink.feed(Message::Text(text)).await.expect("the connection is open");
                }
                sink.flush().await.expect("the connection is open");
            }
        }
    }
}

impl Drop for Sender {
    /// Says goodbye, so that what is measured does not wait for the session when it stops.
    fn drop(&mut self) {
        match self {
            Self::Quic(connection) => connection.close(0_u32.into(), b""),
            Self::WebTransport(connection) => connection.quic_connection().close(0_u32.into(), b""),
            Self::WebSocket(_) | Self::Texts(_) => {}
        }
    }
}

fn send_datagrams(connection: &quinn::Connection, datagrams: Vec<Bytes>) {
    for datagram in datagrams {
        connection.send_datagram(datagram).expect("the connection is open, and the datagram fits");
    }
}

async fn receive_datagrams(connection: quinn::Connection, mut receiver: Receiver) {
    while let Ok(datagram) = connection.read_datagram().await {
        receiver.receive(&datagram);
    }
}

async fn receive_messages(mut stream: SplitStream<WebSocketStream<TcpStream>>, mut receiver: Receiver) {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Binary(bytes) = message
            && bytes.first() == Some(&MEDIA)
        {
            receiver.receive(&bytes);
        }
    }
}

async fn receive_texts(mut stream: SplitStream<WebSocketStream<TcpStream>>, mut receiver: Receiver) {
    while let Some(Ok(message)) = stream.next().await {
        if let Message::Text(text) = message {
            receiver.receive_text(&text);
        }
    }
}

/// Reads what the relay says, so that it can say it, and keeps the stream open.
async fn ignore(_send: Pin<Box<dyn AsyncWrite>>, mut receive: Pin<Box<dyn AsyncRead>>) {
    let mut bytes = [0; 4096];
    while receive.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
}

/// Where a session of the naive relay goes.
pub fn naive_path(subscribes: bool) -> &'static str {
    if subscribes { naive::SUBSCRIBE_PATH } else { "/" }
}
