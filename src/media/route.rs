mod crossing;

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;
    use crate::limits::{RECENT_PICTURES_TIME, REPEAT_REQUESTS_PER_SECOND, REPEATS_PER_SECOND, VIDEO_DEADLINE};
    use crate::media::Frame;
    use crate::wire::{AudioLevel, Wanted};

    const NOW: Now = Now::after(Duration::from_secs(1));
    const TRACK: TrackId = TrackId(7);
    const PUBLISHER: Slot = Slot(0);

    /// Three renditions of three temporal layers each.
    const HIGHEST: Layers = layers(2, 2);

    const fn layers(spatial: u8, temporal: u8) -> Layers {
        Layers { spatial, temporal }
    }

    fn datagram(track: TrackId) -> Vec<u8> {
        Frame { spatial_layer: 2, ..Frame::default() }.datagrams(track).unwrap().next().unwrap().bytes.to_vec()
    }

    fn routes() -> Routes {
        let mut routes = Routes::default();
        routes.open(TRACK, PUBLISHER, HIGHEST);
        routes.subscribe(TRACK, Slot(1), HIGHEST);
        routes.subscribe(TRACK, Slot(2), HIGHEST);
        routes
    }

    /// A frame that is no keyframe, or the fragment of a keyframe that has two.
    #[derive(Clone, Copy)]
    enum Piece {
        Delta,
        Keyframe { fragment: usize },
    }

    /// Each frame has the next number.
    static NUMBERS: AtomicU32 = AtomicU32::new(0);

    /// Who gets it, as the relay does it.
    fn passed_on(routes: &mut Routes, piece: Piece, layers: Layers) -> Vec<u32> {
        let (keyframe, fragment) = match piece {
            Piece::Delta => (false, 0),
            Piece::Keyframe { fragment } => (true, fragment),
        };
        let data = vec![1; 1500].into();
        let (spatial_layer, temporal_layer) = (layers.spatial, layers.temporal);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let frame = Frame { number, keyframe, spatial_layer, temporal_layer, data, ..Frame::default() };
        let datagram = frame.datagrams(TRACK).unwrap().nth(fragment).unwrap();
        let slots = match forward(routes, PUBLISHER, &datagram.bytes).unwrap() {
            Forward::To(slots) => slots.to_vec(),
            Forward::After(change) => {
                routes.change(change);
                routes.takers(change).to_vec()
            }
            Forward::Echo | Forward::Repeat => panic!("it has a track, and is no request"),
        };
        slots.iter().map(|slot| slot.0).collect()
    }

    fn forward<'a>(routes: &'a Routes, from: Slot, datagram: &[u8]) -> Result<Forward<'a>, DropReason> {
        routes.forward(NOW, &Limits::default(), &mut Publisher::new(from), datagram)
    }

    #[test]
    fn a_datagram_goes_to_the_subscribers_of_its_track() {
        let mut routes = routes();
        assert_eq!(forward(&routes, PUBLISHER, &datagram(TRACK)), Ok(Forward::To(&[Slot(1), Slot(2)])));
        routes.unsubscribe(TRACK, Slot(1));
        assert_eq!(forward(&routes, PUBLISHER, &datagram(TRACK)), Ok(Forward::To(&[Slot(2)])));
    }

    #[test]
    fn a_datagram_for_no_track_comes_back() {
        assert_eq!(forward(&routes(), Slot(9), &datagram(TrackId::ECHO)), Ok(Forward::Echo));
    }

    #[test]
    fn everything_else_is_dropped_for_a_reason() {
        let mut routes = routes();
        let good = datagram(TRACK);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        for (from, bytes, reason) in [
            (Slot(1), good.clone(), DropReason::TrackNotOwned),
            (PUBLISHER, datagram(TrackId(8)), DropReason::TrackUnknown),
            (PUBLISHER, vec![], DropReason::Malformed),
            (PUBLISHER, good[..20].to_vec(), DropReason::Malformed),
            (PUBLISHER, vec![0; 2000], DropReason::Malformed),
            (PUBLISHER, with(0, 1), DropReason::ForeignSession),
            (PUBLISHER, with(1, 0), DropReason::VersionUnknown),
            (PUBLISHER, with(14, 1), DropReason::Malformed),
            (PUBLISHER, with(2, 3 << 3), DropReason::LayerUnknown),
            (PUBLISHER, with(2, 3), DropReason::LayerUnknown),
        ] {
            assert_eq!(forward(&routes, from, &bytes), Err(reason), "{bytes:?}");
        }
        routes.set_muted(TRACK, true);
        assert_eq!(forward(&routes, PUBLISHER, &good), Err(DropReason::TrackMuted));
        routes.set_muted(TRACK, false);
        assert!(forward(&routes, PUBLISHER, &good).is_ok());
        routes.close(TRACK);
        assert_eq!(forward(&routes, PUBLISHER, &good), Err(DropReason::TrackUnknown));
    }

    #[test]
    fn what_has_waited_goes_to_those_who_take_it_by_then_or_is_dropped_for_a_reason() {
        let mut routes = routes();
        let waited = datagram(TRACK);
        assert!(forward(&routes, PUBLISHER, &waited).is_ok());
        routes.unsubscribe(TRACK, Slot(1));
        assert_eq!(routes.takers_now(&waited), Ok(&[Slot(2)][..]));
        routes.set_muted(TRACK, true);
        assert_eq!(routes.takers_now(&waited), Err(DropReason::TrackMuted));
        routes.close(TRACK);
        assert_eq!(routes.takers_now(&waited), Err(DropReason::TrackUnknown));
        routes.open(TRACK, PUBLISHER, layers(0, 0));
        assert_eq!(routes.takers_now(&waited), Err(DropReason::LayerUnknown));
    }

    #[test]
    fn temporal_layers_change_at_once() {
        let mut routes = routes();
        routes.set_layers(TRACK, Slot(1), layers(2, 1));
        let got = [0, 1, 2].map(|temporal| passed_on(&mut routes, Piece::Delta, layers(2, temporal)));
        assert_eq!(got, [vec![2, 1], vec![2, 1], vec![2]]);
        routes.set_layers(TRACK, Slot(1), HIGHEST);
        assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [2, 1]);
    }

    #[test]
    fn a_rendition_changes_where_a_keyframe_of_it_begins() {
        let mut routes = routes();
        routes.set_layers(TRACK, Slot(1), layers(0, 1));
        let begins = Piece::Keyframe { fragment: 0 };
        for (piece, of, to) in [
            (Piece::Delta, layers(0, 0), vec![]),
            (Piece::Keyframe { fragment: 1 }, layers(0, 0), vec![]),
            (begins, layers(1, 0), vec![]),
            (begins, layers(2, 0), vec![2, 1]),
            (Piece::Delta, layers(2, 1), vec![2, 1]),
            (Piece::Delta, layers(2, 2), vec![2]),
            (begins, layers(0, 0), vec![1]),
            (Piece::Keyframe { fragment: 1 }, layers(0, 0), vec![1]),
            (Piece::Delta, layers(0, 1), vec![1]),
            (Piece::Delta, layers(0, 2), vec![]),
            (Piece::Delta, layers(2, 0), vec![2]),
        ] {
            assert_eq!(passed_on(&mut routes, piece, of), to, "{of:?}");
        }
    }

    #[test]
    fn whoever_waits_for_another_rendition_gets_the_one_before_as_far_as_it_helps() {
        for (before, wanted, meanwhile) in [
            ((2, 0), (1, 2), 0),
            ((2, 1), (1, 2), 1),
            ((2, 2), (1, 0), 0),
            ((2, 2), (0, 1), 1),
            ((1, 2), (2, 0), 2),
            ((1, 0), (2, 2), 0),
            ((0, 1), (2, 1), 1),
        ] {
            let [before, wanted] = [before, wanted].map(|(spatial, temporal)| layers(spatial, temporal));
            let mut routes = Routes::default();
            routes.open(TRACK, PUBLISHER, HIGHEST);
            routes.subscribe(TRACK, Slot(1), before);
            routes.set_layers(TRACK, Slot(1), wanted);
            let taken = |routes: &mut Routes, spatial| {
                let gets = |temporal: &u8| !passed_on(routes, Piece::Delta, layers(spatial, *temporal)).is_empty();
                (0..3).filter(gets).last()
            };
            assert_eq!(taken(&mut routes, before.spatial), Some(meanwhile), "{before:?} to {wanted:?}");
            assert_eq!(passed_on(&mut routes, Piece::Keyframe { fragment: 0 }, layers(wanted.spatial, 0)), [1]);
            assert_eq!(taken(&mut routes, wanted.spatial), Some(wanted.temporal), "{before:?} to {wanted:?}");
            assert_eq!(taken(&mut routes, before.spatial), None, "{before:?} to {wanted:?}");
        }
    }

    #[test]
    fn whoever_thinks_better_of_less_has_what_it_had_of_the_smaller_rendition() {
        let mut routes = routes();
        routes.set_layers(TRACK, Slot(1), layers(2, 0));
        routes.set_layers(TRACK, Slot(1), layers(1, 2));
        assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [2], "Ben waits, beside Cat who takes all");
        assert_eq!(passed_on(&mut routes, Piece::Delta, layers(2, 0)), [2, 1]);
        routes.set_layers(TRACK, Slot(1), HIGHEST);
        assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [2, 1]);
    }

    #[test]
    fn nobody_begins_with_a_keyframe_of_which_a_part_has_passed() {
        let mut routes = routes();
        routes.set_layers(TRACK, Slot(1), layers(0, 1));
        let keyframe = |number| Frame { number, keyframe: true, data: vec![1; 1500].into(), ..Frame::default() };
        let begins = |number, fragment| {
            let datagram = keyframe(number).datagrams(TRACK).unwrap().nth(fragment).unwrap();
            matches!(forward(&routes, PUBLISHER, &datagram.bytes), Ok(Forward::After(_)))
        };
        assert_eq!(
            [(7, 1), (7, 0), (8, 0), (8, 0)].map(|(number, at)| begins(number, at)),
            [false, false, true, false]
        );
    }

    #[test]
    fn whoever_thinks_better_of_it_stays() {
        let mut routes = routes();
        let begins = Piece::Keyframe { fragment: 0 };
        routes.set_layers(TRACK, Slot(1), layers(0, 2));
        routes.set_layers(TRACK, Slot(1), layers(1, 2));
        assert_eq!(passed_on(&mut routes, begins, layers(0, 0)), [0; 0], "not there any more");
        assert_eq!(passed_on(&mut routes, begins, layers(1, 0)), [1]);
        routes.set_layers(TRACK, Slot(2), layers(1, 2));
        routes.set_layers(TRACK, Slot(2), HIGHEST);
        assert_eq!(passed_on(&mut routes, begins, layers(1, 0)), [1]);
        routes.set_layers(TRACK, Slot(2), layers(1, 2));
        routes.unsubscribe(TRACK, Slot(2));
        assert_eq!(passed_on(&mut routes, begins, layers(1, 0)), [1]);
        assert_eq!(passed_on(&mut routes, begins, layers(2, 0)), [0; 0]);
    }

    #[test]
    fn whoever_is_not_subscribed_has_no_layers() {
        let mut routes = routes();
        routes.set_layers(TRACK, Slot(5), layers(0, 0));
        routes.set_layers(TrackId(8), Slot(1), layers(0, 0));
        routes.subscribe(TRACK, Slot(6), layers(3, 0));
        for spatial in 0..3 {
            let to = if spatial == 2 { vec![1, 2] } else { vec![] };
            assert_eq!(passed_on(&mut routes, Piece::Keyframe { fragment: 0 }, layers(spatial, 0)), to);
        }
    }

    #[test]
    fn what_was_passed_on_is_sent_once_more_to_those_who_take_it() {
        let mut routes = routes();
        routes.set_layers(TRACK, Slot(2), layers(2, 0));
        let frame = |number, temporal_layer| Frame { number, spatial_layer: 2, temporal_layer, ..Frame::default() };
        let sent = [frame(5, 0), frame(6, 2)].map(|frame| frame.datagrams(TRACK).unwrap().next().unwrap().bytes);
        sent.iter().for_each(|datagram| assert!(forward(&routes, PUBLISHER, datagram).is_ok()));
        let ask = |slot, track, spatial_layer| {
            let wanted = (4..8).map(Wanted::whole).collect();
            let request = RepeatRequest { track, spatial_layer, wanted }.encode();
            assert_eq!(forward(&routes, Slot(slot), &request), Ok(Forward::Repeat));
            let mut found = Vec::new();
            let answer = routes.repeat(NOW, &mut Publisher::new(Slot(slot)), &request, &mut found);
            answer.map(|()| found)
        };
        assert_eq!(ask(1, TRACK, 2), Ok(sent.to_vec()));
        assert_eq!(ask(2, TRACK, 2), Ok(sent[..1].to_vec()));
        assert_eq!(ask(1, TRACK, 1), Err(DropReason::NotSubscribed));
        assert_eq!(ask(3, TRACK, 2), Err(DropReason::NotSubscribed));
        assert_eq!(ask(1, TRACK, 3), Err(DropReason::LayerUnknown));
        assert_eq!(ask(1, TrackId(8), 2), Err(DropReason::TrackUnknown));
    }

    #[test]
    fn what_is_lost_is_asked_for_and_sent_again_as_long_as_media_may_wait() {
        let limits = Limits { audio_deadline_ms: 100, video_deadline_ms: 700, ..Limits::default() };
        for (limits, is_video, deadline_ms) in
            [(Limits::default(), false, 200), (Limits::default(), true, 400), (limits, false, 100), (limits, true, 700)]
        {
            let mut routes = Routes::new(&limits, PictureBudget::default(), SharedFloor::default());
            routes.open(TRACK, PUBLISHER, Layers::ONE);
            routes.subscribe(TRACK, Slot(1), Layers::ONE);
            if is_video {
                routes.keep_pictures(TRACK);
            }
            let after = |ms| Now::after(NOW.since_start + Duration::from_millis(ms));
            let mut publisher = Publisher::on_lossy_path(PUBLISHER);
            for number in [0, 2] {
                let frame = Frame { number, ..Frame::default() };
                let datagram = frame.datagrams(TRACK).unwrap().next().unwrap();
                assert!(routes.forward(NOW, &limits, &mut publisher, &datagram.bytes).is_ok());
            }
            // It is asked for after 10 ms, if the answer comes in time.
            let late = publisher.missing(after(10), Duration::from_millis(deadline_ms - 9));
            assert_eq!(late, [], "of {deadline_ms} ms");
            let request = RepeatRequest { track: TRACK, spatial_layer: 0, wanted: vec![Wanted::whole(2)] }.encode();
            let kept = |ms| {
                let mut found = Vec::new();
                routes.repeat(after(ms), &mut Publisher::new(Slot(1)), &request, &mut found).unwrap();
                found.len()
            };
            assert_eq!([deadline_ms - 1, deadline_ms].map(kept), [1, 0], "for {deadline_ms} ms");
        }
    }

    #[test]
    fn of_several_answers_of_a_publisher_one_is_passed_on() {
        let routes = routes();
        let mut publisher = Publisher::on_lossy_path(PUBLISHER);
        let after = |ms| Now::after(NOW.since_start + Duration::from_millis(ms));
        let mut push = |ms, number| {
            let frame = Frame { number, spatial_layer: 2, ..Frame::default() };
            let bytes = frame.datagrams(TRACK).unwrap().next().unwrap().bytes;
            let passed = routes.forward(after(ms), &Limits::default(), &mut publisher, &bytes).map(|_| ());
            (passed, publisher.missing(after(ms + 10), Duration::from_millis(20)).len())
        };
        assert_eq!([push(0, 5), push(0, 7)], [(Ok(()), 0), (Ok(()), 1)], "6 is asked for");
        assert_eq!([push(40, 6), push(41, 6)], [(Ok(()), 0), (Err(DropReason::Superseded), 0)]);
    }

    #[test]
    fn only_the_loudest_microphones_are_passed_on_where_that_is_set() {
        let mut routes = Routes::default();
        let tracks = [1, 2, 3, 4].map(TrackId);
        for track in tracks {
            routes.open(track, PUBLISHER, Layers::ONE);
            routes.subscribe(track, Slot(1), Layers::ONE);
        }
        tracks[..3].iter().for_each(|track| routes.listen(*track));
        let passed = |routes: &Routes, loudest_audio, track, level| {
            let frame = Frame { audio_level: AudioLevel::new(level), ..Frame::default() };
            let bytes = frame.datagrams(track).unwrap().next().unwrap().bytes;
            let limits = Limits { loudest_audio, ..Limits::default() };
            routes.forward(NOW, &limits, &mut Publisher::new(PUBLISHER), &bytes).err()
        };
        let all = |routes: &Routes, loudest| tracks.map(|track| passed(routes, loudest, track, 127));
        let left_out = Some(DropReason::NotSelected);
        assert_eq!(all(&routes, 0), [None; 4]);
        assert_eq!(all(&routes, 2), [None, None, left_out, None], "the last one is no microphone");
        routes.set_muted(tracks[0], true);
        routes.set_muted(tracks[0], false);
        assert_eq!(passed(&routes, 2, tracks[2], 127), None, "there is a place again");
        assert_eq!(passed(&routes, 2, tracks[0], 127), left_out);
        routes.close(tracks[1]);
        assert_eq!(passed(&routes, 2, tracks[0], 127), None, "and again");
    }

    #[test]
    fn a_video_that_is_held_goes_to_those_who_chose_it() {
        let mut routes = routes();
        routes.unsubscribe(TRACK, Slot(1));
        routes.set_held(TRACK, true);
        assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [2]);
        routes.unsubscribe(TRACK, Slot(2));
        assert_eq!(forward(&routes, PUBLISHER, &datagram(TRACK)), Err(DropReason::NotSelected));
        routes.subscribe(TRACK, Slot(1), layers(0, 2));
        routes.set_layers(TRACK, Slot(1), HIGHEST);
        assert_eq!(passed_on(&mut routes, Piece::Keyframe { fragment: 0 }, HIGHEST), [1], "it waited for that");
        routes.unsubscribe(TRACK, Slot(1));
        routes.set_held(TRACK, false);
        assert_eq!(passed_on(&mut routes, Piece::Delta, HIGHEST), [0; 0], "nobody is subscribed: that is no reason");
    }

    #[test]
    fn a_track_that_is_idle_gives_back_what_it_kept() {
        let mut routes = routes();
        routes.keep_pictures(TRACK);
        passed_on(&mut routes, Piece::Keyframe { fragment: 0 }, HIGHEST);
        assert_eq!(routes.keyframe_at(TRACK, 2), Some(NOW.since_start));
        assert_eq!((routes.keyframe_at(TRACK, 1), routes.keyframe_at(TrackId(8), 0)), (None, None));
        let kept = |routes: &mut Routes, after| {
            routes.forget_old(Now::after(NOW.since_start + after));
            (routes.routes[&TRACK].recent.borrow().is_empty(), routes.budget.held_bytes() == 0)
        };
        assert_eq!(kept(&mut routes, VIDEO_DEADLINE / 2), (false, false));
        assert_eq!(kept(&mut routes, VIDEO_DEADLINE), (true, false));
        assert_eq!(kept(&mut routes, RECENT_PICTURES_TIME), (true, true));
        assert_eq!(routes.keyframe_at(TRACK, 2), Some(NOW.since_start), "which is remembered");
    }

    #[test]
    fn requests_and_what_comes_of_them_are_bounded() {
        let routes = routes();
        let frame = Frame { spatial_layer: 2, data: vec![1; 50_000].into(), ..Frame::default() };
        let sent = frame.datagrams(TRACK).unwrap().map(|datagram| forward(&routes, PUBLISHER, &datagram.bytes).is_ok());
        assert_eq!(sent.filter(|is_sent| *is_sent).count(), 52);
        let request =
            |frame| RepeatRequest { track: TRACK, spatial_layer: 2, wanted: vec![Wanted::whole(frame)] }.encode();
        // How many of a thousand are answered in full, and by how many datagrams all of them together.
        let answered = |frame| {
            let (mut asker, mut found) = (Publisher::new(Slot(1)), Vec::new());
            let mut ask = || routes.repeat(NOW, &mut asker, &request(frame), &mut found);
            let count = (0..1000).filter(|_| ask().is_ok()).count();
            assert_eq!(ask(), Err(DropReason::OverBudget));
            (count, found.len())
        };
        assert_eq!(answered(0), (REPEATS_PER_SECOND as usize / 52, REPEATS_PER_SECOND as usize));
        assert_eq!(answered(7), (REPEAT_REQUESTS_PER_SECOND as usize, 0), "of a frame that is not there");
        let mut asker = Publisher::new(Slot(1));
        assert_eq!(routes.repeat(NOW, &mut asker, &request(0)[..9], &mut Vec::new()), Err(DropReason::Malformed));
    }

    #[test]
    fn the_budget_counts_datagrams_and_bytes() {
        let routes = routes();
        let passed = |limits: Limits, size: usize| {
            let mut publisher = Publisher::new(PUBLISHER);
            let mut bytes = datagram(TRACK);
            bytes.resize(size, 0);
            (0..100).filter(|_| routes.forward(NOW, &limits, &mut publisher, &bytes).is_ok()).count()
        };
        let limits = Limits { media_datagrams_per_second: 30, media_bits_per_second: 80_000, ..Limits::default() };
        assert_eq!(passed(limits, 100), 30);
        assert_eq!(passed(limits, 1000), 10);
    }
}
