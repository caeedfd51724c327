use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tertulia::limits::{LAYER_HOLD_TIME, LAYERS_MAX};
use tertulia::room::SessionKey;
use tertulia::wire::{Layers, ParticipantId, ServerMessage, TrackId, TrackInfo, TrackSource};

/// What a room should be like, worked out by other means than the room's: from requests and their answers.
#[derive(Debug, Default)]
pub struct Model {
    pub people: BTreeMap<ParticipantId, Person>,
    pub tracks: BTreeMap<TrackId, Track>,
    pub locked: bool,
    /// Who was said to be on the stage.
    pub on_stage: Vec<ParticipantId>,
    /// Messages that the room asked the history to keep and heard nothing of yet.
    pub pending: usize,
}

#[derive(Debug, Clone)]
pub struct Person {
    pub client: usize,
    pub here: Option<SessionKey>,
    pub hidden: bool,
    pub auto_subscribe: bool,
    /// Whether its path was too slow since its session began.
    pub pressed: bool,
}

#[derive(Debug, Clone)]
pub struct Track {
    pub publisher: ParticipantId,
    pub muted: bool,
    pub silenced: bool,
    pub source: TrackSource,
    pub is_video: bool,
    pub highest: Layers,
    /// When something of it was passed on.
    pub passed_on_at: Option<Duration>,
    pub subscribers: BTreeMap<ParticipantId, Subscription>,
    /// When its publisher was told how it arrives.
    pub feedback_at: Option<Duration>,
    /// When it was asked for a keyframe, by rendition.
    pub keyframe_asked_at: BTreeMap<u8, Duration>,
    /// Its renditions, and its temporal layers.
    pub taken: [Taken; 2],
    /// The newest frame that was passed on, by rendition.
    newest: BTreeMap<u8, u32>,
}

/// Layers that somebody takes, and when others were left, as bits.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    bits: u8,
    left_at: BTreeMap<u8, Duration>,
}

/// What of a track someone takes.
#[derive(Debug, Clone, Copy)]
pub struct Subscription {
    pub wish: Layers,
    /// Whether it is wanted although its publisher is not on the stage.
    pub chosen: bool,
    /// Whether the subscriber asked for it, or asked for everything.
    pub asked: bool,
    /// What the room said that is to be sent.
    pub allowed: Option<Layers>,
    /// What is sent: of another rendition than is allowed until a keyframe begins.
    pub sent: Layers,
}

/// Renditions and all temporal layers up to one, as bits.
pub fn layer_bits(spatial_layers: u8, temporal_layer: u8) -> [u8; 2] {
    [spatial_layers, if spatial_layers == 0 { 0 } else { u8::MAX >> (LAYERS_MAX - 1 - temporal_layer) }]
}

impl Taken {
    fn note(&mut self, now: Duration, bits: u8) {
        for layer in layers(self.bits & !bits) {
            self.left_at.insert(layer, now);
        }
        self.left_at.retain(|layer, _| bits & 1 << layer == 0);
        self.bits = bits;
    }

    /// Somebody takes these no longer: those that nobody had taken at the last step were left now.
    fn leave(&mut self, now: Duration, bits: u8) {
        for layer in layers(bits & !self.bits) {
            self.left_at.insert(layer, now);
        }
    }

    /// Whether these are those that somebody takes, or took until a while ago.
    pub fn explains(&self, now: Duration, wanted: u8) -> bool {
        let is_held = |layer| self.left_at.get(&layer).is_some_and(|left| *left + LAYER_HOLD_TIME >= now);
        self.bits & !wanted == 0 && layers(wanted & !self.bits).all(is_held)
    }

    /// Whether nobody has taken any of these for a while.
    pub fn may_close(&self, now: Duration, closed: u8) -> bool {
        layers(closed).all(|layer| self.left_at.get(&layer).is_some_and(|left| *left + LAYER_HOLD_TIME <= now))
    }
}

fn layers(bits: u8) -> impl Iterator<Item = u8> {
    (0..LAYERS_MAX).filter(move |layer| bits & 1 << layer != 0)
}

/// How much that is.
pub fn rank(layers: Option<Layers>) -> Option<(u8, u8)> {
    layers.map(|layers| (layers.spatial, layers.temporal))
}

impl Track {
    /// Whether it is sent to everyone only while its publisher is on the stage.
    pub fn is_staged(&self) -> bool {
        self.is_video && self.source != TrackSource::Screen
    }

    fn subscription(&mut self, id: ParticipantId) -> &mut Subscription {
        let new = Subscription { wish: self.highest, chosen: false, asked: false, allowed: None, sent: Layers::ONE };
        self.subscribers.entry(id).or_insert(new)
    }

    /// Somebody is subscribed from now on; says whether that is new.
    pub fn subscribe(&mut self, id: ParticipantId) -> bool {
        !std::mem::replace(&mut self.subscription(id).asked, true)
    }

    /// The room says what somebody is sent who is sent nothing of it: it begins at once.
    pub fn begin(&mut self, id: ParticipantId, layers: Layers) {
        let its = self.subscription(id);
        (its.allowed, its.sent) = (Some(layers), layers);
    }

    /// The room says that somebody is sent other layers.
    pub fn allow(&mut self, id: ParticipantId, layers: Layers) {
        let its = self.subscribers.get_mut(&id).expect("only who is sent something is sent other layers");
        assert!(its.allowed.replace(layers).is_some(), "{id} is sent nothing of which there could be other layers");
        its.sent.temporal = match layers.spatial.cmp(&its.sent.spatial) {
            Ordering::Less => its.sent.temporal.min(layers.temporal),
            Ordering::Equal => layers.temporal,
            Ordering::Greater => its.sent.temporal,
        };
    }

    /// The room says that nothing is sent any more. Who comes back may take a picture and be kept from it in the same step: its layers
    /// are wanted for a while all the same.
    pub fn end(&mut self, now: Duration, id: ParticipantId) {
        let before = self.subscribers.get_mut(&id).and_then(|its| its.allowed.take());
        let bits = before.map_or([0, 0], |layers| layer_bits(1 << layers.spatial, layers.temporal));
        self.taken.iter_mut().zip(bits).for_each(|(taken, bits)| taken.leave(now, bits));
    }

    pub fn wish(&mut self, id: ParticipantId, spatial: u8, temporal: u8) {
        let its = self.subscribers.get_mut(&id).expect("only what is subscribed has layers");
        assert!(spatial <= self.highest.spatial, "there is no rendition {spatial}");
        its.wish = Layers { spatial, temporal: temporal.min(self.highest.temporal) };
    }

    /// A frame is passed on. Says whether nothing of it, nor of a later one, was before.
    pub fn is_newest(&mut self, spatial: u8, frame: u32) -> bool {
        let newest = self.newest.insert(spatial, frame).filter(|newest| *newest >= frame);
        newest.map(|newest| self.newest.insert(spatial, newest)).is_none()
    }

    /// A keyframe of a rendition begins.
    pub fn keyframe_begins(&mut self, spatial: u8) {
        let is_awaited = |its: &&mut Subscription| its.allowed.is_some_and(|allowed| allowed.spatial == spatial);
        let waiting = self.subscribers.values_mut().filter(is_awaited);
        waiting.for_each(|its| its.sent = its.allowed.unwrap_or(its.sent));
    }

    /// Who of these gets a datagram of these layers.
    pub fn is_sent(&self, id: ParticipantId, layers: Layers) -> bool {
        let its = self.subscribers.get(&id).filter(|its| its.allowed.is_some());
        its.is_some_and(|its| its.sent.spatial == layers.spatial && its.sent.temporal >= layers.temporal)
    }
}

/// What someone is told of the others: who is there, with which tracks, and which of them are muted.
pub type Roster = BTreeMap<ParticipantId, BTreeMap<TrackId, bool>>;

impl Model {
    pub fn admit(&mut self, id: ParticipantId, person: Person, resumed: bool) {
        let auto_subscribe = person.auto_subscribe;
        let before = self.people.insert(id, person);
        assert_eq!(before.is_some(), resumed, "{id} is admitted, and was there: {before:?}");
        if auto_subscribe && !resumed {
            self.tracks.values_mut().for_each(|track| _ = track.subscribe(id));
        }
    }

    pub fn track(&mut self, id: TrackId) -> &mut Track {
        self.tracks.get_mut(&id).expect("what is sent is there")
    }

    pub fn publish(&mut self, publisher: ParticipantId, track: TrackId, info: &TrackInfo) {
        let takes =
            |(id, person): (&ParticipantId, &Person)| (*id != publisher && person.auto_subscribe).then_some(*id);
        let (source, is_video, highest) = (info.source, info.is_video(), info.highest_layers());
        let subscribers = BTreeMap::new();
        let mut new = Track {
            publisher,
            muted: false,
            silenced: false,
            source,
            is_video,
            highest,
            passed_on_at: None,
            subscribers,
            feedback_at: None,
            keyframe_asked_at: BTreeMap::new(),
            taken: Default::default(),
            newest: BTreeMap::new(),
        };
        self.people.iter().filter_map(takes).for_each(|id| _ = new.subscribe(id));
        assert!(self.tracks.insert(track, new).is_none(), "track {track} is given twice");
    }

    pub fn leave(&mut self, id: ParticipantId) -> Option<Person> {
        self.tracks.retain(|_, track| track.publisher != id);
        self.tracks.values_mut().for_each(|track| _ = track.subscribers.remove(&id));
        self.people.remove(&id)
    }

    /// What of a track is taken by those who are here: renditions, and temporal layers.
    fn taken(&self, track: &Track) -> [u8; 2] {
        let is_here = |id: &ParticipantId| self.people.get(id).is_some_and(|person| person.here.is_some());
        let taken = track.subscribers.iter().filter(|(id, _)| is_here(id)).filter_map(|(_, its)| its.allowed);
        let all = taken.map(|sent| layer_bits(1 << sent.spatial, sent.temporal));
        all.fold([0, 0], |[spatial, temporal], sent| [spatial | sent[0], temporal | sent[1]])
    }

    /// Notes what is taken by now.
    pub fn note_taken(&mut self, now: Duration) {
        let all: Vec<_> = self.tracks.iter().map(|(id, track)| (*id, self.taken(track))).collect();
        for (id, bits) in all {
            let taken = self.track(id).taken.iter_mut();
            taken.zip(bits).for_each(|(taken, bits)| taken.note(now, bits));
        }
    }

    /// Whether a track is kept from a subscriber because others are on the stage.
    pub fn is_held(&self, track: &Track, places: usize, its: &Subscription) -> bool {
        let is_on = self.on_stage.contains(&track.publisher) || self.on_stage.len() < places;
        track.is_staged() && !is_on && !its.chosen
    }

    /// Who could be on the stage.
    pub fn seen(&self) -> BTreeSet<ParticipantId> {
        let shown = self.tracks.values().filter(|track| track.is_staged() && !track.muted);
        let is_here = |id: &ParticipantId| self.people.get(id).is_some_and(|person| person.here.is_some());
        shown.map(|track| track.publisher).filter(is_here).collect()
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
