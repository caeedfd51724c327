use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::callbacks::{Callbacks, Closed, Failed, Opened, Said, Subject, Verdict};
use super::key_store::KeyStore;
use super::live_room::{Joining, LiveRoom};
use super::metrics::Metrics;
use super::outlet::{Ending, Outlet};
use super::rosters::Rosters;
use super::seat::Seat;
use crate::auth::TicketKey;
use crate::history::{History, Outcome};
use crate::limits::{EPOCH_MAX, Limits, SESSIONS_TOLD_MAX};
use crate::media::PictureBudget;
use crate::now::Now;
use crate::room::{Input, JoinRequest, Room, SessionKey};
use crate::transport::{Gate, Unproved};
use crate::wire::{CloseReason, RoomName};

/// A room with its connections, shared by the sessions of those in it.
pub(super) type SharedRoom = Rc<RefCell<LiveRoom>>;

/// A whole small relay on one thread: its rooms, its counters, its way to the history. Nothing in it is locked, and nothing
/// in it waits.
#[derive(Debug)]
pub(super) struct Shard {
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// Who comes in.
    pub gate: Arc<Gate>,
    /// Handshakes from addresses that are not proved.
    pub unproved: Arc<Unproved>,
    /// What tokens are checked with.
    pub keys: Arc<KeyStore>,
    /// What tickets are sealed with.
    pub tickets: TicketKey,
    /// Whether plain WebSocket clients come in without a token all the same.
    pub open_to_plain: bool,
    pub history: History,
    /// Where a run of datagrams is gathered while it is passed on.
    pub run: RefCell<Vec<Bytes>>,
    /// Who has not taken the roster yet.
    pub rosters: RefCell<Rosters>,
    /// What all rooms may keep of recent pictures.
    pictures: PictureBudget,
    /// Connections whose first message has not come yet.
    pub connections_pending: Cell<usize>,
    callbacks: Callbacks,
    rooms: RefCell<BTreeMap<RoomName, SharedRoom>>,
    /// Rooms whose history is being looked up, and what tells when that is over.
    opening: RefCell<BTreeMap<RoomName, Rc<Notify>>>,
    started: Instant,
    sessions_ever: Cell<u64>,
    stopping: watch::Sender<bool>,
}

/// What a shard is made of.
#[derive(Debug)]
pub(super) struct ShardParts {
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    pub gate: Arc<Gate>,
    pub keys: Arc<KeyStore>,
    pub tickets: TicketKey,
    pub open_to_plain: bool,
    pub history: History,
    pub callbacks: Callbacks,
    pub unproved: Arc<Unproved>,
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

/// Keeps others from looking up the history of the same room; they are told when it is over, however it ends.
struct Opening<'a> {
    shard: &'a Shard,
    room: &'a RoomName,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(over) = self.shard.opening.borrow_mut().remove(self.room) {
            over.notify_waiters();
        }
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
    pub fn new(parts: ShardParts) -> Rc<Self> {
        let ShardParts { limits, metrics, gate, keys, tickets, open_to_plain, history, callbacks, unproved } = parts;
        Rc::new(Self {
            limits,
            metrics,
            gate,
            unproved,
            keys,
            tickets,
            open_to_plain,
            history,
            run: RefCell::default(),
            rosters: RefCell::default(),
            pictures: PictureBudget::default(),
            connections_pending: Cell::new(0),
            callbacks,
            rooms: RefCell::default(),
            opening: RefCell::default(),
            started: Instant::now(),
            sessions_ever: Cell::new(0),
            stopping: watch::Sender::new(false),
        })
    }

    /// The rooms with someone in them.
    pub fn rooms(&self) -> Vec<SharedRoom> {
        self.rooms.borrow().values().cloned().collect()
    }

    /// How sessions do, as JSON: of one room or of all, the first ones if they are many.
    pub fn sessions_json(&self, room: Option<&RoomName>) -> String {
        let mut sessions = Vec::new();
        for live in self.rooms() {
            let live = live.borrow();
            if room.is_none_or(|room| room == live.name()) {
                sessions.extend(live.sessions().take(SESSIONS_TOLD_MAX - sessions.len()));
            }
        }
        // Numbers, text and nothing else: it can be written.
        serde_json::to_string(&sessions).unwrap_or_default()
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
        let room = self.open_room(&wanted.room).await?;
        if *self.stopping.borrow() {
            return Err(CloseReason::ShuttingDown);
        }
        let seat = self.seat(&room, wanted);
        if seat.is_err() {
            self.close_if_empty(&room);
        }
        seat
    }

    fn seat(self: &Rc<Self>, room: &SharedRoom, wanted: SeatRequest) -> Result<Seat, CloseReason> {
        let SeatRequest { room: name, request, outlet, remote } = wanted;
        let shown = request.grant.name.as_ref().or(request.name.as_ref());
        let identity = request.grant.identity.clone();
        let subject = Subject::Participant {
            participant: None,
            name: shown.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            identity: identity.clone(),
            carrier: outlet.carrier(),
            remote,
        };
        if self.callbacks.open(|| Opened { room: name, subject }) == Verdict::Refuse {
            return Err(CloseReason::RefusedByHost);
        }
        let session = SessionKey(self.sessions_ever.replace(self.sessions_ever.get() + 1));
        let ending = Rc::new(Ending::default());
        let joining = Joining { outlet: outlet.clone(), ending: ending.clone(), remote, identity, seat: None };
        let (participant, slot) = room.borrow_mut().join(self, session, joining, request)?;
        Ok(Seat::new(self.clone(), room.clone(), (participant, session), slot, outlet, ending))
    }

    async fn open_room(self: &Rc<Self>, name: &RoomName) -> Result<SharedRoom, CloseReason> {
        loop {
            if let Some(room) = self.rooms.borrow().get(name) {
                return Ok(room.clone());
            }
            let Some(over) = self.opening.borrow().get(name).cloned() else {
                break;
            };
            over.notified().await;
        }
        if self.is_full() {
            self.give_up_unattended();
        }
        if self.is_full() {
            return Err(CloseReason::RoomsFull);
        }
        if self.callbacks.open(|| Opened { room: name.clone(), subject: Subject::Room }) == Verdict::Refuse {
            return Err(CloseReason::RefusedByHost);
        }
        self.opening.borrow_mut().insert(name.clone(), Rc::default());
        let _opening = Opening { shard: self, room: name };
        let room = LiveRoom::new(self.recall(name).await?, self.pictures.clone());
        self.rooms.borrow_mut().insert(name.clone(), room.clone());
        self.metrics.rooms.inc();
        Ok(room)
    }

    fn is_full(&self) -> bool {
        self.rooms.borrow().len() + self.opening.borrow().len() >= self.limits.rooms as usize
    }

    /// Gives up the room in which nobody can be reached and a seat ends next: it makes place for one in which someone is.
    fn give_up_unattended(self: &Rc<Self>) {
        let is_unattended = |room: &&SharedRoom| !room.borrow().room().is_attended();
        let rooms = self.rooms.borrow();
        let first =
            rooms.values().filter(is_unattended).min_by_key(|room| room.borrow().room().next_timeout()).cloned();
        drop(rooms);
        if let Some(room) = first {
            self.handle(&room, Input::PlaceWanted);
        }
    }

    /// A room as the history knows it.
    async fn recall(&self, name: &RoomName) -> Result<Room, CloseReason> {
        let epoch = rand::random_range(1..=EPOCH_MAX);
        let unavailable = |error| {
            warn!(room = %name, %error, "a room cannot be opened");
            CloseReason::HistoryUnavailable
        };
        let opened = self.history.open(name.clone(), epoch, self.now().unix_ms).await.map_err(unavailable)?;
        let mut room = Room::new(name.clone(), self.limits, opened.position, opened.notes);
        for recent in &opened.recent {
            room.remember(recent.message_id, recent.sequence, recent.sent_at_ms);
        }
        // Before anyone gets an id or a ticket: both have to be good after a crash.
        let epoch = self.history.reserve(name, room.reserve_ids()).await.map_err(unavailable)?;
        room.begin_epoch(epoch);
        Ok(room)
    }

    /// Tells a room what happened.
    pub fn handle(self: &Rc<Self>, room: &SharedRoom, input: Input) {
        room.borrow_mut().handle(self, input);
        self.close_if_empty(room);
    }

    pub fn close_if_empty(&self, room: &SharedRoom) {
        if !room.borrow().room().is_empty() {
            return;
        }
        let name = room.borrow().name().clone();
        // One of the same name may have been opened since this one was closed.
        if !self.rooms.borrow().get(&name).is_some_and(|open| Rc::ptr_eq(open, room)) {
            return;
        }
        self.rooms.borrow_mut().remove(&name);
        let now = self.now();
        self.history.close(&name, room.borrow().room().closing_notes(now), now.unix_ms);
        self.metrics.rooms.dec();
        self.callbacks.close(|| Closed { room: name, subject: Subject::Room, reason: None });
    }

    /// Does a part of a room's work that belongs to no session. A panic in it, as in a hosting program's callback, is counted and
    /// ends neither the other rooms nor the relay.
    pub fn guard(&self, work: &str, act: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(act)).is_err() {
            error!(work, "a room failed");
            self.metrics.session_closed(CloseReason::Internal);
        }
    }

    /// Tells a room what came of its messages.
    pub fn note_outcome(self: &Rc<Self>, outcome: Outcome) {
        let (name, input) = match outcome {
            Outcome::Stored { room, through } => (room, Input::Stored { through }),
            Outcome::NotStored { room, from, problem } => {
                warn!(%room, from, %problem, "chat could not be kept");
                self.metrics.chat_failures.inc();
                (room, Input::NotStored { from })
            }
        };
        let Some(room) = self.rooms.borrow().get(&name).cloned() else {
            return;
        };
        let before = room.borrow().room().chat_position().sequence;
        self.handle(&room, input);
        self.metrics.chat_messages.inc_by(room.borrow().room().chat_position().sequence - before);
    }

    /// Asks the hosting program whether something may be said.
    pub fn may_say(&self, said: Said<'_>) -> bool {
        self.callbacks.message(said) == Verdict::Accept
    }

    /// Notes that a participant's seat was given up.
    pub fn note_left(&self, room: &RoomName, subject: Subject, reason: CloseReason) {
        self.callbacks.close(|| Closed { room: room.clone(), subject, reason: Some(reason) });
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

    /// Tells the hosting program that all is over. The seats are not given up: whoever comes back to the relay that is started
    /// next finds its own.
    pub fn note_stopped(&self) {
        for (name, room) in std::mem::take(&mut *self.rooms.borrow_mut()) {
            room.borrow_mut().note_end(self);
            self.metrics.rooms.dec();
            self.callbacks.close(|| Closed { room: name, subject: Subject::Room, reason: None });
        }
    }
}
