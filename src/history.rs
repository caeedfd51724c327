//! Where chat is kept: a thread of its own, and behind it a database file or the memory.
//!
//! [`History`] is what the relay holds. Everything that changes is put into one transaction with whatever else waits at that
//! moment (group commit), so that many messages share one sync. What came of a message is told as an [`Outcome`] after the sync.

mod disk;
mod error;
mod file;
#[cfg(test)]
mod fragile;
mod head;
mod keeper;
mod memory;
mod overlay;
mod record;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

pub use crate::config::HistoryPlace;
pub use error::HistoryError;

use crate::limits::Limits;
use crate::room::RoomNotes;
use crate::wire::{ChatMessage, ChatPosition, MessageId, ParticipantId, RoomName};
use keeper::{Keeper, Request};
use store::Store;

/// A handle to the store of chat; clones share it. Nothing here blocks the caller. When the last one is dropped, the store
/// keeps what it was given and ends.
#[derive(Debug, Clone)]
pub struct History {
    /// Not bounded: each room has at most [`CHAT_PENDING_MAX`](crate::limits::CHAT_PENDING_MAX) messages on their way, and each
    /// session waits for its own page.
    requests: mpsc::UnboundedSender<Request>,
    lost: Arc<AtomicU64>,
}

/// Where a room's chat stood when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedRoom {
    /// The last message that was kept.
    pub position: ChatPosition,
    /// The last [`CHAT_IDS_MAX`](crate::limits::CHAT_IDS_MAX) messages, oldest first, so that repetitions are recognised.
    pub recent: Vec<Recent>,
    /// What was noted.
    pub notes: RoomNotes,
}

/// What identifies a message that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    /// Its sender's id of it.
    pub message_id: MessageId,
    /// Its number.
    pub sequence: u64,
    /// When the relay took it, in milliseconds since 1970.
    pub sent_at_ms: u64,
    /// Who said it.
    pub from: ParticipantId,
}

/// What came of appended messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// They are kept: they outlive a crash, unless the place is [`HistoryPlace::Memory`].
    Stored {
        /// Whose they are.
        room: RoomName,
        /// The last one; all before it are kept too.
        through: u64,
    },
    /// They are not kept. Whoever appends goes on with the number `from` and a new message.
    NotStored {
        /// Whose they are.
        room: RoomName,
        /// The first one; all after it that were appended before the next message with this number are lost too.
        from: u64,
        /// Why, for the log.
        problem: Arc<str>,
    },
}

/// A part of a room's chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The messages, in order.
    pub messages: Vec<Arc<ChatMessage>>,
    /// The last sequence number that has been looked at: the next page begins after it.
    pub through: u64,
    /// The first sequence number that is still kept.
    pub first_kept: u64,
}

/// Which part of a room's chat is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// Whose chat.
    pub room: RoomName,
    /// Who reads: only what concerns this participant is given.
    pub reader: ParticipantId,
    /// The sequence number to begin after.
    pub after: u64,
    /// The last sequence number that is wanted.
    pub through: u64,
    /// How much is wanted at once, in bytes; one message is always given.
    pub bytes_max: usize,
}

impl History {
    /// Starts the store. What happens to appended messages is told through the receiver.
    ///
    /// # Errors
    /// [`HistoryError`] says what is in the way and what to do.
    pub fn start(
        place: HistoryPlace,
        limits: Limits,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Outcome>), HistoryError> {
        Self::start_store(Store::open(place)?, limits)
    }

    fn start_store(store: Store, limits: Limits) -> Result<(Self, mpsc::UnboundedReceiver<Outcome>), HistoryError> {
        let lost = store.lost_count();
        let (requests, received) = mpsc::unbounded_channel();
        let (outcomes, told) = mpsc::unbounded_channel();
        let keeper = Keeper::new(store, limits, outcomes)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new()
            .name("tertulia-history".into())
            .spawn(move || runtime.block_on(keeper.run(received)))?;
        Ok((Self { requests, lost }, told))
    }

    /// Begins or goes on with a room's chat. A new room gets `new_epoch`, which must not have been used before and is not 0; a
    /// known one gets it if its ids cannot be reserved.
    ///
    /// # Errors
    /// [`HistoryError::Unreadable`] if what is kept cannot be read at the moment.
    pub async fn open(&self, room: RoomName, new_epoch: u64, unix_ms: u64) -> Result<OpenedRoom, HistoryError> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Open { room, new_epoch, unix_ms, answer });
        answered.await.unwrap_or(Err(HistoryError::Ended))
    }

    /// Reserves the ids in `notes` before any of them is given in a room that has just been opened, and waits until that is
    /// durable. Gives the epoch to give them in: the one that the room was opened with, or the `new_epoch` of its opening, if
    /// nothing can be written at the moment. In that one no id can be given twice either, whether or not it is ever written:
    /// after a crash the room is where it was before, in its old epoch. The messages keep their numbers.
    ///
    /// # Errors
    /// [`HistoryError::NotOpen`] if it is not.
    pub async fn reserve(&self, room: &RoomName, notes: RoomNotes) -> Result<u64, HistoryError> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Reserve { room: room.clone(), notes, answer });
        answered.await.unwrap_or(Err(HistoryError::Ended))
    }

    /// Keeps a message of an open room; the answer is an [`Outcome`]. Its number follows that of the one before, or is the one
    /// that was reported as [`Outcome::NotStored`].
    pub fn append(&self, room: &RoomName, message: Arc<ChatMessage>) {
        self.request(Request::Append { room: room.clone(), message });
    }

    /// A part of a room's chat.
    ///
    /// # Errors
    /// [`HistoryError::Unreadable`] if what is kept cannot be read at the moment.
    pub async fn page(&self, query: PageQuery) -> Result<Page, HistoryError> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Page { query, answer });
        answered.await.unwrap_or(Err(HistoryError::Ended))
    }

    /// Keeps what else of an open room has to survive a restart. Not waited for.
    pub fn note(&self, room: &RoomName, notes: RoomNotes) {
        self.request(Request::Note { room: room.clone(), notes });
    }

    /// Nobody is in the room any more: it becomes one of the idle ones. A room with no kept message and nothing noted but
    /// ids is forgotten altogether.
    pub fn close(&self, room: &RoomName, notes: RoomNotes, unix_ms: u64) {
        self.request(Request::Close { room: room.clone(), notes, unix_ms });
    }

    /// Nobody will have a room that was to be opened, however far that has come: whoever asked for it has gone.
    pub fn abandon(&self, room: &RoomName) {
        self.request(Request::Abandon { room: room.clone() });
    }

    /// Keeps everything so far, closes the file, so that another relay can use it, and ends the thread. What is asked of the
    /// history after that is answered by [`HistoryError::Ended`].
    pub async fn stop(&self) {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Stop { answer });
        // An error means that the thread has ended already.
        let _ = answered.await;
    }

    /// How many kept messages were found damaged so far, and are lost.
    pub fn messages_lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn request(&self, request: Request) {
        // After the end of the thread nothing is kept and nobody waits: an answer's sender is dropped with the request.
        let _ = self.requests.send(request);
    }
}
