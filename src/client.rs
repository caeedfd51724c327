//! The native client: take part in a room from a Rust program.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tertulia::client::{Event, Options, Room};
//!
//! let options = Options { name: "Ana".to_owned(), ..Options::default() };
//! let room = Room::connect("https://relay.example:4433/r/team", options).await?;
//! room.chat().send("Hello").await?;
//! while let Some(event) = room.next_event().await {
//!     if let Event::ChatMessage(message) = event {
//!         println!("{}: {}", message.from_name, message.body);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Room`] owns the connection and the tasks that serve it; dropping it ends them. [`Chat`], [`LocalTrack`] and
//! [`RemoteTrack`] are handles of it that fail or end when the session has ended.

mod address;
mod carrier;
mod chat;
mod dispatch;
mod event;
mod queue;
mod receive;
mod session;
mod tls;
mod track;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

pub use carrier::Carrier;
pub use chat::Chat;
pub use event::{ChatError, Event, RequestError};
pub use tls::Certificates;
pub use track::{LocalTrack, RemoteTrack, SendFrameError};

use crate::limits::{CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::wire::{
    ChatPosition, ClientMessage, CloseReason, Join, NameError, ParticipantId, ParticipantInfo, TrackId, TrackInfo,
    VERSION, Welcome,
};
use address::Address;
use event::Ending;
use session::Session;

/// Time between two attempts to learn whether datagrams pass.
const ECHO_INTERVAL: Duration = Duration::from_millis(100);

/// How many attempts are made.
const ECHOES_MAX: u32 = 10;

/// How to join a room.
#[derive(Debug, Clone)]
pub struct Options {
    /// The room; `None`: the one that the URL's path names.
    pub room: Option<String>,
    /// What people see: 1 to 128 bytes of UTF-8.
    pub name: String,
    /// An access token, for relays that ask for one.
    pub token: Option<String>,
    /// Whom to trust to be the relay.
    pub certificates: Certificates,
    /// Whether tracks are subscribed without asking.
    pub auto_subscribe: bool,
    /// Chat to be sent again: everything after this position that is still kept. `None`: nothing.
    pub history: Option<ChatPosition>,
}

impl Default for Options {
    /// A guest who wants to see and hear everything from now on.
    fn default() -> Self {
        Self {
            room: None,
            name: "guest".to_owned(),
            token: None,
            certificates: Certificates::default(),
            auto_subscribe: true,
            history: None,
        }
    }
}

/// Why a room was not joined.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The URL cannot be understood.
    #[error("the URL is not valid: {0}; use https://, quic://, wss:// or ws://, a host and a port")]
    Url(String),
    /// The room's name is not valid.
    #[error("the room's name is not valid: {0}; use 1 to 128 letters, digits, - and _")]
    RoomName(NameError),
    /// The host has no address.
    #[error("the host {host} was not found ({why}); check its name and the network")]
    Resolve {
        /// Its name.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// No socket could be opened on this machine.
    #[error("no UDP socket could be opened: {0}")]
    Socket(std::io::Error),
    /// The system's certificates could not be read.
    #[error(
        "the system's certificates could not be read ({0}); install ca-certificates or trust the relay by its hash"
    )]
    SystemCertificates(String),
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// No connection came about.
    #[error("{address} could not be connected to ({why}); check the address, that the relay runs, and its certificate")]
    Unreachable {
        /// The last address that was tried.
        address: SocketAddr,
        /// What went wrong.
        why: String,
    },
    /// The relay did not answer in time.
    #[error("the relay did not answer within {} s; check the address, or use wss:// where UDP is blocked", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
    /// The relay gave no seat.
    #[error("the relay refused the session ({label}): {message}", label = .reason.label())]
    Refused {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
    /// Messages pass, media datagrams do not.
    #[error("media datagrams do not pass on this network; use wss://")]
    NoDatagrams,
}

impl ConnectError {
    fn unreachable(address: SocketAddr, why: impl fmt::Display) -> Self {
        Self::Unreachable { address, why: why.to_string() }
    }
}

/// One's seat in a room.
#[derive(Debug)]
pub struct Room {
    session: Arc<Session>,
    welcome: Welcome,
    carrier: Carrier,
    /// Ends them when it is dropped.
    _tasks: JoinSet<()>,
}

impl Room {
    /// Joins a room: `https://` by WebTransport, `quic://` by plain QUIC, `wss://` and `ws://` by WebSocket.
    ///
    /// Returns when those in the room are known and, except on WebSocket, a media datagram has come back.
    ///
    /// # Errors
    /// [`ConnectError`] says what is wrong and what to do; at the latest after five seconds for the connection and the seat.
    pub async fn connect(url: &str, options: Options) -> Result<Self, ConnectError> {
        let address = Address::parse(url, &options)?;
        let carrier = address.carrier;
        let room =
            timeout(HANDSHAKE_TIMEOUT, Self::join(address, options)).await.map_err(|_| ConnectError::Timeout)??;
        if carrier != Carrier::WebSocket {
            room.prove_datagrams().await?;
        }
        Ok(room)
    }

    async fn join(address: Address, options: Options) -> Result<Self, ConnectError> {
        let refused = |Ending { reason, message }| ConnectError::Refused { reason, message };
        let mut tasks = JoinSet::new();
        let (link, reader) = carrier::connect(&address, &options.certificates, &mut tasks).await?;
        let (session, joined) = Session::new(link, options.auto_subscribe);
        let session = Arc::new(session);
        reader.start(&session, &mut tasks);
        let timekeeper = session.clone();
        tasks.spawn(async move { timekeeper.keep_time().await });
        let join = ClientMessage::Join(Join {
            version: VERSION,
            room: address.room.to_string(),
            name: options.name,
            token: options.token,
            ticket: None,
            chat_after: options.history,
            auto_subscribe: options.auto_subscribe,
        });
        // If it cannot be sent, the reader says why.
        let _ = session.tell(&join).await;
        match (joined.await, session.welcome()) {
            (Ok(()), Some(welcome)) => {
                let welcome = welcome.clone();
                Ok(Self { session, welcome, carrier: address.carrier, _tasks: tasks })
            }
            _ => Err(refused(session.ended().await)),
        }
    }

    async fn prove_datagrams(&self) -> Result<(), ConnectError> {
        for _ in 0..ECHOES_MAX {
            match timeout(ECHO_INTERVAL, self.session.echo()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Ending { reason, message })) => return Err(ConnectError::Refused { reason, message }),
                Err(_) => {}
            }
        }
        Err(ConnectError::NoDatagrams)
    }

    /// One's own id.
    pub fn participant(&self) -> ParticipantId {
        self.welcome.participant
    }

    /// The seat as the relay gave it: its limits, where the chat stands, its version.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// By what the session travels.
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// The others in the room, in the order of their ids.
    pub fn remote_participants(&self) -> Vec<ParticipantInfo> {
        self.session.state().participants.values().cloned().collect()
    }

    /// The next event; `None` after [`Event::Closed`].
    ///
    /// Up to 16,384 events and 16 MiB of them wait to be taken. When there are more, the oldest go and
    /// [`Room::events_dropped`] counts them; the relay and the other handles of the room are not held up by a reader of
    /// events that is slow or absent.
    pub async fn next_event(&self) -> Option<Event> {
        self.session.events.pop().await
    }

    /// The events as a stream; see [`Room::next_event`].
    pub fn events(&self) -> BoxStream<'_, Event> {
        unfold(self, |room| async move { room.next_event().await.map(|event| (event, room)) }).boxed()
    }

    /// How many events were lost because they were not taken in time.
    pub fn events_dropped(&self) -> u64 {
        self.session.events.dropped()
    }

    /// The chat of the room.
    pub fn chat(&self) -> Chat {
        Chat::new(self.session.clone())
    }

    /// Announces a track; media can be sent on it at once.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it or the session ended.
    pub async fn publish(&self, info: TrackInfo) -> Result<LocalTrack, RequestError> {
        let track = info.clone();
        let answer = self.session.request(|request| ClientMessage::Publish { request, track }).await?;
        let nameless = || RequestError::Closed {
            reason: CloseReason::Malformed,
            message: "the relay gave the track no number".to_owned(),
        };
        Ok(LocalTrack::new(self.session.clone(), answer.ok_or_else(nameless)?, info))
    }

    /// Asks for the media of a track.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it or the session ended.
    pub async fn subscribe(&self, track: TrackId) -> Result<RemoteTrack, RequestError> {
        let known = self.session.state().track(track).map(|(participant, info)| (participant, info.clone()));
        let (participant, info) = known.ok_or_else(|| {
            let reason = crate::wire::RefuseReason::TrackUnknown;
            RequestError::Refused { reason, message: reason.to_string() }
        })?;
        // Open before the relay knows, so that the first datagram finds it.
        let remote = RemoteTrack::open(&self.session, participant, track, info);
        self.session.request(|request| ClientMessage::Subscribe { request, track }).await?;
        Ok(remote)
    }

    /// Wants the media of a track no longer; its [`RemoteTrack`] ends.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it or the session ended.
    pub async fn unsubscribe(&self, track: TrackId) -> Result<(), RequestError> {
        self.session.receive_state().unsubscribe(track);
        self.session.request(|request| ClientMessage::Unsubscribe { request, track }).await.map(drop)
    }

    /// Whether tracks published from now on are subscribed without asking.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it or the session ended.
    pub async fn set_auto_subscribe(&self, enabled: bool) -> Result<(), RequestError> {
        let message = |request| {
            self.session.state().auto_subscribe_requests.insert(request, enabled);
            ClientMessage::SetAutoSubscribe { request, enabled }
        };
        self.session.request(message).await.map(drop)
    }

    /// Asks the publisher of a subscribed track for a keyframe. [`RemoteTrack`] does so by itself when it needs one.
    ///
    /// # Errors
    /// [`RequestError::Closed`] if the session has ended.
    pub async fn request_keyframe(&self, track: TrackId) -> Result<(), RequestError> {
        self.session.tell(&ClientMessage::RequestKeyframe { track }).await
    }

    /// The time that a message takes to the relay and back.
    ///
    /// # Errors
    /// [`RequestError::Closed`] if the session has ended.
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        let (answer, answered) = oneshot::channel();
        let token = {
            let mut state = self.session.state();
            self.session.check_open()?;
            let token = u64::from(state.next_number());
            state.pings.insert(token, answer);
            token
        };
        let sent_at = Instant::now();
        self.session.tell(&ClientMessage::Ping { token }).await?;
        answered.await.map_err(|_| self.session.ending())?;
        Ok(sent_at.elapsed())
    }

    /// Leaves the room, after what was sent has reached the relay. Takes at most about 1.5 s; the last event is
    /// [`Event::Closed`] with [`CloseReason::Left`].
    pub async fn disconnect(&self) {
        if self.session.check_open().is_err() {
            return;
        }
        let _ = timeout(CLOSE_TIMEOUT, self.drained()).await;
        let _ = self.session.tell(&ClientMessage::Leave).await;
        // The relay ends the connection when it has read all before `Leave`.
        let _ = timeout(CLOSE_TIMEOUT, self.session.ended()).await;
        self.session.fail(CloseReason::Left, CloseReason::Left.to_string());
        self.session.link.closed().await;
    }

    /// Resolves when the relay has what was sent: chat is acknowledged, datagrams come back.
    async fn drained(&self) {
        const POLL_INTERVAL: Duration = Duration::from_millis(5);
        let _ = self.session.echo().await;
        while !self.session.state().acknowledgements.is_empty() {
            sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.session.fail(CloseReason::Left, CloseReason::Left.to_string());
    }
}
