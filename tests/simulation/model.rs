use std::collections::{BTreeMap, BTreeSet};

use tertulia::room::SessionKey;
use tertulia::wire::{ParticipantId, ServerMessage, TrackId, TrackSource};

/// What a room should be like, worked out by other means than the room's: from requests and their answers.
#[derive(Debug, Default)]
pub struct Model {
    pub people: BTreeMap<ParticipantId, Person>,
    pub tracks: BTreeMap<TrackId, Track>,
    pub locked: bool,
    /// Messages that the room asked the history to keep and heard nothing of yet.
    pub pending: usize,
}

#[derive(Debug, Clone)]
pub struct Person {
    pub client: usize,
    pub here: Option<SessionKey>,
    pub hidden: bool,
    pub auto_subscribe: bool,
}

#[derive(Debug, Clone)]
pub struct Track {
    pub publisher: ParticipantId,
    pub muted: bool,
    pub silenced: bool,
    pub source: TrackSource,
    pub subscribers: BTreeSet<ParticipantId>,
}

/// What someone is told of the others: who is there, with which tracks, and which of them are muted.
pub type Roster = BTreeMap<ParticipantId, BTreeMap<TrackId, bool>>;

impl Model {
    pub fn admit(&mut self, id: ParticipantId, person: Person, resumed: bool) {
        let auto_subscribe = person.auto_subscribe;
        let before = self.people.insert(id, person);
        assert_eq!(before.is_some(), resumed, "{id} is admitted, and was there: {before:?}");
        if auto_subscribe && !resumed {
            self.tracks.values_mut().for_each(|track| _ = track.subscribers.insert(id));
        }
    }

    pub fn publish(&mut self, publisher: ParticipantId, track: TrackId, source: TrackSource) {
        let takes =
            |(id, person): (&ParticipantId, &Person)| (*id != publisher && person.auto_subscribe).then_some(*id);
        let subscribers = self.people.iter().filter_map(takes).collect();
        let new = Track { publisher, muted: false, silenced: false, source, subscribers };
        assert!(self.tracks.insert(track, new).is_none(), "track {track} is given twice");
    }

    pub fn leave(&mut self, id: ParticipantId) -> Option<Person> {
        self.tracks.retain(|_, track| track.publisher != id);
        self.tracks.values_mut().for_each(|track| _ = track.subscribers.remove(&id));
        self.people.remove(&id)
    }

    /// What `reader` should know of the others now.
    pub fn roster(&self, reader: ParticipantId) -> Roster {
        let others = self.people.iter().filter(|(id, person)| **id != reader && !person.hidden);
        let mut roster: Roster = others.map(|(id, _)| (*id, BTreeMap::new())).collect();
        for (id, track) in &self.tracks {
            if let Some(tracks) = roster.get_mut(&track.publisher) {
                tracks.insert(*id, track.muted);
            }
        }
        roster
    }
}

/// What a message changes in what its reader knows of the others. Each of them comes once and leaves once.
pub fn hear(roster: &mut Roster, own: Option<ParticipantId>, message: &ServerMessage) {
    match message {
        ServerMessage::ParticipantJoined(info) => {
            let tracks = info.tracks.iter().map(|track| (track.track, track.muted)).collect();
            assert!(Some(info.participant) != own, "one is told of oneself");
            assert_eq!(roster.insert(info.participant, tracks), None, "{} joins twice", info.participant);
        }
        ServerMessage::ParticipantLeft { participant, .. } => {
            assert!(roster.remove(participant).is_some(), "{participant} leaves without having been there");
        }
        ServerMessage::TrackPublished { participant, track } => {
            let tracks = roster.get_mut(participant).expect("the publisher is known");
            assert_eq!(tracks.insert(track.track, track.muted), None, "track {} is published twice", track.track);
        }
        ServerMessage::TrackUnpublished { participant, track } => {
            let tracks = roster.get_mut(participant).expect("the publisher is known");
            assert!(tracks.remove(track).is_some(), "track {track} was not there");
        }
        ServerMessage::TrackMuted { track, muted } => {
            roster.values_mut().filter_map(|tracks| tracks.get_mut(track)).for_each(|state| *state = *muted);
        }
        _ => {}
    }
}
