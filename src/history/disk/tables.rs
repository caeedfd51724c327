use redb::{Database, ReadableTable, Table, TableDefinition, TableError};

use crate::history::head::{Head, Retention, Weight};
use crate::history::record::{open_message, seal_head, seal_message, weigh};
use crate::history::store::Batch;
use crate::limits::{EPOCH_MAX, HISTORY_REMOVALS_MAX};
use crate::wire::RoomName;

/// A room's head by the room's name.
pub const ROOMS: TableDefinition<&str, &[u8]> = TableDefinition::new("rooms");

/// A message by the room's name and its number.
pub const MESSAGES: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("messages");

type Messages<'a> = Table<'a, (&'static str, u64), &'static [u8]>;

/// One transaction.
pub fn write(database: &Database, batch: &mut Batch, retention: &Retention) -> Result<(), redb::Error> {
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
pub fn existing<T>(opened: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
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

pub fn oldest(
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
pub fn rebuilt_head(
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
