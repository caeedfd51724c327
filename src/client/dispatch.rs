//! What each message of the relay does.

use std::sync::Arc;

use super::RemoteTrack;
use super::event::{ChatError, Event, RequestError};
use super::seat::{Seat, State};
use super::session::{Answer, Effect, Session, Stage};
use crate::wire::{
    ChatMessage, ClientMessage, CloseReason, MessageId, ParticipantId, ParticipantInfo, PublishedTrack, RefuseReason,
    ServerChat, ServerMessage, StreamKind, TrackId, TrackSource, decode, encode,
};

impl Session {
    /// Takes a message from a stream.
    pub(super) fn receive(self: &Arc<Self>, kind: StreamKind, message: &[u8]) {
        let result = match kind {
            StreamKind::Control => decode(message).map(|message| self.receive_control(message)),
            StreamKind::Chat => decode(message).map(|message| self.receive_chat(message)),
        };
        if let Err(error) = result {
            self.end(CloseReason::Malformed, format!("the relay sent a message that is none: {error}"));
        }
    }

    fn receive_control(self: &Arc<Self>, message: ServerMessage) {
        match message {
            ServerMessage::Welcome(welcome) => self.welcomed(welcome),
            ServerMessage::ParticipantJoined(info) if !self.is(Stage::Seated) => {
                self.arrival().roster.push(info);
                self.arrive();
            }
            ServerMessage::Published { request, track } => self.answered(request, Ok(Answer::Published(track))),
            ServerMessage::Done { request } => self.answered(request, Ok(Answer::Done)),
            ServerMessage::Measurements { request, measurements } => {
                self.answered(request, Ok(Answer::Measurements(measurements)));
            }
            ServerMessage::Failed { request, reason, message } => {
                self.answered(request, Err(RequestError::Refused { reason, message }));
            }
            ServerMessage::Pong { token, .. } => {
                if let Some(waiting) = self.pending().pings.remove(&token) {
                    let _ = waiting.send(());
                }
            }
            ServerMessage::Closing { reason, message } => self.end(reason, message),
            message => {
                let mut state = self.seat.state();
                if self.seat.is_held_by(self) {
                    self.seat.apply(&mut state, message);
                }
            }
        }
    }

    fn answered(self: &Arc<Self>, request: u32, answer: Result<Answer, RequestError>) {
        let Some(waiting) = self.pending().requests.remove(&request) else {
            return;
        };
        match (waiting.effect, &answer) {
            (Effect::AutoSubscribe(enabled), Ok(_)) => self.seat.state().auto_subscribe = enabled,
            (Effect::Announce(publication), Ok(Answer::Published(track))) => {
                let state = self.seat.state();
                match publication.upgrade().filter(|publication| state.publications.contains(publication)) {
                    Some(publication) => publication.announce(self, *track),
                    // Nobody wants it any more.
                    None => {
                        let unpublish = ClientMessage::Unpublish { request, track: *track };
                        self.link.try_send(StreamKind::Control, &encode(&unpublish));
                    }
                }
            }
            _ => {}
        }
        let _ = waiting.answer.send(answer);
    }

    fn receive_chat(self: &Arc<Self>, message: ServerChat) {
        if !self.is(Stage::Seated) {
            return self.end(CloseReason::Malformed, "the relay sent chat before the room".to_owned());
        }
        let mut state = self.seat.state();
        if !self.seat.is_held_by(self) {
            return;
        }
        match message {
            ServerChat::Accepted { message_id, sequence, .. } => {
                state.inbox.acknowledged(message_id, sequence);
                self.acknowledged(&mut state, message_id, Ok(sequence));
            }
            ServerChat::Refused { message_id, reason: RefuseReason::ChatTooFast | RefuseReason::ChatBusy, .. }
                if state.outbox.postpone(message_id) =>
            {
                state.hasty = true;
                self.seat.chat_changed.send_replace(());
            }
            ServerChat::Refused { message_id, reason, message } => {
                self.acknowledged(&mut state, message_id, Err(ChatError::Refused { reason, message }));
            }
            ServerChat::NotKept { message_id, .. } => {
                self.acknowledged(&mut state, message_id, Err(ChatError::NotKept));
            }
            ServerChat::Message(message) => self.chat_message(&mut state, message),
            ServerChat::CaughtUp { position, first_kept } => {
                let asked = self.asked.unwrap_or(position);
                let gap = state.inbox.caught_up(asked, position, first_kept);
                if std::mem::take(&mut state.awaits_history) {
                    self.seat.emit(Event::ChatCaughtUp { position, first_kept });
                } else if let Some((from, through)) = gap {
                    self.seat.emit(Event::ChatGap { from, through });
                }
                self.reach(Stage::Live);
            }
            ServerChat::Typing { participant, active } => self.seat.emit(Event::ChatTyping { participant, active }),
        }
    }

    /// A message of one's own that comes as history is kept: that is its acknowledgement.
    fn chat_message(&self, state: &mut State, message: ChatMessage) {
        let is_news = state.inbox.take(&message);
        let is_answer = self.acknowledged(state, message.message_id, Ok(message.sequence));
        if is_news && !is_answer {
            self.seat.emit(Event::ChatMessage(message));
        }
    }

    fn acknowledged(&self, state: &mut State, message_id: MessageId, answer: Result<u64, ChatError>) -> bool {
        let Some(waiting) = state.outbox.answered(message_id) else {
            return false;
        };
        let _ = waiting.send(answer);
        self.seat.chat_changed.send_replace(());
        true
    }
}

impl Seat {
    /// What the relay says of the room.
    pub(super) fn apply(self: &Arc<Self>, state: &mut State, message: ServerMessage) {
        match message {
            ServerMessage::ParticipantJoined(info) => {
                self.note_participant(state, &info);
                self.emit(Event::ParticipantJoined(info));
            }
            ServerMessage::ParticipantLeft { participant, reason } => {
                let left = state.participants.remove(&participant);
                for PublishedTrack { track, .. } in left.into_iter().flat_map(|info| info.tracks) {
                    self.track_disappeared(participant, track);
                }
                self.emit(Event::ParticipantLeft { participant, reason });
            }
            ServerMessage::TrackPublished { participant, track } => {
                if let Some(info) = state.participants.get_mut(&participant) {
                    info.tracks.push(track.clone());
                }
                self.emit(Event::TrackPublished { participant, track: track.clone() });
                self.track_appeared(state, participant, &track);
                self.note_stage(state);
            }
            ServerMessage::TrackUnpublished { participant, track } => {
                if let Some(info) = state.participants.get_mut(&participant) {
                    info.tracks.retain(|published| published.track != track);
                }
                self.track_disappeared(participant, track);
            }
            ServerMessage::TrackMuted { track, muted } => self.track_muted(state, track, muted),
            ServerMessage::KeyframeRequested { track, spatial_layer } => {
                if let Some(publication) = state.publications.find(track) {
                    publication.want_keyframe(spatial_layer);
                }
                self.emit(Event::KeyframeRequested { track, spatial_layer });
            }
            ServerMessage::LayersWanted { track, spatial_layers, temporal_layer } => {
                self.emit(Event::LayersWanted { track, spatial_layers, temporal_layer });
            }
            ServerMessage::Feedback { track, reports, best, worst } => {
                if let Some(publication) = state.publications.find(track).filter(|_| self.repair) {
                    publication.redundancy().report(self.now(), &worst);
                }
                self.emit(Event::Feedback { track, reports, best, worst });
            }
            ServerMessage::ActiveSpeakers { participants } => self.emit(Event::ActiveSpeakers { participants }),
            ServerMessage::OnStage { participants } => {
                state.on_stage = Some(participants.clone());
                self.note_stage(state);
                self.emit(Event::OnStage { participants });
            }
            ServerMessage::RoomLocked { locked } => {
                state.locked = locked;
                self.emit(Event::RoomLocked { locked });
            }
            // Those are the session's.
            ServerMessage::Welcome(_)
            | ServerMessage::Published { .. }
            | ServerMessage::Done { .. }
            | ServerMessage::Failed { .. }
            | ServerMessage::Pong { .. }
            | ServerMessage::Measurements { .. }
            | ServerMessage::Closing { .. } => {}
        }
    }

    /// Someone is in the room.
    pub(super) fn note_participant(self: &Arc<Self>, state: &mut State, info: &ParticipantInfo) {
        state.participants.insert(info.participant, info.clone());
        for track in &info.tracks {
            self.track_appeared(state, info.participant, track);
        }
    }

    /// What does not come because its publisher is not on the stage is not to be asked for.
    pub(super) fn note_stage(&self, state: &State) {
        for info in state.participants.values() {
            let cameras = info.tracks.iter().filter(|track| track.info.source != TrackSource::Screen);
            let held = state.on_stage.as_ref().is_some_and(|on_stage| !on_stage.contains(&info.participant));
            cameras.for_each(|camera| self.receive_state().set_held(self.now(), camera.track, held));
        }
    }

    fn track_appeared(self: &Arc<Self>, state: &State, participant: ParticipantId, published: &PublishedTrack) {
        if !state.auto_subscribe {
            return self.receive_state().announce(published.track);
        }
        let track = RemoteTrack::open(self, participant, published.track, published.info.clone());
        self.emit(Event::TrackSubscribed(track));
    }

    fn track_disappeared(&self, participant: ParticipantId, track: TrackId) {
        self.receive_state().unpublish(self.now(), track);
        self.note_receive_changed();
        self.emit(Event::TrackUnpublished { participant, track });
    }

    fn track_muted(&self, state: &mut State, track: TrackId, muted: bool) {
        let mut published = state.participants.values_mut().flat_map(|info| &mut info.tracks);
        if let Some(published) = published.find(|published| published.track == track) {
            published.muted = muted;
        } else if let Some(publication) = state.publications.find(track) {
            publication.relay_says_muted(muted);
        }
        self.emit(Event::TrackMuted { track, muted });
    }
}
