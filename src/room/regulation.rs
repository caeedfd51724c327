use super::allowance::Pressure;
use super::{Output, Participant, Room};
use crate::now::Now;
use crate::wire::{Layers, ParticipantId, TrackId};

/// What a subscriber was sent of a track, and is sent from now on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    pub before: Option<Layers>,
    pub sent: Option<Layers>,
}

impl Room {
    /// Media had to be left out on the way to a participant, or waited for long.
    pub(super) fn pressed(&mut self, now: Now, id: ParticipantId, pressure: Pressure, out: &mut Vec<Output>) {
        let tracks = self.wished_video(id);
        let participant = self.participants.get_mut(&id).filter(|participant| participant.is_here());
        if participant.is_some_and(|participant| participant.allowance.press(now, pressure, &tracks)) {
            self.regulate_all(now, id, out);
        }
    }

    /// Those whose paths had no pressure for long enough get more again.
    pub(super) fn step_up(&mut self, now: Now, out: &mut Vec<Output>) {
        let is_due = |participant: &Participant| {
            participant.is_here() && participant.allowance.next_timeout().is_some_and(|due| due <= now.since_start)
        };
        let due = self.participants.iter().filter(|(_, participant)| is_due(participant));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            let tracks = self.wished_video(id);
            let participant = self.participants.get_mut(&id);
            if participant.is_some_and(|participant| participant.allowance.step_up(now, &tracks)) {
                self.regulate_all(now, id, out);
            }
        }
    }

    /// Of each video track that a participant is subscribed to and could be sent: the highest layers, and those that it wishes.
    fn wished_video(&self, id: ParticipantId) -> Vec<(Layers, Layers)> {
        let video = self.tracks.values().filter(|track| track.is_video() && !track.is_held_from(id));
        video.filter_map(|track| Some((track.highest_layers(), track.subscribers.wished(id)?))).collect()
    }

    fn regulate_all(&mut self, now: Now, id: ParticipantId, out: &mut Vec<Output>) {
        let subscribed = self.tracks.iter().filter(|(_, track)| track.subscribers.contains(id));
        for track in subscribed.map(|(track, _)| *track).collect::<Vec<_>>() {
            if let Some(layer) = self.regulate(now, id, track, out) {
                self.ask_for_keyframe(now, track, layer, out);
            }
        }
    }

    /// Sends a subscriber what it wishes of a track, as far as its path carries it. Gives the rendition of which it needs a keyframe
    /// to begin with, if that is another one than before.
    pub(super) fn regulate(
        &mut self,
        now: Now,
        subscriber: ParticipantId,
        id: TrackId,
        out: &mut Vec<Output>,
    ) -> Option<u8> {
        let Sending { before, sent } = self.send_anew(subscriber, id, out)?;
        self.tell_wanted(now, id, out);
        let is_other = |spatial: &u8| Some(*spatial) != before.map(|before| before.spatial);
        sent.map(|layers| layers.spatial).filter(is_other)
    }

    /// Changes what a subscriber is sent of a track to what it should be, and says what changed.
    pub(super) fn send_anew(
        &mut self,
        subscriber: ParticipantId,
        id: TrackId,
        out: &mut Vec<Output>,
    ) -> Option<Sending> {
        let (track, participant) = (self.tracks.get_mut(&id)?, self.participants.get(&subscriber)?);
        let sent = track.sent_by(&participant.allowance, subscriber);
        let before = track.subscribers.sent(subscriber);
        if sent == before {
            return None;
        }
        track.subscribers.set_sent(subscriber, sent);
        out.push(match (before, sent) {
            (_, None) => Output::Unsubscribed { track: id, subscriber },
            (None, Some(layers)) => Output::Subscribed { track: id, subscriber, layers },
            (Some(_), Some(layers)) => Output::LayersSet { track: id, subscriber, layers },
        });
        Some(Sending { before, sent })
    }
}
