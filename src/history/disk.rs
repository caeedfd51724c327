mod salvage;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};
use tracing::warn;

use super::error::HistoryError;
use super::file::DatabaseFile;
use super::head::{Head, Retention, Weight};
use super::record::{open_head, open_message, seal_head, seal_message, weigh};
use super::store::{Batch, Problem};
use crate::limits::{EPOCH_MAX, HISTORY_LOST_MAX, HISTORY_REMOVALS_MAX};
use crate::wire::{ChatMessage, RoomName};

/// A room's head by the room's name.
const ROOMS: TableDefinition<&str, &[u8]> = TableDefinition::new("rooms");

/// A message by the room's name and its number.
const MESSAGES: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("messages");

type Messages<'a> = Table<'a, (&'static str, u64), &'static [u8]>;

/// The chat of all rooms, in a database file.
#[derive(Debug)]
pub struct DiskStore {
    file: DatabaseFile,
    /// Closed after every failure: what is read after that is what the file holds, not what was meant to be in it.
    database: Option<Database>,
    /// Whether it takes nothing: the disk refused to.
    is_read_only: bool,
    /// The messages that were reported as damaged.
    lost: BTreeSet<(RoomName, u64)>,
    lost_count: Arc<AtomicU64>,
}

/// Why something did not succeed.
#[derive(Debug)]
enum Failure {
    /// The file does not hold what was written to it.
    Damaged(String),
    /// The file could not be read or written.
    Other(String),
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Corrupted(_) => Self::Damaged(error.to_string()),
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<Failure> for Problem {
    fn from((Failure::Damaged(problem) | Failure::Other(problem)): Failure) -> Self {
        problem.into()
    }
}

impl DiskStore {
    pub fn open(directory: &Path) -> Result<Self, HistoryError> {
        Self::open_file(DatabaseFile::in_directory(directory)?)
    }

    pub fn open_file(file: DatabaseFile) -> Result<Self, HistoryError> {
        let opened = catch_unwind(AssertUnwindSafe(|| file.open()));
        let database = opened.unwrap_or_else(|_| Err(file.unintelligible()))?;
        Ok(Self {
            file,
            database: Some(database),
            is_read_only: false,
            lost: BTreeSet::new(),
            lost_count: Arc::default(),
        })
    }

    /// How many messages were found damaged.
    pub fn lost_count(&self) -> Arc<AtomicU64> {
        self.lost_count.clone()
    }

    pub fn rooms(&mut self) -> Result<Vec<(RoomName, u64)>, Problem> {
        let rooms = self.read_with(|database| {
            let Some(rooms) = existing(database.begin_read()?.open_table(ROOMS))? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for entry in rooms.iter()? {
                let (name, record) = entry?;
                if let Ok(room) = RoomName::parse(name.value()) {
                    let used = open_head(&room, record.value()).map_or(0, |head| head.used_unix_ms);
                    found.push((room, used));
                }
            }
            Ok(found)
        });
        Ok(rooms?)
    }

    pub fn head(&mut self, room: &RoomName) -> Result<Option<Head>, Problem> {
        let head = self.read_with(|database| {
            let transaction = database.begin_read()?;
            let Some(rooms) = existing(transaction.open_table(ROOMS))? else {
                return Ok(None);
            };
            let Some(record) = rooms.get(room.as_str())? else {
                return Ok(None);
            };
            match open_head(room, record.value()) {
                Ok(head) => Ok(Some(head)),
                Err(damage) => {
                    warn!(%room, %damage, "where a chat stood was lost: it begins a new epoch");
                    rebuilt_head(&transaction.open_table(MESSAGES)?, room).map(Some)
                }
            }
        });
        Ok(head?)
    }

    pub fn oldest(&mut self, room: &RoomName) -> Result<Option<Weight>, Problem> {
        let oldest = self.read_with(|database| match existing(database.begin_read()?.open_table(MESSAGES))? {
            Some(messages) => oldest(&messages, room),
            None => Ok(None),
        });
        Ok(oldest?)
    }

    pub fn read(
        &mut self,
        room: &RoomName,
        after: u64,
        through: u64,
        take: &mut dyn FnMut(Arc<ChatMessage>) -> ControlFlow<()>,
    ) -> Result<(), Problem> {
        let mut next = after.saturating_add(1);
        match self.read_in_a_row(room, &mut next, through, take) {
            Ok(ControlFlow::Break(())) => Ok(()),
            // Numbers have no gaps, so that what is missing was lost, or cannot be reached in this way.
            Ok(ControlFlow::Continue(())) | Err(Failure::Damaged(_)) => self.read_one_by_one(room, next, through, take),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Reads as long as there is one number after the other.
    fn read_in_a_row(
        &mut self,
        room: &RoomName,
        next: &mut u64,
        through: u64,
        take: &mut dyn FnMut(Arc<ChatMessage>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Failure> {
        let mut lost = Vec::new();
        let read = self.read_with(|database| {
            let Some(messages) = existing(database.begin_read()?.open_table(MESSAGES))? else {
                return Ok(ControlFlow::Break(()));
            };
            for entry in messages.range((room.as_str(), *next)..=(room.as_str(), through))? {
                let (key, record) = entry?;
                let sequence = key.value().1;
                if sequence != *next {
                    break;
                }
                *next += 1;
                match open_message(room, sequence, record.value()) {
                    Ok(message) => {
                        if take(Arc::new(message)).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                    Err(_) => lost.push(sequence),
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        lost.into_iter().for_each(|sequence| self.report_lost(room, sequence));
        read
    }

    /// Where a page of the file is damaged, that page's messages are lost, and no others. Nothing to do if `first` is over
    /// `through`.
    fn read_one_by_one(
        &mut self,
        room: &RoomName,
        first: u64,
        through: u64,
        take: &mut dyn FnMut(Arc<ChatMessage>) -> ControlFlow<()>,
    ) -> Result<(), Problem> {
        for sequence in first..=through {
            let found = self.read_with(|database| {
                let messages = database.begin_read()?.open_table(MESSAGES)?;
                let record = messages.get((room.as_str(), sequence))?;
                Ok(record.map(|record| open_message(room, sequence, record.value())))
            });
            match found {
                Ok(Some(Ok(message))) => {
                    if take(Arc::new(message)).is_break() {
                        break;
                    }
                }
                Ok(Some(Err(_)) | None) | Err(Failure::Damaged(_)) => self.report_lost(room, sequence),
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(())
    }

    pub fn commit(&mut self, batch: &mut Batch, retention: &Retention) -> Result<(), Problem> {
        // A failed attempt leaves its marks on the batch.
        let mut attempt = batch.clone();
        match self.commit_to_database(&mut attempt, retention) {
            Ok(()) => *batch = attempt,
            Err(Failure::Damaged(_)) => {
                self.salvage()?;
                batch.unsure.extend(batch.heads.keys().cloned());
                self.commit_to_database(batch, retention)?;
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    /// Reads from the database, also while the disk takes nothing.
    fn read_with<T>(&mut self, read: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Failure> {
        if self.database.is_none() {
            match self.guarded(|store| store.file.open()) {
                Ok(database) => self.database = Some(database),
                Err(_) => {
                    self.database = Some(self.guarded(|store| store.file.open_for_reading())?);
                    self.is_read_only = true;
                }
            }
        }
        self.act(read)
    }

    fn commit_to_database(&mut self, batch: &mut Batch, retention: &Retention) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_read_only) {
            self.shut();
        }
        if self.database.is_none() {
            self.database = Some(self.guarded(|store| store.file.open())?);
        }
        self.act(|database| write(database, batch, retention))
    }

    /// Does something with the open database, and closes it if that fails.
    fn act<T>(&mut self, act: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Failure> {
        let result = self.guarded(|store| {
            let database = store.database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
            act(database)
        });
        if result.is_err() {
            self.shut();
        }
        result
    }

    fn shut(&mut self) {
        let database = self.database.take();
        // Whether it can be closed as it should makes no difference to what is read from it next.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }

    /// The database panics on some damages that it was not made for.
    fn guarded<T, E: Into<Failure>>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, Failure> {
        let result = catch_unwind(AssertUnwindSafe(|| act(self)));
        match result {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(Failure::Damaged("the database is damaged".into())),
        }
    }

    fn report_lost(&mut self, room: &RoomName, sequence: u64) {
        if self.lost.len() < HISTORY_LOST_MAX && self.lost.insert((room.clone(), sequence)) {
            self.lost_count.fetch_add(1, Ordering::Relaxed);
            warn!(%room, sequence, "a kept message is damaged and lost");
        }
    }
}

/// One transaction.
fn write(database: &Database, batch: &mut Batch, retention: &Retention) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    // Two phases, each with a sync: when the first one fails, the pages it wrote are not part of anything. In one phase they
    // could be, as the cache of the operating system shows them, and later be gone from the disk. It also lets the file be
    // opened after a crash without reading all of it.
    transaction.set_quick_repair(true);
    {
        let mut rooms = transaction.open_table(ROOMS)?;
        let mut messages = transaction.open_table(MESSAGES)?;
        for room in &batch.forgotten {
            rooms.remove(room.as_str())?;
            messages.retain_in(numbers(room, 0), |_, _| false)?;
        }
        for (room, message) in &batch.messages {
            messages.insert((room.as_str(), message.sequence), &*seal_message(room, message))?;
        }
        for (room, head) in &mut batch.heads {
            if batch.unsure.contains(room) {
                recount(&mut messages, room, head)?;
            }
            retain(&mut messages, room, head, retention)?;
            rooms.insert(room.as_str(), &*seal_head(room, head))?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// A table, if something was written to it before.
fn existing<T>(opened: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The keys of a room's messages from one number on.
fn numbers(room: &RoomName, from: u64) -> std::ops::RangeInclusive<(&str, u64)> {
    (room.as_str(), from)..=(room.as_str(), u64::MAX)
}

fn oldest(
    messages: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
    room: &RoomName,
) -> Result<Option<Weight>, redb::Error> {
    let Some(entry) = messages.range(numbers(room, 0))?.next() else {
        return Ok(None);
    };
    let (key, record) = entry?;
    Ok(Some(weigh(room, key.value().1, record.value())))
}

/// Takes off what is too much.
fn retain(messages: &mut Messages, room: &RoomName, head: &mut Head, retention: &Retention) -> Result<(), redb::Error> {
    for _ in 0..HISTORY_REMOVALS_MAX {
        let Some(oldest) = oldest(messages, room)? else {
            head.clear();
            break;
        };
        if oldest.sequence > head.last {
            return Err(redb::Error::Corrupted("a message stands where none was put".into()));
        }
        head.first = oldest.sequence;
        if !retention.exceeded(head, oldest) {
            break;
        }
        messages.remove((room.as_str(), oldest.sequence))?;
        head.discount(oldest);
    }
    Ok(())
}

/// Finds out what a room really has up to its last number, and takes off what stands behind that: it was reported as not
/// stored.
fn recount(messages: &mut Messages, room: &RoomName, head: &mut Head) -> Result<(), redb::Error> {
    messages.retain_in(numbers(room, head.last + 1), |_, _| false)?;
    let last = head.last;
    head.clear();
    for entry in messages.range(numbers(room, 0))? {
        let (key, record) = entry?;
        head.count(weigh(room, key.value().1, record.value()));
    }
    head.last = last;
    Ok(())
}

/// A head for messages whose own is damaged. Numbers go on behind them; the epoch is lost.
fn rebuilt_head(
    messages: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
    room: &RoomName,
) -> Result<Head, redb::Error> {
    let mut head = Head::new(rand::random_range(1..=EPOCH_MAX), 0);
    for entry in messages.range(numbers(room, 0))? {
        let (key, record) = entry?;
        let sequence = key.value().1;
        match open_message(room, sequence, record.value()) {
            Ok(message) => head.add(&message),
            Err(_) => head.count(weigh(room, sequence, record.value())),
        }
    }
    Ok(head)
}
