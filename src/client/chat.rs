mod inbox;
mod outbox;

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::event::ChatError;
use super::seat::Seat;
use super::session::{Session, Stage};
use crate::limits::CHAT_RETRY_INTERVAL;
use crate::wire::{ChatPosition, ClientChat, MessageId, ParticipantId, StreamKind, encode};

pub(super) use inbox::Inbox;
pub(super) use outbox::{Answer, Outbox, Words};

/// The chat of a room. Clones are the same chat, so that many messages can be on their way at once.
#[derive(Debug, Clone)]
pub struct Chat {
    seat: Arc<Seat>,
}

impl Chat {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        Self { seat }
    }

    /// Says something to everyone. Resolves with its sequence number when the relay keeps it; messages travel in the order
    /// in which the futures are first polled.
    ///
    /// If the connection breaks before the acknowledgement has come, the message is sent again after it: it is said once. Up
    /// to 256 messages are under way at a time; the next one waits for a place. A message that has its place is said even if
    /// its future is dropped.
    ///
    /// # Errors
    /// [`ChatError`] if the relay did not take or keep it, or the room ended before it said so.
    pub async fn send(&self, text: impl Into<String>) -> Result<u64, ChatError> {
        self.say(None, text.into()).await
    }

    /// Says something to one participant alone; like [`Chat::send`] otherwise.
    ///
    /// # Errors
    /// [`ChatError`] if the relay did not take or keep it, or the room ended before it said so.
    pub async fn send_to(&self, participant: ParticipantId, text: impl Into<String>) -> Result<u64, ChatError> {
        self.say(Some(participant), text.into()).await
    }

    /// Tells the others whether one is writing at the moment. Without a connection nobody is told.
    ///
    /// # Errors
    /// [`ChatError::Closed`] if the room has ended.
    pub async fn set_typing(&self, active: bool) -> Result<(), ChatError> {
        self.seat.check_open()?;
        if let Some(session) = self.seat.present() {
            let _ = session.link.send(StreamKind::Chat, &encode(&ClientChat::Typing { active })).await;
        }
        Ok(())
    }

    /// The last message that has come, or that was acknowledged: what to ask for next time, in
    /// [`Options::history`](super::Options::history).
    pub fn position(&self) -> ChatPosition {
        self.seat.state().inbox.position().unwrap_or(ChatPosition::START)
    }

    async fn say(&self, to: Option<ParticipantId>, body: String) -> Result<u64, ChatError> {
        let max = self.seat.welcome().chat_bytes_max as usize;
        if body.len() > max {
            return Err(ChatError::TooLong { bytes: body.len(), max });
        }
        let turn = self.seat.chat_turn.lock().await;
        let place = self.seat.chat_places.clone().acquire_owned().await.map_err(|_| self.seat.ending())?;
        let (answer, answered) = oneshot::channel();
        self.seat.say(Words { message_id: MessageId(rand::random()), to, body }, answer, place)?;
        drop(turn);
        answered.await.unwrap_or_else(|_| Err(self.seat.ending().into()))
    }
}

impl Session {
    /// Sends what is said, and what was said and not answered before; until the session ends.
    pub(super) async fn send_chat(self: Arc<Self>) {
        // What was said before may be in the chat that comes: then it need not be said again.
        self.reached(Stage::Live).await;
        let mut changed = self.seat.chat_changed.subscribe();
        self.seat.state().outbox.begin();
        loop {
            changed.borrow_and_update();
            let (next, hasty) = {
                let mut state = self.seat.state();
                if !self.seat.is_held_by(&self) {
                    // The next session sends it.
                    return;
                }
                let hasty = std::mem::take(&mut state.hasty);
                (if hasty { None } else { state.outbox.next() }, hasty)
            };
            match next {
                Some(message) => {
                    if self.link.send(StreamKind::Chat, &encode(&message)).await.is_err() {
                        return;
                    }
                }
                None if hasty => sleep(CHAT_RETRY_INTERVAL).await,
                // The sender is the seat's, so it cannot be gone.
                None => drop(changed.changed().await),
            }
        }
    }
}
