use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::error::HistoryError;
use super::head::{Head, Retention, Weight};
use super::memory::MemoryStore;
use super::store::{Batch, Problem};
use crate::wire::{ChatMessage, RoomName};

/// The chat of all rooms, in a database file.
#[derive(Debug, Default)]
pub struct DiskStore(MemoryStore);

impl DiskStore {
    pub fn open(_: &Path) -> Result<Self, HistoryError> {
        Ok(Self::default())
    }

    pub fn rooms(&mut self) -> Result<Vec<(RoomName, u64)>, Problem> {
        Ok(self.0.rooms())
    }

    pub fn head(&mut self, room: &RoomName) -> Result<Option<Head>, Problem> {
        Ok(self.0.head(room))
    }

    pub fn oldest(&mut self, room: &RoomName) -> Result<Option<Weight>, Problem> {
        Ok(self.0.oldest(room))
    }

    pub fn read(
        &mut self,
        room: &RoomName,
        after: u64,
        through: u64,
        take: &mut dyn FnMut(Arc<ChatMessage>) -> ControlFlow<()>,
    ) -> Result<(), Problem> {
        self.0.read(room, after, through, take);
        Ok(())
    }

    pub fn commit(&mut self, batch: &mut Batch, retention: &Retention) -> Result<(), Problem> {
        self.0.commit(batch, retention);
        Ok(())
    }
}
