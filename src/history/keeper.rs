mod reading;
mod tidying;
mod transaction;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::head::{Head, written_ids};
use super::store::{Batch, Problem, Store};
use super::{HistoryError, OpenedRoom, Outcome, Page, PageQuery};
use crate::limits::{HISTORY_BATCH_BYTES_MAX, HISTORY_BATCH_MESSAGES_MAX, HISTORY_RETRY_INTERVAL, Limits};
use crate::room::{Ids, RoomNotes};
use crate::wire::{ChatMessage, ChatPosition, RoomName};

/// What is asked of the history.
#[derive(Debug)]
pub enum Request {
    Open { room: RoomName, new_epoch: u64, unix_ms: u64, answer: oneshot::Sender<Result<OpenedRoom, HistoryError>> },
    Append { room: RoomName, message: Arc<ChatMessage> },
    Page { query: PageQuery, answer: oneshot::Sender<Result<Page, HistoryError>> },
    Note { room: RoomName, notes: RoomNotes },
    Close { room: RoomName, notes: RoomNotes, unix_ms: u64 },
    Abandon { room: RoomName },
    Reserve { room: RoomName, notes: RoomNotes, answer: oneshot::Sender<Result<u64, HistoryError>> },
    Stop { answer: oneshot::Sender<()> },
}

/// The history's thread: it decides what is kept, and groups it into transactions.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    limits: Limits,
    outcomes: mpsc::UnboundedSender<Outcome>,
    /// What waits for a transaction, in order.
    queue: VecDeque<Request>,
    /// The rooms that are open, and those that were closed while nothing could be written.
    rooms: BTreeMap<RoomName, Live>,
    /// The other rooms, by when they were used last.
    idle: BTreeSet<(u64, RoomName)>,
    /// Rooms whose head has to be written.
    changed: BTreeSet<RoomName>,
    /// Rooms whose last transaction failed.
    unsure: BTreeSet<RoomName>,
    failing: bool,
    /// Rooms in which something may be too old.
    untidy: Vec<RoomName>,
    tidies_at: Instant,
}

#[derive(Debug)]
struct Live {
    /// The messages as they are stored, the notes as they should be.
    head: Head,
    /// The ids that were given for certain: those of before it was opened, and those of its messages. Others up to those in
    /// the head are only reserved.
    given: Ids,
    /// The epoch to go on with if ids cannot be reserved in the present one.
    spare_epoch: u64,
    is_open: bool,
}

impl Keeper {
    pub fn new(
        mut store: Store,
        limits: Limits,
        outcomes: mpsc::UnboundedSender<Outcome>,
    ) -> Result<Self, HistoryError> {
        let idle = store.rooms().map_err(HistoryError::Unreadable)?;
        let idle = idle.into_iter().map(|(room, used)| (used, room)).collect();
        Ok(Self {
            store,
            limits,
            outcomes,
            queue: VecDeque::new(),
            rooms: BTreeMap::new(),
            idle,
            changed: BTreeSet::new(),
            unsure: BTreeSet::new(),
            failing: false,
            untidy: Vec::new(),
            tidies_at: Instant::now(),
        })
    }

    /// Serves until it is stopped or nobody is left to ask.
    pub async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        loop {
            if self.is_done() {
                match timeout_at(self.wakes_at(), requests.recv()).await {
                    Ok(Some(request)) => self.take(request),
                    Ok(None) => return,
                    // What could not be written is tried again.
                    Err(_) => _ = self.commit(Batch::default()),
                }
            }
            // Whatever came meanwhile shares the transaction, and pages do not wait for it.
            while let Ok(request) = requests.try_recv() {
                self.take(request);
            }
            if let Some(answer) = self.work() {
                drop(self);
                let _ = answer.send(());
                return;
            }
            self.tidy();
        }
    }

    fn wakes_at(&self) -> Instant {
        if !self.untidy.is_empty() {
            Instant::now()
        } else if self.failing && !self.changed.is_empty() {
            self.tidies_at.min(Instant::now() + HISTORY_RETRY_INTERVAL)
        } else {
            self.tidies_at
        }
    }

    pub fn take(&mut self, request: Request) {
        match request {
            Request::Page { query, answer } => {
                // Whoever asked may be gone.
                let _ = answer.send(self.page(&query).map_err(HistoryError::Unreadable));
            }
            request => self.queue.push_back(request),
        }
    }

    /// Whether nothing waits.
    pub fn is_done(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes as much as one transaction holds, and carries it out. Gives back whom to tell that it was the last one.
    pub fn work(&mut self) -> Option<oneshot::Sender<()>> {
        let (mut batch, mut reserved, mut stopped) = (Batch::default(), Vec::new(), None);
        let mut bytes = 0;
        for _ in 0..HISTORY_BATCH_MESSAGES_MAX {
            if bytes >= HISTORY_BATCH_BYTES_MAX || stopped.is_some() {
                break;
            }
            let Some(request) = self.queue.pop_front() else {
                break;
            };
            match request {
                // It has to see what the transaction does.
                Request::Open { .. } if !batch.is_empty() || !self.changed.is_empty() && !self.failing => {
                    self.queue.push_front(request);
                    break;
                }
                Request::Open { room, new_epoch, unix_ms, answer } => {
                    let opened = self.open(&room, new_epoch, unix_ms);
                    let is_opened = opened.is_ok();
                    // Nobody will close a room that nobody has, because it cannot be read or because whoever asked is gone.
                    if answer.send(opened.map_err(HistoryError::Unreadable)).is_err() || !is_opened {
                        self.close_as_it_is(&mut batch, &room);
                    }
                }
                Request::Append { room, message } => {
                    bytes += message.cost_bytes();
                    self.append(&mut batch, room, message);
                }
                Request::Note { room, notes } => self.note(&mut batch, &room, notes),
                Request::Close { room, notes, unix_ms } => self.close(&mut batch, &room, notes, unix_ms),
                Request::Abandon { room } => self.close_as_it_is(&mut batch, &room),
                Request::Reserve { room, notes, answer } => {
                    self.note(&mut batch, &room, notes);
                    reserved.push((room, answer));
                }
                Request::Stop { answer } => stopped = Some(answer),
                Request::Page { .. } => unreachable!("pages are answered as they come"),
            }
        }
        let is_durable = self.commit(batch);
        for (room, answer) in reserved {
            // Whoever asked may be gone.
            let _ = answer.send(self.reserved_epoch(&room, is_durable));
        }
        stopped
    }

    /// The epoch in which ids can be given after an attempt to reserve them.
    fn reserved_epoch(&mut self, room: &RoomName, is_durable: bool) -> Result<u64, HistoryError> {
        let live = self.rooms.get_mut(room).ok_or(HistoryError::NotOpen)?;
        if !is_durable {
            // After a crash the file has the old epoch and its old ids, or this one and the ids with it.
            live.head.epoch = live.spare_epoch;
        }
        Ok(live.head.epoch)
    }

    fn open(&mut self, room: &RoomName, new_epoch: u64, unix_ms: u64) -> Result<OpenedRoom, Problem> {
        if !self.rooms.contains_key(room) {
            let stored = self.store.head(room)?;
            self.idle.retain(|(_, idle)| idle != room);
            let head = stored.unwrap_or_else(|| Head::new(new_epoch, unix_ms));
            let live = Live { head, given: Ids::default(), spare_epoch: new_epoch, is_open: true };
            self.rooms.insert(room.clone(), live);
        }
        if let Err(problem) = self.tidy_room(room, unix_ms) {
            debug!(%room, %problem, "not tidied");
        }
        let recent = self.recent(room)?;
        let live = self.rooms.get_mut(room).expect("it was put there");
        live.is_open = true;
        (live.given, live.spare_epoch) = (live.head.notes.ids, new_epoch);
        live.head.notes.removed.retain(|removed| removed.until_unix_ms > unix_ms);
        let position = ChatPosition { epoch: live.head.epoch, sequence: live.head.last };
        Ok(OpenedRoom { position, recent, notes: live.head.notes.clone() })
    }

    fn append(&mut self, batch: &mut Batch, room: RoomName, message: Arc<ChatMessage>) {
        let Some(live) = self.rooms.get_mut(&room) else {
            let problem = "the room is not open".into();
            self.tell(Outcome::NotStored { room, from: message.sequence, problem });
            return;
        };
        let head = batch.heads.entry(room.clone()).or_insert_with(|| live.head.clone());
        // What was appended behind a message that was not stored, before the room heard of it. The room's next attempt comes
        // after all of these, so that none of them can take its place.
        if message.sequence != head.last + 1 {
            debug!(%room, sequence = message.sequence, expected = head.last + 1, "passed over");
            return;
        }
        head.add(&message);
        live.given = live.given.or_later(written_ids(&message));
        batch.messages.push((room, message));
    }

    fn note(&mut self, batch: &mut Batch, room: &RoomName, notes: RoomNotes) {
        let Some(live) = self.rooms.get_mut(room) else {
            return;
        };
        live.head.note(notes);
        self.changed.insert(room.clone());
        if let Some(head) = batch.heads.get_mut(room) {
            head.note(live.head.notes.clone());
        }
    }

    fn close_as_it_is(&mut self, batch: &mut Batch, room: &RoomName) {
        if let Some(Live { head, .. }) = self.rooms.get(room) {
            let (notes, used_unix_ms) = (head.notes.clone(), head.used_unix_ms);
            self.close(batch, room, notes, used_unix_ms);
        }
    }

    fn close(&mut self, batch: &mut Batch, room: &RoomName, notes: RoomNotes, unix_ms: u64) {
        let Some(live) = self.rooms.get_mut(room) else {
            return;
        };
        live.is_open = false;
        self.changed.insert(room.clone());
        let notes = RoomNotes { ids: live.given.or_later(notes.ids), ..notes };
        for head in [Some(&mut live.head), batch.heads.get_mut(room)].into_iter().flatten() {
            head.notes = notes.clone();
            head.used_unix_ms = head.used_unix_ms.max(unix_ms);
        }
    }

    fn tell(&self, outcome: Outcome) {
        // Nobody listens any more when the relay has ended.
        let _ = self.outcomes.send(outcome);
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
