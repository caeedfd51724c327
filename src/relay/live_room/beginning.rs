//! What a new subscriber is sent first.

use std::rc::Rc;

use bytes::Bytes;

use super::LiveRoom;
use crate::relay::outlet::Encoded;
use crate::relay::shard::Shard;
use crate::room::{Audience, Input};
use crate::wire::{Layers, ParticipantId, ServerMessage, TrackId};

/// What a newcomer is sent first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    /// The media of a track.
    Media(TrackId),
    /// What is kept of a video.
    Picture(TrackId),
}

impl LiveRoom {
    /// Whether it is this participant that is coming in.
    pub(super) fn is_newcomer(&self, participant: ParticipantId) -> bool {
        let seat = self.joining.as_ref().and_then(|joining| joining.seat.as_ref());
        matches!(seat, Some(Ok((newcomer, _))) if *newcomer == participant)
    }

    /// Leaves something for the time when a newcomer has been told what there is.
    pub(super) fn put_off(&mut self, newcomer: ParticipantId, begin: Begin) {
        if let Some(member) = self.members.get_mut(&newcomer) {
            member.begins.push(begin);
        }
    }

    /// Sends a newcomer media, now that it has been told what there is: a burst of pictures would be in the way of that.
    pub fn begin(&mut self, shard: &Rc<Shard>, newcomer: ParticipantId) {
        let Some(member) = self.members.get_mut(&newcomer) else {
            return;
        };
        let slot = member.slot;
        for begin in std::mem::take(&mut member.begins) {
            // It may have chosen something else meanwhile.
            let (Begin::Media(track) | Begin::Picture(track)) = begin;
            let layers = self.room.sent_layers(newcomer, track);
            match (begin, layers) {
                (Begin::Media(_), Some(layers)) => {
                    self.routes.unsubscribe(track, slot);
                    self.routes.subscribe(track, slot, layers);
                }
                (Begin::Picture(_), Some(layers)) => self.show(shard, track, newcomer, layers),
                (_, None) => {}
            }
        }
        self.ask_for_missing(shard);
        if !self.speakers.told().is_empty() {
            let message = ServerMessage::ActiveSpeakers { participants: self.speakers.told().to_vec() };
            self.send(Audience::One(newcomer), &Encoded::control(&message));
        }
    }

    /// Asks for keyframes of what somebody begins to take and nothing is kept of.
    pub(super) fn ask_for_missing(&mut self, shard: &Rc<Shard>) {
        for (track, spatial_layer) in std::mem::take(&mut self.missing) {
            let keyframe_at = self.routes.keyframe_at(track, spatial_layer);
            self.handle(shard, Input::PictureMissing { track, spatial_layer, keyframe_at });
        }
    }

    /// Sends a new subscriber what is kept of a video, so that it has a picture at once.
    pub(super) fn show(&mut self, shard: &Shard, track: TrackId, subscriber: ParticipantId, layers: Layers) {
        let Some(member) = self.members.get(&subscriber) else {
            return;
        };
        let now = shard.now();
        let pictures = self.routes.recent_pictures(now, track, layers);
        let pictures = pictures.filter(|pictures| member.outlet.has_space(pictures.iter().map(Bytes::len).sum()));
        shard.metrics.note_picture(pictures.is_some());
        match pictures {
            Some(pictures) => self.send_to(now, shard, member.slot, &pictures),
            None => self.missing.push((track, layers.spatial)),
        }
    }
}
