use bincode::{Decode, Encode};

use super::names::ParticipantId;
use super::reason::RefuseReason;

/// A sender's own id of a message: 16 random bytes. Sending it again does no harm, so it can be repeated until it is
/// acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct MessageId(pub [u8; 16]);

/// The sequence number of a message that could not be kept: it has no place in the order.
pub const NOT_KEPT: u64 = 0;

/// A place in a room's chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ChatPosition {
    /// Which count of sequence numbers: a room whose history was lost starts another one. `0` is none.
    pub epoch: u64,
    /// The number of a message in that count, from 1 on; 0 stands before the first.
    pub sequence: u64,
}

impl ChatPosition {
    /// Before everything that is kept, in whichever epoch.
    pub const START: Self = Self { epoch: 0, sequence: 0 };
}

/// What a client says on its chat stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ClientChat {
    /// Says something; answered by [`ServerChat::Accepted`] or [`ServerChat::Refused`] with the same `message_id`.
    Send {
        /// The sender's own id.
        message_id: MessageId,
        /// To whom; `None`: to everyone.
        to: Option<ParticipantId>,
        /// The text.
        body: String,
    },
    /// Whether the participant is writing at the moment. Not kept.
    Typing {
        /// The new state.
        active: bool,
    },
}

/// What the relay says on the chat stream. `Message` and `Accepted` come in the order of their
/// sequence numbers, but for the acknowledgement of a repetition, which comes at once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ServerChat {
    /// A message of one's own is kept and on its way to the others.
    Accepted {
        /// The sender's own id.
        message_id: MessageId,
        /// Its number in the room.
        sequence: u64,
        /// When the relay took it, in milliseconds since 1970.
        sent_at_ms: u64,
    },
    /// A message of one's own was not taken.
    Refused {
        /// The sender's own id.
        message_id: MessageId,
        /// Why, for programs.
        reason: RefuseReason,
        /// Why, for people.
        message: String,
    },
    /// Someone said something.
    Message(ChatMessage),
    /// All of the history that was asked for has been sent; what follows is live.
    CaughtUp {
        /// The last sequence number that the participant has now.
        position: ChatPosition,
        /// The first one that is still kept: what stood between the position asked for and this one is gone.
        first_kept: u64,
    },
    /// Someone began or stopped writing.
    Typing {
        /// Who.
        participant: ParticipantId,
        /// The new state.
        active: bool,
    },
    /// A message of one's own went to those who are there, but the relay cannot keep it: it has no number, and whoever comes
    /// later does not get it.
    NotKept {
        /// The sender's own id.
        message_id: MessageId,
        /// When the relay took it, in milliseconds since 1970.
        sent_at_ms: u64,
    },
}

/// A message as it is kept and delivered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChatMessage {
    /// Its number in the room, from 1 on. Numbers of messages to someone else are missing. 0: the relay could not keep it, and
    /// only those who were there got it.
    pub sequence: u64,
    /// The sender's own id.
    pub message_id: MessageId,
    /// When the relay took it, in milliseconds since 1970.
    pub sent_at_ms: u64,
    /// Who said it.
    pub from: ParticipantId,
    /// What they were called then: they may have left since.
    pub from_name: String,
    /// To whom; `None`: to everyone.
    pub to: Option<ParticipantId>,
    /// The text.
    pub body: String,
}

impl ChatMessage {
    /// Whether `participant` may see it.
    pub fn concerns(&self, participant: ParticipantId) -> bool {
        self.to.is_none_or(|to| to == participant || self.from == participant)
    }

    /// About how much memory it takes, in bytes.
    pub fn cost_bytes(&self) -> usize {
        size_of::<Self>() + self.from_name.len() + self.body.len()
    }
}
