use std::fmt;

use bincode::{Decode, Encode};

/// Makes an enum whose variants are a wire code, a metric label and a sentence.
macro_rules! reasons {
    (
        $(#[$meta:meta])*
        $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal, $sentence:literal;)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub enum $name { $(#[doc = $sentence] $(#[$doc])* $variant,)+ }

        impl $name {
            /// Every one there is, in the order of their codes.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The number that stands for it on the wire.
            pub const fn code(self) -> u16 { self as u16 }

            /// The reason that a number from the wire stands for.
            pub fn from_code(code: u16) -> Option<Self> { Self::ALL.get(usize::from(code)).copied() }

            /// Its name in metrics and in the browser.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $sentence,)+ })
            }
        }
    };
}

reasons! {
    /// Every way in which a media datagram is not forwarded.
    DropReason {
        Malformed = "malformed", "It is too short, too long, or its fragment index is beyond its count";
        ForeignSession = "foreign_session", "It names a WebTransport session that does not exist";
        VersionUnknown = "version_unknown", "Its header is of an unknown version";
        NotJoined = "not_joined", "Its sender has no seat yet";
        TrackUnknown = "track_unknown", "Its track does not exist";
        TrackNotOwned = "track_not_owned", "Its track was published by someone else";
        OverBudget = "over_budget", "Its sender sends more datagrams or bytes per second than allowed";
        SubscriberSlow = "subscriber_slow", "As much waits for the subscriber as may wait";
        PathTooSmall = "path_too_small", "The subscriber's path does not carry datagrams of this size";
        SubscriberGone = "subscriber_gone", "The subscriber's connection has ended";
        TrackMuted = "track_muted", "Its track was muted by an admin of the room";
        LayerUnknown = "layer_unknown", "Its track does not announce such a layer";
        NotSubscribed = "not_subscribed", "It asks for datagrams of a track or rendition that its sender does not get";
        Late = "late", "It could not have reached the subscriber in time";
        ReferenceMissing = "reference_missing", "Its frame needs one that was left out for the subscriber";
        Superseded = "superseded", "A later frame stands by itself, and there was no time for both; or it is another copy of what has come";
        NotSelected = "not_selected", "Only the loudest voices and the videos of the last speakers are passed on, and it is of none of them";
        ShardBusy = "shard_busy", "As much media waits to cross to another thread of the relay as may wait";
        StreamStopped = "stream_stopped", "The subscriber has stopped the stream of its frame";
        Doubled = "doubled", "All of its frame has gone to the subscriber before, on a stream";
    }
}

reasons! {
    /// Every way in which a session ends. On QUIC and WebTransport the code is the application's error code, on WebSocket
    /// it is added to 4000 (RFC 6455, section 7.4.2), and where the session is still able to hear it, it is sent before in
    /// [`ServerMessage::Closing`](super::ServerMessage::Closing).
    CloseReason {
        Left = "left", "The participant left";
        ConnectionLost = "connection_lost", "The connection broke";
        ShuttingDown = "shutting_down", "The relay is shutting down; connect again in a moment";
        Malformed = "malformed", "A message could not be understood";
        TooLarge = "too_large", "A message was larger than allowed";
        VersionUnsupported = "version_unsupported", "The relay speaks another version of the protocol; reload the page or update the program";
        JoinTimeout = "join_timeout", "No first message came in time";
        HandshakeTimeout = "handshake_timeout", "The handshake did not finish in time";
        IdleTimeout = "idle_timeout", "Nothing was heard for too long";
        SlowConsumer = "slow_consumer", "Messages were not read fast enough";
        RoomFull = "room_full", "The room is full; try again when someone has left";
        RoomsFull = "rooms_full", "The relay has as many rooms as it can hold; try again later";
        RoomName = "room_name", "The room's name is not valid: use 1 to 128 letters, digits, - and _";
        DisplayName = "display_name", "The name is not valid: use 1 to 128 bytes without control characters";
        RefusedByHost = "refused_by_host", "The program that hosts the relay refused it";
        UnexpectedStream = "unexpected_stream", "A stream was opened that the protocol does not know";
        UnexpectedMessage = "unexpected_message", "The message is not allowed at this point";
        NotText = "not_text", "A plain WebSocket client can send text messages only";
        Internal = "internal", "The relay made a mistake; connect again";
        TokenMissing = "token_missing", "This relay wants an access token; get one where you got the link to the meeting";
        TokenInvalid = "token_invalid", "The access token is not valid for this room; get a new one";
        TokenExpired = "token_expired", "The access token has expired; get a new one";
        TokenClock = "token_clock", "The access token is not valid yet; check the clocks of the relay and of whoever made the token";
        Removed = "removed", "The participant was removed from the room";
        MeetingEnded = "meeting_ended", "The meeting was ended for everyone";
        RoomLocked = "room_locked", "The room is locked; ask someone in it to unlock it";
        Replaced = "replaced", "The participant joined again from somewhere else";
        IdentityInUse = "identity_in_use", "Someone with this identity is in the room already; leave there first";
        HistoryUnavailable = "history_unavailable", "The relay cannot read the room's chat at the moment; try again later";
        TooFast = "too_fast", "Too many messages in a short time; wait a moment";
        PageClosed = "page_closed", "The page was closed or loaded again";
    }
}

reasons! {
    /// Every way in which a request or a chat message is refused while the session goes on.
    RefuseReason {
        TrackUnknown = "track_unknown", "There is no such track";
        TrackNotOwned = "track_not_owned", "The track was published by someone else";
        TrackOwn = "track_own", "One cannot subscribe to one's own track";
        TrackInvalid = "track_invalid", "The description of the track is not valid";
        TracksFull = "tracks_full", "There are as many tracks as one participant can publish";
        ParticipantUnknown = "participant_unknown", "There is no such participant";
        ChatTooLong = "chat_too_long", "The message is too long";
        ChatTooFast = "chat_too_fast", "Too many messages in a short time; wait a moment";
        ChatBusy = "chat_busy", "The room has more messages waiting to be kept than it can hold; try again";
        RefusedByHost = "refused_by_host", "The program that hosts the relay refused it";
        TooFast = "too_fast", "Too many requests in a short time; wait a moment";
        NotAllowed = "not_allowed", "This participant may not do that";
        SubscriptionsFull = "subscriptions_full", "There are as many subscriptions as one participant can have";
        NotSubscribed = "not_subscribed", "The track is not subscribed";
        LayerUnknown = "layer_unknown", "The track has no such layer";
    }
}

impl CloseReason {
    /// The WebSocket close code (RFC 6455, section 7.4.2).
    pub const fn websocket_code(self) -> u16 {
        4000 + self.code()
    }

    /// Whether connecting again can help.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Left
                | Self::VersionUnsupported
                | Self::RoomName
                | Self::DisplayName
                | Self::RefusedByHost
                | Self::TokenMissing
                | Self::TokenInvalid
                | Self::TokenExpired
                | Self::Removed
                | Self::MeetingEnded
                | Self::RoomLocked
                | Self::Replaced
                | Self::IdentityInUse
        )
    }

    /// Whether a participant whose session ends like this keeps its seat for a while: it did not want to go, nobody sent it
    /// away, and it did nothing that a session must not do.
    pub const fn keeps_seat(self) -> bool {
        matches!(
            self,
            Self::ConnectionLost
                | Self::IdleTimeout
                | Self::SlowConsumer
                | Self::ShuttingDown
                | Self::Internal
                | Self::PageClosed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_and_labels_are_unique() {
        for (code, reason) in (0..).zip(CloseReason::ALL) {
            assert_eq!((reason.code(), CloseReason::from_code(code)), (code, Some(*reason)));
        }
        let mut labels: Vec<_> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::ALL.len());
        assert_eq!(CloseReason::from_code(u16::MAX), None);
    }

    #[test]
    fn a_token_that_was_refused_is_not_tried_again_unless_time_mends_it() {
        use CloseReason::{TokenClock, TokenExpired, TokenInvalid, TokenMissing};
        let is_final = [TokenMissing, TokenInvalid, TokenExpired, TokenClock].map(CloseReason::is_final);
        assert_eq!(is_final, [true, true, true, false]);
    }
}
