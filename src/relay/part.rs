mod beginning;
mod chat;
mod crossing;
mod measuring;
mod order;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use beginning::Begin;

use super::home::{Home, Timer};
use super::media_outbox::Burst;
use super::outbox::Full;
use super::outlet::{Encoded, EncodedChat, Ending, Outlet};
use super::post::{RoomKey, ShardId};
use super::shard::{Answer, Shard};
use super::slots::Slots;
use crate::media::{Forward, Gathering, Publisher, Routes, SharedFloor, Slot, sort_by_taker};
use crate::now::Now;
use crate::room::{Audience, Input, Output, SessionKey};
use crate::wire::{CloseReason, DropReason, Identity, Layers, ParticipantId, RoomName, TrackId};

pub(super) use measuring::SessionRecord;
pub(super) use order::{Admission, Order};

/// A part of a room, shared by the sessions of it on a shard.
pub(super) type SharedPart = Rc<RefCell<Part>>;

/// What of a room is on one shard: the sessions there, and the ways of media to and from them. It carries out what the room's
/// [`Home`] orders, wherever that is.
#[derive(Debug)]
pub(super) struct Part {
    key: RoomKey,
    name: RoomName,
    home: HomePlace,
    chat_busy: Arc<AtomicBool>,
    routes: Routes,
    /// Small datagrams that wait for others.
    gathering: RefCell<Gathering>,
    /// Who can be reached here.
    members: BTreeMap<ParticipantId, Member>,
    /// Where media goes from here.
    slots: Slots<Taker>,
    /// The slots of other shards.
    links: BTreeMap<ShardId, Slot>,
    newcomer: Option<Newcomer>,
    /// Tracks from other shards of which is still to come what is kept there, and who waits for a picture of them.
    awaited: BTreeMap<TrackId, Vec<(ParticipantId, Layers)>>,
    /// What the home is to be told.
    said: Vec<Input>,
    /// Looks who speaks, for a home on another shard.
    timer: Option<Timer>,
    this: Weak<RefCell<Self>>,
}

/// Where a room's home is.
#[derive(Debug, Clone)]
pub(super) enum HomePlace {
    /// On this shard.
    Here(Weak<RefCell<Home>>),
    /// On another one.
    On(ShardId),
}

/// What a part begins with.
#[derive(Debug)]
pub(super) struct PartOpening {
    pub name: RoomName,
    pub home: ShardId,
    pub chat_busy: Arc<AtomicBool>,
    pub floor: SharedFloor,
    /// The ways that are open.
    pub routes: Vec<Output>,
}

/// Who gets media.
#[derive(Debug)]
enum Taker {
    Participant(Rc<Outlet>),
    /// Another shard, for all who take it there.
    Shard(ShardId),
}

/// Whoever has just come in, until it has been told what there is.
#[derive(Debug)]
struct Newcomer {
    session: SessionKey,
    participant: ParticipantId,
    slot: Slot,
    name: String,
    answer: Answer,
}

/// A session's seat, as the session is told of it.
#[derive(Debug)]
pub(super) struct Seated {
    pub part: SharedPart,
    pub participant: ParticipantId,
    pub slot: Slot,
    /// What the participant is called.
    pub name: String,
}

#[derive(Debug)]
struct Member {
    session: SessionKey,
    slot: Slot,
    outlet: Rc<Outlet>,
    ending: Rc<Ending>,
    remote: SocketAddr,
    identity: Option<Identity>,
    /// Its number if chat was too much for it for the moment: the last message that it was sent.
    fell_behind_at: Option<u64>,
    /// Whether it was ever: what it is sent of the history since then follows what it has.
    has_fallen_behind: bool,
    /// History that is still to be sent.
    replay: Option<Replay>,
    replay_wanted: Rc<Notify>,
    /// What it is sent as soon as it has been told who is in the room; `None`: that is over.
    begins: Option<Vec<Begin>>,
    /// The first message that was still kept when the last page was read.
    first_kept: u64,
}

/// A part of the history that a member is to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replay {
    pub after: u64,
    pub through: u64,
}

impl Part {
    pub fn new(shard: &Shard, key: RoomKey, opening: PartOpening, home: HomePlace) -> SharedPart {
        let PartOpening { name, chat_busy, floor, routes, .. } = opening;
        let part = Rc::new_cyclic(|this| {
            RefCell::new(Self {
                key,
                name,
                home,
                chat_busy,
                routes: Routes::new(&shard.limits, shard.pictures.clone(), floor),
                gathering: RefCell::default(),
                members: BTreeMap::new(),
                slots: Slots::default(),
                links: BTreeMap::new(),
                newcomer: None,
                awaited: BTreeMap::new(),
                said: Vec::new(),
                timer: None,
                this: this.clone(),
            })
        });
        for route in routes {
            part.borrow_mut().carry_out_output(shard, route);
        }
        part
    }

    pub fn key(&self) -> RoomKey {
        self.key
    }

    pub fn name(&self) -> &RoomName {
        &self.name
    }

    pub fn home(&self) -> HomePlace {
        self.home.clone()
    }

    /// Whether the room takes no chat until some of it is kept.
    pub fn is_chat_busy(&self) -> bool {
        self.chat_busy.load(Ordering::Relaxed)
    }

    /// Takes the next thing that the home is to be told.
    pub fn take_said(&mut self) -> Option<Input> {
        (!self.said.is_empty()).then(|| self.said.remove(0))
    }

    /// A session has ended: others may have its slot once no way leads there.
    pub fn free(&mut self, slot: Slot) {
        self.slots.free(slot);
    }

    /// Ends every session.
    pub fn end_all(&self, reason: CloseReason) {
        for member in self.members.values() {
            member.ending.request(reason);
        }
    }

    fn send(&self, to: Audience, encoded: &Encoded) {
        match to {
            Audience::One(participant) => {
                let Some(member) = self.members.get(&participant) else {
                    return;
                };
                // What a newcomer is told about those who are there is bounded by the room.
                if self.is_newcomer(participant) {
                    member.outlet.send_uncounted(encoded);
                } else {
                    member.note(member.outlet.send(encoded));
                }
            }
            Audience::Everyone => self.members.values().for_each(|member| member.note(member.outlet.send(encoded))),
            Audience::EveryoneBut(one) => {
                let others = self.members.iter().filter(|(participant, _)| **participant != one);
                others.for_each(|(_, member)| member.note(member.outlet.send(encoded)));
            }
        }
    }

    fn is_newcomer(&self, participant: ParticipantId) -> bool {
        self.newcomer.as_ref().is_some_and(|newcomer| newcomer.participant == participant)
    }

    /// Passes on the datagrams that arrived from one publisher, run by run: a run is what goes to the same subscribers. Says whether
    /// somebody has begun to speak.
    pub fn forward(&mut self, shard: &Shard, publisher: &mut Publisher, burst: &mut Vec<Bytes>) -> bool {
        let now = shard.now();
        shard.metrics.datagrams_received.inc_by(burst.len() as u64);
        let mut run = shard.run.borrow_mut();
        // A panic in the middle of an earlier run may have left something.
        run.clear();
        let mut run_to: &[Slot] = &[];
        let waits = self.gathering.get_mut().may_wait(now, burst, self.members.len(), shard.gather_time.get());
        if !waits {
            self.send_gathered(now, shard);
        }
        for datagram in burst.drain(..) {
            match self.routes.forward(now, &shard.limits, publisher, &datagram) {
                Ok(Forward::To(subscribers)) if waits => {
                    self.cross(shard, subscribers, std::slice::from_ref(&datagram));
                    self.gather(now, shard, datagram);
                }
                Ok(Forward::To(subscribers)) => {
                    if !std::ptr::eq(subscribers, run_to) {
                        self.send_run(now, shard, run_to, &mut run);
                        run_to = subscribers;
                    }
                    run.push(datagram);
                }
                Ok(Forward::After(change)) => {
                    self.send_gathered(now, shard);
                    self.send_run(now, shard, run_to, &mut run);
                    self.routes.change(change);
                    run_to = self.routes.takers(change);
                    run.push(datagram);
                }
                Ok(Forward::Echo) => {
                    self.send_burst(shard, &[publisher.slot()], &Burst::new(now, &[datagram], &self.routes));
                }
                Ok(Forward::Repeat) => self.repeat(shard, now, publisher, &datagram),
                Err(reason) => self.leave_out(shard, publisher.slot(), reason),
            }
        }
        self.send_run(now, shard, run_to, &mut run);
        if let Some(outlet) = self.outlet(publisher.slot()) {
            outlet.tally().note_arrivals(publisher.arrivals());
        }
        self.routes.take_voice_begun()
    }

    /// Lets a small datagram wait for others, until they are many.
    fn gather(&self, now: Now, shard: &Shard, datagram: Bytes) {
        shard.metrics.datagrams_gathered.inc();
        if self.gathering.borrow_mut().push(datagram)
            && let Some(part) = self.this.upgrade()
        {
            shard.note_gathering(part);
        }
        if self.gathering.borrow().is_full() {
            self.send_gathered(now, shard);
        }
    }

    /// Passes on what waited for others, to whoever is to get it by now.
    pub fn send_gathered(&self, now: Now, shard: &Shard) {
        if self.gathering.borrow().is_empty() {
            return;
        }
        let mut gathered = shard.gathered.take();
        // A panic may have left something.
        gathered.clear();
        self.gathering.borrow_mut().take(&mut gathered);
        let bursts = gathered.iter().map(|datagram| Burst::new(now, std::slice::from_ref(datagram), &self.routes));
        self.send_by_taker(now, shard, &bursts.collect::<Vec<_>>());
        gathered.clear();
        shard.gathered.replace(gathered);
    }

    /// Sends each of those who are here all that is for them in a row.
    fn send_by_taker(&self, now: Now, shard: &Shard, bursts: &[Burst<'_>]) {
        let takers = (0..).zip(bursts).filter_map(|(index, burst)| match self.routes.takers_now(&burst.datagrams[0]) {
            Ok(takers) => Some((index, self.takers_here(takers))),
            Err(reason) => {
                shard.metrics.drop_datagrams(reason, 1);
                None
            }
        });
        let mut sorted = shard.by_taker.take();
        sort_by_taker(takers, &mut sorted);
        for of_one in sorted.chunk_by(|(one, _), (other, _)| one == other) {
            match self.outlet(of_one[0].0) {
                Some(outlet) => {
                    let bursts = of_one.iter().map(|(_, index)| &bursts[*index as usize]);
                    outlet.send_gathered(now, bursts, &shard.metrics);
                }
                // The room has given it up, and its session is about to end.
                None => shard.metrics.drop_datagrams(DropReason::SubscriberGone, of_one.len() as u64),
            }
        }
        shard.by_taker.replace(sorted);
    }

    /// Sends once more what a subscriber asks for, unless it still waits to be sent at all.
    fn repeat(&self, shard: &Shard, now: Now, subscriber: &mut Publisher, request: &[u8]) {
        let mut found = Vec::new();
        if let Err(reason) = self.routes.repeat(now, subscriber, request, &mut found) {
            shard.metrics.drop_datagrams(reason, 1);
        }
        if let Some(outlet) = self.outlet(subscriber.slot()) {
            found.retain(|datagram| !outlet.holds(datagram));
        }
        if found.is_empty() {
            return;
        }
        shard.metrics.datagrams_repeated.inc_by(found.len() as u64);
        self.send_burst(shard, &[subscriber.slot()], &Burst::repeat(now, &found, &self.routes));
    }

    /// Sends one participant what is kept.
    fn send_kept(&self, now: Now, shard: &Shard, to: Slot, kept: &[Bytes]) {
        self.send_burst(shard, &[to], &Burst::of_kept(now, kept, &self.routes));
    }

    fn send_run(&self, now: Now, shard: &Shard, to: &[Slot], run: &mut Vec<Bytes>) {
        self.send_burst(shard, to, &Burst::new(now, run, &self.routes));
        run.clear();
    }

    fn leave_out(&self, shard: &Shard, from: Slot, reason: DropReason) {
        match self.outlet(from) {
            Some(outlet) => outlet.tally().leave_out(&shard.metrics, reason, 1),
            None => shard.metrics.drop_datagrams(reason, 1),
        }
    }

    fn send_burst(&self, shard: &Shard, to: &[Slot], burst: &Burst<'_>) {
        self.cross(shard, to, burst.datagrams);
        for slot in self.takers_here(to) {
            match self.outlet(*slot) {
                Some(outlet) => outlet.send_datagrams(burst, &shard.metrics),
                // The room has given it up, and its session is about to end.
                None => shard.metrics.drop_datagrams(DropReason::SubscriberGone, burst.datagrams.len() as u64),
            }
        }
    }

    fn outlet(&self, slot: Slot) -> Option<&Outlet> {
        match self.slots.get(slot)? {
            Taker::Participant(outlet) => Some(outlet),
            Taker::Shard(_) => None,
        }
    }
}

impl Member {
    fn note(&self, sent: Result<(), Full>) {
        if sent == Err(Full) {
            self.ending.request(CloseReason::SlowConsumer);
        }
    }
}
