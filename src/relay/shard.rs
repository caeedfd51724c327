mod answering;
mod letters;
mod rooms;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot, watch};
use tracing::error;

use super::callbacks::{Closed, Failed, Said, Subject, Verdict};
use super::common::Common;
use super::home::SharedHome;
use super::outlet::{Ending, Outlet};
use super::part::{HomePlace, Seated, SharedPart};
use super::post::{Letter, Post, RoomKey, ShardId};
use super::rosters::Rosters;
use crate::media::Slot;
use crate::now::Now;
use crate::room::{Input, JoinRequest, SessionKey};
use crate::transport::Unproved;
use crate::wire::{CloseReason, Identity, RoomName};

/// tokio's timers fire about so much too late.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// A whole small relay on one thread: the homes of its rooms, its parts of all rooms, its sessions. Nothing in it is locked, and
/// nothing in it waits. What it has in common with the other shards is in [`Common`].
#[derive(Debug)]
pub(super) struct Shard {
    pub id: ShardId,
    common: Arc<Common>,
    /// The way to all shards.
    pub post: Post,
    /// Handshakes from addresses that are not proved.
    pub unproved: Arc<Unproved>,
    /// Where a run of datagrams is gathered while it is passed on.
    pub run: RefCell<Vec<Bytes>>,
    /// How long small datagrams may wait for others, which is for as long as the shard is this busy.
    pub gather_time: Cell<Option<Duration>>,
    /// The parts in which some wait, and what is told when there is one.
    gathering: RefCell<Vec<SharedPart>>,
    gathering_began: Notify,
    /// Where what has waited is put while it is passed on.
    pub gathered: RefCell<Vec<Bytes>>,
    /// Where it is sorted by takers.
    pub by_taker: RefCell<Vec<(Slot, u32)>>,
    /// Where what has come from another shard is put while it is passed on.
    crossed: RefCell<Vec<Bytes>>,
    /// Who has not taken the roster yet.
    pub rosters: RefCell<Rosters>,
    /// The rooms that have their home here.
    homes: RefCell<BTreeMap<RoomName, SharedHome>>,
    /// The same by their keys.
    homes_by_key: RefCell<BTreeMap<RoomKey, SharedHome>>,
    /// Rooms whose history is being looked up, and what tells when that is over.
    opening: RefCell<BTreeMap<RoomName, Rc<Notify>>>,
    /// The parts of rooms that are here.
    parts: RefCell<BTreeMap<RoomKey, SharedPart>>,
    /// Sessions that wait for a seat.
    asking: RefCell<BTreeMap<SessionKey, Asking>>,
    stopping: watch::Sender<bool>,
}

/// Takes what comes of a request for a seat.
pub(super) type Answer = oneshot::Sender<Result<Seated, CloseReason>>;

/// A session that waits for a seat.
#[derive(Debug)]
pub(super) struct Asking {
    pub outlet: Rc<Outlet>,
    pub ending: Rc<Ending>,
    pub remote: SocketAddr,
    pub identity: Option<Identity>,
    pub answer: Answer,
}

/// A request for a seat, from a session that can be reached through `outlet`.
#[derive(Debug)]
pub(super) struct SeatRequest {
    pub room: RoomName,
    pub request: JoinRequest,
    pub outlet: Rc<Outlet>,
    pub remote: SocketAddr,
}

/// Counts a connection for as long as its first message has not come.
#[derive(Debug)]
pub(super) struct Pending(Rc<Shard>);

impl Pending {
    pub fn new(shard: Rc<Shard>) -> Self {
        shard.connections_pending.fetch_add(1, Ordering::Relaxed);
        Self(shard)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.connections_pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all shards have in common is each one's own to use.
impl std::ops::Deref for Shard {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl Shard {
    pub fn new(id: ShardId, common: Arc<Common>, post: Post, unproved: Arc<Unproved>) -> Rc<Self> {
        let rosters = RefCell::new(Rosters::new(common.roster_bytes.clone()));
        Rc::new(Self {
            id,
            common,
            post,
            unproved,
            run: RefCell::default(),
            gather_time: Cell::default(),
            gathering: RefCell::default(),
            gathering_began: Notify::new(),
            gathered: RefCell::default(),
            by_taker: RefCell::default(),
            crossed: RefCell::default(),
            rosters,
            homes: RefCell::default(),
            homes_by_key: RefCell::default(),
            opening: RefCell::default(),
            parts: RefCell::default(),
            asking: RefCell::default(),
            stopping: watch::Sender::new(false),
        })
    }

    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { since_start: self.started.elapsed(), unix_ms: unix.as_millis() as u64 }
    }

    /// A moment of the relay's own clock, for timers.
    pub fn instant(&self, since_start: Duration) -> tokio::time::Instant {
        (self.started + since_start).into()
    }

    /// The parts of rooms that are here.
    pub fn parts(&self) -> Vec<SharedPart> {
        self.parts.borrow().values().cloned().collect()
    }

    /// Does a part of a room's work that belongs to no session. A panic in it, as in a hosting program's callback, is counted and
    /// ends neither the other rooms nor the relay.
    pub fn guard(&self, work: &str, act: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(act)).is_err() {
            error!(work, "a room failed");
            self.metrics.session_closed(CloseReason::Internal);
        }
    }

    /// Notes that small datagrams of a part wait for others.
    pub fn note_gathering(&self, part: SharedPart) {
        self.gathering.borrow_mut().push(part);
        self.gathering_began.notify_one();
    }

    /// Sends what waits for others when it has waited long enough, for as long as it is polled.
    pub async fn send_gathered(self: Rc<Self>) {
        let mut parts = Vec::new();
        loop {
            // Who began to wait while others did has gone with them.
            while self.gathering.borrow().is_empty() {
                self.gathering_began.notified().await;
            }
            let time = self.gather_time.get().unwrap_or_default();
            tokio::time::sleep(time.saturating_sub(TIMER_STEP)).await;
            std::mem::swap(&mut parts, &mut self.gathering.borrow_mut());
            for part in parts.drain(..) {
                self.guard("gathering", || part.borrow().send_gathered(self.now(), &self));
            }
        }
    }

    /// Tells a room what happened in a part of it that is here.
    pub fn tell(self: &Rc<Self>, part: &SharedPart, input: Input) {
        let home = part.borrow().home();
        match home {
            HomePlace::Here(home) => {
                if let Some(home) = home.upgrade() {
                    self.handle(&home, input);
                }
            }
            HomePlace::On(shard) => {
                let key = part.borrow().key();
                self.post.send(shard, Letter::Input(key, Box::new(input)));
            }
        }
    }

    /// Tells a room what a part of it has to say.
    pub fn tell_said(self: &Rc<Self>, part: &SharedPart) {
        loop {
            let said = part.borrow_mut().take_said();
            let Some(said) = said else {
                return;
            };
            self.tell(part, said);
        }
    }

    /// Tells a room that somebody begins to speak in a part of it that is here.
    pub fn note_voice(self: &Rc<Self>, part: &SharedPart) {
        let home = part.borrow().home();
        match home {
            HomePlace::Here(home) => {
                if let Some(home) = home.upgrade() {
                    home.borrow_mut().note_voice(self);
                }
            }
            HomePlace::On(_) => part.borrow_mut().tell_voices(self),
        }
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

    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ends every session here and refuses new ones.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
        for part in self.parts.borrow().values() {
            part.borrow().end_all(CloseReason::ShuttingDown);
        }
    }

    /// Tells the hosting program that all is over. The seats are not given up: whoever comes back to the relay that is started
    /// next finds its own.
    pub fn note_stopped(&self) {
        self.homes_by_key.take();
        for (name, home) in self.homes.take() {
            home.borrow_mut().note_end(self);
            self.note_room_gone(name);
        }
    }

    fn note_room_gone(&self, name: RoomName) {
        self.metrics.rooms.dec();
        self.rooms_open.fetch_sub(1, Ordering::Relaxed);
        self.callbacks.close(|| Closed { room: name, subject: Subject::Room, reason: None });
    }
}
