use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::head::{Head, Retention, written_ids};
use super::store::{Batch, Problem, Store};
use super::{HistoryError, OpenedRoom, Outcome, Page, PageQuery, Recent};
use crate::limits::{
    CHAT_IDS_MAX, HISTORY_BATCH_BYTES_MAX, HISTORY_BATCH_MESSAGES_MAX, HISTORY_FORGOTTEN_MAX, HISTORY_RETRY_INTERVAL,
    HISTORY_TIDY_INTERVAL, Limits,
};
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

    fn recent(&mut self, room: &RoomName) -> Result<Vec<Recent>, Problem> {
        let (first, last) = self.rooms.get(room).map_or((1, 0), |live| (live.head.first, live.head.last));
        let after = last.saturating_sub(CHAT_IDS_MAX as u64).max(first.saturating_sub(1));
        let mut recent = Vec::new();
        self.store.read(room, after, last, &mut |message| {
            let ChatMessage { message_id, sequence, sent_at_ms, from, .. } = *message;
            recent.push(Recent { message_id, sequence, sent_at_ms, from });
            ControlFlow::Continue(())
        })?;
        Ok(recent)
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

    /// Whether everything so far is durable.
    fn commit(&mut self, mut batch: Batch) -> bool {
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

    fn page(&mut self, query: &PageQuery) -> Result<Page, Problem> {
        let PageQuery { room, reader, after, through, bytes_max } = query;
        let head = match self.rooms.get(room) {
            Some(live) => Some(live.head.clone()),
            None => self.store.head(room)?,
        };
        let Some(head) = head else {
            return Ok(Page { messages: Vec::new(), through: *through, first_kept: through + 1 });
        };
        let mut page = Page { messages: Vec::new(), through: *through, first_kept: head.first };
        let mut bytes = 0;
        let after = (*after).max(head.first.saturating_sub(1));
        self.store.read(room, after, (*through).min(head.last), &mut |message| {
            if !message.concerns(*reader) {
                return ControlFlow::Continue(());
            }
            if bytes > 0 && bytes + message.cost_bytes() > *bytes_max {
                page.through = message.sequence - 1;
                return ControlFlow::Break(());
            }
            bytes += message.cost_bytes();
            page.messages.push(message);
            ControlFlow::Continue(())
        })?;
        Ok(page)
    }

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
    fn tidy_room(&mut self, room: &RoomName, unix_ms: u64) -> Result<(), Problem> {
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

    fn tell(&self, outcome: Outcome) {
        // Nobody listens any more when the relay has ended.
        let _ = self.outcomes.send(outcome);
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
