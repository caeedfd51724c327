use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use quinn::Connection;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Metrics;
use super::downlink::Downlink;
use super::flight::Flight;
use super::media_outbox::{Burst, MediaOutbox};
use super::outbox::{Full, Outbox};
use super::shard::Shard;
use super::tally::Tally;
use crate::limits::{CHAT_PATIENCE, Limits};
use crate::now::Now;
use crate::room::Pressure;
use crate::transport::Carrier;
use crate::wire::{ChatMessage, CloseReason, ServerChat, ServerMessage, StreamKind, TrackId, delimit, encode};

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
    Quic { carrier: Carrier, media: Downlink, control: Outbox<Bytes>, chat: Box<Outbox<Bytes>> },
    /// A meeting session over WebSocket.
    WebSocket { messages: Outbox<Message>, media: MediaOutbox, flight: Box<Flight> },
    /// A plain WebSocket client.
    Plain { messages: Outbox<Message>, tally: Tally, pings: Cell<u32> },
}

impl Outlet {
    pub fn quic(carrier: Carrier, connection: Connection, limits: &Limits) -> Self {
        let media = Downlink::new(connection, carrier, limits);
        Self::Quic { carrier, media, control: outbox(limits), chat: Box::new(outbox(limits)) }
    }

    pub fn websocket(limits: &Limits) -> Self {
        Self::WebSocket { messages: outbox(limits), media: MediaOutbox::new(limits), flight: Box::default() }
    }

    pub fn plain(limits: &Limits) -> Self {
        Self::Plain { messages: outbox(limits), tally: Tally::default(), pings: Cell::default() }
    }

    pub fn carrier(&self) -> Carrier {
        match self {
            Self::Quic { carrier, .. } => *carrier,
            Self::WebSocket { .. } => Carrier::WebSocket,
            Self::Plain { .. } => Carrier::PlainWebSocket,
        }
    }

    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain { .. })
    }

    /// What is counted of the session.
    pub fn tally(&self) -> &Tally {
        match self {
            Self::Quic { media, .. } => media.tally(),
            Self::WebSocket { media, .. } => media.tally(),
            Self::Plain { tally, .. } => tally,
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
        let bytes = encoded.message.len();
        match self {
            Self::Quic { control, chat, .. } => match encoded.kind {
                StreamKind::Control => control.push_uncounted(encoded.on_stream(), bytes),
                StreamKind::Chat => chat.push_uncounted(encoded.on_stream(), bytes),
            },
            Self::WebSocket { messages, .. } => messages.push_uncounted(Message::Binary(encoded.on_websocket()), bytes),
            Self::Plain { .. } => {}
        }
    }

    /// What of the roster waits, in bytes.
    pub fn roster_bytes(&self) -> usize {
        match self {
            Self::Quic { control, .. } => control.uncounted_bytes(),
            Self::WebSocket { messages, .. } => messages.uncounted_bytes(),
            Self::Plain { .. } => 0,
        }
    }

    /// Waits until the whole roster is on its way.
    pub async fn roster_taken(&self) {
        match self {
            Self::Quic { control, .. } => control.uncounted_taken().await,
            Self::WebSocket { messages, .. } => messages.uncounted_taken().await,
            Self::Plain { .. } => {}
        }
    }

    /// Throws away what of the roster waits, for a session that ends.
    pub fn forget_roster(&self) {
        match self {
            Self::Quic { control, .. } => control.forget_uncounted(),
            Self::WebSocket { messages, .. } => messages.forget_uncounted(),
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

    /// Queues a chat message that the history has as well: half of the place is kept for what cannot be had later.
    pub fn offer_chat(&self, chat: &EncodedChat) -> Result<(), Full> {
        match self {
            Self::Plain { messages, .. } => messages.offer(Message::Text(chat.text.clone()), chat.text.len()),
            Self::Quic { .. } | Self::WebSocket { .. } => self.offer(&chat.message),
        }
    }

    /// Queues a message of the chat that can be done without, or be had later.
    pub fn offer(&self, encoded: &Encoded) -> Result<(), Full> {
        let bytes = encoded.message.len();
        match self {
            Self::Quic { chat, .. } => chat.offer(encoded.on_stream(), bytes),
            Self::WebSocket { messages, .. } => messages.offer(Message::Binary(encoded.on_websocket()), bytes),
            Self::Plain { .. } => Ok(()),
        }
    }

    /// Waits until the last queued chat message is on its way. `false`: nothing of it has been taken for [`CHAT_PATIENCE`].
    pub async fn chat_drained(&self) -> bool {
        match self {
            Self::Quic { chat, .. } => chat.drained_with(CHAT_PATIENCE).await,
            Self::WebSocket { messages, .. } | Self::Plain { messages, .. } => {
                messages.drained_with(CHAT_PATIENCE).await
            }
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
    pub fn close(&self, metrics: &Metrics) {
        match self {
            Self::Quic { control, chat, .. } => {
                control.close();
                chat.close();
            }
            Self::WebSocket { messages, media, .. } => {
                messages.close();
                media.close(metrics);
            }
            Self::Plain { messages, .. } => messages.close(),
        }
    }

    /// Nobody is there for media any more: what waits is left out, and what still comes.
    pub fn close_media(&self, metrics: &Metrics) {
        match self {
            Self::Quic { media, .. } => media.close(metrics),
            Self::WebSocket { media, .. } => media.close(metrics),
            // The room subscribes no plain client to any track.
            Self::Plain { .. } => {}
        }
    }

    /// Whether it takes so many bytes of datagrams now.
    pub fn has_space(&self, bytes: usize) -> bool {
        match self {
            Self::Quic { media, .. } => media.waiting_space() >= bytes,
            Self::WebSocket { media, .. } => media.space() >= bytes,
            Self::Plain { .. } => false,
        }
    }

    /// Whether this datagram still waits for its turn.
    pub fn holds(&self, datagram: &[u8]) -> bool {
        match self {
            Self::Quic { media, .. } => media.holds(datagram),
            Self::WebSocket { media, .. } => media.holds(datagram),
            Self::Plain { .. } => false,
        }
    }

    /// Passes on a burst of datagrams: each subscriber's connection is looked up for all of them in a row, so that they leave
    /// together. What cannot leave at once waits, or is left out and counted.
    pub fn send_datagrams(&self, burst: &Burst<'_>, metrics: &Metrics) {
        match self {
            Self::Quic { media, .. } => media.send(burst, metrics),
            Self::WebSocket { media, .. } => media.offer(burst, metrics),
            // The room subscribes no plain client to any track.
            Self::Plain { .. } => {}
        }
    }

    /// Passes on what has waited for each other, in this order.
    pub fn send_gathered<'a>(&self, now: Now, bursts: impl Iterator<Item = &'a Burst<'a>> + Clone, metrics: &Metrics) {
        match self {
            Self::Quic { media, .. } => media.send_gathered(now, bursts, metrics),
            Self::WebSocket { .. } | Self::Plain { .. } => bursts.for_each(|burst| self.send_datagrams(burst, metrics)),
        }
    }

    /// Asks a publisher for datagrams once more. On WebSocket nothing is lost.
    pub fn ask(&self, requests: &[Bytes], metrics: &Metrics) {
        if let Self::Quic { media, .. } = self {
            media.send_now(requests, metrics);
        }
    }

    /// Waits until something is to be done for the media that waits, or was left out.
    pub async fn media_due(&self, now: Now) {
        match self {
            Self::Quic { media, .. } => media.due(now).await,
            Self::WebSocket { media, .. } => match media.trouble_due(now) {
                Some(time) => tokio::select! {
                    () = sleep(time) => {}
                    () = media.troubled() => {}
                },
                None => media.troubled().await,
            },
            Self::Plain { .. } => std::future::pending().await,
        }
    }

    /// Sends of it what there is space for. On WebSocket, the writer does.
    pub fn send_waiting(&self, now: Now, metrics: &Metrics) {
        if let Self::Quic { media, .. } = self {
            media.send_waiting(now, metrics);
        }
    }

    /// How short of its path's time media is, if that is to be told now.
    pub fn take_pressure(&self, now: Now) -> Option<Pressure> {
        match self {
            Self::Quic { media, .. } => media.take_pressure(now),
            Self::WebSocket { media, .. } => media.take_pressure(now),
            Self::Plain { .. } => None,
        }
    }

    /// A track and its rendition of which a keyframe is to be asked for now, because something of it was left out.
    pub fn take_keyframe_wish(&self, now: Now) -> Option<(TrackId, u8)> {
        match self {
            Self::Quic { media, .. } => media.take_keyframe_wish(now),
            Self::WebSocket { media, .. } => media.take_keyframe_wish(now),
            Self::Plain { .. } => None,
        }
    }
}

impl Outlet {
    /// How long something takes to the participant and back; `None` if its path loses nothing.
    pub fn round_trip(&self) -> Option<Duration> {
        match self {
            Self::Quic { media, .. } => Some(media.connection().rtt()),
            Self::WebSocket { .. } | Self::Plain { .. } => None,
        }
    }
}

fn outbox<T>(limits: &Limits) -> Outbox<T> {
    Outbox::new(limits.outbox_bytes as usize, limits.outbox_messages as usize)
}

/// How a session is told to end; the first reason counts.
#[derive(Debug, Default)]
pub(super) struct Ending {
    reason: Cell<Option<CloseReason>>,
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
            Self::WebSocket { messages, media, flight } => tokio::select! {
                open = messages.wait() => open || flight.wait(media).await,
                true = flight.wait(media) => true,
            },
            Self::Plain { messages, .. } => messages.wait().await,
            // Its streams are written by themselves.
            Self::Quic { .. } => false,
        }
    }

    /// Takes what to write next: messages before media.
    pub fn take_message(&self, shard: &Shard) -> Option<Message> {
        match self {
            Self::WebSocket { messages, media, flight } => {
                let media = || flight.take(media, shard.now(), &shard.metrics).map(Message::Binary);
                let message = messages.take().or_else(media);
                if let Some(Message::Binary(bytes)) = &message {
                    flight.sent(bytes.len());
                }
                message
            }
            Self::Plain { messages, .. } => messages.take(),
            Self::Quic { .. } => None,
        }
    }

    /// A ping to be written behind what was taken, if one is due.
    pub fn due_ping(&self, shard: &Shard) -> Option<Message> {
        let Self::WebSocket { flight, .. } = self else {
            return None;
        };
        let now = shard.now();
        flight.is_mark_due(now.since_start).then(|| self.ping(now))
    }

    /// A ping to be written now.
    pub fn ping(&self, now: Now) -> Message {
        match self {
            Self::WebSocket { flight, .. } => Message::Ping(Bytes::copy_from_slice(&flight.mark(now.since_start))),
            Self::Plain { pings, .. } => {
                pings.update(|pings| pings.saturating_add(1));
                Message::Ping(Bytes::new())
            }
            Self::Quic { .. } => Message::Ping(Bytes::new()),
        }
    }

    /// Takes a pong. `false`: it answers no ping.
    pub fn take_pong(&self, now: Now, payload: &[u8]) -> bool {
        match self {
            Self::WebSocket { flight, media, .. } => {
                let round_trip = flight.answered(now.since_start, payload);
                round_trip.inspect(|round_trip| media.tally().note_round_trip(*round_trip)).is_some()
            }
            Self::Plain { pings, .. } => {
                let left = pings.get().checked_sub(1);
                left.inspect(|left| pings.set(*left)).is_some()
            }
            Self::Quic { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_the_counters_of_its_rc_it_is_not_larger_than_one_of_the_sizes_of_the_allocator() {
        // The next one is 256 bytes larger, for each session.
        assert!(size_of::<Outlet>() + 2 * size_of::<usize>() <= 1024);
    }

    #[test]
    fn as_many_pongs_of_a_plain_client_answer_pings_as_there_were() {
        let (outlet, now) = (Outlet::plain(&Limits::default()), Now::after(Duration::ZERO));
        assert!(!outlet.take_pong(now, b""), "nobody asked for it");
        (0..20).for_each(|_| _ = outlet.ping(now));
        // They may come late, and all at once.
        assert_eq!((0..30).filter(|_| outlet.take_pong(now, b"")).count(), 20);
    }
}
