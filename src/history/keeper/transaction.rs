use std::collections::BTreeSet;

use tracing::{info, warn};

use super::{Keeper, unix_ms};
use crate::history::Outcome;
use crate::history::head::Retention;
use crate::history::store::{Batch, Problem};
use crate::limits::HISTORY_FORGOTTEN_MAX;
use crate::wire::RoomName;

impl Keeper {
    /// Whether everything so far is durable.
    pub(super) fn commit(&mut self, mut batch: Batch) -> bool {
        self.complete(&mut batch);
        if batch.is_empty() {
            return true;
        }
        let written = self.store.commit(&mut batch, &Retention::new(&self.limits, unix_ms()));
        match &written {
            Ok(()) => self.committed(batch),
            Err(problem) => self.not_committed(batch, problem),
        }
        written.is_ok()
    }

    /// Adds what else is due: heads that changed, rooms that nobody misses, and the rooms that were idle for longest.
    fn complete(&mut self, batch: &mut Batch) {
        for room in &self.changed {
            if let Some(live) = self.rooms.get(room) {
                batch.heads.entry(room.clone()).or_insert_with(|| live.head.clone());
            }
        }
        let is_closed = |room: &RoomName| self.rooms.get(room).is_some_and(|live| !live.is_open);
        let void = batch.heads.extract_if(.., |room, head| head.is_void() && is_closed(room));
        batch.forgotten = void.map(|(room, _)| room).collect();
        let idle = self.idle.len() + batch.heads.keys().filter(|room| is_closed(room)).count();
        let too_many = idle.saturating_sub(self.limits.history_rooms as usize).min(HISTORY_FORGOTTEN_MAX);
        batch.forgotten.extend(self.idle.iter().take(too_many).map(|(_, room)| room.clone()));
        batch.unsure = batch.heads.keys().filter(|room| self.unsure.contains(room)).cloned().collect();
    }

    fn committed(&mut self, batch: Batch) {
        if std::mem::take(&mut self.failing) {
            info!("chat is kept again");
        }
        let stored: BTreeSet<_> = batch.messages.into_iter().map(|(room, _)| room).collect();
        for (room, head) in batch.heads {
            self.changed.remove(&room);
            self.unsure.remove(&room);
            if stored.contains(&room) {
                self.tell(Outcome::Stored { room: room.clone(), through: head.last });
            }
            let Some(live) = self.rooms.get_mut(&room) else {
                continue;
            };
            if live.is_open {
                live.head = head;
            } else {
                self.rooms.remove(&room);
                self.idle.insert((head.used_unix_ms, room));
            }
        }
        for room in batch.forgotten {
            self.changed.remove(&room);
            self.unsure.remove(&room);
            self.rooms.remove(&room);
            self.idle.retain(|(_, idle)| *idle != room);
        }
    }

    fn not_committed(&mut self, batch: Batch, problem: &Problem) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!(%problem, "chat cannot be kept");
        }
        let lost: BTreeSet<_> = batch.messages.into_iter().map(|(room, _)| room).collect();
        self.unsure.extend(batch.heads.into_keys());
        for room in lost {
            if let Some(live) = self.rooms.get(&room) {
                let from = live.head.last + 1;
                self.tell(Outcome::NotStored { room, from, problem: problem.clone() });
            }
        }
        self.give_up_closed();
    }

    /// While nothing can be written, rooms that were closed wait here, but not any number of them.
    fn give_up_closed(&mut self) {
        let closed = self.rooms.iter().filter(|(_, live)| !live.is_open);
        let mut closed: Vec<_> = closed.map(|(room, live)| (live.head.used_unix_ms, room.clone())).collect();
        let too_many = closed.len().saturating_sub(self.limits.history_rooms as usize);
        closed.sort_unstable();
        for (_, room) in closed.into_iter().take(too_many) {
            self.rooms.remove(&room);
            self.changed.remove(&room);
            self.unsure.remove(&room);
        }
    }
}
