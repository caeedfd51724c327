use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::disk::DiskStore;
use super::error::HistoryError;
use super::head::{Head, Retention, Weight};
use super::memory::MemoryStore;
use crate::config::HistoryPlace;
use crate::wire::{ChatMessage, RoomName};

/// Why something could not be read or written, for the log.
pub type Problem = Arc<str>;

/// Where the messages and heads are.
#[derive(Debug)]
pub enum Store {
    Memory(MemoryStore),
    Disk(DiskStore),
}

/// What changes in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// New messages, each room's in order.
    pub messages: Vec<(RoomName, Arc<ChatMessage>)>,
    /// What the heads become. The store takes off what retention takes off.
    pub heads: BTreeMap<RoomName, Head>,
    /// Rooms of which nothing is kept any more.
    pub forgotten: BTreeSet<RoomName>,
    /// Rooms with a head here whose last transaction failed: nobody knows what the file holds of it.
    pub unsure: BTreeSet<RoomName>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty() && self.forgotten.is_empty()
    }
}

impl Store {
    pub fn open(place: HistoryPlace) -> Result<Self, HistoryError> {
        Ok(match place {
            HistoryPlace::Memory => Self::Memory(MemoryStore::default()),
            HistoryPlace::Directory(directory) => Self::Disk(DiskStore::open(&directory)?),
        })
    }

    /// Counts the messages that were found damaged.
    pub fn lost_count(&self) -> Arc<AtomicU64> {
        match self {
            Self::Memory(_) => Arc::default(),
            Self::Disk(store) => store.lost_count(),
        }
    }

    /// Every room, with the time when it was used last.
    pub fn rooms(&mut self) -> Result<Vec<(RoomName, u64)>, Problem> {
        match self {
            Self::Memory(store) => Ok(store.rooms()),
            Self::Disk(store) => store.rooms(),
        }
    }

    /// What is kept of a room beside its messages.
    pub fn head(&mut self, room: &RoomName) -> Result<Option<Head>, Problem> {
        match self {
            Self::Memory(store) => Ok(store.head(room)),
            Self::Disk(store) => store.head(room),
        }
    }

    /// The oldest message that is kept of a room.
    pub fn oldest(&mut self, room: &RoomName) -> Result<Option<Weight>, Problem> {
        match self {
            Self::Memory(store) => Ok(store.oldest(room)),
            Self::Disk(store) => store.oldest(room),
        }
    }

    /// Hands over a room's messages after one number up to another, in order, until told to stop.
    pub fn read(
        &mut self,
        room: &RoomName,
        after: u64,
        through: u64,
        take: &mut dyn FnMut(Arc<ChatMessage>) -> ControlFlow<()>,
    ) -> Result<(), Problem> {
        match self {
            Self::Memory(store) => store.read(room, after, through, take),
            Self::Disk(store) => return store.read(room, after, through, take),
        }
        Ok(())
    }

    /// Changes everything or nothing; when this returns, it is durable.
    pub fn commit(&mut self, batch: &mut Batch, retention: &Retention) -> Result<(), Problem> {
        match self {
            Self::Memory(store) => store.commit(batch, retention),
            Self::Disk(store) => return store.commit(batch, retention),
        }
        Ok(())
    }
}
