use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until, timeout};

use super::flow::Sending;
use super::link::{Arrival, Ended, Link};
use super::pace::Pace;
use super::plan::Part;
use super::profile::{Mark, Profile};
use super::receiver::Receiver;
use super::run::{Run, Stage};
use crate::auth::Grant;
use crate::client::ConnectError;
use crate::client::carrier::quic::Endpoint;
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::now::Now;
use crate::wire::{
    ClientChat, ClientMessage, CloseReason, Datagram, Identity, Join, MessageId, RoomName, ServerChat, ServerMessage,
    StreamKind, TrackId, VERSION, Welcome, decode, encode,
};

/// Connecting and joining may take as long as the relay gives a handshake and a first message, twice: a busy one begins late.
const JOIN_TIMEOUT: Duration = Duration::from_secs(4 * HANDSHAKE_TIMEOUT.as_secs());

/// How long a token is valid that was made for a session: longer than any run.
const TOKEN_VALID_FOR: Duration = Duration::from_hours(2);

/// The number of the only request.
const REQUEST: u32 = 1;

/// One participant's seat by one connection.
pub struct Session {
    run: Arc<Run>,
    part: Part,
    link: Link,
    /// What brings it back to its seat.
    pub ticket: Vec<u8>,
    /// The relay's name and version.
    pub relay: String,
    track: Option<TrackId>,
    receivers: Vec<Receiver>,
    keyframe_wanted: bool,
}

/// Why there is no session.
#[derive(Debug)]
pub enum Failure {
    /// There is no connection.
    Connect(ConnectError),
    /// The relay, or the connection, ended it before there was a seat.
    Closed { reason: CloseReason, message: String },
    /// The track was refused.
    Track(String),
}

impl Failure {
    /// It in a word or a sentence.
    pub fn label(&self) -> String {
        match self {
            Self::Connect(ConnectError::Unreachable { why, .. }) => why.clone(),
            Self::Connect(ConnectError::Timeout { .. }) => "timeout".to_owned(),
            Self::Connect(error) => error.to_string(),
            Self::Closed { reason, .. } => reason.label().to_owned(),
            Self::Track(message) => message.clone(),
        }
    }

    /// The same as an error of the client.
    pub fn into_error(self) -> ConnectError {
        match self {
            Self::Connect(error) => error,
            Self::Closed { reason, message } => ConnectError::Refused { reason, message },
            Self::Track(message) => ConnectError::Refused { reason: CloseReason::Left, message },
        }
    }

    /// Whether trying again can help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_final(),
            Self::Closed { reason, .. } => reason.is_final(),
            Self::Track(_) => true,
        }
    }
}

impl Session {
    /// Takes a seat, that of the ticket if there is one, and publishes the track.
    pub async fn open(
        run: Arc<Run>,
        part: Part,
        endpoint: Option<Arc<Endpoint>>,
        ticket: Option<Vec<u8>>,
    ) -> Result<Self, Failure> {
        let opening = async move {
            let link = Link::connect(&run.found, endpoint).await.map_err(Failure::Connect)?;
            let receivers = vec![Receiver::default(); run.plan.publishers as usize];
            let (ticket_of_seat, relay) = (Vec::new(), String::new());
            let mut session =
                Self { run, part, link, ticket: ticket_of_seat, relay, track: None, receivers, keyframe_wanted: true };
            let welcome = session.join(ticket).await?;
            session.track = welcome.tracks.first().map(|track| track.track);
            if session.part.publisher.is_some() && session.track.is_none() {
                session.publish().await?;
            }
            (session.ticket, session.relay) = (welcome.ticket, welcome.relay);
            Ok(session)
        };
        let timeout_error = Failure::Connect(ConnectError::Timeout { seconds: JOIN_TIMEOUT.as_secs() });
        timeout(JOIN_TIMEOUT, opening).await.unwrap_or(Err(timeout_error))
    }

    async fn join(&mut self, ticket: Option<Vec<u8>>) -> Result<Welcome, Failure> {
        let run = &self.run;
        let room = run.room(self.part.room);
        let token = run.target.key.as_ref().map(|key| {
            let identity = Identity::parse(&format!("load-{:08x}-{}", run.number, self.part.number));
            let grant = Grant::everyone(RoomName::parse(&room).expect("it is digits and dashes"));
            key.mint(&identity.expect("it is digits and dashes"), &grant, now(), TOKEN_VALID_FOR)
        });
        // Publishers that do not receive need not subscribe.
        let auto_subscribe = self.part.publisher.is_none() || run.plan.profile.publishers_receive();
        let name = format!("load {}", self.part.number);
        let join = Join { version: VERSION, room, name, token, ticket, chat_after: None, auto_subscribe };
        self.link.send(StreamKind::Control, &encode(&ClientMessage::Join(join))).await;
        loop {
            if let ServerMessage::Welcome(welcome) = self.hear().await? {
                return Ok(welcome);
            }
        }
    }

    async fn publish(&mut self) -> Result<(), Failure> {
        let Some(track) = self.run.plan.profile.track() else {
            return Ok(());
        };
        let publish = ClientMessage::Publish { request: REQUEST, track };
        self.link.send(StreamKind::Control, &encode(&publish)).await;
        loop {
            match self.hear().await? {
                ServerMessage::Published { track, .. } => {
                    self.track = Some(track);
                    return Ok(());
                }
                ServerMessage::Failed { message, .. } => return Err(Failure::Track(message)),
                _ => {}
            }
        }
    }

    /// The next control message; what else arrives before there is a seat and a track is passed over.
    async fn hear(&mut self) -> Result<ServerMessage, Failure> {
        loop {
            let closed = |reason: CloseReason| Failure::Closed { reason, message: reason.to_string() };
            let arrival = self.link.next().await.map_err(|Ended(reason)| closed(reason))?;
            let Arrival::Control(message) = arrival else {
                continue;
            };
            match decode(&message) {
                Ok(ServerMessage::Closing { reason, message }) => return Err(Failure::Closed { reason, message }),
                Ok(message) => return Ok(message),
                Err(_) => return Err(closed(CloseReason::Malformed)),
            }
        }
    }

    /// Sends what its publisher is due and counts what arrives, until the run is over or the session is.
    pub async fn take_part(&mut self, pace: &mut Option<Pace>) -> Result<(), Ended> {
        let run = self.run.clone();
        let mut stage = run.stage.clone();
        loop {
            let now = *stage.borrow_and_update();
            if now.is_over {
                return Ok(());
            }
            let due_at = run.due_at(&self.part, pace);
            let due = async {
                match due_at {
                    Some(due_at) => sleep_until(Instant::from_std(run.begun + due_at)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => self.send(now, pace).await,
                arrival = self.link.next() => self.take(arrival?)?,
                // Without a change there is nobody left who could make one.
                changed = stage.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    async fn send(&mut self, stage: Stage, pace: &mut Option<Pace>) {
        let run = self.run.clone();
        let (Some(times), Some(pace), Some(publisher)) = (stage.times, pace, self.part.publisher) else {
            return;
        };
        let mark = Mark { run: run.number, publisher };
        while let Some((due_at, counts)) = pace.take(times, run.now()) {
            let number = run.tally.send(publisher, Sending { due_at, now: run.now(), counts });
            if run.plan.profile == Profile::Chat {
                let message_id = MessageId(mark.message_id(number));
                let message = ClientChat::Send { message_id, to: None, body: Profile::text() };
                self.link.send(StreamKind::Chat, &encode(&message)).await;
            } else if let Some(track) = self.track {
                let keyframe_wanted = std::mem::take(&mut self.keyframe_wanted);
                self.link.send_datagrams(run.plan.profile.datagrams(mark, track, number, keyframe_wanted)).await;
            }
        }
    }

    fn take(&mut self, arrival: Arrival) -> Result<(), Ended> {
        match arrival {
            Arrival::Datagram(bytes) => {
                if let Ok(datagram) = Datagram::decode(bytes)
                    && let Some(mark) = Mark::read(&datagram.payload())
                {
                    self.count(mark, datagram.header.frame, u32::from(datagram.header.fragment_count));
                }
            }
            Arrival::Chat(message) => {
                if let Ok(ServerChat::Message(message)) = decode(&message)
                    && let Some(mark) = Mark::read(&message.message_id.0)
                {
                    self.count(mark, Mark::number_of(message.message_id.0), 1);
                }
            }
            Arrival::Control(message) => match decode(&message) {
                Ok(ServerMessage::Closing { reason, .. }) => return Err(Ended(reason)),
                Ok(ServerMessage::KeyframeRequested { .. }) => self.keyframe_wanted = true,
                _ => {}
            },
        }
        Ok(())
    }

    fn count(&mut self, mark: Mark, frame: u32, fragments: u32) {
        if mark.run != self.run.number {
            return;
        }
        let publishers = self.run.plan.publishers.max(1);
        if mark.publisher / publishers != self.part.room {
            return self.run.tally.stray();
        }
        let receiver = &mut self.receivers[(mark.publisher % publishers) as usize];
        let is_whole = receiver.receive(frame, fragments);
        let took = self.run.tally.receive(mark.publisher, frame, is_whole, self.run.now());
        if let Some(took) = took.filter(|_| is_whole) {
            receiver.took(took);
        }
    }

    /// Says goodbye.
    pub async fn leave(&mut self) {
        self.link.send(StreamKind::Control, &encode(&ClientMessage::Leave)).await;
        self.link.close().await;
    }
}

impl Drop for Session {
    /// How its media varied is known when no more comes.
    fn drop(&mut self) {
        self.receivers.iter().filter_map(Receiver::jitter).for_each(|jitter| self.run.tally.vary(jitter));
    }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { since_start: Duration::ZERO, unix_ms: unix.as_millis() as u64 }
}
