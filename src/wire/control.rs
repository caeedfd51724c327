use std::fmt;

use bincode::{Decode, Encode};

use super::chat::ChatPosition;
use super::measurements::Measurements;
use super::media::Layers;
use super::names::{ParticipantId, TrackId};
use super::reason::{CloseReason, RefuseReason};

/// What a client says on its control stream. The first message of a session is [`ClientMessage::Join`], and only that one.
///
/// A message with a `request` number is answered by exactly one [`ServerMessage::Done`], [`ServerMessage::Published`],
/// [`ServerMessage::Measurements`] or [`ServerMessage::Failed`] with the same number; the numbers are the client's own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ClientMessage {
    /// Takes a seat in a room.
    Join(Join),
    /// Announces a track; the answer gives its id, and media may flow from then on.
    Publish {
        /// The client's number for this request.
        request: u32,
        /// What the track carries.
        track: TrackInfo,
    },
    /// Takes a track of one's own back.
    Unpublish {
        /// The client's number for this request.
        request: u32,
        /// The track.
        track: TrackId,
    },
    /// Says whether a track of one's own is silent or dark at the moment.
    SetMuted {
        /// The client's number for this request.
        request: u32,
        /// The track.
        track: TrackId,
        /// Its new state.
        muted: bool,
    },
    /// Asks for the media of a track.
    Subscribe {
        /// The client's number for this request.
        request: u32,
        /// The track.
        track: TrackId,
    },
    /// Wants the media of a track no longer.
    Unsubscribe {
        /// The client's number for this request.
        request: u32,
        /// The track.
        track: TrackId,
    },
    /// Whether tracks published from now on are subscribed without asking.
    SetAutoSubscribe {
        /// The client's number for this request.
        request: u32,
        /// The new state.
        enabled: bool,
    },
    /// Asks the publisher of a subscribed track for a frame that stands by itself. Requests of several subscribers are
    /// merged; unneeded ones cost nothing.
    RequestKeyframe {
        /// The track.
        track: TrackId,
        /// The rendition.
        spatial_layer: u8,
    },
    /// Asks for a [`ServerMessage::Pong`].
    Ping {
        /// Given back as it is.
        token: u64,
    },
    /// Leaves the room; the session ends.
    Leave,
    /// Sends a participant away, and keeps its identity out for a while. For admins.
    RemoveParticipant {
        /// The client's number for this request.
        request: u32,
        /// Whom.
        participant: ParticipantId,
    },
    /// Silences a track of someone else until its publisher says [`ClientMessage::SetMuted`] again. For admins.
    MuteTrack {
        /// The client's number for this request.
        request: u32,
        /// The track.
        track: TrackId,
    },
    /// Keeps newcomers out, or lets them in again. For admins.
    SetLocked {
        /// The client's number for this request.
        request: u32,
        /// The new state.
        locked: bool,
    },
    /// Sends everyone away. For admins.
    EndMeeting {
        /// The client's number for this request.
        request: u32,
    },
    /// Says which part of a subscribed track to send. The rendition changes at a keyframe of the new one, temporal layers at
    /// once. Without it, a subscriber gets the largest rendition with all temporal layers.
    SetLayers {
        /// The client's number for this request.
        request: u32,
        /// The track.
        track: TrackId,
        /// The only rendition to send.
        spatial_layer: u8,
        /// The highest temporal layer to send; as good as the highest there is if it is above that.
        temporal_layer: u8,
    },
    /// Says how tracks arrive, about once a second.
    Report {
        /// Each track by itself.
        tracks: Vec<TrackReport>,
    },
    /// Asks how one's own session does. Answered by [`ServerMessage::Measurements`].
    MeasurementsWanted {
        /// The client's number for this request.
        request: u32,
    },
    /// Wants a video whether or not its publisher is among those whose videos everyone is sent, or leaves that to the room.
    SetPinned {
        /// The client's number for this request.
        request: u32,
        /// The track, which is subscribed.
        track: TrackId,
        /// Whether it is wanted in any case.
        pinned: bool,
    },
}

impl ClientMessage {
    /// The client's number for it, if it is a request.
    pub fn request(&self) -> Option<u32> {
        match self {
            Self::Publish { request, .. }
            | Self::Unpublish { request, .. }
            | Self::SetMuted { request, .. }
            | Self::Subscribe { request, .. }
            | Self::Unsubscribe { request, .. }
            | Self::SetAutoSubscribe { request, .. }
            | Self::RemoveParticipant { request, .. }
            | Self::MuteTrack { request, .. }
            | Self::SetLocked { request, .. }
            | Self::SetLayers { request, .. }
            | Self::MeasurementsWanted { request }
            | Self::SetPinned { request, .. }
            | Self::EndMeeting { request } => Some(*request),
            Self::Join(_) | Self::RequestKeyframe { .. } | Self::Ping { .. } | Self::Leave | Self::Report { .. } => {
                None
            }
        }
    }
}

/// The first message of a session.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Join {
    /// [`VERSION`](super::VERSION). Stands first, so that it can be read when the rest cannot.
    pub version: u16,
    /// The room, as in [`RoomName`](super::RoomName).
    pub room: String,
    /// What people see, as in [`DisplayName`](super::DisplayName).
    pub name: String,
    /// An access token, for relays that ask for one.
    pub token: Option<String>,
    /// The ticket of a seat that this participant had, to come back to it: [`Welcome::ticket`].
    pub ticket: Option<Vec<u8>>,
    /// Chat to send again: everything after this position that is still kept. `None`: nothing.
    pub chat_after: Option<ChatPosition>,
    /// Whether tracks are subscribed without asking.
    pub auto_subscribe: bool,
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, room, name, token, ticket, chat_after, auto_subscribe } = self;
        f.debug_struct("Join")
            .field("version", version)
            .field("room", room)
            .field("name", name)
            .field("token", &token.as_ref().map(|_| Secret))
            .field("ticket", &ticket.as_ref().map(|_| Secret))
            .field("chat_after", chat_after)
            .field("auto_subscribe", auto_subscribe)
            .finish()
    }
}

/// What no log shows.
#[derive(Debug)]
struct Secret;

/// What the relay says on the control stream. The first message is [`ServerMessage::Welcome`] or [`ServerMessage::Closing`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ServerMessage {
    /// The seat is taken.
    Welcome(Welcome),
    /// Someone is in the room. Those who were there before are told right after `Welcome`, as many as it says.
    ParticipantJoined(ParticipantInfo),
    /// Someone left the room, and their tracks with them.
    ParticipantLeft {
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: CloseReason,
    },
    /// Someone else published a track.
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
    /// A track of someone else went silent or dark, or came back; or one of one's own was muted by an admin.
    TrackMuted {
        /// Which track.
        track: TrackId,
        /// Its new state.
        muted: bool,
    },
    /// The answer to a `Publish` that succeeded.
    Published {
        /// The client's number of the request.
        request: u32,
        /// The id under which media may be sent now.
        track: TrackId,
    },
    /// The answer to a request that succeeded.
    Done {
        /// The client's number of the request.
        request: u32,
    },
    /// The answer to a request that did not.
    Failed {
        /// The client's number of the request.
        request: u32,
        /// Why, for programs.
        reason: RefuseReason,
        /// Why, for people.
        message: String,
    },
    /// A subscriber cannot go on without a frame that stands by itself.
    KeyframeRequested {
        /// A track of one's own.
        track: TrackId,
        /// The rendition.
        spatial_layer: u8,
    },
    /// The answer to `Ping`.
    Pong {
        /// As it came.
        token: u64,
        /// The relay's monotonic clock in microseconds, so that two clients can compare their clocks by way of it.
        relay_time_us: u64,
    },
    /// The relay ends the session; nothing follows.
    Closing {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
    /// Newcomers are kept out from now on, or let in again.
    RoomLocked {
        /// The new state.
        locked: bool,
    },
    /// Which parts of a track of one's own somebody takes; before the first one, nobody takes any. What nobody takes need not
    /// be sent.
    LayersWanted {
        /// The track.
        track: TrackId,
        /// Bit i is set if somebody takes rendition i; 0 if nobody takes the track.
        spatial_layers: u8,
        /// The highest temporal layer that anybody takes; 0 if nobody takes the track.
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
    /// Who speaks, the loudest first, when that changes; at most 16.
    ActiveSpeakers {
        /// Whoever is not named does not speak.
        participants: Vec<ParticipantId>,
    },
    /// The answer to `MeasurementsWanted`.
    Measurements {
        /// The client's number of the request.
        request: u32,
        /// How the session does.
        measurements: Measurements,
    },
    /// Whose cameras everyone is sent, where that is not everybody's, when that changes.
    OnStage {
        /// Of all others, what is no screen is sent to those alone who chose it.
        participants: Vec<ParticipantId>,
    },
}

/// How a track arrives at one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TrackReport {
    /// The track.
    pub track: TrackId,
    /// Datagrams that arrived since the last report.
    pub received: u32,
    /// Datagrams that should have arrived since the last report and did not.
    pub lost: u32,
    /// How much the time that datagrams take varies, in milliseconds (RFC 3550, section 6.4.1).
    pub jitter_ms: u16,
    /// How much later than those that took the least time in the last 10 s or so even the quickest datagrams since the last
    /// report arrived, in milliseconds: what stands in queues.
    pub delay_ms: u16,
}

/// The seat that was given.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// One's own id.
    pub participant: ParticipantId,
    /// What brings a later session back to this seat, on any carrier: opaque, at most 256 bytes. Whoever has it can take the
    /// seat.
    pub ticket: Vec<u8>,
    /// How long the seat is kept after the session broke, in milliseconds.
    pub seat_ms: u32,
    /// Whether this is the seat of an earlier session, as it was left: the others saw nobody come or go.
    pub resumed: bool,
    /// One's own tracks that are still announced, if the seat was resumed.
    pub tracks: Vec<PublishedTrack>,
    /// How many [`ServerMessage::ParticipantJoined`] about those already in the room follow at once.
    pub participants: u32,
    /// Where the room's chat stands.
    pub chat: ChatPosition,
    /// Whether newcomers are kept out.
    pub locked: bool,
    /// The name that people see: the token's, if it has one.
    pub name: String,
    /// What one may do.
    pub permissions: Permissions,
    /// Header plus payload of a media datagram may have at most this many bytes.
    pub media_bytes_max: u16,
    /// A chat message may have at most this many bytes of UTF-8.
    pub chat_bytes_max: u32,
    /// The relay's version, for people.
    pub relay: String,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { participant, ticket: _, seat_ms, resumed, tracks, participants, chat, locked, name, .. } = self;
        f.debug_struct("Welcome")
            .field("participant", participant)
            .field("ticket", &Secret)
            .field("seat_ms", seat_ms)
            .field("resumed", resumed)
            .field("tracks", tracks)
            .field("participants", participants)
            .field("chat", chat)
            .field("locked", locked)
            .field("name", name)
            .field("permissions", &self.permissions)
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

/// What a participant may do, as its token says. In an open relay, everything but moderation.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Permissions {
    /// From which sources tracks may be published.
    pub publish: Vec<TrackSource>,
    /// Whether tracks may be subscribed to.
    pub subscribe: bool,
    /// Whether chat may be sent.
    pub chat: bool,
    /// Whether participants may be removed, tracks muted, the room locked and the meeting ended.
    pub admin: bool,
    /// Whether the others are not told of this participant.
    pub hidden: bool,
}

/// Someone in a room.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ParticipantInfo {
    /// Given by the relay.
    pub participant: ParticipantId,
    /// What people see.
    pub name: String,
    /// Who they are, as their token says; `None` in an open relay.
    pub identity: Option<String>,
    /// What their token says for other programs; empty if nothing.
    pub metadata: String,
    /// What they can take part in.
    pub kind: ParticipantKind,
    /// What they have published.
    pub tracks: Vec<PublishedTrack>,
}

/// What a participant can take part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ParticipantKind {
    /// Chat and media.
    Meeting,
    /// Chat text alone: a plain WebSocket client.
    Plain,
}

/// A track as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PublishedTrack {
    /// Given by the relay.
    pub track: TrackId,
    /// What it carries.
    pub info: TrackInfo,
    /// Whether it is silent or dark at the moment.
    pub muted: bool,
}

/// What a track carries, as its publisher describes it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TrackInfo {
    /// Where it comes from.
    pub source: TrackSource,
    /// The codec as WebCodecs names it: `opus`, `vp8`, `vp09.00.10.08`. At most 64 bytes.
    pub codec: String,
    /// The rest of what a decoder has to know.
    pub media: TrackMedia,
    /// What WebCodecs calls the decoder's `description`: `OpusHead`, an AVC configuration; of VP8 and VP9 the colours that they stand for,
    /// as PROTOCOL.md says. Empty if there is none.
    /// At most 1024 bytes.
    pub description: Vec<u8>,
}

/// Where a track comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum TrackSource {
    /// A person's voice.
    Microphone,
    /// A person's picture.
    Camera,
    /// What is on a screen.
    Screen,
    /// What a screen sounds like.
    ScreenAudio,
    /// Anything else: a file, a bot.
    Other,
}

impl TrackSource {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Microphone, Self::Camera, Self::Screen, Self::ScreenAudio, Self::Other];
}

/// Whether a track is audio or video, and the properties of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum TrackMedia {
    /// Sound.
    Audio {
        /// In Hz.
        sample_rate: u32,
        /// 1 or 2.
        channels: u8,
    },
    /// Pictures.
    Video {
        /// In pixels, of the largest rendition.
        width: u16,
        /// In pixels, of the largest rendition.
        height: u16,
        /// Frames per second.
        frame_rate: Rational,
        /// How many temporal layers each rendition has, at least 1.
        temporal_layers: u8,
        /// How many renditions there are, at least 1.
        spatial_layers: u8,
    },
}

impl TrackInfo {
    /// Whether it carries pictures.
    pub fn is_video(&self) -> bool {
        matches!(self.media, TrackMedia::Video { .. })
    }

    /// The largest rendition, and the highest temporal layer of each.
    pub fn highest_layers(&self) -> Layers {
        match self.media {
            TrackMedia::Audio { .. } => Layers::ONE,
            TrackMedia::Video { temporal_layers, spatial_layers, .. } => {
                Layers { spatial: spatial_layers.saturating_sub(1), temporal: temporal_layers.saturating_sub(1) }
            }
        }
    }
}

/// A fraction, such as 30000/1001.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Rational {
    /// Above the line.
    pub numerator: u32,
    /// Below it; not 0.
    pub denominator: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let token = Some("canary".to_owned());
        let (room, name, canary) = ("team".into(), "Ana".into(), b"canary".to_vec());
        let ticket = Some(canary.clone());
        let join = Join { version: 1, room, name, token, ticket, chat_after: None, auto_subscribe: true };
        let permissions = Permissions { publish: vec![], subscribe: true, chat: true, admin: false, hidden: false };
        let welcome = Welcome {
            participant: ParticipantId(1),
            ticket: canary.clone(),
            seat_ms: 0,
            resumed: false,
            tracks: vec![],
            participants: 0,
            chat: ChatPosition { epoch: 1, sequence: 0 },
            locked: false,
            name: "Ana".into(),
            permissions,
            media_bytes_max: 0,
            chat_bytes_max: 0,
            relay: "tertulia".into(),
        };
        let printed = format!("{:?} {:?}", ClientMessage::Join(join), ServerMessage::Welcome(welcome));
        assert!(printed.contains("Ana") && printed.contains("Secret"), "{printed}");
        assert!(!printed.contains("canary") && !printed.contains(&format!("{canary:?}")), "{printed}");
    }
}
