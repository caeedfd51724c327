use tokio::time::Instant;
use tracing::debug;

use super::{Keeper, unix_ms};
use crate::history::head::Retention;
use crate::history::store::{Batch, Problem};
use crate::limits::HISTORY_TIDY_INTERVAL;
use crate::wire::RoomName;

impl Keeper {
    /// Takes away what is too old, from one room at a time, so that nobody waits for long.
    pub fn tidy(&mut self) {
        if Instant::now() >= self.tidies_at {
            self.tidies_at = Instant::now() + HISTORY_TIDY_INTERVAL;
            self.untidy = self.idle.iter().map(|(_, room)| room).chain(self.rooms.keys()).cloned().collect();
        }
        if let Some(room) = self.untidy.pop()
            && let Err(problem) = self.tidy_room(&room, unix_ms())
        {
            debug!(%room, %problem, "not tidied");
        }
    }

    /// Takes away what is too old in one room.
    pub(super) fn tidy_room(&mut self, room: &RoomName, unix_ms: u64) -> Result<(), Problem> {
        let retention = Retention::new(&self.limits, unix_ms);
        while self.store.oldest(room)?.is_some_and(|oldest| retention.is_over(oldest.sent_at_ms)) {
            let head = match self.rooms.get(room) {
                Some(live) => Some(live.head.clone()),
                None => self.store.head(room)?,
            };
            let Some(head) = head else {
                break;
            };
            let kept = head.messages;
            let mut batch = Batch::default();
            batch.heads.insert(room.clone(), head);
            self.store.commit(&mut batch, &retention)?;
            let Some((_, head)) = batch.heads.pop_first().filter(|(_, head)| head.messages < kept) else {
                break;
            };
            match self.rooms.get_mut(room) {
                Some(live) => live.head = head,
                None if head.is_void() => self.forget(room)?,
                None => {}
            }
        }
        Ok(())
    }

    fn forget(&mut self, room: &RoomName) -> Result<(), Problem> {
        let batch = Batch { forgotten: [room.clone()].into(), ..Batch::default() };
        self.store.commit(&mut { batch }, &Retention::new(&self.limits, unix_ms()))?;
        self.idle.retain(|(_, idle)| idle != room);
        Ok(())
    }
}
