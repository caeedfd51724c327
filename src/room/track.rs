use std::collections::BTreeMap;
use std::time::Duration;

use super::allowance::Allowance;
use super::demand::Demand;
use super::merged::Merged;
use super::subscribers::{Subscribers, Wanted};
use super::{Audience, Output, Participant, Room};
use crate::limits::{CODEC_BYTES_MAX, DESCRIPTION_BYTES_MAX, FEEDBACK_INTERVAL, KEYFRAME_INTERVAL, LAYERS_MAX};
use crate::now::Now;
use crate::wire::{
    Layers, ParticipantId, ParticipantKind, PublishedTrack, RefuseReason, ServerMessage, TrackId, TrackInfo,
    TrackMedia, TrackSource,
};

/// A published track.
#[derive(Debug)]
pub(super) struct Track {
    pub publisher: ParticipantId,
    pub subscribers: Subscribers,
    pub feedback: Merged,
    info: TrackInfo,
    muted: bool,
    /// Muted by an admin: media is left out until the publisher unmutes it.
    silenced: bool,
    /// Those alone get it who chose it: its publisher is not on the stage.
    held: bool,
    /// By rendition: requests of many subscribers become few requests to the publisher.
    keyframes: Vec<Merged>,
    demand: Demand,
}

impl Track {
    fn new(publisher: ParticipantId, info: TrackInfo, held: bool, subscribers: Subscribers) -> Self {
        Self {
            publisher,
            subscribers,
            feedback: Merged::every(FEEDBACK_INTERVAL),
            keyframes: vec![Merged::every(KEYFRAME_INTERVAL); usize::from(info.highest_layers().spatial) + 1],
            demand: Demand::default(),
            info,
            muted: false,
            silenced: false,
            held,
        }
    }

    pub fn published(&self, track: TrackId) -> PublishedTrack {
        PublishedTrack { track, info: self.info.clone(), muted: self.muted }
    }

    pub fn source(&self) -> TrackSource {
        self.info.source
    }

    pub fn is_video(&self) -> bool {
        self.info.is_video()
    }

    pub fn highest_layers(&self) -> Layers {
        self.info.highest_layers()
    }

    /// Whether everyone is sent it only while its publisher is on the stage.
    pub fn is_staged(&self) -> bool {
        is_staged(&self.info)
    }

    /// Whether there is something to be seen of it.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Says whether that changes anything.
    pub fn set_held(&mut self, held: bool) -> bool {
        std::mem::replace(&mut self.held, held) != held
    }

    /// Whether it is kept from a subscriber, whatever its path carries.
    pub fn is_held_from(&self, subscriber: ParticipantId) -> bool {
        self.held && !self.subscribers.is_chosen(subscriber)
    }

    /// What a subscriber is sent, by what its path carries.
    pub fn sent_by(&self, allowance: &Allowance, subscriber: ParticipantId) -> Option<Layers> {
        let wished = self.subscribers.wished(subscriber).filter(|_| !self.is_held_from(subscriber))?;
        sent_of(&self.info, allowance, wished)
    }

    /// The renditions that somebody takes.
    pub fn wanted_renditions(&self) -> impl Iterator<Item = u8> + use<> {
        let wanted = self.subscribers.wanted().spatial_layers;
        (0..LAYERS_MAX).filter(move |layer| wanted & 1 << layer != 0)
    }

    pub fn is_silenced(&self) -> bool {
        self.silenced
    }

    /// Mutes it by an admin's word, and says whether that changes anything.
    pub fn silence(&mut self) -> bool {
        self.muted = true;
        !std::mem::replace(&mut self.silenced, true)
    }

    pub fn next_timeout(&self) -> Option<Duration> {
        let merged = self.keyframes.iter().chain([&self.feedback]).filter_map(Merged::due);
        merged.chain(self.demand.next_timeout()).min()
    }

    /// Whether there are layers that nobody has taken for long enough.
    pub fn closes_layers(&self, now: Now) -> bool {
        self.demand.next_timeout().is_some_and(|due| due <= now.since_start)
    }

    /// The renditions of which a keyframe was asked for and is to be made now.
    pub fn due_keyframes(&mut self, now: Now) -> Vec<u8> {
        let renditions = (0..).zip(&mut self.keyframes);
        renditions.filter_map(|(layer, keyframe)| keyframe.take_if_due(now).then_some(layer)).collect()
    }
}

impl Room {
    pub(super) fn publish(
        &mut self,
        now: Now,
        from: ParticipantId,
        request: u32,
        info: TrackInfo,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        let publisher = self.participants.get(&from).ok_or(RefuseReason::ParticipantUnknown)?;
        let may_publish = publisher.kind == ParticipantKind::Meeting && !publisher.grant.hidden;
        if !may_publish || !publisher.grant.publish.allows(info.source) {
            return Err(RefuseReason::NotAllowed);
        }
        if !is_valid(&info) {
            return Err(RefuseReason::TrackInvalid);
        }
        let own = self.tracks.values().filter(|track| track.publisher == from).count();
        if own >= self.limits.tracks_per_participant as usize {
            return Err(RefuseReason::TracksFull);
        }
        self.ids.tracks = self.ids.tracks.checked_add(1).ok_or(RefuseReason::TracksFull)?;
        let id = TrackId(self.ids.tracks);
        let held = is_staged(&info) && self.is_held_back(from);
        let subscribers = self.subscribe_all_to(from, &info, held);
        let track = Track::new(from, info, held, subscribers);
        self.stage_is_due = true;
        let message = ServerMessage::TrackPublished { participant: from, track: track.published(id) };
        self.tracks.insert(id, track);
        // The route stands before anyone is told, so that the first datagram already finds it.
        self.open_route(id, out);
        out.push(Output::Tell { to: Audience::EveryoneBut(from), message });
        out.push(Output::tell(from, ServerMessage::Published { request, track: id }));
        self.tell_wanted(now, id, out);
        self.note_ids(out);
        Ok(())
    }

    pub(super) fn unpublish(
        &mut self,
        from: ParticipantId,
        track: TrackId,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        own_track(&mut self.tracks, from, track)?;
        if let Some(gone) = self.tracks.remove(&track) {
            self.forget_subscriptions(&gone);
        }
        self.stage_is_due = true;
        out.push(Output::RouteClosed { track });
        let message = ServerMessage::TrackUnpublished { participant: from, track };
        out.push(Output::Tell { to: Audience::EveryoneBut(from), message });
        Ok(())
    }

    pub(super) fn set_muted(
        &mut self,
        from: ParticipantId,
        id: TrackId,
        muted: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        let track = own_track(&mut self.tracks, from, id)?;
        if !muted && std::mem::take(&mut track.silenced) {
            out.push(Output::RouteMuted { track: id, muted: false });
        }
        if std::mem::replace(&mut track.muted, muted) != muted {
            let message = ServerMessage::TrackMuted { track: id, muted };
            out.push(Output::Tell { to: Audience::EveryoneBut(from), message });
            self.stage_is_due = true;
        }
        Ok(())
    }

    pub(super) fn subscribe(
        &mut self,
        now: Now,
        from: ParticipantId,
        id: TrackId,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        let subscriber = self.participants.get_mut(&from).ok_or(RefuseReason::ParticipantUnknown)?;
        let track = self.tracks.get_mut(&id).ok_or(RefuseReason::TrackUnknown)?;
        if track.publisher == from {
            return Err(RefuseReason::TrackOwn);
        }
        if !subscriber.takes_media() {
            return Err(RefuseReason::NotAllowed);
        }
        if track.subscribers.contains(from) {
            return Ok(());
        }
        if subscriber.subscriptions >= self.limits.subscriptions_per_participant {
            return Err(RefuseReason::SubscriptionsFull);
        }
        subscriber.subscriptions += 1;
        track.subscribers.insert(from, track.highest_layers(), true);
        // Who takes all there is has not chosen this one by taking it back.
        track.subscribers.set_chosen(from, !subscriber.auto_subscribe);
        let sent = track.sent_by(&subscriber.allowance, from);
        track.subscribers.set_sent(from, sent);
        if let Some(layers) = sent {
            out.push(Output::Subscribed { track: id, subscriber: from, layers });
            self.tell_wanted(now, id, out);
            self.want_picture(now, from, id, layers, out);
        }
        Ok(())
    }

    pub(super) fn unsubscribe(
        &mut self,
        now: Now,
        from: ParticipantId,
        id: TrackId,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        let track = self.tracks.get_mut(&id).ok_or(RefuseReason::TrackUnknown)?;
        if track.subscribers.remove(from) {
            if let Some(subscriber) = self.participants.get_mut(&from) {
                subscriber.subscriptions -= 1;
            }
            out.push(Output::Unsubscribed { track: id, subscriber: from });
            self.tell_wanted(now, id, out);
        }
        Ok(())
    }

    pub(super) fn set_auto_subscribe(&mut self, from: ParticipantId, enabled: bool) -> Result<(), RefuseReason> {
        let participant = self.participants.get_mut(&from).ok_or(RefuseReason::ParticipantUnknown)?;
        if enabled && !participant.takes_media() {
            return Err(RefuseReason::NotAllowed);
        }
        participant.auto_subscribe = enabled;
        Ok(())
    }

    pub(super) fn set_layers(
        &mut self,
        now: Now,
        from: ParticipantId,
        id: TrackId,
        mut layers: Layers,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        let track = self.tracks.get_mut(&id).ok_or(RefuseReason::TrackUnknown)?;
        if !track.subscribers.contains(from) {
            return Err(RefuseReason::NotSubscribed);
        }
        let highest = track.highest_layers();
        if layers.spatial > highest.spatial {
            return Err(RefuseReason::LayerUnknown);
        }
        layers.temporal = layers.temporal.min(highest.temporal);
        track.subscribers.set_wished(from, layers);
        let begins = self.regulate(now, from, id, out);
        let track = self.tracks.get_mut(&id);
        if let Some(layer) = begins.filter(|_| track.is_some_and(|track| track.subscribers.may_change(now, from))) {
            self.ask_for_keyframe(now, id, layer, out);
        }
        Ok(())
    }

    /// Gives a participant that begins to get a video something to begin with. What was seen before it was muted is nobody's to
    /// see now.
    pub(super) fn want_picture(
        &mut self,
        now: Now,
        subscriber: ParticipantId,
        id: TrackId,
        layers: Layers,
        out: &mut Vec<Output>,
    ) {
        match self.tracks.get(&id) {
            Some(track) if track.muted => self.ask_for_keyframe(now, id, layers.spatial, out),
            Some(track) if track.is_video() => out.push(Output::PictureWanted { track: id, subscriber, layers }),
            _ => {}
        }
    }

    /// Asks a publisher for a keyframe for those who begin, unless one that was asked for has not begun yet: it serves them too.
    pub(super) fn picture_missing(
        &mut self,
        now: Now,
        id: TrackId,
        layer: u8,
        keyframe_at: Option<Duration>,
        out: &mut Vec<Output>,
    ) {
        let asked = self.tracks.get(&id).and_then(|track| track.keyframes.get(usize::from(layer)));
        if !asked.is_some_and(|keyframe| keyframe.is_awaited(now, keyframe_at)) {
            self.ask_for_keyframe(now, id, layer, out);
        }
    }

    /// A subscriber asks for a keyframe. What is not subscribed, not video or no rendition is passed over: the request may have
    /// crossed an unsubscribe or unpublish; so is what it asks for too often.
    pub(super) fn keyframe_requested(
        &mut self,
        now: Now,
        from: ParticipantId,
        id: TrackId,
        layer: u8,
        out: &mut Vec<Output>,
    ) {
        let track = self.tracks.get_mut(&id);
        if let Some(layer) = track.and_then(|track| track.subscribers.asks_for(now, from, layer)) {
            self.ask_for_keyframe(now, id, layer, out);
        }
    }

    /// Asks a publisher for a keyframe on behalf of a subscriber, for which something was left out.
    pub(super) fn keyframe_needed(
        &mut self,
        now: Now,
        subscriber: ParticipantId,
        id: TrackId,
        layer: u8,
        out: &mut Vec<Output>,
    ) {
        let track = self.tracks.get_mut(&id);
        if let Some(layer) = track.and_then(|track| track.subscribers.needs(now, subscriber, layer)) {
            self.ask_for_keyframe(now, id, layer, out);
        }
    }

    /// Asks a publisher for a keyframe, or remembers to do so.
    pub(super) fn ask_for_keyframe(&mut self, now: Now, id: TrackId, layer: u8, out: &mut Vec<Output>) {
        let Some(track) = self.tracks.get_mut(&id).filter(|track| track.is_video()) else {
            return;
        };
        let is_here = self.participants.get(&track.publisher).is_some_and(Participant::is_here);
        if track.keyframes.get_mut(usize::from(layer)).is_some_and(|keyframe| keyframe.ask(now)) && is_here {
            let message = ServerMessage::KeyframeRequested { track: id, spatial_layer: layer };
            out.push(Output::tell(track.publisher, message));
        }
    }

    /// Tells the publisher of a track what is wanted of it, if that is news.
    pub(super) fn tell_wanted(&mut self, now: Now, id: TrackId, out: &mut Vec<Output>) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.demand.note(now, track.subscribers.wanted());
        // Who is away is told when it comes back.
        let is_here = self.participants.get(&track.publisher).is_some_and(Participant::is_here);
        if is_here && let Some(wanted) = track.demand.take_news() {
            out.push(layers_wanted(id, track.publisher, wanted));
        }
    }

    /// Tells the publisher of a track, which was away, what is wanted of it.
    pub(super) fn tell_wanted_again(&mut self, now: Now, id: TrackId, out: &mut Vec<Output>) {
        if let Some(track) = self.tracks.get_mut(&id) {
            let wanted = track.subscribers.wanted();
            track.demand.begin_again(now, wanted);
            out.push(layers_wanted(id, track.publisher, wanted));
        }
    }

    /// Subscribes those who take every track to one more, by this publisher.
    fn subscribe_all_to(&mut self, publisher: ParticipantId, info: &TrackInfo, held: bool) -> Subscribers {
        let layers = info.highest_layers();
        let subscriptions_max = self.limits.subscriptions_per_participant;
        let others = self.participants.iter_mut().filter(|(other, _)| **other != publisher);
        let takers = others.filter(|(_, taker)| taker.auto_subscribe && taker.subscriptions < subscriptions_max);
        let mut subscribers = Subscribers::default();
        for (other, taker) in takers {
            taker.subscriptions += 1;
            subscribers.insert(*other, layers, taker.is_here());
            subscribers.set_sent(*other, sent_of(info, &taker.allowance, layers).filter(|_| !held));
        }
        subscribers
    }

    /// Counts what nobody is subscribed to any more, because the track is gone.
    pub(super) fn forget_subscriptions(&mut self, gone: &Track) {
        for subscriber in gone.subscribers.ids() {
            if let Some(participant) = self.participants.get_mut(&subscriber) {
                participant.subscriptions -= 1;
            }
        }
    }

    /// Subscribes a newcomer to all there is.
    pub(super) fn subscribe_to_all(&mut self, now: Now, newcomer: ParticipantId, out: &mut Vec<Output>) {
        let ids: Vec<_> = self.tracks.keys().copied().collect();
        for id in ids {
            // Nothing of the newcomer's own can be among them, and they all exist; what is beyond the bound is left out.
            let _ = self.subscribe(now, newcomer, id, out);
        }
    }
}

/// Audio is sent as long as anything is.
fn sent_of(info: &TrackInfo, allowance: &Allowance, wished: Layers) -> Option<Layers> {
    if info.is_video() { allowance.layers(info.highest_layers(), wished) } else { Some(wished) }
}

fn layers_wanted(track: TrackId, publisher: ParticipantId, wanted: Wanted) -> Output {
    let Wanted { spatial_layers, temporal_layer } = wanted;
    Output::tell(publisher, ServerMessage::LayersWanted { track, spatial_layers, temporal_layer })
}

/// Screens are there to be seen by everyone.
fn is_staged(info: &TrackInfo) -> bool {
    info.is_video() && info.source != TrackSource::Screen
}

fn own_track(
    tracks: &mut BTreeMap<TrackId, Track>,
    from: ParticipantId,
    track: TrackId,
) -> Result<&mut Track, RefuseReason> {
    let track = tracks.get_mut(&track).ok_or(RefuseReason::TrackUnknown)?;
    if track.publisher == from { Ok(track) } else { Err(RefuseReason::TrackNotOwned) }
}

fn is_valid(info: &TrackInfo) -> bool {
    let codec =
        (1..=CODEC_BYTES_MAX).contains(&info.codec.len()) && info.codec.bytes().all(|byte| byte.is_ascii_graphic());
    let media = match info.media {
        TrackMedia::Audio { sample_rate, channels } => {
            (8_000..=192_000).contains(&sample_rate) && (1..=2).contains(&channels)
        }
        TrackMedia::Video { width, height, frame_rate, temporal_layers, spatial_layers } => {
            let layers = 1..=LAYERS_MAX;
            width > 0
                && height > 0
                && frame_rate.numerator > 0
                && frame_rate.denominator > 0
                && layers.contains(&temporal_layers)
                && layers.contains(&spatial_layers)
        }
    };
    codec && media && info.description.len() <= DESCRIPTION_BYTES_MAX
}
