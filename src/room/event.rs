use std::sync::Arc;
use std::time::Duration;

use super::{Pressure, RoomNotes};
use crate::auth::{Grant, SeatClaim};
use crate::wire::{
    ChatMessage, ChatPosition, ClientChat, ClientMessage, CloseReason, DisplayName, Layers, ParticipantId,
    ParticipantKind, Permissions, PublishedTrack, ServerChat, ServerMessage, TrackId, TrackSource,
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
    /// A session that had a seat has ended.
    Ended {
        /// Whose seat it was.
        participant: ParticipantId,
        /// Which session: another one may have taken the seat meanwhile.
        session: SessionKey,
        /// Why; it decides whether the seat is kept.
        reason: CloseReason,
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
    /// The history does not keep this message, nor those that were given to it after this one.
    NotStored {
        /// The first sequence number that is not kept.
        from: u64,
    },
    /// [`Output::PictureWanted`] cannot be done from what is kept: a keyframe has to be made.
    PictureMissing {
        /// Of which track.
        track: TrackId,
        /// Of which rendition.
        spatial_layer: u8,
        /// When the last keyframe of it began to be passed on, as time since the relay started.
        keyframe_at: Option<Duration>,
    },
    /// A participant has been sent the history that [`Output::Replay`] asked for.
    Replayed {
        /// Who.
        participant: ParticipantId,
        /// By which session: another one may have taken the seat meanwhile.
        session: SessionKey,
        /// The last sequence number that was sent.
        through: u64,
    },
    /// A participant takes chat more slowly than it is kept: what is left is to come from the history.
    FellBehind {
        /// Who.
        participant: ParticipantId,
        /// In which session.
        session: SessionKey,
        /// The last message that it was sent.
        after: u64,
    },
    /// Something of a track was left out on the way to a participant, so that nothing of it can be seen until a keyframe comes.
    KeyframeWanted {
        /// Who.
        participant: ParticipantId,
        /// Which track.
        track: TrackId,
        /// Which rendition of it.
        spatial_layer: u8,
    },
    /// The path to a participant is too slow for the media that it gets.
    Pressed {
        /// Who.
        participant: ParticipantId,
        /// How much too slow.
        pressure: Pressure,
    },
    /// Somebody speaks: to be said as often as it is looked, while anybody does.
    Speaking {
        /// Who, the loudest first.
        participants: Vec<ParticipantId>,
    },
    /// [`Room::next_timeout`](super::Room::next_timeout) has come.
    Timeout,
    /// The relay has no place for another room: seats that nobody is in are given up.
    PlaceWanted,
}

/// A request for a seat: its names were checked, its token was verified, its ticket was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinRequest {
    /// What people should see; `None`: the room finds a name. A name in the grant goes first.
    pub name: Option<DisplayName>,
    /// What the participant can take part in.
    pub kind: ParticipantKind,
    /// What the participant may do.
    pub grant: Grant,
    /// The seat that the participant had.
    pub seat: Option<SeatClaim>,
    /// Whether tracks are subscribed without asking.
    pub auto_subscribe: bool,
    /// Chat to send again.
    pub chat_after: Option<ChatPosition>,
}

/// What should happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The session has a seat.
    Admitted(Admitted),
    /// The session gets no seat.
    Refused {
        /// Which session.
        session: SessionKey,
        /// Why.
        reason: CloseReason,
    },
    /// The participant's session has ended and its seat is kept: nothing can be sent to it until it is admitted again.
    Away {
        /// Whose.
        participant: ParticipantId,
    },
    /// The seat is given up.
    Left {
        /// Whose.
        participant: ParticipantId,
        /// Why.
        reason: CloseReason,
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
        /// The largest rendition and the highest temporal layer.
        highest: Layers,
        /// Whether it carries pictures.
        is_video: bool,
        /// Where it comes from.
        source: TrackSource,
    },
    /// Media of a track flows no longer.
    RouteClosed {
        /// Which track.
        track: TrackId,
    },
    /// Media of a track is left out from now on, or passed on again.
    RouteMuted {
        /// Which track.
        track: TrackId,
        /// The new state.
        muted: bool,
    },
    /// Nobody gets a track from now on who did not choose it, or whoever is subscribed to it does again: who gets it is said beside
    /// this.
    RouteHeld {
        /// Which track.
        track: TrackId,
        /// The new state.
        held: bool,
    },
    /// A participant gets a track.
    Subscribed {
        /// Which track.
        track: TrackId,
        /// Who.
        subscriber: ParticipantId,
        /// What of it.
        layers: Layers,
    },
    /// A participant that begins to get a track needs a picture to begin with: send what is kept of it, or say
    /// [`Input::PictureMissing`].
    PictureWanted {
        /// Which track.
        track: TrackId,
        /// Who.
        subscriber: ParticipantId,
        /// What of it.
        layers: Layers,
    },
    /// A participant gets other layers of a track: another rendition when a keyframe of it begins, other temporal layers at
    /// once.
    LayersSet {
        /// Which track.
        track: TrackId,
        /// Who.
        subscriber: ParticipantId,
        /// What of it.
        layers: Layers,
    },
    /// A participant gets a track no longer.
    Unsubscribed {
        /// Which track.
        track: TrackId,
        /// Who.
        subscriber: ParticipantId,
    },
    /// Answer a participant's request with how its session does.
    MeasurementsWanted {
        /// Whose.
        participant: ParticipantId,
        /// The participant's number of the request.
        request: u32,
    },
    /// End a participant's present session; [`Input::Ended`] follows.
    Close {
        /// Whose.
        participant: ParticipantId,
        /// Why.
        reason: CloseReason,
    },
    /// Keep this over a restart.
    Note(RoomNotes),
    /// Count something that a participant sent too fast, and that gets no answer.
    PassedOver(PassedOver),
}

/// What is passed over without a word when its sender is too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// A request for a keyframe.
    KeyframeRequest,
    /// A report of how tracks arrive.
    Report,
    /// A change of whether someone is typing.
    Typing,
}

impl PassedOver {
    /// Every kind there is.
    pub const ALL: [Self; 3] = [Self::KeyframeRequest, Self::Report, Self::Typing];

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::KeyframeRequest => "keyframe_request",
            Self::Report => "report",
            Self::Typing => "typing",
        }
    }

    /// What a message is that has no answer.
    pub(super) const fn of(message: &ClientMessage) -> Option<Self> {
        match message {
            ClientMessage::RequestKeyframe { .. } => Some(Self::KeyframeRequest),
            ClientMessage::Report { .. } => Some(Self::Report),
            _ => None,
        }
    }
}

/// A seat that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// To which session.
    pub session: SessionKey,
    /// Which seat.
    pub participant: ParticipantId,
    /// Whether it is the seat of an earlier session, as it was left.
    pub resumed: bool,
    /// The participant's tracks, if so.
    pub tracks: Vec<PublishedTrack>,
    /// How many others there are; they are told next.
    pub participants: u32,
    /// Where the chat stands.
    pub chat: ChatPosition,
    /// Whether newcomers are kept out.
    pub locked: bool,
    /// What people see.
    pub name: String,
    /// What the participant may do.
    pub permissions: Permissions,
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
