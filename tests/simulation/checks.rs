use tertulia::limits::{CHAT_PENDING_MAX, FEEDBACK_INTERVAL, Limits, REMOVED_IDENTITIES_MAX};
use tertulia::media::{Forward, Frame, Publisher, Slot};
use tertulia::now::Now;
use tertulia::room::{Admitted, Audience, Input, JoinRequest, Output, SessionKey};
use tertulia::wire::{
    ClientMessage, CloseReason, DropReason, Layers, MediaHeader, ParticipantId, ParticipantKind, ServerMessage, TrackId,
};

use crate::model::Person;
use crate::relay::SlotState;
use crate::world::{LIMITS, REMOVED_MS, World};

impl World {
    /// Brings the model to where the room should be now, and checks what it says on the way.
    pub fn follow(&mut self, room: usize, input: &Input, outputs: &[Output]) {
        if let Input::Join { request, .. } = input {
            self.check_entrance(room, request, outputs);
        }
        let is_regulation = matches!(input, Input::Pressed { .. } | Input::Timeout);
        let before = is_regulation.then(|| self.sent(room));
        for output in outputs {
            if let (Output::Admitted(admitted), Input::Join { request, .. }) = (output, input) {
                self.follow_admitted(room, admitted, request);
                continue;
            }
            let Now { since_start, unix_ms } = self.now();
            let model = &mut self.rooms.get_mut(&room).expect("it decided this").model;
            match output {
                Output::Away { participant } => {
                    model.people.get_mut(participant).expect("who goes away was there").here = None;
                }
                Output::Left { participant, reason } => {
                    let person = model.leave(*participant).expect("who leaves was there");
                    let identity = self.clients[person.client].identity.clone();
                    if let (CloseReason::Removed, Some(identity)) = (reason, identity) {
                        self.kept_out.insert((room, identity), unix_ms + REMOVED_MS);
                        self.count("removed");
                    }
                }
                Output::Store(_) => model.pending += 1,
                Output::Deliver { to, message } => {
                    model.pending -= 1;
                    if message.sequence == 0 {
                        let here = model.people.iter().filter(|(_, person)| person.here.is_some()).map(|(id, _)| *id);
                        let concerned = here.filter(|id| *id != message.from && message.concerns(*id));
                        assert!(concerned.eq(to.iter().copied()), "nobody else can ever read {message:?}: {to:?}");
                    }
                }
                Output::Tell { message: ServerMessage::RoomLocked { locked }, .. } => model.locked = *locked,
                Output::RouteOpened { track, publisher, .. } if !model.tracks.contains_key(track) => {
                    let Input::Message { message: ClientMessage::Publish { track: info, .. }, .. } = input else {
                        panic!("nobody asked for that: {output:?}")
                    };
                    model.publish(*publisher, *track, info);
                }
                Output::Tell { to: Audience::One(to), message: ServerMessage::Published { track, .. } } => {
                    assert_eq!(model.tracks[track].publisher, *to);
                }
                Output::Tell { to, message: ServerMessage::Feedback { track, reports, .. } } => {
                    let track = model.tracks.get_mut(track).expect("a track that arrives is there");
                    assert_eq!(*to, Audience::One(track.publisher));
                    assert!((1..=track.subscribers.len()).contains(&usize::from(*reports)), "{reports} reports");
                    let before = track.feedback_at.replace(since_start);
                    assert!(
                        before.is_none_or(|at| at + FEEDBACK_INTERVAL <= since_start),
                        "{before:?} {since_start:?}"
                    );
                    self.count("feedback");
                }
                Output::Tell { to: Audience::One(from), message: ServerMessage::Done { .. } } => {
                    self.follow_request(room, *from, input);
                }
                output => self.follow_sending(room, output),
            }
        }
        if let Some(before) = before {
            self.check_steps(room, input, outputs, &before);
        }
    }

    fn follow_request(&mut self, room: usize, from: ParticipantId, input: &Input) {
        let model = &mut self.rooms.get_mut(&room).expect("it decided this").model;
        let Input::Message { message, .. } = input else { panic!("nobody asked for that: {input:?}") };
        let is_moderation = matches!(
            message,
            ClientMessage::RemoveParticipant { .. }
                | ClientMessage::MuteTrack { .. }
                | ClientMessage::SetLocked { .. }
                | ClientMessage::EndMeeting { .. }
        );
        if is_moderation {
            assert!(self.clients[model.people[&from].client].admin, "{from} is no admin: {message:?}");
        }
        match message {
            ClientMessage::Unpublish { track, .. } => {
                let gone = model.tracks.remove(track).expect("what is taken back was there");
                assert_eq!(gone.publisher, from);
            }
            ClientMessage::SetMuted { track, muted, .. } => {
                let track = model.tracks.get_mut(track).expect("what is muted was there");
                assert_eq!(track.publisher, from);
                (track.muted, track.silenced) = (*muted, track.silenced && *muted);
            }
            ClientMessage::MuteTrack { track, .. } => {
                let track = model.tracks.get_mut(track).expect("what is muted was there");
                (track.muted, track.silenced) = (true, true);
            }
            ClientMessage::Subscribe { track, .. } => {
                let track = model.tracks.get_mut(track).expect("what is subscribed to was there");
                assert_ne!(track.publisher, from);
                let is_new = track.subscribe(from);
                let chosen = !model.people[&from].auto_subscribe;
                track.subscribers.entry(from).and_modify(|its| its.chosen = if is_new { chosen } else { its.chosen });
            }
            ClientMessage::SetPinned { track, pinned, .. } => {
                let track = model.tracks.get_mut(track).expect("what is pinned is there");
                track.subscribers.get_mut(&from).expect("only what is subscribed is pinned").chosen = *pinned;
                self.count("pinned");
            }
            ClientMessage::Unsubscribe { track, .. } => {
                model.tracks.get_mut(track).expect("what was subscribed to is there").subscribers.remove(&from);
            }
            ClientMessage::SetLayers { track, spatial_layer, temporal_layer, .. } => {
                let track = model.tracks.get_mut(track).expect("what has layers is there");
                track.wish(from, *spatial_layer, *temporal_layer);
            }
            ClientMessage::SetAutoSubscribe { enabled, .. } => {
                model.people.get_mut(&from).expect("who asks is there").auto_subscribe = *enabled;
            }
            _ => {}
        }
    }

    fn follow_admitted(&mut self, room: usize, admitted: &Admitted, request: &JoinRequest) {
        let Admitted { session, participant: id, resumed, .. } = *admitted;
        let client = self.sessions[&session].client;
        let live = self.rooms.get_mut(&room).expect("it decided this");
        let epoch = live.room.chat_position().epoch;
        let is_known = self.holders.contains_key(&(room, epoch, id));
        let holder = *self.holders.entry((room, epoch, id)).or_insert(client);
        assert_eq!(holder, client, "id {id} is given to another client");
        let takes = request.kind == ParticipantKind::Meeting && request.grant.subscribe;
        let model = &mut live.model;
        assert!(!model.locked || is_known || request.grant.admin, "{id} comes into a locked room");
        if resumed {
            let allowed = request.grant.publish;
            model.tracks.retain(|_, track| track.publisher != id || allowed.allows(track.source));
            let tracks = model.tracks.iter().filter(|(_, track)| track.publisher == id).map(|(track, _)| *track);
            assert!(tracks.eq(admitted.tracks.iter().map(|track| track.track)), "{:?}", admitted.tracks);
            if !takes {
                model.tracks.values_mut().for_each(|track| _ = track.subscribers.remove(&id));
            }
        }
        let auto_subscribe = takes && request.auto_subscribe;
        let (here, hidden) = (Some(session), request.grant.hidden);
        model.admit(id, Person { client, here, hidden, auto_subscribe, pressed: false }, resumed);
        let others = model.roster(id).len();
        assert_eq!(admitted.participants as usize, others, "so many are told of next");
    }

    /// Who may come in does, to the seat that it had.
    fn check_entrance(&mut self, room: usize, request: &JoinRequest, outputs: &[Output]) {
        let now = self.now();
        let live = &self.rooms[&room];
        let admitted = outputs.iter().find_map(|output| match output {
            Output::Admitted(admitted) => Some(admitted),
            _ => None,
        });
        let refused = outputs.iter().find_map(|output| match output {
            Output::Refused { reason, .. } => Some(*reason),
            _ => None,
        });
        assert_ne!(admitted.is_some(), refused.is_some(), "there is one answer: {outputs:?}");
        let until = request.grant.identity.clone().and_then(|identity| self.kept_out.get(&(room, identity)));
        if until.is_some_and(|until| *until > now.unix_ms) {
            return assert_eq!(refused, Some(CloseReason::Removed), "before its time");
        }
        let good = request.seat.as_ref().filter(|claim| {
            let is_own = claim.identity == request.grant.identity && request.kind == ParticipantKind::Meeting;
            is_own && claim.epoch == live.room.chat_position().epoch
        });
        let seat = good.and_then(|claim| Some((claim.participant, live.model.people.get(&claim.participant)?)));
        match (seat, admitted) {
            (Some((id, person)), Some(admitted)) => {
                assert_eq!((admitted.participant, admitted.resumed), (id, person.hidden == request.grant.hidden));
            }
            (Some((id, _)), None) => panic!("{id} does not get its own seat: {refused:?}"),
            (None, Some(admitted)) => assert!(!admitted.resumed, "there was no seat"),
            (None, None) => self.count("refused"),
        }
    }

    /// What has to hold after every step.
    pub fn check(&mut self, room: usize, is_timeout: bool) {
        let now = self.now();
        self.rooms.entry(room).and_modify(|live| live.model.note_taken(now.since_start));
        let live = &self.rooms[&room];
        let model = &live.model;
        assert_eq!(live.room.participant_count(), model.people.len());
        assert!(model.people.len() <= LIMITS.participants_per_room as usize, "the room is too full");
        assert!(model.pending <= CHAT_PENDING_MAX);
        assert_eq!(live.room.is_empty(), model.people.is_empty() && model.pending == 0);
        if is_timeout {
            let next = live.room.next_timeout();
            assert!(next.is_none_or(|next| next > now.since_start), "{next:?} was due at {now:?}");
            assert!(live.room.closing_notes(now).removed.len() <= REMOVED_IDENTITIES_MAX);
        }
        let here = model.people.iter().filter_map(|(id, person)| Some((*id, person.here?)));
        assert!(here.eq(live.members.iter().map(|(id, key)| (*id, *key))), "others are here: {:?}", live.members);
        for (id, key) in &live.members {
            let session = &self.sessions[key];
            if !self.clients[session.client].plain {
                assert_eq!(session.told, model.roster(*id), "what {id} was told");
            }
        }
        for (id, person) in &model.people {
            let own = model.tracks.values().filter(|track| track.publisher == *id).count();
            assert!(own <= LIMITS.tracks_per_participant as usize, "{id} has too many tracks");
            let same = model.people.values().filter(|other| other.client == person.client).count();
            assert!(same == 1 || self.clients[person.client].identity.is_none(), "one identity is there twice");
        }
        self.check_sending(room);
        for (id, track) in &model.tracks {
            self.check_route(room, *id);
            if let Some(key) = live.members.get(&track.publisher) {
                let told = self.sessions[key].wanted.get(id).copied().unwrap_or_default();
                for (taken, told) in track.taken.iter().zip(told) {
                    assert!(
                        taken.explains(now.since_start, told),
                        "its publisher was told {told:#b}: {taken:?} of {id}"
                    );
                }
            }
        }
    }

    /// Each layer of a track goes to those who are here and take it, and to nobody else.
    fn check_route(&self, room: usize, id: TrackId) {
        let highest = self.rooms[&room].model.tracks[&id].highest;
        for spatial in 0..=highest.spatial {
            (0..=highest.temporal).for_each(|temporal| self.check_layers(room, id, Layers { spatial, temporal }));
        }
    }

    fn check_layers(&self, room: usize, id: TrackId, layers: Layers) {
        let live = &self.rooms[&room];
        let track = &live.model.tracks[&id];
        let slot_of = |participant: &ParticipantId| -> Option<Slot> {
            Some(self.sessions[live.members.get(participant)?].seat.as_ref()?.slot)
        };
        let (spatial_layer, temporal_layer) = (layers.spatial, layers.temporal);
        let frame = Frame { keyframe: false, spatial_layer, temporal_layer, ..Frame::default() };
        let datagram = frame.datagrams(id).expect("it has one byte").next().expect("it has one fragment");
        let publisher = slot_of(&track.publisher);
        let mut sender = Publisher::new(publisher.unwrap_or(Slot(u32::MAX)));
        // Nobody speaks in it, and nobody is to lose a place by it.
        let limits = Limits { loudest_audio: 0, ..LIMITS };
        let forward = live.routes.forward(self.now(), &limits, &mut sender, &datagram.bytes);
        if publisher.is_none() {
            return assert_eq!(forward, Err(DropReason::TrackUnknown), "the publisher of {id} is away");
        }
        if track.silenced {
            return assert_eq!(forward, Err(DropReason::TrackMuted), "track {id} is silenced");
        }
        let mut slots = match forward {
            Ok(Forward::To(slots)) => slots.to_vec(),
            Err(DropReason::NotSelected) if track.is_staged() => Vec::new(),
            _ => panic!("track {id} goes nowhere: {forward:?}"),
        };
        slots.sort_unstable();
        let takers = track.subscribers.keys().filter(|subscriber| track.is_sent(**subscriber, layers));
        let mut wanted: Vec<_> = takers.filter_map(slot_of).collect();
        wanted.sort_unstable();
        assert_eq!(slots, wanted, "{layers:?} of track {id} go to these slots");
    }

    /// A datagram that is passed on comes from its track's publisher and goes to a subscriber.
    pub fn check_forwarded(
        &self,
        room: usize,
        from: (ParticipantId, SessionKey),
        header: &MediaHeader,
        to: SessionKey,
    ) {
        let id = header.track;
        let live = &self.rooms[&room];
        let track = live.model.tracks.get(&id).expect("a track that is forwarded is there");
        assert_eq!((track.publisher, track.silenced), (from.0, false), "track {id} in room {room}");
        assert_eq!(live.members.get(&from.0), Some(&from.1), "a session that has no seat any more is heard");
        let subscriber = self.sessions[&to].seat.as_ref().expect("its slot is taken").participant;
        let layers = Layers { spatial: header.spatial_layer, temporal: header.temporal_layer };
        assert!(track.is_sent(subscriber, layers), "{subscriber} does not take {layers:?} of track {id}");
        assert_eq!((self.sessions[&to].room, live.members.get(&subscriber)), (room, Some(&to)));
    }

    /// What has to hold when nothing is under way any more.
    pub fn check_calm(&self) {
        for ((room, message_id), sequence) in &self.acknowledged {
            let kept = self.history.kept(*room).get(*sequence as usize - 1);
            assert_eq!(kept.map(|message| message.message_id), Some(*message_id), "it was acknowledged");
        }
        for client in self.clients.iter().filter(|client| client.is_welcome()) {
            let (Some(key), Some(me)) = (client.session, client.me) else { continue };
            let roster = self.rooms[&client.room].model.roster(me);
            assert!(client.plain || client.roster == roster, "client {} knows {:?}", client.number, client.roster);
            self.check_nothing_missed(client, self.history.kept(client.room).len() as u64 + 1);
            assert!(client.plain || client.unacknowledged.is_empty(), "session {key:?} waits for an answer");
        }
        for (room, live) in &self.rooms {
            self.check_recovered(*room);
            assert!(live.slots.iter().filter(|slot| matches!(slot, SlotState::Taken(_))).count() == live.members.len());
        }
    }

    pub fn check_empty(&self) {
        assert!(self.rooms.is_empty(), "everyone has left, but there are rooms: {:?}", self.rooms.keys());
        assert!(self.sessions.is_empty(), "everyone has left, but there are sessions: {:?}", self.sessions.keys());
    }
}
