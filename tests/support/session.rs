//! A session of a client that sends what it likes, over every carrier. What comes is gathered in the background.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tertulia::wire::*;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::quic::{H3, dial, soon};

/// Where a relay is reached.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// QUIC and WebTransport.
    pub quic: SocketAddr,
    /// HTTP and WebSocket.
    pub http: SocketAddr,
}

/// A carrier of meeting sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Quic,
    WebTransport,
    WebSocket,
}

pub const CARRIERS: [Over; 3] = [Over::Quic, Over::WebTransport, Over::WebSocket];

/// What a bidirectional stream of session 0 begins with (draft-ietf-webtrans-http3, section 4.2).
const WEBTRANSPORT_STREAM: [u8; 3] = [0x40, 0x41, 0x00];

/// What a session is told.
#[derive(Debug)]
pub enum Incoming {
    Control(ServerMessage),
    Chat(ServerChat),
    Media(Bytes),
    /// It has ended, with this code if it had one.
    Ended(Option<CloseReason>),
}

enum Link {
    Quic { connection: Connection, control: SendStream, chat: SendStream, _keep: Vec<Box<dyn std::any::Any + Send>> },
    WebSocket(Box<SplitSink<WebSocketStream<TcpStream>, Message>>),
}

pub struct Session {
    link: Link,
    pub incoming: mpsc::UnboundedReceiver<Incoming>,
    passed_over: VecDeque<Incoming>,
    reading: watch::Sender<bool>,
    /// What comes after this long is too late.
    pub patience: Duration,
    _tasks: JoinSet<()>,
}

/// A request for a seat in a room, of someone new.
pub fn join_of(room: &str, name: &str) -> Join {
    Join {
        version: VERSION,
        room: room.into(),
        name: name.into(),
        token: None,
        ticket: None,
        chat_after: None,
        auto_subscribe: true,
    }
}

pub fn camera() -> TrackInfo {
    let frame_rate = Rational { numerator: 30, denominator: 1 };
    let media = TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers: 1 };
    TrackInfo { source: TrackSource::Camera, codec: "vp8".into(), media, description: vec![] }
}

pub fn microphone() -> TrackInfo {
    let media = TrackMedia::Audio { sample_rate: 48_000, channels: 1 };
    TrackInfo { source: TrackSource::Microphone, codec: "opus".into(), media, description: vec![] }
}

/// That of a whole frame in one datagram, which stands by itself.
pub fn header(track: TrackId) -> MediaHeader {
    MediaHeader {
        track,
        frame: 0,
        depends_on_distance: 0,
        keyframe: true,
        parity: false,
        on_stream: false,
        temporal_layer: 0,
        spatial_layer: 0,
        audio_level: AudioLevel::SILENCE,
        fragment_index: 0,
        fragment_count: 1,
        timestamp: 0,
    }
}

/// A whole frame in one datagram.
pub fn datagram(track: TrackId, payload: &[u8]) -> Bytes {
    Datagram::new(header(track), payload).bytes
}

/// The payload of a datagram.
pub fn payload(datagram: &Bytes) -> &[u8] {
    &datagram[1 + HEADER_BYTES..]
}

/// An id that no other message of this process has.
pub fn message_id() -> MessageId {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    MessageId((u128::from(std::process::id()) << 64 | u128::from(count)).to_be_bytes())
}

impl Session {
    /// A session that has not said anything yet.
    pub async fn connect(target: Target, over: Over) -> Result<Self, String> {
        match over {
            Over::Quic => {
                let connection = dial(target.quic, ALPN_QUIC).await.map_err(|error| error.to_string())?;
                Self::over_quic(connection).await
            }
            Over::WebTransport => {
                let h3 = H3::open(target.quic).await;
                let answer = h3.connect(&[]).await;
                if answer.status != Some(200) {
                    return Err(format!("{:?}", answer.status));
                }
                let connection = h3.connection.clone();
                Self::start(connection, &WEBTRANSPORT_STREAM, vec![Box::new((h3.control, answer))]).await
            }
            Over::WebSocket => {
                let mut request = format!("ws://{}/ws", target.http).into_client_request().unwrap();
                request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
                let stream = TcpStream::connect(target.http).await.map_err(|error| error.to_string())?;
                stream.set_nodelay(true).unwrap();
                let upgraded = timeout(super::quic::DEADLINE, client_async(request, stream)).await;
                let (socket, _) = upgraded.map_err(|_| "too late")?.map_err(|error| error.to_string())?;
                let (sink, stream) = socket.split();
                Ok(Self::gather(Link::WebSocket(Box::new(sink)), |told, reading| {
                    let mut tasks = JoinSet::new();
                    tasks.spawn(read_websocket(stream, told, reading));
                    tasks
                }))
            }
        }
    }

    /// The same, by an endpoint that is there already.
    pub async fn connect_by(endpoint: &Endpoint, address: SocketAddr) -> Result<Self, String> {
        let connection = endpoint.connect(address, "localhost").unwrap();
        let connection = timeout(super::quic::DEADLINE, connection).await.map_err(|_| "too late")?;
        Self::over_quic(connection.map_err(|error| error.to_string())?).await
    }

    async fn over_quic(connection: Connection) -> Result<Self, String> {
        Self::start(connection, &[], Vec::new()).await
    }

    async fn start(
        connection: Connection,
        prefix: &[u8],
        keep: Vec<Box<dyn std::any::Any + Send>>,
    ) -> Result<Self, String> {
        let open = async |kind: StreamKind| -> Result<_, String> {
            let (mut send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
            let first = [prefix, &[kind.byte()]].concat();
            send.write_all(&first).await.map_err(|error| error.to_string())?;
            Ok((send, receive))
        };
        let (control, control_in) = open(StreamKind::Control).await?;
        let (chat, chat_in) = open(StreamKind::Chat).await?;
        let link = Link::Quic { connection: connection.clone(), control, chat, _keep: keep };
        Ok(Self::gather(link, |told, reading| {
            let mut tasks = JoinSet::new();
            tasks.spawn(read_stream(control_in, StreamKind::Control, told.clone(), reading.clone()));
            tasks.spawn(read_stream(chat_in, StreamKind::Chat, told.clone(), reading));
            tasks.spawn(read_connection(connection, told));
            tasks
        }))
    }

    fn gather(
        link: Link,
        read: impl FnOnce(mpsc::UnboundedSender<Incoming>, watch::Receiver<bool>) -> JoinSet<()>,
    ) -> Self {
        let (told, incoming) = mpsc::unbounded_channel();
        let (reading, read_on) = watch::channel(true);
        let tasks = read(told, read_on);
        Self { link, incoming, passed_over: VecDeque::new(), reading, patience: super::quic::DEADLINE, _tasks: tasks }
    }

    /// A session with a seat, or why there is none.
    pub async fn join(target: Target, over: Over, join: Join) -> Result<(Self, Welcome), CloseReason> {
        Self::connect(target, over).await.expect("a connection").seated(join).await
    }

    /// One that has to get a seat.
    pub async fn member(target: Target, over: Over, room: &str, name: &str) -> Self {
        Self::join(target, over, join_of(room, name)).await.unwrap_or_else(|reason| panic!("{name}: {reason:?}")).0
    }

    /// Takes a seat, or hears why not.
    pub async fn seated(mut self, join: Join) -> Result<(Self, Welcome), CloseReason> {
        self.control(&ClientMessage::Join(join)).await;
        let answer = self.wait_for("an answer to the join", |incoming| match incoming {
            Incoming::Control(ServerMessage::Welcome(welcome)) => Break(Ok(welcome)),
            Incoming::Control(ServerMessage::Closing { reason, .. }) => Break(Err(reason)),
            Incoming::Ended(code) => Break(Err(code.unwrap_or(CloseReason::ConnectionLost))),
            other => Continue(other),
        });
        let answer = answer.await;
        answer.map(|welcome| (self, welcome))
    }

    pub async fn control(&mut self, message: &ClientMessage) {
        self.send(StreamKind::Control, &encode(message)).await;
    }

    pub async fn chat(&mut self, message: &ClientChat) {
        self.send(StreamKind::Chat, &encode(message)).await;
    }

    /// Sends bytes as one message of a stream. The relay may have hung up already.
    pub async fn send(&mut self, kind: StreamKind, message: &[u8]) {
        match &mut self.link {
            Link::Quic { control, chat, .. } => {
                let stream = if kind == StreamKind::Control { control } else { chat };
                let _ = stream.write_all(&delimit(message)).await;
            }
            Link::WebSocket(sink) => {
                let _ = sink.send(Message::binary([&[kind.byte()], message].concat())).await;
            }
        }
    }

    pub async fn media(&mut self, datagram: Bytes) {
        match &mut self.link {
            // It is unreliable: what cannot be sent is lost.
            Link::Quic { connection, .. } => drop(connection.send_datagram(datagram)),
            Link::WebSocket(sink) => drop(sink.send(Message::Binary(datagram)).await),
        }
    }

    pub fn connection(&self) -> &Connection {
        let Link::Quic { connection, .. } = &self.link else { panic!("it is a WebSocket") };
        connection
    }

    /// What it says on the chat stream over QUIC or WebTransport, byte by byte.
    pub fn chat_stream(&mut self) -> &mut SendStream {
        let Link::Quic { chat, .. } = &mut self.link else { panic!("a WebSocket has no streams") };
        chat
    }

    /// Opens another chat stream, and says on it what it says from now on.
    pub async fn open_chat_again(&mut self, over: Over) {
        let Link::Quic { connection, chat, _keep, .. } = &mut self.link else { panic!("a WebSocket has no streams") };
        let (mut send, receive) = connection.open_bi().await.unwrap();
        let prefix: &[u8] = if over == Over::WebTransport { &WEBTRANSPORT_STREAM } else { &[] };
        send.write_all(&[prefix, &[StreamKind::Chat.byte()]].concat()).await.unwrap();
        *chat = send;
        _keep.push(Box::new(receive));
    }

    /// Stops or goes on reading messages.
    pub fn set_reading(&self, reads: bool) {
        self.reading.send_replace(reads);
    }

    /// Waits for something; what else comes is left for others to wait for.
    pub async fn wait_for<T>(&mut self, what: &str, take: impl Fn(Incoming) -> ControlFlow<T, Incoming>) -> T {
        for at in 0..self.passed_over.len() {
            let incoming = self.passed_over.remove(at).expect("it is below the length");
            match take(incoming) {
                Break(found) => return found,
                Continue(other) => self.passed_over.insert(at, other),
            }
        }
        let patience = self.patience;
        let waiting = async {
            loop {
                let incoming = self.incoming.recv().await;
                match take(incoming.unwrap_or_else(|| panic!("{what}: the session has ended"))) {
                    Break(found) => return found,
                    Continue(ended @ Incoming::Ended(_)) => {
                        panic!("{what}: {ended:?} after {:?}", self.passed_over.iter().last())
                    }
                    Continue(other) => self.passed_over.push_back(other),
                }
            }
        };
        timeout(patience, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {patience:?}"))
    }

    /// Says something to everyone and gives the answer.
    pub async fn say(&mut self, body: &str) -> ServerChat {
        self.say_as(message_id(), body).await
    }

    /// The same, under this id.
    pub async fn say_as(&mut self, id: MessageId, body: &str) -> ServerChat {
        self.chat(&ClientChat::Send { message_id: id, to: None, body: body.into() }).await;
        self.answer_to(id).await
    }

    /// What became of a message.
    pub async fn answer_to(&mut self, id: MessageId) -> ServerChat {
        self.wait_for("an answer to chat", |incoming| match incoming {
            Incoming::Chat(
                answer @ (ServerChat::Accepted { message_id, .. }
                | ServerChat::Refused { message_id, .. }
                | ServerChat::NotKept { message_id, .. }),
            ) if message_id == id => Break(answer),
            // It is history for whoever was away meanwhile.
            Incoming::Chat(ServerChat::Message(ChatMessage { message_id, sequence, sent_at_ms, .. }))
                if message_id == id =>
            {
                Break(ServerChat::Accepted { message_id, sequence, sent_at_ms })
            }
            other => Continue(other),
        })
        .await
    }

    /// Says something that has to be kept, and gives its number.
    pub async fn say_kept(&mut self, body: &str) -> u64 {
        match self.say(body).await {
            ServerChat::Accepted { sequence, .. } => sequence,
            other => panic!("{other:?}"),
        }
    }

    /// The next message of someone else.
    pub async fn heard(&mut self) -> ChatMessage {
        self.wait_for("a chat message", |incoming| match incoming {
            Incoming::Chat(ServerChat::Message(message)) => Break(message),
            other => Continue(other),
        })
        .await
    }

    /// Everything of the history that was asked for.
    pub async fn history(&mut self) -> Vec<ChatMessage> {
        let mut messages = Vec::new();
        loop {
            let next = self.wait_for("history", |incoming| match incoming {
                Incoming::Chat(ServerChat::Message(message)) => Break(Some(message)),
                Incoming::Chat(ServerChat::CaughtUp { .. }) => Break(None),
                other => Continue(other),
            });
            match next.await {
                Some(message) => messages.push(message),
                None => return messages,
            }
        }
    }

    /// The next message on the control stream.
    pub async fn told(&mut self) -> ServerMessage {
        self.wait_for("a control message", |incoming| match incoming {
            Incoming::Control(message) => Break(message),
            other => Continue(other),
        })
        .await
    }

    /// Asks for something; the answer.
    pub async fn request(&mut self, message: &ClientMessage) -> ServerMessage {
        let number = message.request().expect("a request");
        self.control(message).await;
        self.wait_for("an answer to a request", |incoming| match incoming {
            Incoming::Control(
                answer @ (ServerMessage::Done { request }
                | ServerMessage::Published { request, .. }
                | ServerMessage::Failed { request, .. }),
            ) if request == number => Break(answer),
            other => Continue(other),
        })
        .await
    }

    pub async fn publish(&mut self) -> TrackId {
        self.publish_track(camera()).await
    }

    pub async fn publish_track(&mut self, track: TrackInfo) -> TrackId {
        match self.request(&ClientMessage::Publish { request: 4711, track }).await {
            ServerMessage::Published { track, .. } => track,
            other => panic!("{other:?}"),
        }
    }

    /// The next datagram.
    pub async fn datagram(&mut self) -> Bytes {
        self.wait_for("a datagram", |incoming| match incoming {
            Incoming::Media(datagram) => Break(datagram),
            other => Continue(other),
        })
        .await
    }

    /// Its session goes on: it gets an answer, after everything that was sent before.
    pub async fn assert_seated(&mut self, case: &str) {
        let token = u64::from_be_bytes(message_id().0[8..].try_into().unwrap());
        self.control(&ClientMessage::Ping { token }).await;
        self.wait_for(case, |incoming| match incoming {
            Incoming::Control(ServerMessage::Pong { token: answered, .. }) if answered == token => Break(()),
            other => Continue(other),
        })
        .await;
    }

    /// Why the relay ends the session.
    pub async fn ended(&mut self) -> CloseReason {
        let reason = self.wait_for("the end of the session", |incoming| match incoming {
            Incoming::Control(ServerMessage::Closing { reason, .. }) => Break(Some(reason)),
            Incoming::Ended(code) => Break(code),
            other => Continue(other),
        });
        reason.await.unwrap_or(CloseReason::ConnectionLost)
    }

    /// Everything that has come and was not waited for.
    pub fn rest(&mut self) -> Vec<Incoming> {
        let mut rest: Vec<_> = std::mem::take(&mut self.passed_over).into();
        while let Ok(incoming) = self.incoming.try_recv() {
            rest.push(incoming);
        }
        rest
    }

    /// Leaves, and waits until the relay knows.
    pub async fn leave(mut self) {
        self.set_reading(true);
        self.control(&ClientMessage::Leave).await;
        assert_eq!(self.ended().await, CloseReason::Left);
    }

    /// Ends the connection as if it broke: the seat is kept.
    pub fn cut(self) {
        if let Link::Quic { connection, .. } = &self.link {
            connection.close(99u32.into(), b"");
        }
    }
}

async fn read_stream(
    mut stream: RecvStream,
    kind: StreamKind,
    told: mpsc::UnboundedSender<Incoming>,
    mut reading: watch::Receiver<bool>,
) {
    let mut buffer = MessageBuffer::default();
    loop {
        while let Ok(Some(message)) = buffer.pop() {
            let _ = told.send(understand(kind, &message));
        }
        let _ = reading.wait_for(|reads| *reads).await;
        match stream.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => buffer.push(&chunk.bytes),
            // The stream is kept: dropping it would be an answer.
            Ok(None) | Err(_) => return std::future::pending().await,
        }
    }
}

fn understand(kind: StreamKind, message: &[u8]) -> Incoming {
    match kind {
        StreamKind::Control => Incoming::Control(decode(message).unwrap()),
        StreamKind::Chat => Incoming::Chat(decode(message).unwrap()),
    }
}

async fn read_connection(connection: Connection, told: mpsc::UnboundedSender<Incoming>) {
    loop {
        match connection.read_datagram().await {
            Ok(datagram) => drop(told.send(Incoming::Media(datagram))),
            Err(error) => {
                let code = match error {
                    ConnectionError::ApplicationClosed(close) => close.error_code.into_inner().try_into().ok(),
                    _ => None,
                };
                let _ = told.send(Incoming::Ended(code.and_then(CloseReason::from_code)));
                return;
            }
        }
    }
}

async fn read_websocket(
    mut stream: SplitStream<WebSocketStream<TcpStream>>,
    told: mpsc::UnboundedSender<Incoming>,
    mut reading: watch::Receiver<bool>,
) {
    loop {
        let _ = reading.wait_for(|reads| *reads).await;
        let incoming = match stream.next().await {
            Some(Ok(Message::Binary(bytes))) => match StreamKind::from_byte(bytes[0]) {
                Some(kind) => understand(kind, &bytes[1..]),
                None => Incoming::Media(bytes),
            },
            Some(Ok(Message::Close(frame))) => {
                let code = frame.and_then(|frame| u16::from(frame.code).checked_sub(4000));
                Incoming::Ended(code.and_then(CloseReason::from_code))
            }
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => Incoming::Ended(None),
        };
        let is_last = matches!(incoming, Incoming::Ended(_));
        let _ = told.send(incoming);
        if is_last {
            return;
        }
    }
}

/// A plain WebSocket client, with these header lines more.
pub async fn plain(
    target: Target,
    path: &str,
    token: Option<&str>,
) -> Result<WebSocketStream<TcpStream>, tokio_tungstenite::tungstenite::Error> {
    let mut request = format!("ws://{}{path}", target.http).into_client_request()?;
    if let Some(token) = token {
        request.headers_mut().insert("Authorization", HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    }
    let stream = TcpStream::connect(target.http).await?;
    Ok(soon("a WebSocket", client_async(request, stream)).await?.0)
}

/// The code with which a plain WebSocket is closed.
pub async fn plain_ended(socket: &mut WebSocketStream<TcpStream>) -> Option<CloseReason> {
    let end = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.and_then(|frame| u16::from(frame.code).checked_sub(4000));
                    return code.and_then(CloseReason::from_code);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    soon("the end of a plain WebSocket", end).await
}
