//! A client that is broken or hostile hears what was wrong, or its datagrams are counted, and nobody else notices.

mod support;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use support::TestRelay;
use support::bystander::repeatable;
use support::quic::{self, soon};
use support::scene::Scene;
use support::session::{Target, camera, header};
use tertulia::client::{Event, Options, Room};
use tertulia::limits::{FRAGMENTS_MAX, Limits, MESSAGE_BYTES_MAX};
use tertulia::wire::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Whatever a client may send that is wrong, beside a meeting in another room and two people in the same one.
#[tokio::test]
async fn bad_input_of_all_kinds_beside_a_meeting() {
    repeatable(async || {
        // The two say something after each of many cases.
        let chatty = ["--chat-per-second", "1000", "--chat-burst", "1000", "--seat-seconds", "1"];
        let house = House::open(Scene::crowded(&chatty).await).await;
        a_wrong_first_message_is_answered_with_what_is_wrong(&house).await;
        a_wrong_message_in_a_session_ends_it_with_what_is_wrong(&house).await;
        what_cannot_be_done_is_refused_and_the_session_goes_on(&house).await;
        a_repeated_chat_message_is_said_once(&house).await;
        an_announced_length_over_the_limit_ends_the_session_before_the_message_comes(&house).await;
        an_announced_length_over_the_limit_ends_a_websocket_before_the_message_comes(&house).await;
        whoever_sends_a_message_far_over_the_limit_still_hears_what_was_wrong(&house).await;
        a_stream_that_the_protocol_does_not_know_ends_the_session(&house).await;
        a_stream_that_says_nothing_holds_up_nobody_and_is_given_up(&house).await;
        whoever_says_nothing_is_asked_to_leave(&house).await;
        a_stream_that_ends_within_a_message_ends_the_session_with_what_is_wrong(&house).await;
        a_meeting_websocket_takes_binary_messages_of_known_kinds_only(&house).await;
        a_plain_websocket_takes_text_only(&house).await;
        a_path_that_names_no_room_is_not_found(&house).await;
        a_wrong_datagram_is_counted_by_what_is_wrong_and_the_session_goes_on(&house).await;
        a_datagram_before_the_first_message_is_counted(&house).await;
        let House { scene, ana, ben } = house;
        tokio::join!(ana.disconnect(), ben.disconnect());
        scene.close("bad input").await;
    })
    .await;
}

/// Two in the room `house` of a relay, who go on whatever happens beside them.
struct House {
    scene: Scene,
    ana: Room,
    ben: Room,
}

impl House {
    async fn open(scene: Scene) -> Self {
        let url = format!("ws://{}/r/house", scene.target().http);
        let [ana, ben] = ["Ana", "Ben"].map(|name| {
            let options = Options { name: name.into(), ..Options::default() };
            Room::connect(&url, options)
        });
        Self { ana: ana.await.unwrap(), ben: ben.await.unwrap(), scene }
    }

    fn target(&self) -> Target {
        self.scene.target()
    }

    /// The two still hear each other.
    async fn assert_heard(&self, case: &str) {
        for (from, to) in [(&self.ana, &self.ben), (&self.ben, &self.ana)] {
            let sequence = soon(case, from.chat().send("still here")).await.unwrap();
            let heard = async {
                while let Some(event) = to.next_event().await {
                    if matches!(event, Event::ChatMessage(message) if message.sequence == sequence) {
                        return;
                    }
                }
                panic!("{case}: a bystander's session has ended");
            };
            soon(case, heard).await;
        }
    }

    /// How many datagrams were dropped for a reason.
    async fn dropped(&self, reason: DropReason) -> i64 {
        self.scene.relay.metric(&dropped(reason)).await
    }

    async fn assert_dropped(&self, case: &str, reason: DropReason, before: i64) {
        self.scene.relay.until(&dropped(reason), |dropped| dropped > before).await;
        assert_eq!(self.dropped(reason).await, before + 1, "{case}");
    }
}

/// The name of the metric.
fn dropped(reason: DropReason) -> String {
    format!("tertulia_datagrams_dropped_total{{reason=\"{}\"}}", reason.label())
}

/// How a session ended, by what the offender was told.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// In the `Closing` message.
    told: Option<CloseReason>,
    /// In the connection's own close code.
    code: Option<CloseReason>,
}

impl Ended {
    fn with(reason: CloseReason) -> Self {
        Self { told: Some(reason), code: Some(reason) }
    }

    /// Without a control stream there is nowhere to say it.
    fn by_code_alone(reason: CloseReason) -> Self {
        Self { told: None, code: Some(reason) }
    }
}

#[derive(Debug, Clone, Copy)]
enum Over {
    Quic,
    WebSocket,
}

const CARRIERS: [Over; 2] = [Over::Quic, Over::WebSocket];

/// A client that sends what it likes.
enum Offender {
    Quic(Box<QuicOffender>),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

impl Offender {
    async fn connect(target: Target, over: Over) -> Self {
        match over {
            Over::Quic => Self::Quic(Box::new(QuicOffender::new(dial(target).await).await)),
            Over::WebSocket => Self::WebSocket(Box::new(websocket(target, "/ws", Some(SUBPROTOCOL)).await.unwrap())),
        }
    }

    /// One that has a seat.
    async fn seated(target: Target, over: Over) -> Self {
        let mut offender = Self::connect(target, over).await;
        offender.join().await;
        offender
    }

    async fn join(&mut self) {
        self.control(&encode(&ClientMessage::Join(good_join()))).await;
        let welcome = self.next_control().await;
        assert!(matches!(welcome, ServerMessage::Welcome(_)), "{welcome:?}");
    }

    /// Sends bytes as one message of the control stream.
    async fn control(&mut self, message: &[u8]) {
        self.send(StreamKind::Control, message).await;
    }

    /// Sends bytes as one message of a stream. The relay may have hung up already.
    async fn send(&mut self, kind: StreamKind, message: &[u8]) {
        match self {
            Self::Quic(quic) => {
                let stream = if kind == StreamKind::Control { &mut quic.control.0 } else { &mut quic.chat.0 };
                let _ = stream.write_all(&delimit(message)).await;
            }
            Self::WebSocket(_) => self.frame(Message::binary([&[kind.byte()], message].concat())).await,
        }
    }

    async fn frame(&mut self, frame: Message) {
        let Self::WebSocket(socket) = self else { panic!("frames are of WebSocket") };
        let _ = socket.send(frame).await;
    }

    async fn datagram(&mut self, datagram: Bytes) {
        match self {
            Self::Quic(quic) => quic.connection.send_datagram(datagram).unwrap(),
            Self::WebSocket(_) => self.frame(Message::Binary(datagram)).await,
        }
    }

    async fn next_control(&mut self) -> ServerMessage {
        let bytes = soon("a control message", self.next(StreamKind::Control)).await;
        decode(&bytes.unwrap_or_else(|code| panic!("the session ended: {code:?}"))).unwrap()
    }

    async fn next_chat(&mut self) -> ServerChat {
        let bytes = soon("a chat message", self.next(StreamKind::Chat)).await;
        decode(&bytes.unwrap_or_else(|code| panic!("the session ended: {code:?}"))).unwrap()
    }

    /// The next message of a stream, or the code with which the connection was closed.
    async fn next(&mut self, wanted: StreamKind) -> Result<Bytes, Option<CloseReason>> {
        match self {
            Self::Quic(quic) => quic.next(wanted).await,
            Self::WebSocket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Binary(bytes))) if bytes[0] == wanted.byte() => return Ok(bytes.slice(1..)),
                    Some(Ok(Message::Close(frame))) => return Err(frame.and_then(|frame| reason_of(frame.code.into()))),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(None),
                }
            },
        }
    }

    /// What the offender is told until the connection is closed.
    async fn ended(&mut self) -> Ended {
        let mut told = None;
        loop {
            match soon("the end of the session", self.next(StreamKind::Control)).await {
                Ok(bytes) => {
                    if let Ok(ServerMessage::Closing { reason, message }) = decode(&bytes) {
                        assert_eq!(message, reason.to_string());
                        told = Some(reason);
                    }
                }
                Err(code) => return Ended { told, code },
            }
        }
    }

    /// Its session goes on: it gets an answer.
    async fn assert_seated(&mut self, case: &str) {
        self.control(&encode(&ClientMessage::Ping { token: 77 })).await;
        loop {
            match self.next_control().await {
                ServerMessage::Pong { token: 77, .. } => return,
                ServerMessage::Closing { reason, .. } => panic!("{case}: closed as {reason:?}"),
                _ => {}
            }
        }
    }
}

fn reason_of(websocket_code: u16) -> Option<CloseReason> {
    CloseReason::from_code(websocket_code.checked_sub(4000)?)
}

/// A QUIC connection with a control and a chat stream.
struct QuicOffender {
    connection: quinn::Connection,
    control: (quinn::SendStream, quinn::RecvStream),
    chat: (quinn::SendStream, quinn::RecvStream),
    control_in: MessageBuffer,
    chat_in: MessageBuffer,
}

impl QuicOffender {
    async fn new(connection: quinn::Connection) -> Self {
        let mut control = connection.open_bi().await.unwrap();
        control.0.write_all(&[StreamKind::Control.byte()]).await.unwrap();
        let mut chat = connection.open_bi().await.unwrap();
        chat.0.write_all(&[StreamKind::Chat.byte()]).await.unwrap();
        Self { connection, control, chat, control_in: MessageBuffer::default(), chat_in: MessageBuffer::default() }
    }

    async fn next(&mut self, kind: StreamKind) -> Result<Bytes, Option<CloseReason>> {
        let (stream, buffer) = match kind {
            StreamKind::Control => (&mut self.control.1, &mut self.control_in),
            StreamKind::Chat => (&mut self.chat.1, &mut self.chat_in),
        };
        loop {
            if let Some(message) = buffer.pop().unwrap() {
                return Ok(message);
            }
            match stream.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => buffer.push(&chunk.bytes),
                Ok(None) | Err(_) => return Err(closed(&self.connection).await),
            }
        }
    }
}

/// The code with which the relay closes a QUIC connection.
async fn closed(connection: &quinn::Connection) -> Option<CloseReason> {
    match connection.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            CloseReason::from_code(close.error_code.into_inner().try_into().unwrap())
        }
        _ => None,
    }
}

async fn dial(target: Target) -> quinn::Connection {
    quic::dial(target.quic, ALPN_QUIC).await.unwrap()
}

async fn websocket(target: Target, path: &str, protocol: Option<&str>) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{}{path}", target.http).into_client_request()?;
    if let Some(protocol) = protocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_str(protocol)?);
    }
    let stream = TcpStream::connect(target.http).await?;
    Ok(soon("a WebSocket", client_async(request, stream)).await?.0)
}

fn good_join() -> Join {
    Join {
        version: VERSION,
        room: "house".into(),
        name: "Mallory".into(),
        token: None,
        ticket: None,
        chat_after: None,
        auto_subscribe: true,
    }
}

/// `message` with the bytes `from` in it replaced by `to`.
fn replaced(message: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = message.windows(from.len()).position(|window| window == from).unwrap();
    [&message[..at], to, &message[at + from.len()..]].concat()
}

// Messages.

fn bad_first_messages() -> Vec<(&'static str, Vec<u8>, CloseReason)> {
    let join = |join| encode(&ClientMessage::Join(join));
    let good = join(good_join());
    let room = |room: &str| join(Join { room: room.into(), ..good_join() });
    let name = |name: &str| join(Join { name: name.into(), ..good_join() });
    let version = |version| join(Join { version, ..good_join() });
    vec![
        ("an empty message", vec![], CloseReason::Malformed),
        ("half a message", good[..good.len() / 2].to_vec(), CloseReason::Malformed),
        ("a message and a byte", [&good[..], &[0]].concat(), CloseReason::Malformed),
        ("an unknown message", vec![200], CloseReason::Malformed),
        ("a length bomb", vec![0, 1, 253, 0, 0, 0, 0, 0, 1, 0, 0], CloseReason::Malformed),
        ("a name that is not UTF-8", replaced(&good, b"Mallory", b"Mall\xffry"), CloseReason::Malformed),
        ("a version to come", version(VERSION + 1), CloseReason::VersionUnsupported),
        ("a version to come, with other fields", vec![0, 2, 0xff, 0xff], CloseReason::VersionUnsupported),
        ("no version", version(0), CloseReason::VersionUnsupported),
        ("a ping", encode(&ClientMessage::Ping { token: 1 }), CloseReason::UnexpectedMessage),
        ("a goodbye", encode(&ClientMessage::Leave), CloseReason::UnexpectedMessage),
        ("an empty room name", room(""), CloseReason::RoomName),
        ("a huge room name", room(&"x".repeat(129)), CloseReason::RoomName),
        ("a largest room name", room(&"x".repeat(60_000)), CloseReason::RoomName),
        ("a path as room name", room("../etc"), CloseReason::RoomName),
        ("a control character in a room name", room("a\nb"), CloseReason::RoomName),
        ("an empty name", name(""), CloseReason::DisplayName),
        ("a blank name", name(" \t "), CloseReason::DisplayName),
        ("a huge name", name(&"x".repeat(129)), CloseReason::DisplayName),
        ("a largest name", name(&"x".repeat(60_000)), CloseReason::DisplayName),
        ("a control character in a name", name("a\nb"), CloseReason::DisplayName),
        ("a NUL in a name", name("a\0b"), CloseReason::DisplayName),
        ("a name that turns text around", name("a\u{202e}b"), CloseReason::DisplayName),
    ]
}

async fn a_wrong_first_message_is_answered_with_what_is_wrong(house: &House) {
    for over in CARRIERS {
        for (case, message, reason) in bad_first_messages() {
            let case = format!("{case} over {over:?}");
            let mut offender = Offender::connect(house.target(), over).await;
            offender.control(&message).await;
            assert_eq!(offender.ended().await, Ended::with(reason), "{case}");
            house.assert_heard(&case).await;
        }
    }
}

async fn a_wrong_message_in_a_session_ends_it_with_what_is_wrong(house: &House) {
    let publish = encode(&ClientMessage::Publish { request: 1, track: camera() });
    let send = encode(&ClientChat::Send { message_id: MessageId([1; 16]), to: None, body: "hello".into() });
    let join = encode(&ClientMessage::Join(good_join()));
    let (control, chat) = (StreamKind::Control, StreamKind::Chat);
    for over in CARRIERS {
        for (case, kind, message, reason) in [
            ("an empty message", control, vec![], CloseReason::Malformed),
            ("half a message", control, publish[..publish.len() / 2].to_vec(), CloseReason::Malformed),
            ("a message and a byte", control, [&publish[..], &[0]].concat(), CloseReason::Malformed),
            ("an unknown message", control, vec![200], CloseReason::Malformed),
            ("a second join", control, join.clone(), CloseReason::UnexpectedMessage),
            ("an empty chat message", chat, vec![], CloseReason::Malformed),
            ("half a chat message", chat, send[..send.len() / 2].to_vec(), CloseReason::Malformed),
            ("a chat message and a byte", chat, [&send[..], &[0]].concat(), CloseReason::Malformed),
            ("an unknown chat message", chat, vec![200], CloseReason::Malformed),
            ("chat that is not UTF-8", chat, replaced(&send, b"hello", b"h\xffllo"), CloseReason::Malformed),
        ] {
            let case = format!("{case} over {over:?}");
            let mut offender = Offender::seated(house.target(), over).await;
            offender.send(kind, &message).await;
            assert_eq!(offender.ended().await, Ended::with(reason), "{case}");
            house.assert_heard(&case).await;
        }
    }
}

async fn what_cannot_be_done_is_refused_and_the_session_goes_on(house: &House) {
    let limit = Limits::default().chat_bytes as usize;
    for over in CARRIERS {
        let mut offender = Offender::seated(house.target(), over).await;
        for (number, to, body, refused) in [
            (1, None, "x".repeat(limit + 1), RefuseReason::ChatTooLong),
            (2, None, "x".repeat(60_000), RefuseReason::ChatTooLong),
            (3, Some(ParticipantId(4000)), "hello".into(), RefuseReason::ParticipantUnknown),
        ] {
            let message_id = MessageId([number; 16]);
            offender.send(StreamKind::Chat, &encode(&ClientChat::Send { message_id, to, body })).await;
            let message = refused.to_string();
            assert_eq!(offender.next_chat().await, ServerChat::Refused { message_id, reason: refused, message });
        }
        let nonsense = TrackInfo { codec: "\u{7}".into(), ..camera() };
        for (asked, refused) in [
            (ClientMessage::Publish { request: 9, track: nonsense }, RefuseReason::TrackInvalid),
            (ClientMessage::Subscribe { request: 9, track: TrackId(4000) }, RefuseReason::TrackUnknown),
            (ClientMessage::Unpublish { request: 9, track: TrackId(4000) }, RefuseReason::TrackUnknown),
        ] {
            offender.control(&encode(&asked)).await;
            let answer = loop {
                match offender.next_control().await {
                    ServerMessage::ParticipantJoined(_) | ServerMessage::ParticipantLeft { .. } => {}
                    answer => break answer,
                }
            };
            let message = refused.to_string();
            assert_eq!(answer, ServerMessage::Failed { request: 9, reason: refused, message });
        }
        offender.assert_seated("after refusals").await;
        house.assert_heard("after refusals").await;
    }
}

async fn a_repeated_chat_message_is_said_once(house: &House) {
    for (number, over) in (1..).zip(CARRIERS) {
        let mut offender = Offender::seated(house.target(), over).await;
        let say = |id| encode(&ClientChat::Send { message_id: MessageId([id; 16]), to: None, body: "again".into() });
        let mut sequences = Vec::new();
        for id in [number, number, number, 100 + number] {
            offender.send(StreamKind::Chat, &say(id)).await;
            let ServerChat::Accepted { message_id, sequence, .. } = offender.next_chat().await else {
                panic!("not accepted over {over:?}")
            };
            assert_eq!(message_id, MessageId([id; 16]));
            sequences.push(sequence);
        }
        let first = sequences[0];
        assert_eq!(sequences, [first, first, first, first + 1], "{over:?}");
        house.assert_heard("after repetitions").await;
    }
}

async fn an_announced_length_over_the_limit_ends_the_session_before_the_message_comes(house: &House) {
    let length = u32::try_from(MESSAGE_BYTES_MAX + 1).unwrap().to_be_bytes();
    for (case, seated) in [("as first message", false), ("on the control stream", true)] {
        let mut offender = QuicOffender::new(dial(house.target()).await).await;
        if seated {
            offender.control.0.write_all(&delimit(&encode(&ClientMessage::Join(good_join())))).await.unwrap();
        }
        offender.control.0.write_all(&length).await.unwrap();
        let ended = Offender::Quic(Box::new(offender)).ended().await;
        assert_eq!(ended, Ended::with(CloseReason::TooLarge), "{case}");
        house.assert_heard(case).await;
    }
    let mut offender = Offender::seated(house.target(), Over::Quic).await;
    let Offender::Quic(quic) = &mut offender else { unreachable!() };
    quic.chat.0.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    assert_eq!(offender.ended().await, Ended::with(CloseReason::TooLarge), "on the chat stream");
    house.assert_heard("on the chat stream").await;
}

/// The beginning of a WebSocket message (RFC 6455, section 5.2), masked, of which nothing has come yet.
fn announced(kind: Data, length: usize) -> Vec<u8> {
    let mut head = vec![0x80 | u8::from(OpCode::Data(kind)), 0xff];
    head.extend_from_slice(&(length as u64).to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    head
}

async fn an_announced_length_over_the_limit_ends_a_websocket_before_the_message_comes(house: &House) {
    for length in [MESSAGE_BYTES_MAX + 1, 1 << 40] {
        let fresh = Offender::connect(house.target(), Over::WebSocket).await;
        let seated = Offender::seated(house.target(), Over::WebSocket).await;
        let plain = Offender::WebSocket(Box::new(websocket(house.target(), "/house", None).await.unwrap()));
        for (case, mut offender, kind, ended) in [
            ("as first message", fresh, Data::Binary, Ended::with(CloseReason::TooLarge)),
            ("in a session", seated, Data::Binary, Ended::with(CloseReason::TooLarge)),
            ("from a plain client", plain, Data::Text, Ended::by_code_alone(CloseReason::TooLarge)),
        ] {
            let case = format!("{length} bytes {case}");
            let Offender::WebSocket(socket) = &mut offender else { unreachable!() };
            socket.get_mut().write_all(&announced(kind, length)).await.unwrap();
            assert_eq!(offender.ended().await, ended, "{case}");
            house.assert_heard(&case).await;
        }
    }
}

/// TCP resets a connection that is closed while something is unread, and a reset overtakes the close frame.
async fn whoever_sends_a_message_far_over_the_limit_still_hears_what_was_wrong(house: &House) {
    for attempt in 0..20 {
        let mut offender = Offender::WebSocket(Box::new(websocket(house.target(), "/house", None).await.unwrap()));
        offender.frame(Message::text("x".repeat(1 << 20))).await;
        assert_eq!(offender.ended().await, Ended::by_code_alone(CloseReason::TooLarge), "attempt {attempt}");
    }
    house.assert_heard("after large messages").await;
}

// Streams.

async fn a_stream_that_the_protocol_does_not_know_ends_the_session(house: &House) {
    for first_byte in [StreamKind::Control.byte(), StreamKind::Chat.byte(), 0x00, 0x41] {
        let case = format!("one more stream, of kind {first_byte:#04x}");
        let mut offender = Offender::seated(house.target(), Over::Quic).await;
        let Offender::Quic(quic) = &mut offender else { unreachable!() };
        let mut extra = quic.connection.open_bi().await.unwrap();
        extra.0.write_all(&[first_byte]).await.unwrap();
        assert_eq!(offender.ended().await, Ended::with(CloseReason::UnexpectedStream), "{case}");
        house.assert_heard(&case).await;
    }
    let connection = dial(house.target()).await;
    let mut only = connection.open_bi().await.unwrap();
    only.0.write_all(&[0x41]).await.unwrap();
    assert_eq!(soon("closed", closed(&connection)).await, Some(CloseReason::UnexpectedStream), "the only stream");
    house.assert_heard("the only stream").await;
}

async fn a_stream_that_says_nothing_holds_up_nobody_and_is_given_up(house: &House) {
    let stopped = "tertulia_streams_stopped_total{reason=\"silent\"}";
    let stopped_before = house.scene.relay.metric(stopped).await;
    let connection = dial(house.target()).await;
    // The relay learns of the first stream when something comes on the ones after it.
    let (mut silent, _silent_receive) = connection.open_bi().await.unwrap();
    let mut offender = Offender::Quic(Box::new(QuicOffender::new(connection).await));
    offender.join().await;
    offender.assert_seated("beside a silent stream").await;
    house.assert_heard("beside a silent stream").await;
    let code = soon("the silent stream is given up", silent.stopped()).await.unwrap();
    assert_eq!(code, Some(quinn::VarInt::from_u32(CloseReason::JoinTimeout.code().into())));
    assert_eq!(house.scene.relay.metric(stopped).await, stopped_before + 1);
    // Nothing had been asked of the stream, so nothing is missing.
    silent.reset(quinn::VarInt::from_u32(0)).ok();
    offender.assert_seated("after a silent stream").await;
}

async fn whoever_says_nothing_is_asked_to_leave(house: &House) {
    let no_stream = async {
        let connection = dial(house.target()).await;
        closed(&connection).await
    };
    let half_a_length = async {
        let mut offender = QuicOffender::new(dial(house.target()).await).await;
        offender.control.0.write_all(&[0, 0]).await.unwrap();
        Offender::Quic(Box::new(offender)).ended().await
    };
    let nothing = |over| async move { Offender::connect(house.target(), over).await.ended().await };
    let meanwhile = house.assert_heard("beside silent ones");
    let (no_stream, half_a_length, quic, websocket, ()) = soon("the deadline of first messages", async {
        tokio::join!(no_stream, half_a_length, nothing(Over::Quic), nothing(Over::WebSocket), meanwhile)
    })
    .await;
    assert_eq!(no_stream, Some(CloseReason::JoinTimeout));
    for (case, ended) in [("half a length", half_a_length), ("QUIC", quic), ("WebSocket", websocket)] {
        assert_eq!(ended, Ended::with(CloseReason::JoinTimeout), "{case}");
    }
    house.assert_heard("after silent ones").await;
}

async fn a_stream_that_ends_within_a_message_ends_the_session_with_what_is_wrong(house: &House) {
    let join = delimit(&encode(&ClientMessage::Join(good_join())));
    let one_byte_of_nine = [0, 0, 0, 9, 1];
    for (case, fresh, kind, bytes) in [
        ("within the first message", true, StreamKind::Control, &join[..join.len() - 1]),
        ("within a control message", false, StreamKind::Control, &one_byte_of_nine),
        ("within a chat message", false, StreamKind::Chat, &one_byte_of_nine),
    ] {
        let mut offender = Offender::connect(house.target(), Over::Quic).await;
        if !fresh {
            offender.join().await;
        }
        let Offender::Quic(quic) = &mut offender else { unreachable!() };
        let stream = if kind == StreamKind::Control { &mut quic.control.0 } else { &mut quic.chat.0 };
        stream.write_all(bytes).await.unwrap();
        stream.finish().unwrap();
        assert_eq!(offender.ended().await, Ended::with(CloseReason::Malformed), "{case}");
        house.assert_heard(case).await;
    }
}

// WebSocket messages.

/// A binary or text message of several frames.
fn fragmented(kind: Data, sizes: &[usize]) -> Vec<Message> {
    let last = sizes.len() - 1;
    let opcode = |index| OpCode::Data(if index == 0 { kind } else { Data::Continue });
    let frame = |(index, size): (usize, &usize)| Frame::message(vec![1; *size], opcode(index), index == last);
    sizes.iter().enumerate().map(frame).map(Message::Frame).collect()
}

async fn a_meeting_websocket_takes_binary_messages_of_known_kinds_only(house: &House) {
    let not_utf8 = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    for (case, frames, first, later) in [
        ("text", vec![Message::text("hello")], CloseReason::UnexpectedMessage, CloseReason::UnexpectedMessage),
        ("text that is not UTF-8", vec![Message::Frame(not_utf8)], CloseReason::Malformed, CloseReason::Malformed),
        ("nothing", vec![Message::binary(vec![])], CloseReason::UnexpectedMessage, CloseReason::Malformed),
        ("kind 7", vec![Message::binary(vec![7, 1])], CloseReason::UnexpectedMessage, CloseReason::UnexpectedStream),
        (
            "a message that grows over the limit",
            fragmented(Data::Binary, &[MESSAGE_BYTES_MAX, 1]),
            CloseReason::TooLarge,
            CloseReason::TooLarge,
        ),
    ] {
        let fresh = Offender::connect(house.target(), Over::WebSocket).await;
        let seated = Offender::seated(house.target(), Over::WebSocket).await;
        for (when, mut offender, reason) in [("first", fresh, first), ("later", seated, later)] {
            let case = format!("{case}, {when}");
            for frame in frames.clone() {
                offender.frame(frame).await;
            }
            assert_eq!(offender.ended().await, Ended::with(reason), "{case}");
            house.assert_heard(&case).await;
        }
    }
}

async fn a_plain_websocket_takes_text_only(house: &House) {
    let limit = Limits::default().chat_bytes as usize;
    let not_utf8 = Frame::message(vec![b'h', 0xff], OpCode::Data(Data::Text), true);
    for (case, frames, reason) in [
        ("binary", vec![Message::binary(vec![1, 2, 3])], CloseReason::NotText),
        ("an empty binary message", vec![Message::binary(vec![])], CloseReason::NotText),
        ("text that is not UTF-8", vec![Message::Frame(not_utf8)], CloseReason::Malformed),
        ("text over the chat's limit", vec![Message::text("x".repeat(limit + 1))], CloseReason::TooLarge),
        ("text that grows over the limit", fragmented(Data::Text, &[MESSAGE_BYTES_MAX, 1]), CloseReason::TooLarge),
    ] {
        let socket = websocket(house.target(), "/house", None).await.unwrap();
        let mut offender = Offender::WebSocket(Box::new(socket));
        for frame in frames {
            offender.frame(frame).await;
        }
        assert_eq!(offender.ended().await, Ended::by_code_alone(reason), "{case}");
        house.assert_heard(case).await;
    }
}

async fn a_path_that_names_no_room_is_not_found(house: &House) {
    for path in ["/a/b".to_owned(), "/a%20b".into(), "/%00".into(), "/r/..".into(), format!("/{}", "x".repeat(129))] {
        let refused = websocket(house.target(), &path, None).await;
        assert!(matches!(&refused, Err(Error::Http(response)) if response.status() == StatusCode::NOT_FOUND), "{path}");
    }
    house.assert_heard("after wrong paths").await;
}

// Datagrams.

fn datagram(header: MediaHeader) -> Bytes {
    Datagram::new(header, b"picture").bytes
}

/// Datagrams that are wrong on every carrier, sent by the publisher of `own`.
fn bad_datagrams(own: TrackId, of_another: TrackId) -> Vec<(&'static str, Bytes, DropReason)> {
    let good = datagram(header(own));
    let fragment =
        |fragment_index, fragment_count| datagram(MediaHeader { fragment_index, fragment_count, ..header(own) });
    let with_version = |version: u8| Bytes::from([&[0, version << 4 | 1], &good[2..]].concat());
    let long = Datagram::new(header(own), &[0; Datagram::PAYLOAD_BYTES_MAX]).bytes;
    let long = Bytes::from([&long[..], &[0]].concat());
    vec![
        ("a prefix alone", good.slice(..1), DropReason::Malformed),
        ("half a header", good.slice(..10), DropReason::Malformed),
        ("a header without payload", good.slice(..1 + HEADER_BYTES), DropReason::Malformed),
        ("one that is too long", long, DropReason::Malformed),
        ("fragment 0 of 0", fragment(0, 0), DropReason::Malformed),
        ("fragment 1 of 1", fragment(1, 1), DropReason::Malformed),
        ("fragment 65535 of 2", fragment(u16::MAX, 2), DropReason::Malformed),
        ("a fragment of too many", fragment(0, FRAGMENTS_MAX + 1), DropReason::Malformed),
        ("version 0", with_version(0), DropReason::VersionUnknown),
        ("version 2", with_version(2), DropReason::VersionUnknown),
        ("an unknown track", datagram(header(TrackId(4000))), DropReason::TrackUnknown),
        ("the largest track", datagram(header(TrackId(u32::MAX))), DropReason::TrackUnknown),
        ("another's track", datagram(header(of_another)), DropReason::TrackNotOwned),
    ]
}

async fn a_wrong_datagram_is_counted_by_what_is_wrong_and_the_session_goes_on(house: &House) {
    let of_another = house.ana.publish(camera()).await.unwrap();
    for over in CARRIERS {
        let mut offender = Offender::seated(house.target(), over).await;
        offender.control(&encode(&ClientMessage::Publish { request: 1, track: camera() })).await;
        let own = loop {
            if let ServerMessage::Published { track, .. } = offender.next_control().await {
                break track;
            }
        };
        let mut cases = bad_datagrams(own, of_another.track());
        if matches!(over, Over::Quic) {
            // On WebSocket these are no datagrams.
            let foreign = [&[1], &datagram(header(own))[1..]].concat();
            cases.push(("nothing", Bytes::new(), DropReason::Malformed));
            cases.push(("another session's", foreign.into(), DropReason::ForeignSession));
        }
        for (case, bytes, reason) in cases {
            let case = format!("{case} over {over:?}");
            let before = house.dropped(reason).await;
            offender.datagram(bytes).await;
            house.assert_dropped(&case, reason, before).await;
            offender.assert_seated(&case).await;
        }
        house.assert_heard("after wrong datagrams").await;
    }
}

async fn a_datagram_before_the_first_message_is_counted(house: &House) {
    let mut offender = Offender::connect(house.target(), Over::WebSocket).await;
    offender.datagram(datagram(header(TrackId(1)))).await;
    house.assert_dropped("before the join", DropReason::NotJoined, 0).await;
    offender.join().await;
    offender.assert_seated("after a datagram that came too early").await;
    house.assert_heard("after a datagram that came too early").await;
}

#[tokio::test]
async fn a_flood_of_datagrams_is_cut_to_the_budget() {
    let limits = Limits { media_datagrams_per_second: 5, ..Limits::default() };
    let relay = TestRelay::start(limits);
    let target = Target { quic: relay.relay.address(), http: relay.relay.http_address().unwrap() };
    let mut offender = Offender::seated(target, Over::WebSocket).await;
    let started = Instant::now();
    for _ in 0..1000 {
        offender.datagram(datagram(header(TrackId(4000)))).await;
    }
    // The relay takes messages in order: what was sent before the answer has been counted.
    offender.assert_seated("after a flood").await;
    let within = relay.relay.metrics().dropped(DropReason::TrackUnknown);
    let over = relay.relay.metrics().dropped(DropReason::OverBudget);
    let most = 5 + 5 * (started.elapsed().as_secs() + 1);
    assert_eq!(within + over, 1000);
    assert!((5..=most).contains(&within), "{within} were taken, at most {most} are within the budget");
}
