use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;
use crate::wire::{ChatMessage, ChatPosition, ParticipantId, RoomName};

/// The chat of all rooms, in memory. A room's chat outlives the room's last participant, until other rooms need the place.
#[derive(Debug)]
pub struct History {
    limits: Limits,
    rooms: BTreeMap<RoomName, Kept>,
}

#[derive(Debug)]
struct Kept {
    position: ChatPosition,
    messages: VecDeque<Arc<ChatMessage>>,
    bytes: usize,
    /// Since when nobody is in the room.
    idle_since: Option<Duration>,
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

impl History {
    /// An empty history with these bounds.
    pub fn new(limits: Limits) -> Self {
        Self { limits, rooms: BTreeMap::new() }
    }

    /// Begins or goes on with a room's chat and says where it stands. A room that is new gets `new_epoch`, which must not
    /// have been used before and is not 0.
    pub fn open(&mut self, room: &RoomName, new_epoch: u64) -> ChatPosition {
        let kept = self.rooms.entry(room.clone()).or_insert_with(|| Kept {
            position: ChatPosition { epoch: new_epoch, sequence: 0 },
            messages: VecDeque::new(),
            bytes: 0,
            idle_since: None,
        });
        kept.idle_since = None;
        kept.position
    }

    /// Notes that nobody is in the room any more; the chats that have been idle longest make room for others.
    pub fn close(&mut self, room: &RoomName, since_start: Duration) {
        if let Some(kept) = self.rooms.get_mut(room) {
            kept.idle_since = Some(since_start);
        }
        let idle = self.rooms.iter().filter_map(|(room, kept)| Some((kept.idle_since?, room)));
        let mut idle: Vec<_> = idle.collect();
        if idle.len() > self.limits.history_rooms as usize {
            idle.sort_unstable();
            let oldest = idle[0].1.clone();
            self.rooms.remove(&oldest);
        }
    }

    /// Keeps a message of an open room.
    pub fn append(&mut self, room: &RoomName, message: Arc<ChatMessage>) {
        let Some(kept) = self.rooms.get_mut(room) else {
            return;
        };
        kept.position.sequence = message.sequence;
        kept.bytes += message.cost_bytes();
        kept.messages.push_back(message);
        while kept.messages.len() > self.limits.history_messages as usize
            || kept.bytes > self.limits.history_bytes as usize
        {
            let Some(oldest) = kept.messages.pop_front() else {
                break;
            };
            kept.bytes -= oldest.cost_bytes();
        }
    }

    /// The messages after one sequence number up to another that concern `reader`, as far as they fit `bytes_max` (one
    /// always does).
    pub fn page(&self, room: &RoomName, reader: ParticipantId, after: u64, through: u64, bytes_max: usize) -> Page {
        let Some(kept) = self.rooms.get(room) else {
            return Page { messages: Vec::new(), through, first_kept: through + 1 };
        };
        let first_kept = kept.messages.front().map_or(kept.position.sequence + 1, |message| message.sequence);
        let start = kept.messages.partition_point(|message| message.sequence <= after);
        let mut page = Page { messages: Vec::new(), through, first_kept };
        let mut bytes = 0;
        for message in kept.messages.iter().skip(start).take_while(|message| message.sequence <= through) {
            if bytes > 0 && bytes + message.cost_bytes() > bytes_max {
                page.through = message.sequence - 1;
                break;
            }
            if message.concerns(reader) {
                bytes += message.cost_bytes();
                page.messages.push(message.clone());
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MessageId;

    fn room() -> RoomName {
        RoomName::parse("lobby").unwrap()
    }

    fn message(sequence: u64, to: Option<u32>) -> Arc<ChatMessage> {
        Arc::new(ChatMessage {
            sequence,
            message_id: MessageId([0; 16]),
            sent_at_ms: 0,
            from: ParticipantId(1),
            from_name: String::new(),
            to: to.map(ParticipantId),
            body: "x".repeat(100),
        })
    }

    fn history(limits: Limits) -> History {
        let mut history = History::new(limits);
        assert_eq!(history.open(&room(), 7), ChatPosition { epoch: 7, sequence: 0 });
        history
    }

    fn sequences(history: &History, reader: u32, after: u64, through: u64, bytes_max: usize) -> (Vec<u64>, u64, u64) {
        let page = history.page(&room(), ParticipantId(reader), after, through, bytes_max);
        (page.messages.iter().map(|message| message.sequence).collect(), page.through, page.first_kept)
    }

    #[test]
    fn pages_follow_each_other_without_gap() {
        let mut history = history(Limits::default());
        for sequence in 1..=10 {
            history.append(&room(), message(sequence, None));
        }
        assert_eq!(sequences(&history, 2, 0, 10, usize::MAX), ((1..=10).collect(), 10, 1));
        let two = 2 * message(1, None).cost_bytes();
        assert_eq!(sequences(&history, 2, 3, 10, two), (vec![4, 5], 5, 1));
        assert_eq!(sequences(&history, 2, 9, 10, 1), (vec![10], 10, 1));
        assert_eq!(sequences(&history, 2, 10, 10, two), (vec![], 10, 1));
    }

    #[test]
    fn what_was_said_to_someone_else_is_left_out() {
        let mut history = history(Limits::default());
        for (sequence, to) in [(1, None), (2, Some(3)), (3, Some(2)), (4, Some(3))] {
            history.append(&room(), message(sequence, to));
        }
        assert_eq!(sequences(&history, 2, 0, 4, usize::MAX), (vec![1, 3], 4, 1));
        assert_eq!(sequences(&history, 1, 0, 4, usize::MAX), (vec![1, 2, 3, 4], 4, 1));
    }

    #[test]
    fn count_and_bytes_are_bounded() {
        let mut by_count = history(Limits { history_messages: 3, ..Limits::default() });
        let mut by_bytes =
            history(Limits { history_bytes: 3 * message(1, None).cost_bytes() as u32, ..Limits::default() });
        for sequence in 1..=10 {
            by_count.append(&room(), message(sequence, None));
            by_bytes.append(&room(), message(sequence, None));
        }
        assert_eq!(sequences(&by_count, 2, 0, 10, usize::MAX), (vec![8, 9, 10], 10, 8));
        assert_eq!(sequences(&by_bytes, 2, 0, 10, usize::MAX), (vec![8, 9, 10], 10, 8));
    }

    #[test]
    fn an_empty_room_keeps_its_chat_until_others_need_the_place() {
        let mut history = history(Limits { history_rooms: 1, ..Limits::default() });
        history.append(&room(), message(1, None));
        history.close(&room(), Duration::from_secs(1));
        assert_eq!(history.open(&room(), 8), ChatPosition { epoch: 7, sequence: 1 });
        history.close(&room(), Duration::from_secs(2));
        let other = RoomName::parse("other").unwrap();
        history.open(&other, 9);
        history.close(&other, Duration::from_secs(3));
        assert_eq!(history.open(&room(), 10), ChatPosition { epoch: 10, sequence: 0 });
    }
}
