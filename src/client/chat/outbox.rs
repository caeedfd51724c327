use std::collections::VecDeque;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::client::ChatError;
use crate::wire::{ClientChat, MessageId, ParticipantId};

/// What the sender of a message waits for.
pub(in crate::client) type Answer = oneshot::Sender<Result<u64, ChatError>>;

/// Messages of one's own that were not answered yet, in their order. Pure but for those who wait.
///
/// What waited for a session, or was under way when the last one broke, leaves one by one, each when the one before it was
/// answered: then the relay can ask for patience without changing the order. What is said in a session that goes on leaves
/// at once.
#[derive(Debug, Default)]
pub(in crate::client) struct Outbox {
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    words: Words,
    /// Whether it was there when the session began.
    waited: bool,
    sent: bool,
    answer: Answer,
    /// Its place in the bound; given back when it goes.
    _place: OwnedSemaphorePermit,
}

/// What is said to whom.
#[derive(Debug, Clone)]
pub(in crate::client) struct Words {
    pub message_id: MessageId,
    pub to: Option<ParticipantId>,
    pub body: String,
}

impl Words {
    fn message(&self) -> ClientChat {
        let Self { message_id, to, body } = self.clone();
        ClientChat::Send { message_id, to, body }
    }
}

impl Outbox {
    pub fn push(&mut self, words: Words, answer: Answer, place: OwnedSemaphorePermit) {
        self.entries.push_back(Entry { words, waited: false, sent: false, answer, _place: place });
    }

    /// A session begins: everything is sent again.
    pub fn begin(&mut self) {
        for entry in &mut self.entries {
            (entry.waited, entry.sent) = (true, false);
        }
    }

    /// The next message to be sent now; it counts as sent from then on.
    pub fn next(&mut self) -> Option<ClientChat> {
        let next = self.entries.iter().position(|entry| !entry.sent || entry.waited)?;
        let entry = &mut self.entries[next];
        if entry.sent {
            return None;
        }
        entry.sent = true;
        Some(entry.words.message())
    }

    /// The relay asks for patience: whether the message is one that can wait and will be sent again.
    pub fn postpone(&mut self, message_id: MessageId) -> bool {
        let entry = self.entries.iter_mut().find(|entry| entry.words.message_id == message_id);
        let Some(entry) = entry.filter(|entry| entry.waited) else {
            return false;
        };
        entry.sent = false;
        true
    }

    /// A message was answered: who waits for that. `None`: it was answered before, or is not of this room.
    pub fn answered(&mut self, message_id: MessageId) -> Option<Answer> {
        let index = self.entries.iter().position(|entry| entry.words.message_id == message_id)?;
        self.entries.remove(index).map(|entry| entry.answer)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Nothing will be answered any more.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn id(number: u8) -> MessageId {
        MessageId([number; 16])
    }

    fn say(outbox: &mut Outbox, numbers: impl IntoIterator<Item = u8>) {
        for number in numbers {
            let words = Words { message_id: id(number), to: None, body: number.to_string() };
            let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            outbox.push(words, oneshot::channel().0, place);
        }
    }

    /// What leaves until something has to be waited for.
    fn sent(outbox: &mut Outbox) -> Vec<String> {
        let body = |message| match message {
            ClientChat::Send { body, .. } => body,
            ClientChat::Typing { .. } => "typing".to_owned(),
        };
        std::iter::from_fn(|| outbox.next()).map(body).collect()
    }

    #[test]
    fn what_is_said_in_a_session_leaves_at_once() {
        let mut outbox = Outbox::default();
        say(&mut outbox, [1, 2]);
        assert_eq!(sent(&mut outbox), ["1", "2"]);
        assert!(!outbox.postpone(id(1)));
        assert!(outbox.answered(id(2)).is_some() && outbox.answered(id(2)).is_none());
        say(&mut outbox, [3]);
        assert_eq!(sent(&mut outbox), ["3"]);
    }

    #[test]
    fn what_was_not_answered_leaves_again_one_by_one_and_what_is_new_after_it() {
        let mut outbox = Outbox::default();
        say(&mut outbox, [1, 2, 3]);
        assert_eq!(sent(&mut outbox).len(), 3);
        outbox.answered(id(2)).unwrap();
        outbox.begin();
        say(&mut outbox, [4, 5]);
        assert_eq!(sent(&mut outbox), ["1"]);
        assert!(outbox.postpone(id(1)));
        assert_eq!(sent(&mut outbox), ["1"]);
        outbox.answered(id(1)).unwrap();
        assert_eq!(sent(&mut outbox), ["3"]);
        outbox.answered(id(3)).unwrap();
        assert_eq!(sent(&mut outbox), ["4", "5"]);
        assert!(!outbox.is_empty());
    }
}
