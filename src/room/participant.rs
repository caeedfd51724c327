use std::collections::BTreeMap;

use super::chat::Delivery;
use super::track::Track;
use crate::limits::Bucket;
use crate::wire::{ParticipantId, ParticipantInfo, ParticipantKind, TrackId};

/// Someone in the room.
#[derive(Debug)]
pub(super) struct Participant {
    pub name: String,
    pub kind: ParticipantKind,
    pub auto_subscribe: bool,
    pub delivery: Delivery,
    pub chat_bucket: Bucket,
    /// For requests and typing changes, which everyone else is told of.
    pub request_bucket: Bucket,
    pub typing: bool,
}

impl Participant {
    pub fn new(name: String, kind: ParticipantKind, auto_subscribe: bool) -> Self {
        Self {
            name,
            kind,
            auto_subscribe,
            delivery: Delivery::Live,
            chat_bucket: Bucket::default(),
            request_bucket: Bucket::default(),
            typing: false,
        }
    }

    pub fn info(&self, participant: ParticipantId, tracks: &BTreeMap<TrackId, Track>) -> ParticipantInfo {
        let own = tracks.iter().filter(|(_, track)| track.publisher == participant);
        ParticipantInfo {
            participant,
            name: self.name.clone(),
            kind: self.kind,
            tracks: own.map(|(id, track)| track.published(*id)).collect(),
        }
    }
}
