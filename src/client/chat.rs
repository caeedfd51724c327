use std::sync::Arc;

use super::event::ChatError;
use super::session::Session;
use crate::wire::{ClientChat, MessageId, ParticipantId, StreamKind, encode};

/// The chat of a room. Clones are the same chat, so that many messages can be on their way at once.
#[derive(Debug, Clone)]
pub struct Chat {
    session: Arc<Session>,
}

impl Chat {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    /// Says something to everyone. Resolves with its sequence number when the relay keeps it; messages travel in the order
    /// in which the futures are first polled.
    ///
    /// # Errors
    /// [`ChatError`] if the relay did not take it, or the session ended before it said so.
    pub async fn send(&self, text: impl Into<String>) -> Result<u64, ChatError> {
        self.say(None, text.into()).await
    }

    /// Says something to one participant alone; like [`Chat::send`] otherwise.
    ///
    /// # Errors
    /// [`ChatError`] if the relay did not take it, or the session ended before it said so.
    pub async fn send_to(&self, participant: ParticipantId, text: impl Into<String>) -> Result<u64, ChatError> {
        self.say(Some(participant), text.into()).await
    }

    /// Tells the others whether one is writing at the moment.
    ///
    /// # Errors
    /// [`ChatError::Closed`] if the session has ended.
    pub async fn set_typing(&self, active: bool) -> Result<(), ChatError> {
        self.transmit(&ClientChat::Typing { active }).await
    }

    async fn say(&self, to: Option<ParticipantId>, body: String) -> Result<u64, ChatError> {
        let max = self.session.welcome().map_or(usize::MAX, |welcome| welcome.chat_bytes_max as usize);
        if body.len() > max {
            return Err(ChatError::TooLong { bytes: body.len(), max });
        }
        let message_id = MessageId(rand::random());
        let acknowledged = self.session.await_acknowledgement(message_id)?;
        self.transmit(&ClientChat::Send { message_id, to, body }).await?;
        acknowledged.await.unwrap_or_else(|_| Err(self.session.ending().into()))
    }

    async fn transmit(&self, message: &ClientChat) -> Result<(), ChatError> {
        let sent = self.session.link.send(StreamKind::Chat, &encode(message)).await;
        sent.map_err(|_| self.session.ending().into())
    }
}
