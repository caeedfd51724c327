mod crossing;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::floor::SharedFloor;
use super::recent_pictures::{PictureBudget, RecentPictures};
use super::rendition::Rendition;
use super::voice::Voice;
use super::{Arrival, Publisher, Recent};
use crate::limits::Limits;
use crate::now::Now;
use crate::wire::{DropReason, HeaderError, Layers, MediaHeader, RepeatRequest, TrackId};

/// Where the shell finds a participant's connection: an index into its own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// Who gets which track of one room: on one shard, where a room spans several.
#[derive(Debug)]
pub struct Routes {
    routes: BTreeMap<TrackId, Route>,
    audio_deadline: Duration,
    video_deadline: Duration,
    budget: PictureBudget,
    /// Whether somebody has begun to speak who did not.
    voice_begun: Cell<bool>,
    /// Whose microphones are passed on, where not all are.
    floor: SharedFloor,
}

#[derive(Debug)]
struct Route {
    /// `None`: its media comes from another shard.
    publisher: Option<Slot>,
    /// By their numbers; there is at least one.
    renditions: Vec<Rendition>,
    temporal_layer_max: u8,
    muted: bool,
    /// Only those who chose it get it.
    held: bool,
    /// Of a microphone. In a cell, because those who get a datagram stay borrowed while the next one is looked at.
    voice: Option<Cell<Voice>>,
    /// How late its media may be that is asked for, and sent, once more.
    deadline: Duration,
    /// What was passed on lately. A datagram is looked up once, so it is kept where it was found.
    recent: RefCell<Recent>,
}

/// A microphone into which somebody speaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speaking {
    /// Which.
    pub track: TrackId,
    /// How loud, in dB below full scale.
    pub db: f32,
}

/// What to do with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward<'a> {
    /// Send it to these.
    To(&'a [Slot]),
    /// Some change to another rendition with it: send what came before, then [carry it out](Routes::change).
    After(Change),
    /// Send it back: its sender asks whether datagrams pass.
    Echo,
    /// Its sender asks for datagrams once more: [`Routes::repeat`] says which it gets.
    Repeat,
}

/// A datagram with which subscribers change to its rendition: the first one of a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    track: TrackId,
    layers: Layers,
}

impl Default for Routes {
    fn default() -> Self {
        Self::new(&Limits::default(), PictureBudget::default(), SharedFloor::default())
    }
}

impl Routes {
    /// None yet. What is kept of recent pictures counts against a budget that other rooms share; the floor is that of the room.
    pub fn new(limits: &Limits, budget: PictureBudget, floor: SharedFloor) -> Self {
        let (audio_deadline, video_deadline) = (limits.audio_deadline(), limits.video_deadline());
        let (routes, voice_begun) = (BTreeMap::new(), Cell::default());
        Self { routes, audio_deadline, video_deadline, budget, voice_begun, floor }
    }

    /// Media of `track` may come from `publisher` now, in layers up to these.
    pub fn open(&mut self, track: TrackId, publisher: Slot, highest: Layers) {
        self.open_from(track, Some(publisher), highest);
    }

    fn open_from(&mut self, track: TrackId, publisher: Option<Slot>, highest: Layers) {
        let renditions = (0..=highest.spatial).map(|_| Rendition::default()).collect();
        // It is not known to be video yet.
        let deadline = self.audio_deadline;
        let recent = RefCell::new(Recent::new(deadline));
        let temporal_layer_max = highest.temporal;
        let (muted, held, voice) = (false, false, None);
        let route = Route { publisher, renditions, temporal_layer_max, muted, held, voice, deadline, recent };
        self.routes.insert(track, route);
    }

    /// `track` is video: its [recent pictures](Self::recent_pictures) are kept from now on.
    pub fn keep_pictures(&mut self, track: TrackId) {
        let Some(route) = self.routes.get_mut(&track) else {
            return;
        };
        route.deadline = self.video_deadline;
        route.recent = RefCell::new(Recent::new(route.deadline));
        for rendition in &mut route.renditions {
            rendition.pictures = Some(RefCell::new(RecentPictures::new(self.budget.clone())));
        }
    }

    /// `track` is a microphone: it is listened to from now on.
    pub fn listen(&mut self, track: TrackId) {
        if let Some(route) = self.routes.get_mut(&track) {
            route.voice = Some(Cell::default());
        }
    }

    /// Whether somebody has begun to speak since this was asked last.
    pub fn take_voice_begun(&self) -> bool {
        self.voice_begun.take()
    }

    /// The microphones into which somebody speaks, the loudest first.
    pub fn speaking(&self, now: Now) -> Vec<Speaking> {
        let voices = self.routes.iter().filter_map(|(track, route)| Some((*track, route.voice.as_ref()?.get())));
        let speaking = voices.filter(|(_, voice)| voice.speaks(now));
        let mut speaking: Vec<_> = speaking.map(|(track, voice)| Speaking { track, db: voice.db() }).collect();
        speaking.sort_by(|one, other| one.db.total_cmp(&other.db));
        speaking
    }

    /// Whether `track` carries pictures.
    pub fn is_video(&self, track: TrackId) -> bool {
        let rendition = self.routes.get(&track).and_then(|route| route.renditions.first());
        rendition.is_some_and(|rendition| rendition.pictures.is_some())
    }

    /// What a new subscriber is to be sent first, so that it has a picture at once: the last keyframe and all that was passed on
    /// since. `None` if there is none that can be decoded, or if that would be too much or too old.
    pub fn recent_pictures(&self, now: Now, track: TrackId, layers: Layers) -> Option<Vec<Bytes>> {
        let rendition = self.routes.get(&track)?.renditions.get(usize::from(layers.spatial))?;
        rendition.pictures.as_ref()?.borrow().through(now, layers.temporal)
    }

    /// When the last keyframe of a rendition began, as time since the relay started: who took it by then needs no other one.
    pub fn keyframe_at(&self, track: TrackId, spatial_layer: u8) -> Option<Duration> {
        let rendition = self.routes.get(&track)?.renditions.get(usize::from(spatial_layer))?;
        rendition.pictures.as_ref()?.borrow().keyframe_at()
    }

    /// Gives back the memory of what is too old to be sent again: a track of which nothing comes does not do it by itself.
    pub fn forget_old(&mut self, now: Now) {
        self.routes.values_mut().for_each(|route| route.forget_old(now));
    }

    /// Media of `track` goes nowhere from now on.
    pub fn close(&mut self, track: TrackId) {
        if self.routes.remove(&track).is_some_and(|route| route.publisher.is_some()) {
            self.floor.leave(track);
        }
    }

    /// Media of `track` is left out from now on, or passed on again.
    pub fn set_muted(&mut self, track: TrackId, muted: bool) {
        if let Some(route) = self.routes.get_mut(&track) {
            route.muted = muted;
            route.forget_pictures();
        }
        if muted {
            self.floor.leave(track);
        }
    }

    /// Nobody gets `track` from now on who did not choose it, or whoever is subscribed to it does again. Where that is nobody, its
    /// media is left out.
    pub fn set_held(&mut self, track: TrackId, held: bool) {
        if let Some(route) = self.routes.get_mut(&track) {
            route.held = held;
            route.forget_pictures();
        }
    }

    /// `subscriber` gets these layers of `track` from now on.
    pub fn subscribe(&mut self, track: TrackId, subscriber: Slot, layers: Layers) {
        let rendition = self.routes.get_mut(&track).and_then(|route| route.rendition_mut(layers.spatial));
        if let Some(rendition) = rendition {
            rendition.add(subscriber, layers.temporal);
        }
    }

    /// `subscriber` wants other layers of `track` than before: another rendition when a keyframe of it begins, other temporal
    /// layers at once. Until that keyframe it gets the rendition that it had: no more temporal layers of it than before, and no fewer
    /// where it is to get a larger one.
    pub fn set_layers(&mut self, track: TrackId, subscriber: Slot, layers: Layers) {
        let Some(route) = self.routes.get_mut(&track) else {
            return;
        };
        route.renditions.iter_mut().for_each(|rendition| rendition.forget(subscriber));
        let mut renditions = (0..).zip(&mut route.renditions);
        let taken =
            renditions.find_map(|(number, rendition)| Some((number, rendition.highest(subscriber)?, rendition)));
        let Some((current, temporal, rendition)) = taken else {
            return;
        };
        let meanwhile = match layers.spatial.cmp(&current) {
            Ordering::Equal => layers.temporal,
            // Where the path is short of time, all of what is too large would be too much.
            Ordering::Less => temporal.min(layers.temporal),
            // What is small is to be had as before.
            Ordering::Greater => temporal,
        };
        rendition.remove(subscriber);
        rendition.add(subscriber, meanwhile);
        if current != layers.spatial
            && let Some(wanted) = route.rendition_mut(layers.spatial)
        {
            wanted.await_keyframe(subscriber, layers.temporal);
        }
    }

    /// `subscriber` gets `track` no longer.
    pub fn unsubscribe(&mut self, track: TrackId, subscriber: Slot) {
        let route = self.routes.get_mut(&track);
        for rendition in route.into_iter().flat_map(|route| &mut route.renditions) {
            rendition.remove(subscriber);
            rendition.forget(subscriber);
        }
    }

    /// Decides what happens to a datagram of `publisher`: one look-up for all subscribers; no copy but the one that is kept, to be sent
    /// once more to those who miss it, and as a recent picture to those who come. What `publisher` sent and did not arrive is noted.
    ///
    /// # Errors
    /// The [`DropReason`] of a datagram that goes nowhere.
    pub fn forward(
        &self,
        now: Now,
        limits: &Limits,
        publisher: &mut Publisher,
        datagram: &[u8],
    ) -> Result<Forward<'_>, DropReason> {
        if !publisher.may_send(now, limits, datagram.len()) {
            return Err(DropReason::OverBudget);
        }
        if RepeatRequest::is_one(datagram) {
            return Ok(Forward::Repeat);
        }
        let header = MediaHeader::decode(datagram)?;
        if header.track == TrackId::ECHO {
            return Ok(Forward::Echo);
        }
        let route = self.routes.get(&header.track).ok_or(DropReason::TrackUnknown)?;
        if route.publisher != Some(publisher.slot()) {
            return Err(DropReason::TrackNotOwned);
        }
        if route.muted {
            return Err(DropReason::TrackMuted);
        }
        let layers = Layers { spatial: header.spatial_layer, temporal: header.temporal_layer };
        let rendition = route.renditions.get(usize::from(layers.spatial)).ok_or(DropReason::LayerUnknown)?;
        if layers.temporal > route.temporal_layer_max {
            return Err(DropReason::LayerUnknown);
        }
        // Those behind it have had it, or ask for it themselves.
        if publisher.note(now, &header, route.deadline) == Arrival::Double {
            return Err(DropReason::Superseded);
        }
        let is_heard = route.voice.as_ref().is_none_or(|voice| self.hear(now, limits, &header, voice));
        let mut progress = rendition.progress.get();
        let begins = !progress.has_reached(header.frame);
        publisher.arrivals.note(&mut progress, now, &header);
        rendition.progress.set(progress);
        let is_wanted = !route.held || rendition.is_awaited() || !rendition.takers(layers.temporal).is_empty();
        if !is_heard || !is_wanted {
            return Err(DropReason::NotSelected);
        }
        Ok(route.pass(now, &header, rendition, begins, datagram))
    }

    /// Listens to a frame of a microphone, and says whether it is passed on.
    fn hear(&self, now: Now, limits: &Limits, header: &MediaHeader, voice: &Cell<Voice>) -> bool {
        let mut heard = voice.get();
        if heard.hear(now, header.audio_level) {
            self.voice_begun.set(true);
        }
        voice.set(heard);
        let places = limits.loudest_audio as usize;
        places == 0 || self.floor.admits(now, places, header.track, header.audio_level, heard)
    }

    /// Puts into `found` what a subscriber asks for once more, as far as it is subscribed to it and it is still worth sending.
    ///
    /// # Errors
    /// The [`DropReason`] of a request that is none, or that nothing may come of, or not all; what was found is to be sent.
    pub fn repeat(
        &self,
        now: Now,
        subscriber: &mut Publisher,
        request: &[u8],
        found: &mut Vec<Bytes>,
    ) -> Result<(), DropReason> {
        let request = RepeatRequest::decode(request)?;
        if !subscriber.may_ask(now) {
            return Err(DropReason::OverBudget);
        }
        let route = self.routes.get(&request.track).ok_or(DropReason::TrackUnknown)?;
        let rendition = route.renditions.get(usize::from(request.spatial_layer)).ok_or(DropReason::LayerUnknown)?;
        let highest = rendition.highest(subscriber.slot()).ok_or(DropReason::NotSubscribed)?;
        for kept in route.recent.borrow().find(now, &request).filter(|kept| kept.temporal_layer <= highest) {
            if !subscriber.may_get_again(now) {
                return Err(DropReason::OverBudget);
            }
            found.push(kept.bytes.clone());
        }
        Ok(())
    }

    /// Carries out a change; then [`Routes::takers`] says who gets the datagram.
    pub fn change(&mut self, Change { track, layers }: Change) {
        let Some(route) = self.routes.get_mut(&track) else {
            return;
        };
        let newcomers = route.rendition_mut(layers.spatial).map(Rendition::take_awaiting).unwrap_or_default();
        for (slot, temporal_layer) in newcomers {
            route.renditions.iter_mut().for_each(|rendition| _ = rendition.remove(slot));
            route.renditions[usize::from(layers.spatial)].add(slot, temporal_layer);
        }
    }

    /// Who gets the datagram of a change that was carried out.
    pub fn takers(&self, Change { track, layers }: Change) -> &[Slot] {
        let rendition = self.routes.get(&track).and_then(|route| route.renditions.get(usize::from(layers.spatial)));
        rendition.map_or(&[], |rendition| rendition.takers(layers.temporal))
    }

    /// Who gets a datagram that was to be [forwarded](Forward::To) a moment ago, and waited.
    ///
    /// # Errors
    /// The [`DropReason`] of one that goes nowhere any more.
    pub fn takers_now(&self, datagram: &[u8]) -> Result<&[Slot], DropReason> {
        let header = MediaHeader::decode(datagram)?;
        let route = self.routes.get(&header.track).ok_or(DropReason::TrackUnknown)?;
        if route.muted {
            return Err(DropReason::TrackMuted);
        }
        let rendition = route.renditions.get(usize::from(header.spatial_layer)).ok_or(DropReason::LayerUnknown)?;
        Ok(rendition.takers(header.temporal_layer))
    }
}

impl Route {
    /// Keeps what may be wanted once more, and says who gets it.
    fn pass<'a>(
        &self,
        now: Now,
        header: &MediaHeader,
        rendition: &'a Rendition,
        begins: bool,
        datagram: &[u8],
    ) -> Forward<'a> {
        // Whoever misses parity, or comes later, has no use for it.
        if !header.parity {
            let copy = rendition.copies.borrow_mut().make(datagram);
            if let Some(pictures) = &rendition.pictures {
                pictures.borrow_mut().push(now, header, &copy);
            }
            self.recent.borrow_mut().push(now, header, copy);
        }
        // Whoever began in the middle of a keyframe would get the rest of it in vain, also where its first datagram comes once more.
        // On a stream it comes once, although frames may overtake it.
        let begins = begins || header.on_stream;
        if rendition.is_awaited() && begins && header.keyframe && header.fragment_index == 0 && !header.parity {
            let layers = Layers { spatial: header.spatial_layer, temporal: header.temporal_layer };
            return Forward::After(Change { track: header.track, layers });
        }
        Forward::To(rendition.takers(header.temporal_layer))
    }

    fn rendition_mut(&mut self, spatial_layer: u8) -> Option<&mut Rendition> {
        self.renditions.get_mut(usize::from(spatial_layer))
    }

    fn forget_pictures(&mut self) {
        let pictures = self.renditions.iter_mut().filter_map(|rendition| rendition.pictures.as_mut());
        pictures.for_each(|pictures| pictures.get_mut().forget());
    }

    fn forget_old(&mut self, now: Now) {
        let recent = self.recent.get_mut();
        recent.forget(now);
        for rendition in &mut self.renditions {
            if let Some(pictures) = &mut rendition.pictures {
                pictures.get_mut().forget_old(now);
            }
            // The next copy would be of another time than those before it.
            if recent.is_empty() {
                rendition.copies.get_mut().release();
            }
        }
    }
}

impl From<HeaderError> for DropReason {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Short | HeaderError::Long | HeaderError::Fragment { .. } => Self::Malformed,
            HeaderError::Session => Self::ForeignSession,
            HeaderError::Version(_) => Self::VersionUnknown,
        }
    }
}
