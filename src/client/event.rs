use thiserror::Error;

use super::{Carrier, RemoteTrack};
use crate::wire::{
    ChatMessage, ChatPosition, CloseReason, ParticipantId, ParticipantInfo, PublishedTrack, RefuseReason, TrackId,
    TrackReport,
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
        /// Why. [`CloseReason::Left`] too where it happened while there was no connection, and so is not known.
        reason: CloseReason,
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
    /// A track of someone else went silent or dark, or came back; or one of one's own was muted by an admin, until
    /// [`LocalTrack::set_muted`](super::LocalTrack::set_muted) says otherwise.
    TrackMuted {
        /// Which track.
        track: TrackId,
        /// Its new state.
        muted: bool,
    },
    /// The media of a track is on its way, because [`Options::auto_subscribe`](super::Options::auto_subscribe) is set.
    /// Whoever drops the track does not get its media; [`Room::unsubscribe`](super::Room::unsubscribe) saves its bandwidth too.
    TrackSubscribed(RemoteTrack),
    /// Someone said something; or one did so oneself, before the room was joined, and it is part of the history that was
    /// asked for. Each message comes once and in order, also if the connection breaks meanwhile.
    ///
    /// A [`sequence`](ChatMessage::sequence) of 0 says that the relay could not keep the message: who comes later does not
    /// get it.
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
    /// Messages that were said while there was no connection are not kept any more. Some of them may have been for others.
    ChatGap {
        /// The number of the first one that is missing.
        from: u64,
        /// The number of the last one that is missing.
        through: u64,
    },
    /// Newcomers are kept out from now on, or let in again.
    RoomLocked {
        /// The new state.
        locked: bool,
    },
    /// The connection broke, and the next attempt to connect follows. What is said and asked for meanwhile waits; media is
    /// left out.
    Reconnecting {
        /// How the last session ended.
        reason: CloseReason,
        /// Which attempt it is, from 1 on. Attempts are counted together where sessions last less than a second.
        attempt: u32,
    },
    /// There is a connection again, or another one, after [`Room::switch_to`](super::Room::switch_to) or because UDP was silent or passes
    /// again ([`Options::follow_udp`](super::Options::follow_udp)). What changed in the room meanwhile was told by other events before
    /// this one.
    Reconnected {
        /// Whether the seat was kept: the others noticed nothing. Otherwise they saw this participant leave and join, perhaps
        /// with another id, and its tracks have other ids now.
        resumed: bool,
        /// By what the session travels now.
        carrier: Carrier,
    },
    /// Someone who subscribed cannot go on without a keyframe of a track of one's own.
    KeyframeRequested {
        /// The track.
        track: TrackId,
        /// The rendition.
        spatial_layer: u8,
    },
    /// Which parts of a track of one's own somebody takes, when that changes. What nobody takes need not be sent.
    LayersWanted {
        /// The track.
        track: TrackId,
        /// Bit i is set if somebody takes rendition i; 0 if nobody takes the track.
        spatial_layers: u8,
        /// The highest temporal layer that anybody takes.
        temporal_layer: u8,
    },
    /// How a track of one's own arrives, at most once a second.
    Feedback {
        /// The track.
        track: TrackId,
        /// How many subscribers said something about it lately.
        reports: u16,
        /// What the least impaired one of them said: what even that one lost was lost on the way to the relay.
        best: TrackReport,
        /// What the most impaired one said.
        worst: TrackReport,
    },
    /// Who speaks, the loudest first, when that changes; one may be among them. Whoever is not named does not speak.
    ActiveSpeakers {
        /// At most 16.
        participants: Vec<ParticipantId>,
    },
    /// Whose cameras the relay sends to everyone, where that is not everybody's, when that changes. Cameras of others come only to
    /// those who [pinned](super::Room::set_pinned) them or subscribed by hand; screens always come.
    OnStage {
        /// Of whom longest first; one may be among them.
        participants: Vec<ParticipantId>,
    },
    /// The room was left, or is lost for good; no event follows.
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
            Self::ActiveSpeakers { participants } | Self::OnStage { participants } => size_of_val(&**participants),
            Self::ParticipantJoined(info) => info.name.len() + info.metadata.len(),
            _ => 0,
        };
        size_of::<Self>() + variable
    }
}

/// Why a request was not fulfilled.
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
    /// The connection broke before the answer came: the relay may have done it or not. Ask again.
    #[error("the connection broke before the relay answered; ask again")]
    Interrupted,
    /// The room was left, or is lost for good.
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
    /// The relay cannot keep messages at the moment. Those who are in the room got it; who comes later does not.
    #[error("the relay could not keep the message: only those who are here got it")]
    NotKept,
    /// The room was left or lost for good before the acknowledgement came: the message may have been said or not.
    #[error("the session has ended ({label}): {message}", label = .reason.label())]
    Closed {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
}

/// How a session or a room ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub reason: CloseReason,
    pub message: String,
}

impl From<CloseReason> for Ending {
    fn from(reason: CloseReason) -> Self {
        Self { reason, message: reason.to_string() }
    }
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
