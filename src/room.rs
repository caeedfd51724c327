//! The rules of a meeting, as a value: [`Room::handle`] takes what happened and says what should happen.
//!
//! A room knows no carrier, clock or task. Its life is the list of its [`Input`]s, so it can be recorded, replayed and
//! fuzzed. Media does not pass through here: the room says who gets which track, and `media` does it.

mod chat;
mod event;
mod notes;
mod participant;
mod track;

use std::collections::BTreeMap;
use std::time::Duration;

pub use event::{Audience, Input, JoinRequest, Output, SessionKey};
pub use notes::{Ids, RemovedIdentity, RoomNotes};

use crate::limits::{Limits, Rate};
use crate::now::Now;
use crate::wire::{
    ChatPosition, ClientMessage, CloseReason, MessageId, ParticipantId, ParticipantKind, RefuseReason, RoomName,
    ServerMessage, TrackId,
};
use chat::Chat;
use participant::Participant;
use track::Track;

/// One meeting.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    limits: Limits,
    participants: BTreeMap<ParticipantId, Participant>,
    tracks: BTreeMap<TrackId, Track>,
    chat: Chat,
    participants_ever: u32,
    tracks_ever: u32,
}

impl Room {
    /// An empty room that goes on where the history says.
    pub fn new(name: RoomName, limits: Limits, chat: ChatPosition, notes: &RoomNotes) -> Self {
        Self {
            name,
            limits,
            participants: BTreeMap::new(),
            tracks: BTreeMap::new(),
            chat: Chat::new(chat),
            participants_ever: notes.ids.participants,
            tracks_ever: notes.ids.tracks,
        }
    }

    /// Recognises a repetition of a message that is kept.
    pub fn remember(&mut self, message_id: MessageId, sequence: u64, sent_at_ms: u64) {
        self.chat.remember(message_id, sequence, sent_at_ms);
    }

    /// What has to be known after a restart.
    pub fn notes(&self) -> RoomNotes {
        let ids = Ids { participants: self.participants_ever, tracks: self.tracks_ever };
        RoomNotes { ids, ..RoomNotes::default() }
    }

    /// Its name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    /// How many are in it.
    pub fn participant_count(&self) -> usize {
        self.participants.len()
    }

    /// What someone in it is called.
    pub fn participant_name(&self, participant: ParticipantId) -> Option<&str> {
        self.participants.get(&participant).map(|participant| participant.name.as_str())
    }

    /// When [`Input::Timeout`] is due, if nothing else happens, as time since the relay started.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.tracks.values().filter_map(Track::next_timeout).min()
    }

    /// Takes what happened and says what should happen, in order.
    pub fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        let out = &mut outputs;
        match input {
            Input::Join { session, request } => self.join(now, session, request, out),
            Input::Leave { participant } => self.leave(participant, out),
            Input::Message { from, message } => self.message(now, from, message, out),
            Input::Chat { from, message } => self.chat_message(now, from, message, out),
            Input::Stored { through } => self.chat_stored(through, out),
            Input::Replayed { participant, through } => self.chat_replayed(participant, through, out),
            Input::Timeout => self.timeout(now, out),
        }
        outputs
    }

    /// Whether a participant may ask for one more thing now. Without that, one could fill everyone's outbox.
    fn may_request(&mut self, now: Now, from: ParticipantId) -> bool {
        let rate = Rate { per_second: self.limits.requests_per_second, burst: self.limits.requests_burst };
        self.participants.get_mut(&from).is_some_and(|participant| participant.request_bucket.take(now, rate, 1))
    }

    fn message(&mut self, now: Now, from: ParticipantId, message: ClientMessage, out: &mut Vec<Output>) {
        if !self.may_request(now, from) {
            if let Some(request) = message.request() {
                let reason = RefuseReason::TooFast;
                out.push(Output::tell(from, ServerMessage::Failed { request, reason, message: reason.to_string() }));
            }
            return;
        }
        let result = match message {
            ClientMessage::Publish { request, track } => {
                self.publish(from, request, track, out).map_err(|why| (request, why))
            }
            ClientMessage::Unpublish { request, track } => {
                self.answer(from, request, out, |room, out| room.unpublish(from, track, out))
            }
            ClientMessage::SetMuted { request, track, muted } => {
                self.answer(from, request, out, |room, out| room.set_muted(from, track, muted, out))
            }
            ClientMessage::Subscribe { request, track } => {
                self.answer(from, request, out, |room, out| room.subscribe(now, from, track, out))
            }
            ClientMessage::Unsubscribe { request, track } => {
                self.answer(from, request, out, |room, out| room.unsubscribe(from, track, out))
            }
            ClientMessage::SetAutoSubscribe { request, enabled } => {
                self.answer(from, request, out, |room, _| room.set_auto_subscribe(from, enabled))
            }
            ClientMessage::RequestKeyframe { track } => {
                self.request_keyframe(now, from, track, out);
                Ok(())
            }
            // The session answers these two itself.
            ClientMessage::Ping { .. } | ClientMessage::Leave => Ok(()),
            ClientMessage::Join(_) => {
                out.push(Output::Close { participant: from, reason: CloseReason::UnexpectedMessage });
                Ok(())
            }
        };
        if let Err((request, reason)) = result {
            out.push(Output::tell(from, ServerMessage::Failed { request, reason, message: reason.to_string() }));
        }
    }

    fn answer(
        &mut self,
        from: ParticipantId,
        request: u32,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Self, &mut Vec<Output>) -> Result<(), RefuseReason>,
    ) -> Result<(), (u32, RefuseReason)> {
        act(self, out).map_err(|reason| (request, reason))?;
        out.push(Output::tell(from, ServerMessage::Done { request }));
        Ok(())
    }

    fn join(&mut self, now: Now, session: SessionKey, request: JoinRequest, out: &mut Vec<Output>) {
        if self.participants.len() >= self.limits.participants_per_room as usize {
            out.push(Output::Refused { session, reason: CloseReason::RoomFull });
            return;
        }
        self.participants_ever += 1;
        let id = ParticipantId(self.participants_ever);
        let name = match request.name {
            Some(name) => name.as_str().to_owned(),
            None => format!("guest {id}"),
        };
        let newcomer = Participant::new(name, request.kind, request.auto_subscribe);
        let participants = self.participants.len() as u32;
        out.push(Output::Admitted { session, participant: id, participants, chat: self.chat.position() });
        self.introduce(id, &newcomer, out);
        self.participants.insert(id, newcomer);
        if request.auto_subscribe && request.kind == ParticipantKind::Meeting {
            self.subscribe_to_all(now, id, out);
        }
        self.begin_replay(id, request.chat_after, out);
    }

    /// Tells the newcomer who is there, and those who are there about the newcomer.
    fn introduce(&self, id: ParticipantId, newcomer: &Participant, out: &mut Vec<Output>) {
        for (other, participant) in &self.participants {
            out.push(Output::tell(id, ServerMessage::ParticipantJoined(participant.info(*other, &self.tracks))));
        }
        let info = newcomer.info(id, &self.tracks);
        out.push(Output::Tell { to: Audience::EveryoneBut(id), message: ServerMessage::ParticipantJoined(info) });
    }

    fn leave(&mut self, participant: ParticipantId, out: &mut Vec<Output>) {
        if self.participants.remove(&participant).is_none() {
            return;
        }
        let own = self.tracks.extract_if(.., |_, track| track.publisher == participant);
        out.extend(own.map(|(track, _)| Output::RouteClosed { track }));
        for (track, subscribed) in &mut self.tracks {
            if subscribed.subscribers.remove(&participant) {
                out.push(Output::Unsubscribed { track: *track, subscriber: participant });
            }
        }
        out.push(Output::Left { participant });
        out.push(Output::Tell { to: Audience::Everyone, message: ServerMessage::ParticipantLeft { participant } });
    }

    fn timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        for (id, track) in &mut self.tracks {
            if track.keyframe_is_due(now) {
                out.push(Output::tell(track.publisher, ServerMessage::KeyframeRequested { track: *id }));
            }
        }
    }
}

#[cfg(test)]
mod tests;
