//! Rooms that have their home on this shard: opened from the history, closed when nobody has a seat in them.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::Shard;
use crate::history::{History, Outcome};
use crate::limits::EPOCH_MAX;
use crate::relay::callbacks::{Opened, Subject, Verdict};
use crate::relay::common::Common;
use crate::relay::home::{Home, SharedHome};
use crate::relay::post::{Letter, RoomKey};
use crate::room::{Input, Room};
use crate::wire::{CloseReason, RoomName};

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

/// A place for a room, given back unless the room is opened.
struct RoomPlace<'a> {
    common: &'a Common,
    is_used: bool,
}

impl Drop for RoomPlace<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.common.rooms_open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A room that is being recalled from the history, which is told if nobody waits for it any more.
struct Recalling<'a> {
    history: &'a History,
    room: &'a RoomName,
    is_over: bool,
}

impl Drop for Recalling<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.history.abandon(self.room);
        }
    }
}

impl Shard {
    /// The room of this name, which opens if nobody is in it yet.
    pub(super) async fn open_room(self: &Rc<Self>, name: &RoomName) -> Result<SharedHome, CloseReason> {
        loop {
            if let Some(home) = self.homes.borrow().get(name) {
                return Ok(home.clone());
            }
            let Some(over) = self.opening.borrow().get(name).cloned() else {
                break;
            };
            over.notified().await;
        }
        self.opening.borrow_mut().insert(name.clone(), Rc::default());
        let _opening = Opening { shard: self, room: name };
        self.take_place().await?;
        let mut place = RoomPlace { common: &self.common, is_used: false };
        if self.callbacks.open(|| Opened { room: name.clone(), subject: Subject::Room }) == Verdict::Refuse {
            return Err(CloseReason::RefusedByHost);
        }
        let home = Home::new(RoomKey(self.next_key()), self.recall(name).await?);
        place.is_used = true;
        self.homes_by_key.borrow_mut().insert(home.borrow().key(), home.clone());
        self.homes.borrow_mut().insert(name.clone(), home.clone());
        self.metrics.rooms.inc();
        Ok(home)
    }

    /// Takes a place for another room. Where there is none, a room in which nobody can be reached makes place, on this shard first.
    async fn take_place(self: &Rc<Self>) -> Result<(), CloseReason> {
        if self.take_room_place() {
            return Ok(());
        }
        self.give_up_unattended();
        for other in self.post.shards().filter(|other| *other != self.id) {
            if self.take_room_place() {
                return Ok(());
            }
            let (given_up, answer) = oneshot::channel();
            self.post.send(other, Letter::PlaceWanted(given_up));
            // An error means that the relay is stopping.
            let _ = answer.await;
        }
        if self.take_room_place() { Ok(()) } else { Err(CloseReason::RoomsFull) }
    }

    /// Gives up the room in which nobody can be reached and a seat ends next: it makes place for one in which someone is.
    pub(super) fn give_up_unattended(self: &Rc<Self>) {
        let is_unattended = |home: &&SharedHome| !home.borrow().room().is_attended();
        let homes = self.homes.borrow();
        let first =
            homes.values().filter(is_unattended).min_by_key(|home| home.borrow().room().next_timeout()).cloned();
        drop(homes);
        if let Some(home) = first {
            self.handle(&home, Input::PlaceWanted);
        }
    }

    /// A room as the history knows it.
    async fn recall(&self, name: &RoomName) -> Result<Room, CloseReason> {
        let epoch = rand::random_range(1..=EPOCH_MAX);
        let unavailable = |error| {
            warn!(room = %name, %error, "a room cannot be opened");
            CloseReason::HistoryUnavailable
        };
        let mut recalling = Recalling { history: &self.history, room: name, is_over: false };
        let opened = self.history.open(name.clone(), epoch, self.now().unix_ms).await.map_err(unavailable)?;
        let mut room = Room::new(name.clone(), self.limits, opened.position, opened.notes);
        for recent in &opened.recent {
            room.remember(recent.message_id, recent.sequence, recent.sent_at_ms);
        }
        // Before anyone gets an id or a ticket: both have to be good after a crash.
        let epoch = self.history.reserve(name, room.reserve_ids()).await.map_err(unavailable)?;
        room.begin_epoch(epoch);
        recalling.is_over = true;
        Ok(room)
    }

    /// Tells a room that has its home here what happened.
    pub fn handle(self: &Rc<Self>, home: &SharedHome, input: Input) {
        home.borrow_mut().handle(self, input);
        self.close_if_empty(home);
    }

    pub(super) fn close_if_empty(&self, home: &SharedHome) {
        if !home.borrow().room().is_empty() {
            return;
        }
        let (name, key) = (home.borrow().name().clone(), home.borrow().key());
        if self.homes_by_key.borrow_mut().remove(&key).is_none() {
            return;
        }
        self.homes.borrow_mut().remove(&name);
        home.borrow_mut().close(self);
        let now = self.now();
        self.history.close(&name, home.borrow().room().closing_notes(now), now.unix_ms);
        self.note_room_gone(name);
    }

    /// Takes what came of chat to the home of its room.
    pub fn take_outcome(self: &Rc<Self>, outcome: Outcome) {
        let (Outcome::Stored { room, .. } | Outcome::NotStored { room, .. }) = &outcome;
        let home = self.home_of(room);
        if home == self.id {
            self.note_outcome(outcome);
        } else {
            self.post.send(home, Letter::Outcome(outcome));
        }
    }

    /// Tells a room what came of its messages.
    fn note_outcome(self: &Rc<Self>, outcome: Outcome) {
        let (name, input) = match outcome {
            Outcome::Stored { room, through } => (room, Input::Stored { through }),
            Outcome::NotStored { room, from, problem } => {
                // The history says it once for all of them.
                debug!(%room, from, %problem, "chat could not be kept");
                self.metrics.chat_failures.inc();
                (room, Input::NotStored { from })
            }
        };
        let Some(home) = self.homes.borrow().get(&name).cloned() else {
            return;
        };
        let before = home.borrow().room().chat_position().sequence;
        self.handle(&home, input);
        self.metrics.chat_messages.inc_by(home.borrow().room().chat_position().sequence - before);
    }
}
