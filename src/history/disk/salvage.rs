use std::sync::Arc;

use tracing::warn;

use super::tables::{ROOMS, existing, write};
use super::{DiskStore, Failure};
use crate::history::head::{Head, Retention};
use crate::history::store::Batch;
use crate::wire::RoomName;

impl DiskStore {
    /// Copies what can be read of a damaged database to a new one, which takes its place. Otherwise one damaged page would stop
    /// the chat of every room.
    pub(super) fn salvage(&mut self) -> Result<(), Failure> {
        let fresh = self.file.beside()?;
        let database = self.guarded(|_| fresh.open())?;
        let rooms = self.readable_rooms();
        warn!(rooms = rooms.len(), "the chat database is damaged; what can be read of it goes to a new file");
        for room in &rooms {
            let Ok(Some(head)) = self.head(room) else {
                warn!(%room, "a room's chat is lost");
                continue;
            };
            let mut batch = self.readable(room, head);
            self.guarded(|_| write(&database, &mut batch, &Retention::everything()))?;
        }
        self.shut();
        drop(database);
        Ok(self.file.replace_by(&fresh)?)
    }

    /// The names of the rooms, as far as they can be read.
    fn readable_rooms(&mut self) -> Vec<RoomName> {
        let mut found = Vec::new();
        // Those behind the damage are lost.
        let _ = self.read_with(|database| {
            let Some(rooms) = existing(redb::ReadableDatabase::begin_read(database)?.open_table(ROOMS))? else {
                return Ok(());
            };
            for entry in redb::ReadableTable::iter(&rooms)? {
                let (name, _) = entry?;
                found.extend(RoomName::parse(name.value()));
            }
            Ok(())
        });
        found
    }

    fn readable(&mut self, room: &RoomName, head: Head) -> Batch {
        let mut batch = Batch::default();
        let messages = &mut batch.messages;
        let read = self.read(room, head.first.saturating_sub(1), head.last, &mut |message| {
            messages.push((room.clone(), Arc::clone(&message)));
            std::ops::ControlFlow::Continue(())
        });
        if let Err(problem) = read {
            warn!(%room, %problem, "a part of a room's chat is lost");
        }
        // The head counts what is lost as well.
        batch.unsure.insert(room.clone());
        batch.heads.insert(room.clone(), head);
        batch
    }
}
