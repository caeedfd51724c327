use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Audience, Output, Participant, Room};
use crate::limits::{CODEC_BYTES_MAX, DESCRIPTION_BYTES_MAX, KEYFRAME_INTERVAL};
use crate::now::Now;
use crate::wire::{
    ParticipantId, ParticipantKind, PublishedTrack, RefuseReason, ServerMessage, TrackId, TrackInfo, TrackMedia,
    TrackSource,
};

/// A published track.
#[derive(Debug)]
pub(super) struct Track {
    pub publisher: ParticipantId,
    pub subscribers: BTreeSet<ParticipantId>,
    info: TrackInfo,
    muted: bool,
    /// Muted by an admin: media is left out until the publisher unmutes it.
    silenced: bool,
    keyframe: KeyframeRequests,
}

/// Requests of many subscribers become few requests to the publisher.
#[derive(Debug, Default)]
struct KeyframeRequests {
    last_sent: Option<Duration>,
    waiting: bool,
}

impl KeyframeRequests {
    fn due(&self) -> Option<Duration> {
        self.waiting.then(|| self.last_sent.map_or(Duration::ZERO, |last| last + KEYFRAME_INTERVAL))
    }

    fn ask(&mut self, now: Now) -> bool {
        self.waiting = true;
        self.take_if_due(now)
    }

    fn take_if_due(&mut self, now: Now) -> bool {
        if self.due().is_none_or(|due| due > now.since_start) {
            return false;
        }
        *self = Self { last_sent: Some(now.since_start), waiting: false };
        true
    }
}

impl Track {
    pub fn published(&self, track: TrackId) -> PublishedTrack {
        PublishedTrack { track, info: self.info.clone(), muted: self.muted }
    }

    pub fn source(&self) -> TrackSource {
        self.info.source
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
        self.keyframe.due()
    }

    pub fn keyframe_is_due(&mut self, now: Now) -> bool {
        self.keyframe.take_if_due(now)
    }
}

impl Room {
    pub(super) fn publish(
        &mut self,
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
        let subscribers = self.subscribe_all_to(from);
        let keyframe = KeyframeRequests::default();
        let track = Track { publisher: from, subscribers, info, muted: false, silenced: false, keyframe };
        let message = ServerMessage::TrackPublished { participant: from, track: track.published(id) };
        self.tracks.insert(id, track);
        // The route stands before anyone is told, so that the first datagram already finds it.
        self.open_route(id, out);
        out.push(Output::Tell { to: Audience::EveryoneBut(from), message });
        out.push(Output::tell(from, ServerMessage::Published { request, track: id }));
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
        if track.subscribers.contains(&from) {
            return Ok(());
        }
        if subscriber.subscriptions >= self.limits.subscriptions_per_participant {
            return Err(RefuseReason::SubscriptionsFull);
        }
        subscriber.subscriptions += 1;
        track.subscribers.insert(from);
        out.push(Output::Subscribed { track: id, subscriber: from });
        self.request_keyframe(now, from, id, out);
        Ok(())
    }

    pub(super) fn unsubscribe(
        &mut self,
        from: ParticipantId,
        id: TrackId,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        let track = self.tracks.get_mut(&id).ok_or(RefuseReason::TrackUnknown)?;
        if track.subscribers.remove(&from) {
            if let Some(subscriber) = self.participants.get_mut(&from) {
                subscriber.subscriptions -= 1;
            }
            out.push(Output::Unsubscribed { track: id, subscriber: from });
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

    /// Asks a publisher for a keyframe on behalf of a subscriber. What is not subscribed or not video is passed over: the
    /// request may have crossed an unsubscribe or unpublish.
    pub(super) fn request_keyframe(&mut self, now: Now, from: ParticipantId, id: TrackId, out: &mut Vec<Output>) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        let is_here = self.participants.get(&track.publisher).is_some_and(Participant::is_here);
        if track.info.is_video() && track.subscribers.contains(&from) && track.keyframe.ask(now) && is_here {
            out.push(Output::tell(track.publisher, ServerMessage::KeyframeRequested { track: id }));
        }
    }

    /// Subscribes those who take every track to one more, by this publisher, and says who they are.
    fn subscribe_all_to(&mut self, publisher: ParticipantId) -> BTreeSet<ParticipantId> {
        let subscriptions_max = self.limits.subscriptions_per_participant;
        let others = self.participants.iter_mut().filter(|(other, _)| **other != publisher);
        let takers = others.filter(|(_, taker)| taker.auto_subscribe && taker.subscriptions < subscriptions_max);
        let subscribed = takers.map(|(other, taker)| {
            taker.subscriptions += 1;
            *other
        });
        subscribed.collect()
    }

    /// Counts what nobody is subscribed to any more, because the track is gone.
    pub(super) fn forget_subscriptions(&mut self, gone: &Track) {
        for subscriber in &gone.subscribers {
            if let Some(participant) = self.participants.get_mut(subscriber) {
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
            let layers = 1..=8;
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
