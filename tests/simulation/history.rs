use std::collections::BTreeMap;
use std::sync::Arc;

use tertulia::limits::CHAT_IDS_MAX;
use tertulia::now::Now;
use tertulia::room::{Input, Room, RoomNotes};
use tertulia::wire::{ChatMessage, ChatPosition, RoomName};

use crate::world::LIMITS;

/// A store that takes its time, fails, and forgets in a crash what was not written yet. It keeps every message for ever, so
/// that the checkers can look everything up.
#[derive(Default)]
pub struct History {
    heads: BTreeMap<usize, Head>,
    /// What a crash would leave.
    durable: BTreeMap<usize, RoomNotes>,
    waiting: Vec<(usize, Change)>,
    epochs: u64,
}

#[derive(Default)]
struct Head {
    epoch: u64,
    notes: RoomNotes,
    /// Number `n` is at `n - 1`.
    kept: Vec<Arc<ChatMessage>>,
}

enum Change {
    Append(Arc<ChatMessage>),
    Note,
}

impl History {
    pub fn open(&mut self, room: usize, name: RoomName) -> Room {
        let epochs = &mut self.epochs;
        let head = self.heads.entry(room).or_insert_with(|| {
            *epochs += 1;
            Head { epoch: *epochs, ..Head::default() }
        });
        let position = ChatPosition { epoch: head.epoch, sequence: head.kept.len() as u64 };
        let mut opened = Room::new(name, LIMITS, position, head.notes.clone());
        for message in &head.kept[head.kept.len().saturating_sub(CHAT_IDS_MAX)..] {
            opened.remember(message.message_id, message.sequence, message.sent_at_ms);
        }
        // The relay waits for this before it lets anyone in.
        head.notes = opened.reserve_ids();
        self.durable.insert(room, head.notes.clone());
        opened
    }

    pub fn append(&mut self, room: usize, message: Arc<ChatMessage>) {
        self.waiting.push((room, Change::Append(message)));
    }

    pub fn note(&mut self, room: usize, notes: RoomNotes) {
        if let Some(head) = self.heads.get_mut(&room) {
            head.notes = notes;
            self.waiting.push((room, Change::Note));
        }
    }

    pub fn close(&mut self, room: usize, notes: RoomNotes) {
        self.note(room, notes);
    }

    /// Takes away all of a room that nobody is in, as where there are too many idle ones.
    pub fn forget(&mut self, room: usize) {
        self.heads.remove(&room);
        self.durable.remove(&room);
    }

    /// In which count of numbers a room is; 0 if nothing is known of it.
    pub fn epoch(&self, room: usize) -> u64 {
        self.heads.get(&room).map_or(0, |head| head.epoch)
    }

    /// One transaction of all that waits, and what the rooms are told of it.
    pub fn commit(&mut self, fails: bool) -> Vec<(usize, Input)> {
        let mut next = BTreeMap::new();
        let mut first = BTreeMap::new();
        let mut taken: Vec<(usize, Arc<ChatMessage>)> = Vec::new();
        let mut noted = Vec::new();
        for (room, change) in std::mem::take(&mut self.waiting) {
            let Change::Append(message) = change else {
                noted.push(room);
                continue;
            };
            let expected = next.entry(room).or_insert(self.kept(room).len() as u64 + 1);
            // Others were given to it before the room heard that an earlier one is not kept.
            if message.sequence == *expected {
                *expected += 1;
                first.entry(room).or_insert(message.sequence);
                taken.push((room, message));
            }
        }
        if fails {
            self.waiting = noted.into_iter().map(|room| (room, Change::Note)).collect();
            return first.into_iter().map(|(room, from)| (room, Input::NotStored { from })).collect();
        }
        for (room, message) in taken {
            noted.push(room);
            if let Some(head) = self.heads.get_mut(&room) {
                head.kept.push(message);
            }
        }
        for room in noted {
            self.write(room);
        }
        let through = |room: &usize| next[room] - 1;
        first.keys().map(|room| (*room, Input::Stored { through: through(room) })).collect()
    }

    fn write(&mut self, room: usize) {
        if let (Some(head), Some(durable)) = (self.heads.get(&room), self.durable.get_mut(&room)) {
            *durable = head.notes.clone();
        }
    }

    pub fn crash(&mut self) {
        self.waiting.clear();
        for (room, durable) in &self.durable {
            if let Some(head) = self.heads.get_mut(room) {
                head.notes = durable.clone();
            }
        }
    }

    /// A kept message was synced, so it outlives a crash.
    pub fn kept(&self, room: usize) -> &[Arc<ChatMessage>] {
        self.heads.get(&room).map_or(&[], |head| &head.kept)
    }

    pub fn is_locked(&self, room: usize) -> bool {
        self.heads.get(&room).is_some_and(|head| head.notes.locked)
    }

    pub fn is_kept_out(&self, room: usize, identity: &str, now: Now) -> bool {
        let removed = self.heads.get(&room).map_or(&[][..], |head| &head.notes.removed);
        removed.iter().any(|removed| removed.identity == identity && removed.until_unix_ms > now.unix_ms)
    }
}
