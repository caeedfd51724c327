//! What each message of the relay does.

use std::sync::{Arc, Weak};

use super::RemoteTrack;
use super::event::{ChatError, Event, RequestError};
use super::session::Session;
use crate::wire::{
    ChatMessage, CloseReason, MessageId, ParticipantId, ParticipantInfo, PublishedTrack, ServerChat, ServerMessage,
    TrackId, Welcome,
};

impl Session {
    pub(super) fn receive_control(self: &Arc<Self>, message: ServerMessage) {
        match message {
            ServerMessage::Welcome(welcome) => self.welcomed(welcome),
            ServerMessage::ParticipantJoined(info) => self.participant_joined(info),
            ServerMessage::ParticipantLeft { participant, .. } => self.participant_left(participant),
            ServerMessage::TrackPublished { participant, track } => self.track_published(participant, &track),
            ServerMessage::TrackUnpublished { participant, track } => self.track_unpublished(participant, track),
            ServerMessage::TrackMuted { track, muted } => self.track_muted(track, muted),
            ServerMessage::Published { request, track } => self.answered(request, Ok(Some(track))),
            ServerMessage::Done { request } => self.answered(request, Ok(None)),
            ServerMessage::Failed { request, reason, message } => {
                self.answered(request, Err(RequestError::Refused { reason, message }));
            }
            ServerMessage::KeyframeRequested { track } => self.keyframe_requested(track),
            ServerMessage::Pong { token, .. } => {
                if let Some(waiting) = self.state().pings.remove(&token) {
                    let _ = waiting.send(());
                }
            }
            ServerMessage::Closing { reason, message } => self.fail(reason, message),
            ServerMessage::RoomLocked { .. } => {}
        }
    }

    fn welcomed(&self, welcome: Welcome) {
        let roster_missing = welcome.participants;
        if !self.set_welcome(welcome) {
            return self.fail(CloseReason::UnexpectedMessage, "the relay said welcome twice".to_owned());
        }
        let mut state = self.state();
        state.roster_missing = roster_missing;
        if roster_missing == 0
            && let Some(joined) = state.joined.take()
        {
            let _ = joined.send(());
        }
    }

    fn participant_joined(self: &Arc<Self>, info: ParticipantInfo) {
        let was_there_before = {
            let mut state = self.state();
            state.participants.insert(info.participant, info.clone());
            let was_there_before = state.roster_missing > 0;
            state.roster_missing = state.roster_missing.saturating_sub(1);
            was_there_before
        };
        for track in &info.tracks {
            self.track_appeared(info.participant, track);
        }
        if !was_there_before {
            return self.emit(Event::ParticipantJoined(info));
        }
        let mut state = self.state();
        if state.roster_missing == 0
            && let Some(joined) = state.joined.take()
        {
            let _ = joined.send(());
        }
    }

    fn participant_left(&self, participant: ParticipantId) {
        let left = self.state().participants.remove(&participant);
        for PublishedTrack { track, .. } in left.into_iter().flat_map(|info| info.tracks) {
            self.track_disappeared(participant, track);
        }
        self.emit(Event::ParticipantLeft { participant });
    }

    fn track_published(self: &Arc<Self>, participant: ParticipantId, track: &PublishedTrack) {
        if let Some(info) = self.state().participants.get_mut(&participant) {
            info.tracks.push(track.clone());
        }
        self.emit(Event::TrackPublished { participant, track: track.clone() });
        self.track_appeared(participant, track);
    }

    fn track_appeared(self: &Arc<Self>, participant: ParticipantId, published: &PublishedTrack) {
        if !self.state().auto_subscribe {
            return self.receive_state().announce(published.track);
        }
        self.emit(Event::TrackSubscribed(RemoteTrack::open(
            self,
            participant,
            published.track,
            published.info.clone(),
        )));
    }

    fn track_unpublished(&self, participant: ParticipantId, track: TrackId) {
        if let Some(info) = self.state().participants.get_mut(&participant) {
            info.tracks.retain(|published| published.track != track);
        }
        self.track_disappeared(participant, track);
    }

    fn track_disappeared(&self, participant: ParticipantId, track: TrackId) {
        self.receive_state().unpublish(self.now(), track);
        self.note_receive_changed();
        self.emit(Event::TrackUnpublished { participant, track });
    }

    fn track_muted(&self, track: TrackId, muted: bool) {
        let mut state = self.state();
        let mut published = state.participants.values_mut().flat_map(|info| &mut info.tracks);
        if let Some(published) = published.find(|published| published.track == track) {
            published.muted = muted;
        }
        drop(state);
        self.emit(Event::TrackMuted { track, muted });
    }

    fn answered(&self, request: u32, answer: Result<Option<TrackId>, RequestError>) {
        let mut state = self.state();
        // At once, not when the asking task wakes up: the next message may announce a track.
        if let Some(enabled) = state.auto_subscribe_requests.remove(&request)
            && answer.is_ok()
        {
            state.auto_subscribe = enabled;
        }
        if let Some(waiting) = state.requests.remove(&request) {
            let _ = waiting.send(answer);
        }
    }

    fn keyframe_requested(&self, track: TrackId) {
        if let Some(wanted) = self.state().keyframe_wanted.get(&track).and_then(Weak::upgrade) {
            wanted.notify_one();
        }
        self.emit(Event::KeyframeRequested { track });
    }

    pub(super) fn receive_chat(&self, message: ServerChat) {
        match message {
            ServerChat::Accepted { message_id, sequence, .. } => self.acknowledged(message_id, Ok(sequence)),
            ServerChat::Refused { message_id, reason, message } => {
                self.acknowledged(message_id, Err(ChatError::Refused { reason, message }));
            }
            ServerChat::NotKept { message_id, .. } => self.acknowledged(message_id, Ok(0)),
            ServerChat::Message(message) => self.chat_message(message),
            ServerChat::CaughtUp { position, first_kept } => self.emit(Event::ChatCaughtUp { position, first_kept }),
            ServerChat::Typing { participant, active } => self.emit(Event::ChatTyping { participant, active }),
        }
    }

    /// A message of one's own that comes as history is kept: that is its acknowledgement.
    fn chat_message(&self, message: ChatMessage) {
        self.acknowledged(message.message_id, Ok(message.sequence));
        self.emit(Event::ChatMessage(message));
    }

    fn acknowledged(&self, message_id: MessageId, answer: Result<u64, ChatError>) {
        if let Some(waiting) = self.state().acknowledgements.remove(&message_id) {
            let _ = waiting.send(answer);
        }
    }
}
