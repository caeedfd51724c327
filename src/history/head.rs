use crate::limits::Limits;
use crate::room::{Ids, RoomNotes};
use crate::wire::ChatMessage;

/// What is kept of a room beside its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub epoch: u64,
    /// The last number that was kept, also if its message is gone.
    pub last: u64,
    /// The first number that is still kept; one after the last if there is none.
    pub first: u64,
    pub messages: u32,
    pub bytes: u64,
    /// When something was last said or done in the room.
    pub used_unix_ms: u64,
    pub notes: RoomNotes,
}

/// What a message counts for when its room has too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    pub sequence: u64,
    pub bytes: u64,
    pub sent_at_ms: u64,
}

/// How much of a room's chat is kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    messages: u32,
    bytes: u64,
    sent_after_ms: u64,
}

impl Head {
    pub fn new(epoch: u64, unix_ms: u64) -> Self {
        let notes = RoomNotes::default();
        Self { epoch, last: 0, first: 1, messages: 0, bytes: 0, used_unix_ms: unix_ms, notes }
    }

    /// Whether there is nothing in it that anyone could miss. Ids alone are nothing: they protect messages.
    pub fn is_void(&self) -> bool {
        self.messages == 0 && !self.notes.locked && self.notes.removed.is_empty()
    }

    pub fn add(&mut self, message: &ChatMessage) {
        self.count(Weight::of(message));
        self.used_unix_ms = self.used_unix_ms.max(message.sent_at_ms);
        self.notes.ids = self.notes.ids.or_later(written_ids(message));
    }

    /// Adds a message behind all others.
    pub fn count(&mut self, weight: Weight) {
        if self.messages == 0 {
            self.first = weight.sequence;
        }
        self.last = weight.sequence;
        self.messages += 1;
        self.bytes += weight.bytes;
    }

    /// Takes off the oldest message.
    pub fn discount(&mut self, oldest: Weight) {
        self.first = oldest.sequence + 1;
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(oldest.bytes);
    }

    /// No message is kept.
    pub fn clear(&mut self) {
        (self.first, self.messages, self.bytes) = (self.last + 1, 0, 0);
    }

    /// Takes over what is noted of a room that is open. Ids do not go back: they are reserved ahead.
    pub fn note(&mut self, notes: RoomNotes) {
        let ids = self.notes.ids.or_later(notes.ids);
        self.notes = RoomNotes { ids, ..notes };
    }
}

/// Who wrote or got a message keeps its id for itself: a newcomer under it would be sent what was said in private.
pub fn written_ids(message: &ChatMessage) -> Ids {
    Ids { participants: message.from.0.max(message.to.map_or(0, |to| to.0)), tracks: 0 }
}

impl Weight {
    pub fn of(message: &ChatMessage) -> Self {
        Self { sequence: message.sequence, bytes: message.cost_bytes() as u64, sent_at_ms: message.sent_at_ms }
    }
}

impl Retention {
    pub fn new(limits: &Limits, unix_ms: u64) -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let sent_after_ms = match limits.history_days {
            0 => 0,
            days => unix_ms.saturating_sub(u64::from(days) * DAY_MS),
        };
        Self { messages: limits.history_messages, bytes: limits.history_bytes.into(), sent_after_ms }
    }

    /// Takes off nothing.
    pub fn everything() -> Self {
        Self { messages: u32::MAX, bytes: u64::MAX, sent_after_ms: 0 }
    }

    /// Whether a room has more than it should, its oldest message being this one.
    pub fn exceeded(&self, head: &Head, oldest: Weight) -> bool {
        head.messages > self.messages || head.bytes > self.bytes || self.is_over(oldest.sent_at_ms)
    }

    /// Whether that moment is too long ago.
    pub fn is_over(&self, unix_ms: u64) -> bool {
        unix_ms < self.sent_after_ms
    }
}
