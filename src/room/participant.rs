use std::collections::BTreeMap;
use std::time::Duration;

use super::SessionKey;
use super::allowance::Allowance;
use super::chat::Delivery;
use super::track::Track;
use crate::auth::Grant;
use crate::limits::{Bucket, TOKEN_LEEWAY};
use crate::now::Now;
use crate::wire::{
    CloseReason, Identity, ParticipantId, ParticipantInfo, ParticipantKind, Permissions, PublishedTrack, TrackId,
    TrackSource,
};

/// Someone in the room.
#[derive(Debug)]
pub(super) struct Participant {
    pub name: String,
    pub kind: ParticipantKind,
    pub grant: Grant,
    pub presence: Presence,
    /// When its token ends, as time since the relay started.
    pub expires_at: Option<Duration>,
    pub auto_subscribe: bool,
    /// How many tracks it is subscribed to.
    pub subscriptions: u32,
    /// What of the video that it wishes its path carries.
    pub allowance: Allowance,
    pub delivery: Delivery,
    pub chat_bucket: Bucket,
    /// For requests and typing changes, which everyone else is told of.
    pub request_bucket: Bucket,
    pub typing: bool,
}

/// Whether a participant can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// By this session.
    Here(SessionKey),
    /// Not now: its session ended for this reason, and its seat is kept until then.
    Away { until: Duration, reason: CloseReason },
}

impl Participant {
    pub fn new(session: SessionKey, name: String, kind: ParticipantKind, grant: Grant, now: Now) -> Self {
        // The end of a token is a moment of the clock on the wall; from here on it is an interval, whatever that clock does.
        // Whoever came in after it, because clocks differ, stays for as long as they may differ.
        let leeway_ms = TOKEN_LEEWAY.as_millis() as u64;
        let end = |end_ms: u64| if end_ms > now.unix_ms { end_ms } else { end_ms.saturating_add(leeway_ms) };
        let remaining = |end_ms| now.since_start + Duration::from_millis(end(end_ms).saturating_sub(now.unix_ms));
        Self {
            name,
            kind,
            expires_at: grant.expires_at_ms.map(remaining),
            grant,
            presence: Presence::Here(session),
            auto_subscribe: false,
            subscriptions: 0,
            allowance: Allowance::default(),
            delivery: Delivery::Live,
            chat_bucket: Bucket::default(),
            request_bucket: Bucket::default(),
            typing: false,
        }
    }

    pub fn identity(&self) -> Option<&Identity> {
        self.grant.identity.as_ref()
    }

    pub fn is_here(&self) -> bool {
        matches!(self.presence, Presence::Here(_))
    }

    /// Whether it can take tracks.
    pub fn takes_media(&self) -> bool {
        self.kind == ParticipantKind::Meeting && self.grant.subscribe
    }

    /// When something has to happen to it, if nothing happens before.
    pub fn next_timeout(&self) -> Option<Duration> {
        let step = self.allowance.next_timeout().filter(|_| self.is_here());
        self.end().into_iter().chain(step).min()
    }

    /// When it has to go.
    pub fn end(&self) -> Option<Duration> {
        let seat = match self.presence {
            Presence::Here(_) => None,
            Presence::Away { until, .. } => Some(until),
        };
        seat.into_iter().chain(self.expires_at).min()
    }

    pub fn permissions(&self) -> Permissions {
        let Grant { publish, subscribe, chat, admin, hidden, .. } = self.grant;
        let publish = TrackSource::ALL.into_iter().filter(|source| !hidden && publish.allows(*source)).collect();
        Permissions { publish, subscribe, chat: chat && !hidden, admin, hidden }
    }

    pub fn info(&self, participant: ParticipantId, tracks: &BTreeMap<TrackId, Track>) -> ParticipantInfo {
        ParticipantInfo {
            participant,
            name: self.name.clone(),
            identity: self.identity().map(|identity| identity.as_str().to_owned()),
            metadata: self.grant.metadata.clone(),
            kind: self.kind,
            tracks: own_tracks(participant, tracks),
        }
    }
}

/// The tracks that a participant has published.
pub(super) fn own_tracks(participant: ParticipantId, tracks: &BTreeMap<TrackId, Track>) -> Vec<PublishedTrack> {
    let own = tracks.iter().filter(|(_, track)| track.publisher == participant);
    own.map(|(id, track)| track.published(*id)).collect()
}
