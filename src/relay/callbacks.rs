use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::transport::Carrier;
use crate::wire::{CloseReason, Identity, ParticipantId, RoomName};

/// What a program that hosts a relay says to something that is about to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it happen.
    Accept,
    /// Do not; the other side learns [`CloseReason::RefusedByHost`] or
    /// [`RefuseReason::RefusedByHost`](crate::wire::RefuseReason::RefusedByHost).
    Refuse,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The room itself.
    Room,
    /// Someone in it.
    Participant {
        /// Given by the relay once the seat is taken.
        participant: Option<ParticipantId>,
        /// What people see.
        name: String,
        /// Who it is, as its token says.
        identity: Option<Identity>,
        /// How the participant is connected.
        carrier: Carrier,
        /// From where.
        remote: SocketAddr,
    },
}

/// A room opens, or someone wants to enter it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Which room.
    pub room: RoomName,
    /// The room, or who wants to enter.
    pub subject: Subject,
}

/// Someone says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'a> {
    /// In which room.
    pub room: &'a RoomName,
    /// Who.
    pub from: ParticipantId,
    /// What they are called.
    pub from_name: &'a str,
    /// To whom; `None`: to everyone.
    pub to: Option<ParticipantId>,
    /// What.
    pub body: &'a str,
}

/// Someone's seat was given up, or a room is empty and gone. A session that breaks keeps its seat for a while; that is not
/// told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Which room.
    pub room: RoomName,
    /// The room, or who left it.
    pub subject: Subject,
    /// Why a participant left.
    pub reason: Option<CloseReason>,
}

/// A session ended because something went wrong, or never came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// From where.
    pub remote: SocketAddr,
    /// Why.
    pub reason: CloseReason,
}

/// In a lock, since shards share it: it runs for one event at a time.
type Callback<E, R> = Mutex<Box<dyn Fn(E) -> R + Send>>;
type SaidCallback = Mutex<Box<dyn Fn(Said<'_>) -> Verdict + Send>>;

/// The four events that server libraries in other languages offer, for rooms and participants. They run on the relay's
/// threads, each for one event at a time: one that blocks holds up every meeting.
#[derive(Default)]
pub struct Callbacks {
    open: Option<Callback<Opened, Verdict>>,
    message: Option<SaidCallback>,
    close: Option<Callback<Closed, ()>>,
    error: Option<Callback<Failed, ()>>,
}

impl Callbacks {
    /// Asked before a room opens and before someone takes a seat.
    #[must_use]
    pub fn on_open(mut self, callback: impl Fn(Opened) -> Verdict + Send + 'static) -> Self {
        self.open = Some(Mutex::new(Box::new(callback)));
        self
    }

    /// Asked before a chat message is taken.
    #[must_use]
    pub fn on_message(mut self, callback: impl Fn(Said<'_>) -> Verdict + Send + 'static) -> Self {
        self.message = Some(Mutex::new(Box::new(callback)));
        self
    }

    /// Told after someone left and after a room is gone.
    #[must_use]
    pub fn on_close(mut self, callback: impl Fn(Closed) + Send + 'static) -> Self {
        self.close = Some(Mutex::new(Box::new(callback)));
        self
    }

    /// Told when a session fails.
    #[must_use]
    pub fn on_error(mut self, callback: impl Fn(Failed) + Send + 'static) -> Self {
        self.error = Some(Mutex::new(Box::new(callback)));
        self
    }

    pub(super) fn open(&self, event: impl FnOnce() -> Opened) -> Verdict {
        self.open.as_ref().map_or(Verdict::Accept, |callback| call(callback)(event()))
    }

    pub(super) fn message(&self, event: Said<'_>) -> Verdict {
        self.message.as_ref().map_or(Verdict::Accept, |callback| call(callback)(event))
    }

    pub(super) fn close(&self, event: impl FnOnce() -> Closed) {
        if let Some(callback) = &self.close {
            call(callback)(event());
        }
    }

    pub(super) fn error(&self, event: Failed) {
        if let Some(callback) = &self.error {
            call(callback)(event);
        }
    }
}

/// One that panicked may be called again: what it did is the hosting program's own.
fn call<T>(callback: &Mutex<T>) -> MutexGuard<'_, T> {
    callback.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [self.open.is_some(), self.message.is_some(), self.close.is_some(), self.error.is_some()];
        f.debug_struct("Callbacks").field("open, message, close, error", &set).finish()
    }
}
