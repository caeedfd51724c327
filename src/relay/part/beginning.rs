//! Who takes what, and what a new subscriber is sent first.

use bytes::Bytes;

use super::{Member, Part};
use crate::relay::shard::Shard;
use crate::room::Input;
use crate::wire::{Layers, ParticipantId, TrackId};

/// What a newcomer is sent of a track, once it has been told what there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    track: TrackId,
    layers: Layers,
    /// Whether it needs a picture to begin with.
    picture: bool,
}

impl Member {
    /// What it is to begin with of a track, while it is still told what there is.
    fn begin_mut(&mut self, track: TrackId) -> Option<&mut Begin> {
        self.begins.as_mut()?.iter_mut().find(|begin| begin.track == track)
    }
}

impl Part {
    pub(super) fn subscribe(&mut self, track: TrackId, subscriber: ParticipantId, layers: Layers) {
        let Some(member) = self.members.get_mut(&subscriber) else {
            return;
        };
        if let Some(begin) = member.begin_mut(track) {
            begin.layers = layers;
        } else if let Some(begins) = &mut member.begins {
            begins.push(Begin { track, layers, picture: false });
        } else {
            self.routes.subscribe(track, member.slot, layers);
        }
    }

    pub(super) fn set_layers(&mut self, track: TrackId, subscriber: ParticipantId, layers: Layers) {
        let Some(member) = self.members.get_mut(&subscriber) else {
            return;
        };
        match member.begin_mut(track) {
            Some(begin) => begin.layers = layers,
            None => self.routes.set_layers(track, member.slot, layers),
        }
    }

    pub(super) fn unsubscribe(&mut self, track: TrackId, subscriber: ParticipantId) {
        let Some(member) = self.members.get_mut(&subscriber) else {
            return;
        };
        if let Some(begins) = &mut member.begins {
            begins.retain(|begin| begin.track != track);
        }
        self.routes.unsubscribe(track, member.slot);
    }

    pub(super) fn want_picture(&mut self, shard: &Shard, track: TrackId, subscriber: ParticipantId, layers: Layers) {
        let Some(member) = self.members.get_mut(&subscriber) else {
            return;
        };
        match member.begin_mut(track) {
            Some(begin) => begin.picture = true,
            None => self.show(shard, track, subscriber, layers),
        }
    }

    /// Sends a newcomer media, now that it has been told what there is: a burst of pictures would be in the way of that.
    pub fn begin(&mut self, shard: &Shard, newcomer: ParticipantId) {
        let Some(member) = self.members.get_mut(&newcomer) else {
            return;
        };
        let slot = member.slot;
        for Begin { track, layers, picture } in member.begins.take().unwrap_or_default() {
            self.routes.subscribe(track, slot, layers);
            if picture {
                self.show(shard, track, newcomer, layers);
            }
        }
    }

    /// Sends a new subscriber what is kept of a video, so that it has a picture at once.
    pub(super) fn show(&mut self, shard: &Shard, track: TrackId, subscriber: ParticipantId, layers: Layers) {
        let Some(member) = self.members.get(&subscriber) else {
            return;
        };
        if let Some(waiting) = self.awaited.get_mut(&track) {
            return waiting.push((subscriber, layers));
        }
        let now = shard.now();
        let pictures = self.routes.recent_pictures(now, track, layers);
        let pictures = pictures.filter(|pictures| member.outlet.has_space(pictures.iter().map(Bytes::len).sum()));
        shard.metrics.note_picture(pictures.is_some());
        match pictures {
            Some(pictures) => self.send_kept(now, shard, member.slot, &pictures),
            None => {
                let (spatial_layer, keyframe_at) = (layers.spatial, self.routes.keyframe_at(track, layers.spatial));
                self.said.push(Input::PictureMissing { track, spatial_layer, keyframe_at });
            }
        }
    }
}
