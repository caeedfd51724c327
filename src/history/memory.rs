use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::head::{Head, Retention, Weight};
use super::store::Batch;
use crate::limits::HISTORY_REMOVALS_MAX;
use crate::wire::{ChatMessage, RoomName};

/// The chat of all rooms, in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rooms: BTreeMap<RoomName, Kept>,
}

#[derive(Debug)]
struct Kept {
    head: Head,
    messages: VecDeque<Arc<ChatMessage>>,
}

impl MemoryStore {
    pub fn rooms(&self) -> Vec<(RoomName, u64)> {
        self.rooms.iter().map(|(room, kept)| (room.clone(), kept.head.used_unix_ms)).collect()
    }

    pub fn head(&self, room: &RoomName) -> Option<Head> {
        self.rooms.get(room).map(|kept| kept.head.clone())
    }

    pub fn oldest(&self, room: &RoomName) -> Option<Weight> {
        self.rooms.get(room)?.messages.front().map(|message| Weight::of(message))
    }

    pub fn read(
        &self,
        room: &RoomName,
        after: u64,
        through: u64,
        take: &mut dyn FnMut(Arc<ChatMessage>) -> ControlFlow<()>,
    ) {
        let Some(kept) = self.rooms.get(room) else {
            return;
        };
        let start = kept.messages.partition_point(|message| message.sequence <= after);
        let wanted = kept.messages.iter().skip(start).take_while(|message| message.sequence <= through);
        let _ = wanted.cloned().try_for_each(take);
    }

    pub fn commit(&mut self, batch: &mut Batch, retention: &Retention) {
        for room in &batch.forgotten {
            self.rooms.remove(room);
        }
        for (room, head) in &batch.heads {
            let empty = || Kept { head: head.clone(), messages: VecDeque::new() };
            self.rooms.entry(room.clone()).or_insert_with(empty);
        }
        for (room, message) in &batch.messages {
            if let Some(kept) = self.rooms.get_mut(room) {
                kept.messages.push_back(message.clone());
            }
        }
        for (room, head) in &mut batch.heads {
            if let Some(kept) = self.rooms.get_mut(room) {
                kept.retain(head, retention);
                kept.head = head.clone();
            }
        }
    }
}

impl Kept {
    fn retain(&mut self, head: &mut Head, retention: &Retention) {
        for _ in 0..HISTORY_REMOVALS_MAX {
            let exceeded = |message: &mut Arc<ChatMessage>| retention.exceeded(head, Weight::of(message));
            let Some(oldest) = self.messages.pop_front_if(exceeded) else {
                break;
            };
            head.discount(Weight::of(&oldest));
        }
    }
}
