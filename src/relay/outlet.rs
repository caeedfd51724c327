use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use quinn::{Connection, SendDatagramError};
use tokio::sync::Notify;

use super::Metrics;
use super::outbox::{Full, Outbox};
use super::tally::Tally;
use crate::limits::{DATAGRAM_SEND_BYTES_MAX, Limits};
use crate::transport::Carrier;
use crate::wire::{ChatMessage, CloseReason, DropReason, ServerChat, ServerMessage, StreamKind, delimit, encode};

/// A message for control or chat streams, encoded once for all who get it.
#[derive(Debug)]
pub(super) struct Encoded {
    kind: StreamKind,
    message: Vec<u8>,
    on_stream: OnceCell<Bytes>,
    on_websocket: OnceCell<Bytes>,
}

impl Encoded {
    pub fn control(message: &ServerMessage) -> Self {
        Self::new(StreamKind::Control, encode(message))
    }

    pub fn chat(message: &ServerChat) -> Self {
        Self::new(StreamKind::Chat, encode(message))
    }

    fn new(kind: StreamKind, message: Vec<u8>) -> Self {
        Self { kind, message, on_stream: OnceCell::new(), on_websocket: OnceCell::new() }
    }

    fn on_stream(&self) -> Bytes {
        self.on_stream.get_or_init(|| delimit(&self.message)).clone()
    }

    fn on_websocket(&self) -> Bytes {
        self.on_websocket.get_or_init(|| [&[self.kind.byte()], &*self.message].concat().into()).clone()
    }
}

/// A chat message, encoded once for all who get it, whatever they understand.
#[derive(Debug)]
pub(super) struct EncodedChat {
    message: Rc<Encoded>,
    text: Utf8Bytes,
}

impl EncodedChat {
    pub fn new(message: &ChatMessage) -> Self {
        let text = Utf8Bytes::from(message.body.as_str());
        Self { message: Rc::new(Encoded::chat(&ServerChat::Message(message.clone()))), text }
    }
}

/// Where what a participant gets is put: by carrier.
#[derive(Debug)]
pub(super) enum Outlet {
    /// QUIC and WebTransport.
    Quic { carrier: Carrier, connection: Connection, control: Outbox<Bytes>, chat: Outbox<Bytes>, tally: Tally },
    /// A meeting session over WebSocket.
    WebSocket { messages: Outbox<Message>, media: Outbox<Bytes>, tally: Tally },
    /// A plain WebSocket client.
    Plain { messages: Outbox<Message>, tally: Tally },
}

impl Outlet {
    pub fn quic(carrier: Carrier, connection: Connection, limits: &Limits) -> Self {
        Self::Quic { carrier, connection, control: outbox(limits), chat: outbox(limits), tally: Tally::default() }
    }

    pub fn websocket(limits: &Limits) -> Self {
        let media = Outbox::new(DATAGRAM_SEND_BYTES_MAX, usize::MAX);
        Self::WebSocket { messages: outbox(limits), media, tally: Tally::default() }
    }

    pub fn plain(limits: &Limits) -> Self {
        Self::Plain { messages: outbox(limits), tally: Tally::default() }
    }

    pub fn carrier(&self) -> Carrier {
        match self {
            Self::Quic { carrier, .. } => *carrier,
            Self::WebSocket { .. } => Carrier::WebSocket,
            Self::Plain { .. } => Carrier::PlainWebSocket,
        }
    }

    /// What is counted of the session.
    pub fn tally(&self) -> &Tally {
        match self {
            Self::Quic { tally, .. } | Self::WebSocket { tally, .. } | Self::Plain { tally, .. } => tally,
        }
    }

    /// Queues a control or chat message. Plain clients understand neither.
    pub fn send(&self, encoded: &Encoded) -> Result<(), Full> {
        let bytes = encoded.message.len();
        match (self, encoded.kind) {
            (Self::Quic { control, .. }, StreamKind::Control) => control.push(encoded.on_stream(), bytes),
            (Self::Quic { chat, .. }, StreamKind::Chat) => chat.push(encoded.on_stream(), bytes),
            (Self::WebSocket { messages, .. }, _) => messages.push(Message::Binary(encoded.on_websocket()), bytes),
            (Self::Plain { .. }, _) => Ok(()),
        }
    }

    /// Queues a message that is bounded elsewhere: the roster for a newcomer, the goodbye.
    pub fn send_uncounted(&self, encoded: &Encoded) {
        match self {
            Self::Quic { control, chat, .. } => match encoded.kind {
                StreamKind::Control => control.push_uncounted(encoded.on_stream()),
                StreamKind::Chat => chat.push_uncounted(encoded.on_stream()),
            },
            Self::WebSocket { messages, .. } => messages.push_uncounted(Message::Binary(encoded.on_websocket())),
            Self::Plain { .. } => {}
        }
    }

    /// Queues a chat message as this participant understands it.
    pub fn send_chat(&self, chat: &EncodedChat) -> Result<(), Full> {
        match self {
            Self::Plain { messages, .. } => messages.push(Message::Text(chat.text.clone()), chat.text.len()),
            Self::Quic { .. } | Self::WebSocket { .. } => self.send(&chat.message),
        }
    }

    /// Waits until the last queued chat message is on its way.
    pub async fn chat_drained(&self) {
        match self {
            Self::Quic { chat, .. } => chat.drained().await,
            Self::WebSocket { messages, .. } | Self::Plain { messages, .. } => messages.drained().await,
        }
    }

    /// Waits until no queued control message can be overtaken by media any more.
    pub async fn control_goes_first(&self) {
        match self {
            Self::Quic { control, .. } => {
                control.drained().await;
                // quinn writes datagrams before what is in its streams: its task has a turn with these alone.
                tokio::task::yield_now().await;
            }
            // Messages go first anyway.
            Self::WebSocket { .. } | Self::Plain { .. } => {}
        }
    }

    /// Nothing will be queued any more.
    pub fn close(&self) {
        match self {
            Self::Quic { control, chat, .. } => {
                control.close();
                chat.close();
            }
            Self::WebSocket { messages, media, .. } => {
                messages.close();
                media.close();
            }
            Self::Plain { messages, .. } => messages.close(),
        }
    }

    /// Whether it takes so many bytes of datagrams now.
    pub fn has_space(&self, bytes: usize) -> bool {
        match self {
            Self::Quic { connection, .. } => connection.datagram_send_buffer_space() >= bytes,
            Self::WebSocket { media, .. } => media.space() >= bytes,
            Self::Plain { .. } => false,
        }
    }

    /// Passes on a burst of datagrams of one track: each subscriber's connection is looked up and locked for all of them in
    /// a row, so that they leave together. What does not fit is left out and counted.
    pub fn send_datagrams(&self, burst: &[Bytes], metrics: &Metrics) {
        match self {
            Self::Quic { connection, tally, .. } => send_datagrams(connection, burst, metrics, tally),
            Self::WebSocket { media, tally, .. } => {
                let sent = burst.iter().filter(|datagram| media.push((*datagram).clone(), datagram.len()).is_ok());
                let sent = sent.count();
                tally.note_sent(metrics, sent as u64);
                if sent < burst.len() {
                    tally.leave_out(metrics, DropReason::SubscriberSlow, (burst.len() - sent) as u64);
                }
            }
            // The room subscribes no plain client to any track.
            Self::Plain { .. } => {}
        }
    }
}

impl Outlet {
    /// How long something takes to the participant and back; `None` if its path loses nothing.
    pub fn round_trip(&self) -> Option<Duration> {
        match self {
            Self::Quic { connection, .. } => Some(connection.rtt()),
            Self::WebSocket { .. } | Self::Plain { .. } => None,
        }
    }
}

fn outbox<T>(limits: &Limits) -> Outbox<T> {
    Outbox::new(limits.outbox_bytes as usize, limits.outbox_messages as usize)
}

/// quinn drops the oldest datagram without a word when its queue is full: look at the space first.
fn send_datagrams(connection: &Connection, burst: &[Bytes], metrics: &Metrics, tally: &Tally) {
    let mut space = connection.datagram_send_buffer_space();
    let mut sent = 0;
    for (index, datagram) in burst.iter().enumerate() {
        if datagram.len() > space {
            tally.leave_out(metrics, DropReason::SubscriberSlow, 1);
            continue;
        }
        match connection.send_datagram(datagram.clone()) {
            Ok(()) => {
                space -= datagram.len();
                sent += 1;
            }
            Err(SendDatagramError::TooLarge | SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled) => {
                tally.leave_out(metrics, DropReason::PathTooSmall, 1);
            }
            Err(SendDatagramError::ConnectionLost(_)) => {
                tally.leave_out(metrics, DropReason::SubscriberGone, (burst.len() - index) as u64);
                break;
            }
        }
    }
    tally.note_sent(metrics, sent);
}

/// How a session is told to end; the first reason counts.
#[derive(Debug, Default)]
pub(super) struct Ending {
    reason: std::cell::Cell<Option<CloseReason>>,
    requested: Notify,
}

impl Ending {
    pub fn request(&self, reason: CloseReason) {
        if self.reason.get().is_none() {
            self.reason.set(Some(reason));
            self.requested.notify_one();
        }
    }

    pub fn is_requested(&self) -> bool {
        self.reason.get().is_some()
    }

    pub async fn requested(&self) -> CloseReason {
        loop {
            if let Some(reason) = self.reason.get() {
                return reason;
            }
            self.requested.notified().await;
        }
    }
}

/// The WebSocket side: one connection carries messages and media.
impl Outlet {
    /// Waits for something to write. `false`: nothing will come any more.
    pub async fn wait_for_message(&self) -> bool {
        match self {
            Self::WebSocket { messages, media, .. } => tokio::select! {
                open = messages.wait() => open || media.wait().await,
                true = media.wait() => true,
            },
            Self::Plain { messages, .. } => messages.wait().await,
            // Its streams are written by themselves.
            Self::Quic { .. } => false,
        }
    }

    /// Takes what to write next: messages before media.
    pub fn take_message(&self) -> Option<Message> {
        match self {
            Self::WebSocket { messages, media, .. } => messages.take().or_else(|| media.take().map(Message::Binary)),
            Self::Plain { messages, .. } => messages.take(),
            Self::Quic { .. } => None,
        }
    }
}
