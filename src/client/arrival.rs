//! How a session takes the seat.

use std::sync::Arc;

use super::roster::missed;
use super::session::{Session, Stage};
use crate::wire::{CloseReason, ServerMessage, Welcome};

impl Session {
    pub(super) fn welcomed(self: &Arc<Self>, welcome: Welcome) {
        let is_second = self.arrival().welcome.replace(welcome).is_some();
        if is_second || self.is(Stage::Seated) {
            return self.end(CloseReason::UnexpectedMessage, "the relay said welcome twice".to_owned());
        }
        self.arrive();
    }

    /// Takes the seat, once all are known who are in the room. In one step: nothing of an earlier session comes between.
    pub(super) fn arrive(self: &Arc<Self>) {
        let mut state = self.seat.state();
        let (welcome, roster) = {
            let mut arrival = self.arrival();
            let told = arrival.roster.len();
            let Some(welcome) = arrival.welcome.take_if(|welcome| welcome.participants as usize <= told) else {
                return;
            };
            (Arc::new(welcome), std::mem::take(&mut arrival.roster))
        };
        // The connection may have ended while this was on its way.
        if self.check_open().is_err() || !self.seat.hold(self) {
            drop(state);
            return self.end(CloseReason::Left, CloseReason::Left.to_string());
        }
        state.carrier = Some(self.carrier);
        // It is told anew, if there is a stage.
        state.on_stage = None;
        self.seat.note_stage(&state);
        let before = state.welcome.replace(welcome.clone());
        let same_ids = before.as_ref().is_some_and(|before| before.chat.epoch == welcome.chat.epoch);
        state.inbox.begin(self.asked, welcome.chat);
        if before.is_none() {
            state.locked = welcome.locked;
            roster.iter().for_each(|info| self.seat.note_participant(&mut state, info));
        } else {
            let now = roster.into_iter().map(|info| (info.participant, info)).collect();
            for message in missed(&state.participants, &now, same_ids) {
                self.seat.apply(&mut state, message);
            }
            if state.locked != welcome.locked {
                self.seat.apply(&mut state, ServerMessage::RoomLocked { locked: welcome.locked });
            }
        }
        self.arrival().restore = self.seat.to_restore(&state, self, &welcome);
        drop(state);
        self.reach(if self.asked.is_some() { Stage::Seated } else { Stage::Live });
    }
}
