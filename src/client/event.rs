use thiserror::Error;

use super::RemoteTrack;
use crate::wire::{
    ChatMessage, ChatPosition, CloseReason, ParticipantId, ParticipantInfo, PublishedTrack, RefuseReason, TrackId,
};

/// What happened in the room.
#[derive(Debug)]
pub enum Event {
    /// Someone joined. Those who were there before are in [`Room::remote_participants`](super::Room::remote_participants).
    ParticipantJoined(ParticipantInfo),
    /// Someone left. Their tracks were unpublished before.
    ParticipantLeft {
        /// Who.
        participant: ParticipantId,
    },
    /// Someone published a track.
    TrackPublished {
        /// Who.
        participant: ParticipantId,
        /// Which track.
        track: PublishedTrack,
    },
    /// A track of someone else is gone.
    TrackUnpublished {
        /// Whose it was.
        participant: ParticipantId,
        /// Which track.
        track: TrackId,
    },
    /// A track of someone else went silent or dark, or came back.
    TrackMuted {
        /// Which track.
        track: TrackId,
        /// Its new state.
        muted: bool,
    },
    /// The media of a track is on its way, because [`Options::auto_subscribe`](super::Options::auto_subscribe) is set.
    /// Whoever drops the track does not get its media; [`Room::unsubscribe`](super::Room::unsubscribe) saves its bandwidth too.
    TrackSubscribed(RemoteTrack),
    /// Someone said something; or one did so oneself, earlier, and it is part of the history that was asked for.
    ChatMessage(ChatMessage),
    /// Someone began or stopped writing.
    ChatTyping {
        /// Who.
        participant: ParticipantId,
        /// The new state.
        active: bool,
    },
    /// All of the history that was asked for has come; what follows is live.
    ChatCaughtUp {
        /// Where the chat stands: what to ask for next time.
        position: ChatPosition,
        /// The first message that the relay still keeps.
        first_kept: u64,
    },
    /// Someone who subscribed cannot go on without a keyframe of a track of one's own.
    KeyframeRequested {
        /// The track.
        track: TrackId,
    },
    /// The session has ended; no event follows.
    Closed {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
}

impl Event {
    /// About how much memory it takes, in bytes.
    pub(super) fn cost_bytes(&self) -> usize {
        let variable = match self {
            Self::ChatMessage(message) => message.cost_bytes(),
            Self::TrackPublished { track, .. } => track.info.description.len(),
            _ => 0,
        };
        size_of::<Self>() + variable
    }
}

/// Why a request about a track was not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The relay said no.
    #[error("the relay refused it: {message}")]
    Refused {
        /// Why, for programs.
        reason: RefuseReason,
        /// Why, for people.
        message: String,
    },
    /// The session has ended.
    #[error("the session has ended ({label}): {message}", label = .reason.label())]
    Closed {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
}

/// Why a chat message was not said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChatError {
    /// The relay said no.
    #[error("the relay refused the message: {message}")]
    Refused {
        /// Why, for programs.
        reason: RefuseReason,
        /// Why, for people.
        message: String,
    },
    /// The text is longer than the relay takes; nothing was sent.
    #[error("a message has at most {max} bytes, this one has {bytes}; split it")]
    TooLong {
        /// The length of the text, in bytes of UTF-8.
        bytes: usize,
        /// The bound, in bytes of UTF-8.
        max: usize,
    },
    /// The session ended before the acknowledgement came: the message may have been said or not.
    #[error("the session has ended ({label}): {message}", label = .reason.label())]
    Closed {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub reason: CloseReason,
    pub message: String,
}

impl From<Ending> for RequestError {
    fn from(Ending { reason, message }: Ending) -> Self {
        Self::Closed { reason, message }
    }
}

impl From<Ending> for ChatError {
    fn from(Ending { reason, message }: Ending) -> Self {
        Self::Closed { reason, message }
    }
}
