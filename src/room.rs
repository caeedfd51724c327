//! The rules of a meeting, as a value: [`Room::handle`] takes what happened and says what should happen.
//!
//! A room knows no carrier, clock or task. Its life is the list of its [`Input`]s, so it can be recorded, replayed and
//! fuzzed. Media does not pass through here: the room says who gets which track, and `media` does it.

mod allowance;
mod chat;
mod demand;
mod event;
mod merged;
mod moderation;
mod notes;
mod participant;
mod patience;
mod regulation;
mod report;
mod returning;
mod seat;
mod stage;
mod staging;
mod subscribers;
mod track;

use std::collections::BTreeMap;
use std::time::Duration;

pub use allowance::Pressure;
pub use event::{Admitted, Audience, Input, JoinRequest, Output, PassedOver, SessionKey};
pub use notes::{Ids, RemovedIdentity, RoomNotes};

use crate::limits::{Limits, Rate};
use crate::now::Now;
use crate::wire::{
    ChatPosition, ClientMessage, CloseReason, Layers, MessageId, ParticipantId, RefuseReason, RoomName, ServerMessage,
    TrackId,
};
use chat::Chat;
use participant::Participant;
use returning::Returning;
use stage::Stage;
use track::Track;

/// One meeting.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    limits: Limits,
    participants: BTreeMap<ParticipantId, Participant>,
    tracks: BTreeMap<TrackId, Track>,
    chat: Chat,
    stage: Stage,
    /// Whether something has changed that may change who is on the stage.
    stage_is_due: bool,
    /// The last ids that were given.
    ids: Ids,
    /// What was noted last: its ids are ahead of those that were given.
    notes: RoomNotes,
    /// Who may pass the lock.
    returning: Returning,
}

impl Room {
    /// An empty room that goes on where the history says: no id up to those in `notes` is given again.
    pub fn new(name: RoomName, limits: Limits, chat: ChatPosition, notes: RoomNotes) -> Self {
        Self {
            name,
            limits,
            participants: BTreeMap::new(),
            tracks: BTreeMap::new(),
            stage: Stage::default(),
            stage_is_due: false,
            chat: Chat::new(chat),
            ids: notes.ids,
            returning: Returning::new(notes.locked),
            notes,
        }
    }

    /// Recognises a repetition of a message that is kept.
    pub fn remember(&mut self, message_id: MessageId, sequence: u64, sent_at_ms: u64) {
        self.chat.remember(message_id, sequence, sent_at_ms);
    }

    /// What has to be known after a restart before anyone gets an id: the ids that this room may give are reserved, so that
    /// none is given twice after a crash.
    pub fn reserve_ids(&mut self) -> RoomNotes {
        self.notes.ids = self.ids.ahead();
        self.notes.clone()
    }

    /// What has to be known when the room opens again after everyone has left.
    pub fn closing_notes(&self, now: Now) -> RoomNotes {
        let removed = self.notes.removed.iter().filter(|removed| removed.until_unix_ms > now.unix_ms);
        // A room that was locked when the relay ended stays so until those who were in it have been there again.
        let locked = self.notes.locked && !self.returning.was_entered();
        RoomNotes { ids: self.ids, locked, removed: removed.cloned().collect() }
    }

    /// Its name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Whether nobody has a seat in it and nothing is on its way into the history.
    pub fn is_empty(&self) -> bool {
        self.participants.is_empty() && self.chat.is_settled()
    }

    /// Whether somebody in it can be reached.
    pub fn is_attended(&self) -> bool {
        self.participants.values().any(Participant::is_here)
    }

    /// How many have a seat in it.
    pub fn participant_count(&self) -> usize {
        self.participants.len()
    }

    /// What someone in it is called.
    pub fn participant_name(&self, participant: ParticipantId) -> Option<&str> {
        self.participants.get(&participant).map(|participant| participant.name.as_str())
    }

    /// What someone in it is sent of a track, if it is anything.
    pub fn sent_layers(&self, participant: ParticipantId, track: TrackId) -> Option<Layers> {
        self.tracks.get(&track)?.subscribers.sent(participant)
    }

    /// Whether there is such a track and it carries pictures.
    pub fn is_video(&self, track: TrackId) -> bool {
        self.tracks.get(&track).is_some_and(Track::is_video)
    }

    /// Whose a track is.
    pub fn publisher(&self, track: TrackId) -> Option<ParticipantId> {
        self.tracks.get(&track).map(|track| track.publisher)
    }

    /// Where the chat stands.
    pub fn chat_position(&self) -> ChatPosition {
        self.chat.position()
    }

    /// Whether no more chat can be said until some of it is kept.
    pub fn is_chat_busy(&self) -> bool {
        self.chat.is_busy()
    }

    /// When [`Input::Timeout`] is due, if nothing else happens, as time since the relay started.
    pub fn next_timeout(&self) -> Option<Duration> {
        let tracks = self.tracks.values().filter_map(Track::next_timeout);
        tracks.chain(self.participants.values().filter_map(Participant::next_timeout)).min()
    }

    /// Takes what happened and says what should happen, in order.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        self.returning.note_time(now);
        let mut outputs = Vec::new();
        let out = &mut outputs;
        match input {
            Input::Join { session, request } => self.join(now, session, request, out),
            Input::Ended { participant, session, reason } => self.session_ended(now, participant, session, reason, out),
            Input::Message { from, message } => self.message(now, from, message, out),
            Input::Chat { from, message } => self.chat_message(now, from, message, out),
            Input::Stored { through } => self.chat_stored(through, out),
            Input::NotStored { from } => self.chat_not_stored(from, out),
            Input::Replayed { participant, session, through } => {
                self.chat_replayed((participant, session), through, out);
            }
            Input::FellBehind { participant, session, after } => {
                self.chat_fell_behind((participant, session), after, out);
            }
            Input::PictureMissing { track, spatial_layer, keyframe_at } => {
                self.picture_missing(now, track, spatial_layer, keyframe_at, out);
            }
            Input::KeyframeWanted { participant, track, spatial_layer } => {
                self.keyframe_needed(now, participant, track, spatial_layer, out);
            }
            Input::Pressed { participant, pressure } => self.pressed(now, participant, pressure, out),
            Input::Speaking { participants } => self.hear(now, &participants),
            Input::Timeout => self.timeout(now, out),
            Input::PlaceWanted => self.give_up_empty_seats(now, out),
        }
        self.fill_stage(now, out);
        outputs
    }

    /// Whether a participant may ask for one more thing now. Without that, one could fill everyone's outbox.
    fn may_request(&mut self, now: Now, from: ParticipantId) -> bool {
        let rate = Rate { per_second: self.limits.requests_per_second, burst: self.limits.requests_burst };
        self.participants.get_mut(&from).is_some_and(|participant| participant.request_bucket.take(now, rate, 1))
    }

    fn message(&mut self, now: Now, from: ParticipantId, message: ClientMessage, out: &mut Vec<Output>) {
        // It may have crossed the end of its sender's session.
        if !self.participants.get(&from).is_some_and(Participant::is_here) {
            return;
        }
        let (request, unanswered) = (message.request(), PassedOver::of(&message));
        let result = match self.may_request(now, from) {
            true => self.request(now, from, message, out),
            false => Err(RefuseReason::TooFast),
        };
        match (request, result) {
            (Some(request), Ok(Answer::Done)) => out.push(Output::tell(from, ServerMessage::Done { request })),
            (Some(request), Err(reason)) => {
                out.push(Output::tell(from, ServerMessage::Failed { request, reason, message: reason.to_string() }));
            }
            (None, Err(RefuseReason::TooFast)) => out.extend(unanswered.map(Output::PassedOver)),
            (None, _) | (_, Ok(Answer::Given)) => {}
        }
    }

    fn request(
        &mut self,
        now: Now,
        from: ParticipantId,
        message: ClientMessage,
        out: &mut Vec<Output>,
    ) -> Result<Answer, RefuseReason> {
        match message {
            ClientMessage::Publish { request, track } => {
                self.publish(now, from, request, track, out)?;
                return Ok(Answer::Given);
            }
            ClientMessage::EndMeeting { request } => {
                self.end_meeting(now, from, request, out)?;
                return Ok(Answer::Given);
            }
            ClientMessage::Unpublish { track, .. } => self.unpublish(from, track, out)?,
            ClientMessage::SetMuted { track, muted, .. } => self.set_muted(from, track, muted, out)?,
            ClientMessage::Subscribe { track, .. } => self.subscribe(now, from, track, out)?,
            ClientMessage::Unsubscribe { track, .. } => self.unsubscribe(now, from, track, out)?,
            ClientMessage::SetAutoSubscribe { enabled, .. } => self.set_auto_subscribe(from, enabled)?,
            ClientMessage::RemoveParticipant { participant, .. } => {
                self.remove_participant(now, from, participant, out)?;
            }
            ClientMessage::MuteTrack { track, .. } => self.mute_track(from, track, out)?,
            ClientMessage::SetLocked { locked, .. } => self.set_locked(from, locked, out)?,
            ClientMessage::RequestKeyframe { track, spatial_layer } => {
                self.keyframe_requested(now, from, track, spatial_layer, out);
            }
            ClientMessage::SetLayers { track, spatial_layer, temporal_layer, .. } => {
                let layers = Layers { spatial: spatial_layer, temporal: temporal_layer };
                self.set_layers(now, from, track, layers, out)?;
            }
            ClientMessage::SetPinned { track, pinned, .. } => self.set_pinned(now, from, track, pinned, out)?,
            ClientMessage::MeasurementsWanted { request } => {
                out.push(Output::MeasurementsWanted { participant: from, request });
                return Ok(Answer::Given);
            }
            ClientMessage::Report { tracks } => self.report(now, from, tracks, out),
            // The session answers these two itself.
            ClientMessage::Ping { .. } | ClientMessage::Leave => {}
            ClientMessage::Join(_) => {
                out.push(Output::Close { participant: from, reason: CloseReason::UnexpectedMessage });
            }
        }
        Ok(Answer::Done)
    }

    fn timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        let (mut feedback, mut wanted) = (Vec::new(), Vec::new());
        for (id, track) in &mut self.tracks {
            if track.closes_layers(now) {
                wanted.push(*id);
            }
            if track.feedback.take_if_due(now) {
                feedback.push(*id);
            }
            // Nobody is there to be asked while the publisher is away; it is asked when it comes back.
            let is_here = self.participants.get(&track.publisher).is_some_and(Participant::is_here);
            for spatial_layer in track.due_keyframes(now).into_iter().filter(|_| is_here) {
                let message = ServerMessage::KeyframeRequested { track: *id, spatial_layer };
                out.push(Output::tell(track.publisher, message));
            }
        }
        feedback.into_iter().for_each(|track| self.tell_feedback(now, track, out));
        wanted.into_iter().for_each(|track| self.tell_wanted(now, track, out));
        self.step_up(now, out);
        self.end_seats(now, out);
    }
}

/// What is still to be said about a request that succeeded.
enum Answer {
    /// That it is done.
    Done,
    /// Nothing: it was answered already.
    Given,
}

#[cfg(test)]
mod tests;
