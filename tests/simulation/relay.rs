use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use tertulia::media::{Forward, Publisher, Routes, Slot};
use tertulia::room::{Input, JoinRequest, Output, Room, SessionKey};
use tertulia::wire::{
    CloseReason, DropReason, Identity, Layers, MediaHeader, ParticipantId, ParticipantKind, ServerMessage, TrackId,
};

use crate::model::Model;
use crate::world::{Down, Event, LIMITS, MINUTE, REMOVED_MS, SECOND, Up, World, room_name};

/// For how long the disk takes nothing, at most.
const BAD_DISK_US: u64 = 5 * SECOND;

/// A room with those who are in it, as the relay's shell keeps it.
pub struct LiveRoom {
    pub room: Room,
    pub routes: Routes,
    pub members: BTreeMap<ParticipantId, SessionKey>,
    /// The sessions' slots, which are given again when their session has ended.
    pub slots: Vec<SlotState>,
    pub model: Model,
    /// Which of the rooms of this name it is.
    pub opening: u64,
    timer_at: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    Free,
    Taken(SessionKey),
    /// Its session has no seat any more, but has not ended yet.
    Vacant,
}

impl World {
    /// The relay hears a client's reliable message.
    pub fn relay_hears(&mut self, key: SessionKey, up: Up) {
        match up {
            Up::Join => self.seat(key),
            Up::Control(tertulia::wire::ClientMessage::Leave) => self.end_session(key, CloseReason::Left),
            Up::Control(message) => {
                if let Some((room, from)) = self.speaks_for(key) {
                    self.handle(room, Input::Message { from, message });
                }
            }
            Up::Chat(message) => {
                if let Some((room, from)) = self.speaks_for(key) {
                    self.handle(room, Input::Chat { from, message });
                }
            }
        }
    }

    /// For whom a session speaks: for nobody, when it was told to end.
    pub fn speaks_for(&self, key: SessionKey) -> Option<(usize, ParticipantId)> {
        let session = self.sessions.get(&key).filter(|session| !session.ending)?;
        Some((session.room, session.seat.as_ref()?.participant))
    }

    fn seat(&mut self, key: SessionKey) {
        let (client, room) = (self.sessions[&key].client, self.sessions[&key].room);
        if self.now_us < self.down_until {
            return self.refuse(key, None);
        }
        let wish = self.clients[client].wish.clone().expect("it connects with a wish");
        let seat = wish.ticket.as_deref().and_then(|ticket| self.tickets.open(&room_name(room), ticket));
        let request = JoinRequest {
            name: None,
            kind: if self.clients[client].plain { ParticipantKind::Plain } else { ParticipantKind::Meeting },
            grant: wish.grant,
            seat,
            auto_subscribe: wish.auto_subscribe,
            chat_after: wish.chat_after,
        };
        if !self.rooms.contains_key(&room) {
            let opened = self.history.open(room, room_name(room));
            let locked = self.history.is_locked(room);
            self.openings += 1;
            self.rooms.insert(room, LiveRoom::new(opened, locked, self.openings));
        }
        self.handle(room, Input::Join { session: key, request });
    }

    pub fn refuse(&mut self, key: SessionKey, reason: Option<CloseReason>) {
        if let Some(session) = self.sessions.get_mut(&key) {
            session.relay_done = true;
        }
        if let Some(reason) = reason {
            self.send_down(key, Down::Control(ServerMessage::Closing { reason, message: String::new() }));
        }
        let at = self.sessions.get(&key).map_or(self.now_us, |session| session.down_at);
        self.at(at, Event::ClientEnds(key));
    }

    /// The relay's end of a session is over.
    pub fn end_session(&mut self, key: SessionKey, reason: CloseReason) {
        let Some(session) = self.sessions.get_mut(&key).filter(|session| !session.relay_done) else {
            return;
        };
        session.relay_done = true;
        let (room, is_cut) = (session.room, session.cut);
        if let Some((participant, slot)) = session.seat.as_ref().map(|seat| (seat.participant, seat.slot)) {
            if self.is_in_its_room(key) {
                self.handle(room, Input::Ended { participant, session: key, reason });
            }
            if self.is_in_its_room(key) {
                self.rooms.entry(room).and_modify(|live| live.slots[slot.0 as usize] = SlotState::Free);
            }
            self.sessions.entry(key).and_modify(|session| session.seat = None);
        }
        if is_cut {
            self.forget_if_done(key);
        } else {
            self.refuse(key, Some(reason));
        }
    }

    /// Whether a session's room is still open; one of the same name may have been opened since.
    pub fn is_in_its_room(&self, key: SessionKey) -> bool {
        let Some(session) = self.sessions.get(&key) else {
            return false;
        };
        let live = self.rooms.get(&session.room);
        session.seat.as_ref().is_some_and(|seat| live.is_some_and(|live| live.opening == seat.opening))
    }

    /// Tells a room what happened, carries out what it decides, and checks everything.
    pub fn handle(&mut self, room: usize, input: Input) {
        let now = self.now();
        let Some(live) = self.rooms.get_mut(&room) else {
            return;
        };
        let is_timeout = matches!(input, Input::Timeout);
        let given = input.clone();
        let outputs = live.room.handle(now, input);
        write!(self.trace, "{room}{outputs:?}").expect("a hash takes everything");
        self.follow(room, &given, &outputs);
        let mut wanted = Vec::new();
        for output in outputs {
            match output {
                Output::PictureWanted { track, subscriber, layers } => wanted.push((track, subscriber, layers)),
                output => self.apply(room, output),
            }
        }
        self.check(room, is_timeout);
        self.close_if_empty(room);
        self.arm_timer(room);
        wanted.into_iter().for_each(|(track, subscriber, layers)| self.show(room, track, subscriber, layers));
    }

    /// A new subscriber gets what is kept of a video, or a keyframe is asked for.
    fn show(&mut self, room: usize, track: TrackId, subscriber: ParticipantId, layers: Layers) {
        let (now, live) = (self.now(), &self.rooms[&room]);
        let Some(to) = live.members.get(&subscriber).copied() else {
            return;
        };
        let Some(pictures) = live.routes.recent_pictures(now, track, layers) else {
            let spatial_layer = layers.spatial;
            let keyframe_at = live.routes.keyframe_at(track, spatial_layer);
            return self.handle(room, Input::PictureMissing { track, spatial_layer, keyframe_at });
        };
        let publisher = live.model.tracks[&track].publisher;
        let from = (publisher, live.members[&publisher]);
        for (datagram, index) in pictures.into_iter().zip(0..) {
            let header = MediaHeader::decode(&datagram).expect("it was forwarded");
            assert!(index > 0 || header.keyframe, "what is kept of track {track} begins in the middle");
            self.check_forwarded(room, from, &header, to);
            self.count("recent pictures");
            self.send_datagram(|| Event::MediaToClient(to, datagram.clone(), track));
        }
    }

    pub fn send_page(&mut self, key: SessionKey) {
        const PAGE: u64 = 16;
        let Some((room, id)) = self.speaks_for(key) else {
            return;
        };
        let Some((after, through)) = self.sessions[&key].replay else {
            return;
        };
        let end = through.min(after + PAGE);
        let page: Vec<_> = self.history.kept(room)[after as usize..end as usize].to_vec();
        let plain = self.clients[self.sessions[&key].client].plain;
        for message in page.iter().filter(|message| message.concerns(id) && !(plain && message.from == id)) {
            self.deliver(room, &[id], message);
        }
        self.sessions.entry(key).and_modify(|session| session.replay = (end < through).then_some((end, through)));
        if end < through {
            let delay = self.dice.within(0..100_000);
            self.after(delay, Event::Page(key));
        } else {
            self.tell_late(room, key, Input::Replayed { participant: id, session: key, through });
        }
    }

    /// A room may hear of its sessions a little later, as from another thread: another one may have taken the seat meanwhile.
    pub fn tell_late(&mut self, room: usize, key: SessionKey, input: Input) {
        let delay = self.dice.within(0..20_000);
        self.after(delay, Event::Told(room, key, input));
    }

    /// The relay passes on a datagram.
    pub fn forward(&mut self, key: SessionKey, datagram: &Bytes) {
        let now = self.now();
        if !self.is_in_its_room(key) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&key).filter(|session| !session.cut && !session.relay_done) else {
            return;
        };
        let (room, Some(seat)) = (session.room, &mut session.seat) else {
            return;
        };
        let Some(live) = self.rooms.get_mut(&room) else {
            return;
        };
        let change = match live.routes.forward(now, &LIMITS, &mut seat.publisher, datagram) {
            Ok(Forward::To(_)) => None,
            Ok(Forward::After(change)) => Some(change),
            Err(DropReason::NotSelected) => {
                let header = MediaHeader::decode(datagram).expect("it could have been forwarded");
                let its = live.model.tracks.get_mut(&header.track).expect("a track that is left out is there");
                its.is_newest(header.spatial_layer, header.frame);
                return self.check_not_selected(room, header.track);
            }
            Ok(Forward::Echo | Forward::Repeat) | Err(_) => return self.count("datagrams dropped"),
        };
        let header = MediaHeader::decode(datagram).expect("it was forwarded");
        let track = header.track;
        let its = live.model.tracks.get_mut(&track).expect("a track that is forwarded is there");
        // One that comes a second time, or after a later frame, need not be begun with.
        let is_newest = its.is_newest(header.spatial_layer, header.frame);
        if header.keyframe && header.fragment_index == 0 && (is_newest || change.is_some()) {
            its.keyframe_begins(header.spatial_layer);
        }
        let slots = match change {
            Some(change) => {
                *self.tally.entry("renditions changed").or_insert(0) += 1;
                live.routes.change(change);
                live.routes.takers(change)
            }
            None => match live.routes.forward(now, &LIMITS, &mut Publisher::new(seat.slot), datagram) {
                Ok(Forward::To(slots)) => slots,
                other => panic!("it was forwarded a moment ago: {other:?}"),
            },
        };
        let to: Vec<_> = slots.iter().map(|slot| live.slots[slot.0 as usize]).collect();
        let participant = seat.participant;
        self.note_passed_on(room, track);
        for state in to {
            let SlotState::Taken(to) = state else {
                panic!("a datagram of track {track} goes to a slot that is {state:?}")
            };
            self.check_forwarded(room, (participant, key), &header, to);
            self.count("datagrams forwarded");
            self.send_datagram(|| Event::MediaToClient(to, datagram.clone(), track));
        }
    }

    pub fn arm_commit(&mut self) {
        if !std::mem::replace(&mut self.commit_due, true) {
            let delay = self.dice.within(200..30_000);
            self.after(delay, Event::Commit);
        }
    }

    pub fn commit(&mut self) {
        self.commit_due = false;
        let fails = self.now_us < self.bad_disk_until;
        if !fails && !self.calm && self.dice.happens(2) {
            self.bad_disk_until = self.now_us + self.dice.within(0..BAD_DISK_US);
        }
        for (room, input) in self.history.commit(fails) {
            self.count(if fails { "failed to keep" } else { "kept" });
            let delay = self.dice.within(0..3_000);
            // In order, or a room would hear of a failure before what was kept before it.
            let at = self.outcomes_at.max(self.now_us + delay);
            self.outcomes_at = at;
            self.at(at, Event::Outcome(self.crashes, room, input));
        }
        if fails {
            self.arm_commit();
        }
    }

    pub fn timer(&mut self, room: usize) {
        let now = self.now().since_start;
        let Some(live) = self.rooms.get_mut(&room) else {
            return;
        };
        live.timer_at = None;
        if live.room.next_timeout().is_some_and(|due| due <= now) {
            self.handle(room, Input::Timeout);
        } else {
            self.arm_timer(room);
        }
    }

    fn arm_timer(&mut self, room: usize) {
        let now = self.now().since_start;
        let Some(live) = self.rooms.get_mut(&room) else {
            return;
        };
        let Some(due) = live.room.next_timeout() else {
            return;
        };
        if live.timer_at.is_none_or(|armed| due < armed) {
            live.timer_at = Some(due);
            self.at((due.max(now).as_nanos().div_ceil(1000)) as u64, Event::Timer(room));
        }
    }

    fn close_if_empty(&mut self, room: usize) {
        let now = self.now();
        let Some(live) = self.rooms.get(&room).filter(|live| live.room.is_empty()) else {
            return;
        };
        let notes = live.room.closing_notes(now);
        let is_forgotten = notes.removed.is_empty() && !self.calm && self.dice.happens(500);
        self.history.close(room, notes);
        self.rooms.remove(&room);
        self.arm_commit();
        self.count("rooms closed");
        if is_forgotten {
            self.history.forget(room);
            self.acknowledged.retain(|(other, _), _| *other != room);
            self.count("rooms forgotten");
        }
    }

    /// Kills the relay: what was not written is gone, and so is every connection.
    pub fn crash(&mut self) {
        let next = self.dice.within(MINUTE..15 * MINUTE);
        if self.calm {
            return;
        }
        self.after(next, Event::Crash);
        self.count("crashes");
        self.rooms.clear();
        self.history.crash();
        let (history, now) = (&self.history, self.now());
        let is_known = |(room, identity): &(usize, Identity)| history.is_kept_out(*room, identity.as_str(), now);
        // What was noted a moment ago may be lost.
        let is_old = |until: u64| until < now.unix_ms + REMOVED_MS - 2 * BAD_DISK_US / 1000;
        self.kept_out.retain(|who, until| is_known(who) || is_old(*until));
        self.crashes += 1;
        self.down_until = self.now_us + self.dice.within(SECOND / 5..5 * SECOND);
        let keys: Vec<_> = self.sessions.keys().copied().collect();
        for key in keys {
            if let Some(session) = self.sessions.get_mut(&key) {
                (session.cut, session.relay_done, session.seat) = (true, true, None);
            }
            let delay = self.dice.within(0..SECOND);
            self.after(delay, Event::ClientEnds(key));
        }
    }
}

impl LiveRoom {
    fn new(room: Room, locked: bool, opening: u64) -> Self {
        Self {
            opening,
            model: Model { locked, ..Model::default() },
            room,
            routes: Routes::default(),
            members: BTreeMap::new(),
            slots: Vec::new(),
            timer_at: None,
        }
    }

    pub fn take_slot(&mut self, key: SessionKey) -> Slot {
        let free = self.slots.iter().position(|state| *state == SlotState::Free).unwrap_or(self.slots.len());
        self.slots.resize(self.slots.len().max(free + 1), SlotState::Free);
        self.slots[free] = SlotState::Taken(key);
        Slot(free as u32)
    }
}
