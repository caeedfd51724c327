use std::sync::Arc;

use crate::wire::{
    ChatMessage, ChatPosition, ClientChat, ClientMessage, CloseReason, DisplayName, ParticipantId, ParticipantKind,
    ServerChat, ServerMessage, TrackId,
};

/// The shell's own number for a session that asks for a seat. The room only gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey(pub u64);

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A session asks for a seat.
    Join {
        /// Which session.
        session: SessionKey,
        /// What it asks for.
        request: JoinRequest,
    },
    /// A participant left, or its session ended.
    Leave {
        /// Who.
        participant: ParticipantId,
    },
    /// A participant said something on its control stream.
    Message {
        /// Who.
        from: ParticipantId,
        /// What.
        message: ClientMessage,
    },
    /// A participant said something on its chat stream.
    Chat {
        /// Who.
        from: ParticipantId,
        /// What.
        message: ClientChat,
    },
    /// The history keeps all messages up to this one.
    Stored {
        /// The last sequence number that is kept.
        through: u64,
    },
    /// A participant has been sent the history that [`Output::Replay`] asked for.
    Replayed {
        /// Who.
        participant: ParticipantId,
        /// The last sequence number that was sent.
        through: u64,
    },
    /// [`Room::next_timeout`](super::Room::next_timeout) has come.
    Timeout,
}

/// A request for a seat, its names already checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// What people should see; `None`: the room finds a name.
    pub name: Option<DisplayName>,
    /// What the participant can take part in.
    pub kind: ParticipantKind,
    /// Whether tracks are subscribed without asking.
    pub auto_subscribe: bool,
    /// Chat to send again.
    pub chat_after: Option<ChatPosition>,
}

/// What should happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The session has a seat.
    Admitted {
        /// Which session.
        session: SessionKey,
        /// The seat.
        participant: ParticipantId,
        /// How many were there before; they are told next.
        participants: u32,
        /// Where the chat stands.
        chat: ChatPosition,
    },
    /// The session gets no seat.
    Refused {
        /// Which session.
        session: SessionKey,
        /// Why.
        reason: CloseReason,
    },
    /// The seat is given up.
    Left {
        /// Whose.
        participant: ParticipantId,
    },
    /// Send a message on control streams.
    Tell {
        /// To whom.
        to: Audience,
        /// What.
        message: ServerMessage,
    },
    /// Send a message on chat streams.
    Chat {
        /// To whom.
        to: Audience,
        /// What.
        message: ServerChat,
    },
    /// Deliver a kept chat message, in the order of these outputs.
    Deliver {
        /// To whom.
        to: Vec<ParticipantId>,
        /// What.
        message: Arc<ChatMessage>,
    },
    /// Keep a chat message, then say [`Input::Stored`].
    Store(Arc<ChatMessage>),
    /// Send the kept messages after one sequence number up to another that concern a participant, then say
    /// [`Input::Replayed`].
    Replay {
        /// To whom.
        participant: ParticipantId,
        /// The last one that the participant has.
        after: u64,
        /// The last one to send.
        through: u64,
    },
    /// Tell a participant that it has all of the history that it asked for.
    CaughtUp {
        /// Who.
        participant: ParticipantId,
        /// Where it stands now.
        position: ChatPosition,
    },
    /// Media of a track may flow.
    RouteOpened {
        /// Which track.
        track: TrackId,
        /// Whose it is.
        publisher: ParticipantId,
    },
    /// Media of a track flows no longer.
    RouteClosed {
        /// Which track.
        track: TrackId,
    },
    /// A participant gets a track.
    Subscribed {
        /// Which track.
        track: TrackId,
        /// Who.
        subscriber: ParticipantId,
    },
    /// A participant gets a track no longer.
    Unsubscribed {
        /// Which track.
        track: TrackId,
        /// Who.
        subscriber: ParticipantId,
    },
    /// End a participant's session; [`Input::Leave`] follows.
    Close {
        /// Whose.
        participant: ParticipantId,
        /// Why.
        reason: CloseReason,
    },
}

impl Output {
    pub(super) fn tell(to: ParticipantId, message: ServerMessage) -> Self {
        Self::Tell { to: Audience::One(to), message }
    }

    pub(super) fn chat(to: ParticipantId, message: ServerChat) -> Self {
        Self::Chat { to: Audience::One(to), message }
    }
}

/// Who is told. Plain WebSocket participants understand only [`Output::Deliver`]; the shell leaves them out of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// One participant.
    One(ParticipantId),
    /// All in the room.
    Everyone,
    /// All others in the room.
    EveryoneBut(ParticipantId),
}
