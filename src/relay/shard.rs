use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tracing::info;

use super::callbacks::{Callbacks, Closed, Failed, Opened, Said, Subject, Verdict};
use super::live_room::{Joining, LiveRoom};
use super::metrics::Metrics;
use super::outlet::{Ending, Outlet};
use crate::history::{History, Outcome};
use crate::limits::Limits;
use crate::media::Publisher;
use crate::now::Now;
use crate::room::{Input, JoinRequest, Room, SessionKey};
use crate::transport::Gate;
use crate::wire::{ClientChat, ClientMessage, CloseReason, ParticipantId, RoomName};

/// The largest number that JavaScript holds exactly; epochs are read there too.
const EPOCH_MAX: u64 = (1 << 53) - 1;

/// A whole small relay on one thread: its rooms, its history, its counters. Nothing in it is locked, and nothing in it
/// waits.
#[derive(Debug)]
pub(super) struct Shard {
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// Who comes in.
    pub gate: Arc<Gate>,
    pub history: History,
    /// Where a run of datagrams is gathered while it is passed on.
    pub run: RefCell<Vec<Bytes>>,
    /// Connections whose first message has not come yet.
    pub connections_pending: Cell<usize>,
    callbacks: Callbacks,
    rooms: RefCell<BTreeMap<RoomName, Rc<RefCell<LiveRoom>>>>,
    started: Instant,
    sessions_ever: Cell<u64>,
    stopping: watch::Sender<bool>,
}

/// Counts a connection for as long as its first message has not come.
#[derive(Debug)]
pub(super) struct Pending(Rc<Shard>);

impl Pending {
    pub fn new(shard: Rc<Shard>) -> Self {
        shard.connections_pending.set(shard.connections_pending.get() + 1);
        Self(shard)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.connections_pending.set(self.0.connections_pending.get() - 1);
    }
}

/// A request for a seat, from a session that can be reached through `outlet`.
#[derive(Debug)]
pub(super) struct SeatRequest {
    pub room: RoomName,
    pub request: JoinRequest,
    pub outlet: Rc<Outlet>,
    pub remote: SocketAddr,
}

impl Shard {
    pub fn new(
        limits: Limits,
        history: History,
        metrics: Arc<Metrics>,
        gate: Arc<Gate>,
        callbacks: Callbacks,
    ) -> Rc<Self> {
        Rc::new(Self {
            limits,
            metrics,
            gate,
            history,
            run: RefCell::default(),
            connections_pending: Cell::new(0),
            callbacks,
            rooms: RefCell::default(),
            started: Instant::now(),
            sessions_ever: Cell::new(0),
            stopping: watch::Sender::new(false),
        })
    }

    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { since_start: self.started.elapsed(), unix_ms: unix.as_millis() as u64 }
    }

    /// A moment of the shard's own clock, for timers.
    pub fn instant(&self, since_start: Duration) -> tokio::time::Instant {
        (self.started + since_start).into()
    }

    /// Seats a session in a room, which opens if nobody is in it yet.
    pub async fn join(self: &Rc<Self>, wanted: SeatRequest) -> Result<Seat, CloseReason> {
        if *self.stopping.borrow() {
            return Err(CloseReason::ShuttingDown);
        }
        let room = self.open_room(&wanted.room).await?;
        let seat = self.seat(&room, wanted);
        if seat.is_err() {
            self.close_if_empty(&room);
        }
        seat
    }

    fn seat(self: &Rc<Self>, room: &Rc<RefCell<LiveRoom>>, wanted: SeatRequest) -> Result<Seat, CloseReason> {
        let SeatRequest { room: name, request, outlet, remote } = wanted;
        let shown = request.name.as_ref().map_or("", |name| name.as_str()).to_owned();
        let subject = Subject::Participant { participant: None, name: shown, carrier: outlet.carrier(), remote };
        if self.callbacks.open(|| Opened { room: name, subject }) == Verdict::Refuse {
            return Err(CloseReason::RefusedByHost);
        }
        let session = SessionKey(self.sessions_ever.replace(self.sessions_ever.get() + 1));
        let ending = Rc::new(Ending::default());
        let joining = Joining { outlet: outlet.clone(), ending: ending.clone(), remote, seat: None };
        let (participant, slot) = room.borrow_mut().join(self, session, joining, request)?;
        self.metrics.participant_joined(outlet.carrier());
        Ok(Seat {
            shard: self.clone(),
            room: room.clone(),
            participant,
            publisher: RefCell::new(Publisher::new(slot)),
            outlet,
            ending,
            remote,
            reason: Cell::new(CloseReason::ConnectionLost),
        })
    }

    async fn open_room(self: &Rc<Self>, name: &RoomName) -> Result<Rc<RefCell<LiveRoom>>, CloseReason> {
        if let Some(room) = self.rooms.borrow().get(name) {
            return Ok(room.clone());
        }
        if self.rooms.borrow().len() >= self.limits.rooms as usize {
            return Err(CloseReason::RoomsFull);
        }
        if self.callbacks.open(|| Opened { room: name.clone(), subject: Subject::Room }) == Verdict::Refuse {
            return Err(CloseReason::RefusedByHost);
        }
        let epoch = rand::random_range(1..=EPOCH_MAX);
        let opened = self.history.open(name.clone(), epoch, self.now().unix_ms).await;
        let opened = opened.map_err(|_| CloseReason::Internal)?;
        if let Some(room) = self.rooms.borrow().get(name) {
            return Ok(room.clone());
        }
        let mut room = Room::new(name.clone(), self.limits, opened.position, &opened.notes);
        for recent in &opened.recent {
            room.remember(recent.message_id, recent.sequence, recent.sent_at_ms);
        }
        let room = LiveRoom::new(room);
        self.rooms.borrow_mut().insert(name.clone(), room.clone());
        self.metrics.rooms.inc();
        Ok(room)
    }

    fn close_if_empty(&self, room: &Rc<RefCell<LiveRoom>>) {
        let name = room.borrow().name().clone();
        if !room.borrow().is_empty() || self.rooms.borrow_mut().remove(&name).is_none() {
            return;
        }
        let notes = room.borrow().notes();
        self.history.close(&name, notes, self.now().unix_ms);
        self.metrics.rooms.dec();
        self.callbacks.close(|| Closed { room: name, subject: Subject::Room, reason: None });
    }

    /// Tells a room what came of its messages.
    pub fn stored(self: &Rc<Self>, outcome: Outcome) {
        let Outcome::Stored { room, through } = outcome else {
            return;
        };
        let room = self.rooms.borrow().get(&room).cloned();
        if let Some(room) = room {
            room.borrow_mut().handle(self, Input::Stored { through });
        }
    }

    /// Notes that a connection never became a session, or that a session failed.
    pub fn note_failure(&self, remote: SocketAddr, reason: CloseReason) {
        self.callbacks.error(Failed { remote, reason });
    }

    /// Waits until the relay stops, for sessions that have no seat yet.
    pub async fn stop_requested(&self) {
        // It is part of the shard, so it cannot be gone.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Ends every session and refuses new ones.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
        for room in self.rooms.borrow().values() {
            room.borrow().end_all(CloseReason::ShuttingDown);
        }
    }
}

/// A participant's place in its room, for as long as its session lives: dropping it leaves the room.
#[derive(Debug)]
pub(super) struct Seat {
    shard: Rc<Shard>,
    room: Rc<RefCell<LiveRoom>>,
    participant: ParticipantId,
    publisher: RefCell<Publisher>,
    pub outlet: Rc<Outlet>,
    pub ending: Rc<Ending>,
    remote: SocketAddr,
    reason: Cell<CloseReason>,
}

impl Seat {
    pub fn message(&self, message: ClientMessage) {
        self.room.borrow_mut().handle(&self.shard, Input::Message { from: self.participant, message });
    }

    pub fn chat(&self, message: ClientChat) {
        let mut room = self.room.borrow_mut();
        if let ClientChat::Send { to, body, .. } = &message {
            let from_name = room.participant_name(self.participant);
            let said = Said { room: room.name(), from: self.participant, from_name, to: *to, body };
            if self.shard.callbacks.message(said) == Verdict::Refuse {
                room.refuse_chat(self.participant, &message);
                return;
            }
        }
        room.handle(&self.shard, Input::Chat { from: self.participant, message });
    }

    /// Passes on what arrived, and empties `burst`.
    pub fn forward(&self, burst: &mut Vec<Bytes>) {
        self.room.borrow().forward(&self.shard, &mut self.publisher.borrow_mut(), burst);
    }

    /// Sends history, page by page, as fast as the other side takes it. Ends with the session.
    pub async fn feed_history(&self) -> CloseReason {
        loop {
            self.outlet.chat_drained().await;
            LiveRoom::chat_drained(&self.room, &self.shard, self.participant).await;
        }
    }

    /// Notes why the session ends, before the seat is dropped.
    pub fn note_reason(&self, reason: CloseReason) {
        self.reason.set(reason);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (participant, carrier, reason) = (self.participant, self.outlet.carrier(), self.reason.get());
        let (name, shown) = {
            let mut room = self.room.borrow_mut();
            let shown = room.participant_name(participant).to_owned();
            room.handle(&self.shard, Input::Leave { participant });
            (room.name().clone(), shown)
        };
        info!(room = %name, %participant, reason = reason.label(), "left");
        self.shard.metrics.participant_left(carrier);
        let subject =
            Subject::Participant { participant: Some(participant), name: shown, carrier, remote: self.remote };
        self.shard.callbacks.close(|| Closed { room: name, subject, reason: Some(reason) });
        self.shard.close_if_empty(&self.room);
    }
}
