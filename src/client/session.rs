use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::carrier::{Carrier, Link};
use super::event::{Ending, RequestError};
use super::publication::Publication;
use super::restore::Restore;
use super::seat::Seat;
use crate::media::Frame;
use crate::wire::{
    ChatPosition, ClientMessage, CloseReason, Datagram, Measurements, ParticipantInfo, RepeatRequest, StreamKind,
    TrackId, Welcome, encode,
};

/// One connection's life: what is asked on it and not answered yet. Who asks again on the next one is the [`Seat`]'s
/// affair.
#[derive(Debug)]
pub(super) struct Session {
    pub link: Link,
    pub carrier: Carrier,
    pub seat: Arc<Seat>,
    /// The chat that it asked for.
    pub asked: Option<ChatPosition>,
    stage: watch::Sender<Stage>,
    ending: watch::Sender<Option<Ending>>,
    /// Whether nothing comes from the relay at the moment that should.
    silent: watch::Sender<bool>,
    /// Whether another session of the same room is about to take its place.
    superseded: AtomicBool,
    arrival: Mutex<Arrival>,
    pending: Mutex<Pending>,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The relay has not said yet who is in the room.
    Joining,
    /// The seat is taken.
    Seated,
    /// All chat that was asked for has come.
    Live,
}

/// What the relay says of a room before it can be looked at.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    pub welcome: Option<Welcome>,
    pub roster: Vec<ParticipantInfo>,
    /// What the relay has to be told again, once.
    pub restore: Vec<Restore>,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Pending {
    numbers: u32,
    pub requests: BTreeMap<u32, Request>,
    pub pings: BTreeMap<u64, oneshot::Sender<()>>,
    echoes: BTreeMap<u32, oneshot::Sender<()>>,
}

/// A request that was not answered yet.
#[derive(Debug)]
pub(super) struct Request {
    pub answer: oneshot::Sender<Result<Answer, RequestError>>,
    pub effect: Effect,
}

/// What the relay says to a request that it grants.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Published(TrackId),
    Measurements(Measurements),
}

/// What the success of a request changes. It does so when the answer comes, not when the asking task wakes up: the next
/// message may depend on it.
#[derive(Debug)]
pub(super) enum Effect {
    None,
    AutoSubscribe(bool),
    Announce(Weak<Publication>),
}

impl Pending {
    /// A number that was not used before.
    pub(super) fn next_number(&mut self) -> u32 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }
}

impl Session {
    /// A session before its `Join`.
    pub fn new(link: Link, carrier: Carrier, seat: Arc<Seat>, asked: Option<ChatPosition>) -> Arc<Self> {
        Arc::new(Self {
            link,
            carrier,
            seat,
            asked,
            stage: watch::Sender::new(Stage::Joining),
            ending: watch::Sender::new(None),
            silent: watch::Sender::new(false),
            superseded: AtomicBool::new(false),
            arrival: Mutex::default(),
            pending: Mutex::default(),
        })
    }

    pub fn arrival(&self) -> MutexGuard<'_, Arrival> {
        self.arrival.lock().expect("nothing panics while it holds the arrival")
    }

    pub fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nothing panics while it holds who waits")
    }

    pub fn is(&self, stage: Stage) -> bool {
        *self.stage.borrow() >= stage
    }

    /// Notes how far the session has come.
    pub fn reach(&self, stage: Stage) {
        self.stage.send_if_modified(|reached| {
            let is_news = *reached < stage;
            *reached = stage.max(*reached);
            is_news
        });
    }

    /// Resolves when the session has come so far.
    pub async fn reached(&self, stage: Stage) {
        // The sender is here, so it cannot be gone.
        let _ = self.stage.subscribe().wait_for(|reached| *reached >= stage).await;
    }

    /// Sends a message on the control stream.
    pub async fn tell(&self, message: &ClientMessage) -> Result<(), RequestError> {
        let sent = self.link.send(StreamKind::Control, &encode(message)).await;
        sent.map_err(|_| self.broken())
    }

    /// Sends a message with a number on the control stream and waits for its answer.
    pub async fn request(
        &self,
        effect: Effect,
        message: impl FnOnce(u32) -> ClientMessage,
    ) -> Result<Answer, RequestError> {
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut pending = self.pending();
            self.check_open()?;
            let number = pending.next_number();
            pending.requests.insert(number, Request { answer, effect });
            number
        };
        self.tell(&message(number)).await?;
        answered.await.unwrap_or_else(|_| Err(self.broken()))
    }

    /// Asks for a pong, and resolves when it comes.
    pub async fn ping(&self) -> Result<(), RequestError> {
        let (answer, answered) = oneshot::channel();
        let token = {
            let mut pending = self.pending();
            self.check_open()?;
            let token = u64::from(pending.next_number());
            pending.pings.insert(token, answer);
            token
        };
        self.tell(&ClientMessage::Ping { token }).await?;
        answered.await.map_err(|_| self.broken())
    }

    /// Asks for an echo of a datagram, and resolves when it comes.
    pub async fn echo(&self) -> Result<(), RequestError> {
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut pending = self.pending();
            self.check_open()?;
            let number = pending.next_number();
            pending.echoes.insert(number, answer);
            number
        };
        let frame = Frame { number, ..Frame::default() };
        let datagrams = frame.datagrams(TrackId::ECHO).expect("one byte is a frame");
        for datagram in datagrams {
            self.link.send_datagram(datagram.bytes).await.map_err(|_| self.broken())?;
        }
        answered.await.map_err(|_| self.broken())
    }

    /// Takes what arrived as datagrams; what is none is passed over.
    pub fn receive_datagrams(&self, datagrams: impl IntoIterator<Item = Bytes>) {
        // Before that, nobody knows which tracks there are.
        if !self.is(Stage::Seated) {
            return;
        }
        // Answered first: whoever locks the tracks that come must not lock the room after it.
        let (requests, datagrams): (Vec<_>, Vec<_>) =
            datagrams.into_iter().partition(|bytes| RepeatRequest::is_one(bytes));
        requests.iter().filter_map(|bytes| RepeatRequest::decode(bytes).ok()).for_each(|request| self.repeat(&request));
        let datagrams = datagrams.into_iter().filter_map(|bytes| Datagram::decode(bytes).ok());
        let is_media = |datagram: &Datagram| {
            let is_echo = datagram.header.track == TrackId::ECHO;
            if is_echo && let Some(waiting) = self.pending().echoes.remove(&datagram.header.frame) {
                let _ = waiting.send(());
            }
            !is_echo
        };
        self.seat.receive_media(datagrams.filter(is_media));
    }

    /// Sends once more what the relay asks for, as far as it is still of use and there is room for it.
    fn repeat(&self, request: &RepeatRequest) {
        let publication = self.seat.state().publications.find(request.track);
        let Some(publication) = publication.filter(|_| self.seat.repair) else {
            return;
        };
        for kept in publication.recent().find(self.seat.now(), request) {
            self.link.try_send_datagram(kept.bytes.clone());
        }
    }

    /// Ends the session: everyone who waits for something on it learns why. Only the first call counts.
    pub fn end(self: &Arc<Self>, reason: CloseReason, message: String) {
        let ending = Ending { reason, message };
        let is_first = self.ending.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(ending);
            is_first
        });
        if !is_first {
            return;
        }
        self.link.close(reason);
        self.seat.session_ended(self);
        let mut pending = self.pending();
        // Their other halves learn it from `ending`.
        pending.requests.clear();
        pending.pings.clear();
        pending.echoes.clear();
    }

    /// How the session ended. One whose writer is gone has, even if its reader has not said why yet.
    pub fn ending(&self) -> Ending {
        self.ending.borrow().clone().unwrap_or_else(|| Ending::from(CloseReason::ConnectionLost))
    }

    /// Resolves when the session has ended.
    pub async fn ended(&self) -> Ending {
        let mut ending = self.ending.subscribe();
        let _ = ending.wait_for(Option::is_some).await;
        self.ending()
    }

    /// Notes whether nothing comes from the relay at the moment that should.
    pub fn note_silence(&self, is_silent: bool) {
        self.silent.send_if_modified(|silent| std::mem::replace(silent, is_silent) != is_silent);
    }

    /// Resolves when the silence is as said.
    pub async fn silent(&self, is_silent: bool) {
        // The sender is here, so it cannot be gone.
        let _ = self.silent.subscribe().wait_for(|silent| *silent == is_silent).await;
    }

    /// Whether the session goes on.
    pub fn check_open(&self) -> Result<(), RequestError> {
        let is_open = self.ending.borrow().is_none();
        if is_open { Ok(()) } else { Err(self.broken()) }
    }

    /// Another session is about to take the place of this one, or will not after all.
    pub fn supersede(&self, superseded: bool) {
        self.superseded.store(superseded, Ordering::Relaxed);
    }

    /// Whether the room is lost with this session, should it have ended like this.
    pub fn is_last(&self, ending: &Ending) -> bool {
        let is_ours = ending.reason == CloseReason::Replaced && self.superseded.load(Ordering::Relaxed);
        !is_ours && self.seat.ends_with(ending.reason)
    }

    /// What those learn who asked for something on a session that has ended.
    fn broken(&self) -> RequestError {
        let ending = self.ending();
        match self.is_last(&ending) {
            true => ending.into(),
            false => RequestError::Interrupted,
        }
    }
}
