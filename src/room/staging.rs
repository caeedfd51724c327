use std::collections::BTreeSet;

use super::regulation::Sending;
use super::{Audience, Output, Participant, Room};
use crate::now::Now;
use crate::wire::{ParticipantId, RefuseReason, ServerMessage, TrackId};

impl Room {
    /// These speak now.
    pub(super) fn hear(&mut self, now: Now, speaking: &[ParticipantId]) {
        if self.limits.last_videos > 0 {
            let speaking: Vec<_> = speaking.iter().copied().filter(|id| self.participants.contains_key(id)).collect();
            self.stage.hear(now, &speaking);
            self.stage_is_due = true;
        }
    }

    /// Whether the cameras of a participant are kept from those who did not choose them.
    pub(super) fn is_held_back(&self, participant: ParticipantId) -> bool {
        let places = self.limits.last_videos as usize;
        places > 0 && self.stage.on().count() >= places && !self.stage.has(participant)
    }

    /// Sees to it that those are on the stage who should be, if something happened that may change that.
    pub(super) fn fill_stage(&mut self, now: Now, out: &mut Vec<Output>) {
        if !std::mem::take(&mut self.stage_is_due) || self.limits.last_videos == 0 {
            return;
        }
        let before: Vec<_> = self.stage.on().collect();
        self.stage.fill(now, self.limits.last_videos as usize, &self.seen());
        if !self.stage.on().eq(before) {
            out.push(Output::Tell { to: Audience::Everyone, message: self.on_stage() });
        }
        let staged = self.tracks.iter().filter(|(_, track)| track.is_staged());
        let held = staged.map(|(id, track)| (*id, self.is_held_back(track.publisher)));
        for (track, held) in held.collect::<Vec<_>>() {
            self.hold(now, track, held, out);
        }
    }

    /// Tells a newcomer who is on the stage, where not everyone is.
    pub(super) fn tell_stage(&self, to: ParticipantId, out: &mut Vec<Output>) {
        if self.limits.last_videos > 0 {
            out.push(Output::tell(to, self.on_stage()));
        }
    }

    pub(super) fn set_pinned(
        &mut self,
        now: Now,
        from: ParticipantId,
        id: TrackId,
        pinned: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        let track = self.tracks.get_mut(&id).ok_or(RefuseReason::TrackUnknown)?;
        if !track.subscribers.contains(from) {
            return Err(RefuseReason::NotSubscribed);
        }
        track.subscribers.set_chosen(from, pinned);
        self.show_or_hide(now, from, id, out);
        self.tell_wanted(now, id, out);
        Ok(())
    }

    fn on_stage(&self) -> ServerMessage {
        ServerMessage::OnStage { participants: self.stage.on().collect() }
    }

    /// Those of whom there is something to be seen.
    fn seen(&self) -> BTreeSet<ParticipantId> {
        let shown = self.tracks.values().filter(|track| track.is_staged() && !track.is_muted());
        let is_here = |id: &ParticipantId| self.participants.get(id).is_some_and(Participant::is_here);
        shown.map(|track| track.publisher).filter(is_here).collect()
    }

    /// Keeps a track from those who did not choose it, or keeps it from nobody.
    fn hold(&mut self, now: Now, id: TrackId, held: bool, out: &mut Vec<Output>) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        if !track.set_held(held) {
            return;
        }
        let subscribers: Vec<_> = track.subscribers.ids_here().collect();
        out.push(Output::RouteHeld { track: id, held });
        subscribers.into_iter().for_each(|subscriber| self.show_or_hide(now, subscriber, id, out));
        self.tell_wanted(now, id, out);
    }

    fn show_or_hide(&mut self, now: Now, subscriber: ParticipantId, id: TrackId, out: &mut Vec<Output>) {
        if let Some(Sending { before: None, sent: Some(layers) }) = self.send_anew(subscriber, id, out) {
            self.want_picture(now, subscriber, id, layers, out);
        }
    }
}
