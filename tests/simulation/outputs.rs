use std::sync::Arc;

use tertulia::auth::SeatClaim;
use tertulia::limits::MEDIA_BYTES_MAX;
use tertulia::media::Publisher;
use tertulia::room::{Admitted, Audience, Input, Output, SessionKey};
use tertulia::wire::{ChatMessage, NOT_KEPT, ParticipantId, ServerChat, ServerMessage, TrackSource, Welcome};

use crate::model::{hear, layer_bits};
use crate::relay::SlotState;
use crate::world::{Down, Event, LIMITS, SECOND, Seat, World, room_name};

/// What a room decides is carried out as in the relay's shell.
impl World {
    pub fn apply(&mut self, room: usize, output: Output) {
        match output {
            Output::Admitted(admitted) => self.admit(room, admitted),
            Output::Refused { session, reason } => self.refuse(session, Some(reason)),
            Output::Away { participant } | Output::Left { participant, .. } => self.detach(room, participant),
            Output::Tell { to, message } => self.tell(room, to, &message),
            Output::Chat { to, message } => {
                for key in self.audience(room, to) {
                    // The history has what an acknowledgement says, and it comes in its place there.
                    let is_behind = |sequence| self.sessions[&key].fell_behind_at.is_some_and(|at| sequence > at);
                    if !matches!(message, ServerChat::Accepted { sequence, .. } if is_behind(sequence)) {
                        self.send_down(key, Down::Chat(message.clone()));
                    }
                }
            }
            Output::Deliver { to, message } => self.deliver_or_fall_behind(room, &to, &message),
            Output::Store(message) => {
                self.history.append(room, message);
                self.arm_commit();
            }
            Output::Note(notes) => {
                self.history.note(room, notes);
                self.arm_commit();
            }
            Output::Replay { participant, after, through } => {
                if let Some(key) = self.rooms[&room].members.get(&participant).copied() {
                    let session = self.sessions.get_mut(&key).expect("members have sessions");
                    (session.replay, session.fell_behind_at) = (Some((after, through)), None);
                    let delay = self.dice.within(0..200_000);
                    self.after(delay, Event::Page(key));
                }
            }
            Output::CaughtUp { participant, position } => {
                let message = ServerChat::CaughtUp { position, first_kept: 1 };
                for key in self.audience(room, Audience::One(participant)) {
                    self.send_down(key, Down::Chat(message.clone()));
                }
            }
            Output::Close { participant, reason } => {
                if let Some(key) = self.rooms[&room].members.get(&participant).copied() {
                    self.sessions.entry(key).and_modify(|session| session.ending = true);
                    let delay = self.dice.within(0..SECOND / 2);
                    self.after(delay, Event::RelayEnds(key, reason));
                }
            }
            // What is counted of sockets is not the room's affair.
            Output::MeasurementsWanted { .. } | Output::PassedOver(_) => {}
            route => self.apply_route(room, &route),
        }
    }

    fn apply_route(&mut self, room: usize, output: &Output) {
        let live = self.rooms.get_mut(&room).expect("it decided this");
        let slot = |id: &ParticipantId| {
            let seat = self.sessions.get(live.members.get(id)?)?.seat.as_ref()?;
            Some(seat.slot)
        };
        match output {
            Output::RouteOpened { track, publisher, highest, is_video, source } => {
                if let Some(slot) = slot(publisher) {
                    live.routes.open(*track, slot, *highest);
                    if *is_video {
                        live.routes.keep_pictures(*track);
                    } else if *source == TrackSource::Microphone {
                        live.routes.listen(*track);
                    }
                }
            }
            Output::RouteClosed { track } => live.routes.close(*track),
            Output::RouteMuted { track, muted } => live.routes.set_muted(*track, *muted),
            Output::RouteHeld { track, held } => live.routes.set_held(*track, *held),
            Output::Subscribed { track, subscriber, layers } => {
                if let Some(slot) = slot(subscriber) {
                    live.routes.subscribe(*track, slot, *layers);
                }
            }
            Output::LayersSet { track, subscriber, layers } => {
                if let Some(slot) = slot(subscriber) {
                    live.routes.set_layers(*track, slot, *layers);
                }
            }
            Output::Unsubscribed { track, subscriber } => {
                if let Some(slot) = slot(subscriber) {
                    live.routes.unsubscribe(*track, slot);
                }
            }
            other => panic!("{other:?} is no matter of routes"),
        }
    }

    fn admit(&mut self, room: usize, admitted: Admitted) {
        let Admitted { session: key, participant, resumed, tracks, participants, chat, locked, name, permissions } =
            admitted;
        let client = self.sessions[&key].client;
        let live = self.rooms.get_mut(&room).expect("it decided this");
        let slot = live.take_slot(key);
        live.members.insert(participant, key);
        let seat = Seat { participant, slot, publisher: Publisher::new(slot), opening: live.opening };
        self.sessions.entry(key).and_modify(|session| session.seat = Some(seat));
        let claim = SeatClaim { epoch: chat.epoch, participant, identity: self.clients[client].identity.clone() };
        let welcome = Welcome {
            participant,
            ticket: self.tickets.seal(&room_name(room), claim),
            seat_ms: LIMITS.seat_seconds * 1000,
            resumed,
            tracks,
            participants,
            chat,
            locked,
            name,
            permissions,
            media_bytes_max: MEDIA_BYTES_MAX as u16,
            chat_bytes_max: LIMITS.chat_bytes,
            relay: String::new(),
        };
        self.count(if resumed { "resumed" } else { "joined" });
        self.send_down(key, Down::Control(ServerMessage::Welcome(welcome)));
    }

    fn detach(&mut self, room: usize, participant: ParticipantId) {
        let live = self.rooms.get_mut(&room).expect("it decided this");
        let Some(key) = live.members.remove(&participant) else {
            return;
        };
        let session = self.sessions.get_mut(&key).filter(|session| session.seat.is_some());
        if let Some(Seat { slot, .. }) = session.and_then(|session| session.seat.as_ref()) {
            live.slots[slot.0 as usize] = SlotState::Vacant;
        }
    }

    fn audience(&self, room: usize, to: Audience) -> Vec<SessionKey> {
        let members = self.rooms[&room].members.iter();
        let chosen = members.filter(|(id, _)| match to {
            Audience::One(one) => **id == one,
            Audience::Everyone => true,
            Audience::EveryoneBut(one) => **id != one,
        });
        let meeting = |key: &SessionKey| !self.clients[self.sessions[key].client].plain;
        chosen.map(|(_, key)| *key).filter(meeting).collect()
    }

    fn tell(&mut self, room: usize, to: Audience, message: &ServerMessage) {
        let since_start = self.now().since_start;
        for key in self.audience(room, to) {
            let session = self.sessions.get_mut(&key).expect("a member has a session");
            let own = session.seat.as_ref().map(|seat| seat.participant);
            hear(&mut session.told, own, message);
            if let ServerMessage::LayersWanted { track, spatial_layers, temporal_layer } = message {
                let told = layer_bits(*spatial_layers, *temporal_layer);
                let before = session.wanted.insert(*track, told).unwrap_or_default();
                let taken = &self.rooms[&room].model.tracks[track].taken;
                for ((taken, before), told) in taken.iter().zip(before).zip(told) {
                    let closed = before & !told;
                    assert!(taken.may_close(since_start, closed), "{closed:#b} of track {track} closes: {taken:?}");
                }
            }
            self.send_down(key, Down::Control(message.clone()));
        }
    }

    /// Now and then somebody has no place for a message: that one and those after it come from the history.
    fn deliver_or_fall_behind(&mut self, room: usize, to: &[ParticipantId], message: &Arc<ChatMessage>) {
        let mut taken = to.to_vec();
        taken.retain(|id| {
            let Some(key) = self.rooms[&room].members.get(id).copied().filter(|_| message.sequence != NOT_KEPT) else {
                return true;
            };
            let falls = self.dice.within(0..20) == 0;
            let session = self.sessions.get_mut(&key).expect("members have sessions");
            if session.fell_behind_at.is_none() && falls {
                let after = message.sequence - 1;
                session.fell_behind_at = Some(after);
                self.count("fell behind");
                let input = Input::FellBehind { participant: *id, session: key, after };
                self.tell_late(room, key, input);
                return false;
            }
            session.fell_behind_at.is_none()
        });
        self.deliver(room, &taken, message);
    }

    pub fn deliver(&mut self, room: usize, to: &[ParticipantId], message: &Arc<ChatMessage>) {
        for id in to {
            if let Some(key) = self.rooms[&room].members.get(id).copied() {
                let message = ServerChat::Message(ChatMessage::clone(message));
                self.send_down(key, Down::Chat(message));
            }
        }
    }
}
