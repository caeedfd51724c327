use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redb::{ReadableDatabase, ReadableTable};
use tracing::warn;

use super::tables::{MESSAGES, ROOMS, existing, oldest, rebuilt_head};
use super::{DiskStore, Failure};
use crate::history::head::{Head, Weight};
use crate::history::record::{open_head, open_message};
use crate::history::store::Problem;
use crate::limits::HISTORY_LOST_MAX;
use crate::wire::{ChatMessage, RoomName};

impl DiskStore {
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

    fn report_lost(&mut self, room: &RoomName, sequence: u64) {
        if self.lost.len() < HISTORY_LOST_MAX && self.lost.insert((room.clone(), sequence)) {
            self.lost_count.fetch_add(1, Ordering::Relaxed);
            warn!(%room, sequence, "a kept message is damaged and lost");
        }
    }
}
