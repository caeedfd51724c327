use std::collections::{BTreeSet, VecDeque};

use crate::limits::CHAT_IDS_MAX;
use crate::wire::{ChatMessage, ChatPosition, MessageId};

/// What has come of a room's chat: each message is let through once, in order, whatever several sessions bring. Pure.
#[derive(Debug, Default)]
pub(in crate::client) struct Inbox {
    /// The last message that has come, or of one's own that was acknowledged. `None`: no session has begun yet.
    position: Option<ChatPosition>,
    recent: BTreeSet<MessageId>,
    recent_in_order: VecDeque<MessageId>,
}

/// Messages that were not kept long enough: the first and the last number that is missing. Some may have been for others.
pub(in crate::client) type Gap = (u64, u64);

impl Inbox {
    /// Where the chat stands for this participant; what to ask for in the next session.
    pub fn position(&self) -> Option<ChatPosition> {
        self.position
    }

    /// A session begins that asked for what came after `asked`, in a chat that stands at `now`.
    pub fn begin(&mut self, asked: Option<ChatPosition>, now: ChatPosition) {
        let asked = match asked {
            None => now.sequence,
            // More than the relay has: it lost something, and gives these numbers again.
            Some(asked) if asked.epoch == now.epoch => asked.sequence.min(now.sequence),
            Some(_) => 0,
        };
        // The session before may have brought more since this one asked.
        let had = self.position.filter(|position| position.epoch == now.epoch).map_or(0, |position| position.sequence);
        self.position = Some(ChatPosition { epoch: now.epoch, sequence: asked.max(had.min(now.sequence)) });
    }

    /// Whether a message is news.
    pub fn take(&mut self, message: &ChatMessage) -> bool {
        let is_kept = message.sequence > 0;
        if is_kept && self.position.is_some_and(|position| message.sequence <= position.sequence) {
            return false;
        }
        self.advance(message.sequence);
        // Another count of numbers, or a message that has none, says nothing about what has come before.
        self.remember(message.message_id)
    }

    /// A message of one's own has its place.
    pub fn acknowledged(&mut self, message_id: MessageId, sequence: u64) {
        self.advance(sequence);
        self.remember(message_id);
    }

    /// All that was asked for has come. Says what of it is gone, if the session had asked for what follows `asked`.
    pub fn caught_up(&mut self, asked: ChatPosition, position: ChatPosition, first_kept: u64) -> Option<Gap> {
        self.advance(position.sequence);
        let is_gap = asked.epoch == position.epoch && first_kept > asked.sequence.saturating_add(1);
        is_gap.then(|| (asked.sequence + 1, first_kept - 1))
    }

    fn advance(&mut self, sequence: u64) {
        if let Some(position) = &mut self.position {
            position.sequence = position.sequence.max(sequence);
        }
    }

    /// Says whether it was not known.
    fn remember(&mut self, message_id: MessageId) -> bool {
        if !self.recent.insert(message_id) {
            return false;
        }
        self.recent_in_order.push_back(message_id);
        if self.recent_in_order.len() > CHAT_IDS_MAX
            && let Some(oldest) = self.recent_in_order.pop_front()
        {
            self.recent.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ParticipantId;

    fn at(epoch: u64, sequence: u64) -> ChatPosition {
        ChatPosition { epoch, sequence }
    }

    fn message(id: u8, sequence: u64) -> ChatMessage {
        ChatMessage {
            sequence,
            message_id: MessageId([id; 16]),
            sent_at_ms: 0,
            from: ParticipantId(1),
            from_name: "Ana".to_owned(),
            to: None,
            body: String::new(),
        }
    }

    #[test]
    fn what_two_sessions_bring_comes_once() {
        let mut inbox = Inbox::default();
        inbox.begin(None, at(7, 10));
        assert!(inbox.take(&message(1, 11)) && inbox.take(&message(2, 13)));
        inbox.acknowledged(MessageId([3; 16]), 14);
        assert_eq!(inbox.position(), Some(at(7, 14)));
        // Asked before 13 and 14 came.
        inbox.begin(Some(at(7, 11)), at(7, 15));
        let taken = [(2, 13), (3, 14), (4, 15), (5, 16)].map(|(id, sequence)| inbox.take(&message(id, sequence)));
        assert_eq!(taken, [false, false, true, true]);
    }

    #[test]
    fn in_another_epoch_the_numbers_begin_again_and_ids_are_what_counts() {
        let mut inbox = Inbox::default();
        inbox.begin(Some(ChatPosition::START), at(7, 2));
        assert!(inbox.take(&message(1, 1)) && inbox.take(&message(2, 2)));
        inbox.begin(Some(at(7, 2)), at(8, 2));
        assert_eq!(inbox.position(), Some(at(8, 0)));
        assert!(!inbox.take(&message(2, 1)));
        assert!(inbox.take(&message(3, 2)));
        assert_eq!(inbox.position(), Some(at(8, 2)));
    }

    #[test]
    fn numbers_that_the_relay_lost_are_good_again() {
        let mut inbox = Inbox::default();
        inbox.begin(None, at(7, 10));
        inbox.begin(Some(at(7, 10)), at(7, 4));
        assert!(inbox.take(&message(1, 5)));
    }

    #[test]
    fn a_message_that_was_not_kept_comes_once_with_and_without_a_number() {
        let mut inbox = Inbox::default();
        inbox.begin(None, at(7, 10));
        assert!(inbox.take(&message(1, 0)));
        assert!(!inbox.take(&message(1, 0)));
        assert!(!inbox.take(&message(1, 11)));
        assert_eq!(inbox.position(), Some(at(7, 11)));
    }

    #[test]
    fn what_was_not_kept_long_enough_is_a_gap() {
        let mut inbox = Inbox::default();
        inbox.begin(Some(at(7, 10)), at(7, 30));
        assert_eq!(inbox.caught_up(at(7, 10), at(7, 30), 11), None);
        assert_eq!(inbox.caught_up(at(7, 10), at(7, 30), 21), Some((11, 20)));
        assert_eq!(inbox.caught_up(at(6, 10), at(7, 30), 21), None);
        assert_eq!(inbox.position(), Some(at(7, 30)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut inbox = Inbox::default();
        for number in 0..2 * CHAT_IDS_MAX as u128 {
            inbox.acknowledged(MessageId(number.to_be_bytes()), 0);
        }
        assert_eq!((inbox.recent.len(), inbox.recent_in_order.len()), (CHAT_IDS_MAX, CHAT_IDS_MAX));
    }
}
