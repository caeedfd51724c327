mod beginning;
mod measuring;
mod speaking;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{debug, info};

use beginning::Begin;

use super::callbacks::Subject;
use super::media_outbox::Burst;
use super::outbox::Full;
use super::outlet::{Encoded, EncodedChat, Ending, Outlet};
use super::shard::Shard;
use super::slots::Slots;
use crate::auth::SeatClaim;
use crate::history::Page;
use crate::limits::MEDIA_BYTES_MAX;
use crate::media::{Forward, Gathering, PictureBudget, Publisher, Routes, Slot, Speakers};
use crate::now::Now;
use crate::room::{Admitted, Audience, Input, JoinRequest, Output, Room, SessionKey};
use crate::wire::{
    ChatMessage, ChatPosition, ClientChat, CloseReason, DropReason, Identity, Layers, ParticipantId, RefuseReason,
    RoomName, ServerChat, ServerMessage, TrackId, TrackSource, VERSION, Welcome,
};

/// A room with its participants' connections: it carries out what the [`Room`] decides.
#[derive(Debug)]
pub(super) struct LiveRoom {
    room: Room,
    routes: Routes,
    speakers: Speakers,
    /// Small datagrams that wait for others.
    gathering: RefCell<Gathering>,
    /// Who has a seat, from the first session to the end of the seat.
    seated: BTreeMap<ParticipantId, Seated>,
    /// Who can be reached.
    members: BTreeMap<ParticipantId, Member>,
    /// The members' outlets, for the media path.
    slots: Slots<Rc<Outlet>>,
    joining: Option<Joining>,
    /// Renditions that somebody begins to take, and of which nothing is kept.
    missing: Vec<(TrackId, u8)>,
    timer: Option<Timer>,
    this: Weak<RefCell<Self>>,
}

/// A session that asks for a seat.
#[derive(Debug)]
pub(super) struct Joining {
    pub outlet: Rc<Outlet>,
    pub ending: Rc<Ending>,
    pub remote: SocketAddr,
    pub identity: Option<Identity>,
    /// What came of it.
    pub seat: Option<Result<(ParticipantId, Slot), CloseReason>>,
}

/// What a hosting program is told of a participant.
#[derive(Debug)]
struct Seated {
    subject: Subject,
}

#[derive(Debug)]
struct Member {
    slot: Slot,
    outlet: Rc<Outlet>,
    ending: Rc<Ending>,
    /// History that is still to be sent.
    replay: Option<Replay>,
    replay_wanted: Rc<Notify>,
    /// What it is sent as soon as it has been told who is in the room.
    begins: Vec<Begin>,
    /// The first message that was still kept when the last page was read.
    first_kept: u64,
}

/// A part of the history that a member is to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replay {
    pub after: u64,
    pub through: u64,
}

/// The task that waits for the room's next timeout; ends with it.
#[derive(Debug)]
struct Timer {
    due: Duration,
    task: JoinHandle<()>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LiveRoom {
    pub fn new(room: Room, budget: PictureBudget) -> Rc<RefCell<Self>> {
        Rc::new_cyclic(|this| {
            RefCell::new(Self {
                room,
                routes: Routes::new(budget),
                speakers: Speakers::default(),
                gathering: RefCell::default(),
                seated: BTreeMap::new(),
                members: BTreeMap::new(),
                slots: Slots::default(),
                joining: None,
                missing: Vec::new(),
                timer: None,
                this: this.clone(),
            })
        })
    }

    pub fn room(&self) -> &Room {
        &self.room
    }

    pub fn name(&self) -> &RoomName {
        self.room.name()
    }

    pub fn participant_name(&self, participant: ParticipantId) -> &str {
        self.room.participant_name(participant).unwrap_or_default()
    }

    /// Gives a session a seat.
    pub fn join(
        &mut self,
        shard: &Rc<Shard>,
        session: SessionKey,
        joining: Joining,
        request: JoinRequest,
    ) -> Result<(ParticipantId, Slot), CloseReason> {
        self.joining = Some(joining);
        self.handle(shard, Input::Join { session, request });
        let Joining { outlet, ending, seat, .. } = self.joining.take().ok_or(CloseReason::Internal)?;
        let joined = seat.ok_or(CloseReason::Internal)??;
        shard.rosters.borrow_mut().note(&outlet, &ending);
        Ok(joined)
    }

    /// Tells the room what happened and carries out what it decides.
    pub fn handle(&mut self, shard: &Rc<Shard>, input: Input) {
        for output in self.room.handle(shard.now(), input) {
            self.apply(shard, output);
        }
        self.tell_speakers(shard);
        self.arm_timer(shard);
        self.ask_for_missing(shard);
    }

    fn apply(&mut self, shard: &Rc<Shard>, output: Output) {
        if let Some(reason) = refusal(&output) {
            shard.metrics.refuse_request(reason);
        }
        match output {
            Output::Subscribed { track, subscriber, .. } if self.is_newcomer(subscriber) => {
                self.put_off(subscriber, Begin::Media(track));
            }
            Output::PictureWanted { track, subscriber, .. } if self.is_newcomer(subscriber) => {
                self.put_off(subscriber, Begin::Picture(track));
            }
            Output::Admitted(admitted) => self.admit(shard, admitted),
            Output::Refused { reason, .. } => self.refuse(reason),
            Output::Away { participant } => self.detach(participant),
            Output::Left { participant, reason } => self.remove(shard, participant, reason),
            Output::Tell { to, message } => self.send(to, &Encoded::control(&message)),
            Output::Chat { to, message } => self.send(to, &Encoded::chat(&message)),
            Output::Deliver { to, message } => self.deliver(&to, &message),
            Output::Store(message) => shard.history.append(self.room.name(), message),
            Output::Note(notes) => shard.history.note(self.room.name(), notes),
            Output::Replay { participant, after, through } => self.replay(participant, Replay { after, through }),
            Output::CaughtUp { participant, position } => self.caught_up(participant, position),
            Output::RouteOpened { track, publisher, highest, is_video, source } => {
                if let Some(member) = self.members.get(&publisher) {
                    self.routes.open(track, member.slot, highest);
                    if is_video {
                        self.routes.keep_pictures(track);
                    } else if source == TrackSource::Microphone {
                        self.routes.listen(track);
                    }
                }
            }
            Output::RouteClosed { track } => self.routes.close(track),
            Output::RouteMuted { track, muted } => self.routes.set_muted(track, muted),
            Output::RouteHeld { track, held } => self.routes.set_held(track, held),
            Output::Subscribed { track, subscriber, layers } => self.subscribe(track, subscriber, layers),
            Output::PictureWanted { track, subscriber, layers } => self.show(shard, track, subscriber, layers),
            Output::LayersSet { track, subscriber, layers } => {
                if let Some(member) = self.members.get(&subscriber) {
                    self.routes.set_layers(track, member.slot, layers);
                }
            }
            Output::Unsubscribed { track, subscriber } => {
                if let Some(member) = self.members.get(&subscriber) {
                    self.routes.unsubscribe(track, member.slot);
                }
            }
            Output::MeasurementsWanted { participant, request } => self.tell_measurements(participant, request),
            Output::PassedOver(what) => shard.metrics.pass_over(what),
            Output::Close { participant, reason } => self.end(participant, reason),
        }
    }

    fn subscribe(&mut self, track: TrackId, subscriber: ParticipantId, layers: Layers) {
        if let Some(member) = self.members.get(&subscriber) {
            self.routes.subscribe(track, member.slot, layers);
        }
    }

    fn admit(&mut self, shard: &Shard, admitted: Admitted) {
        let Some(joining) = &mut self.joining else {
            return;
        };
        let Admitted { participant, resumed, tracks, participants, chat, locked, name, permissions, .. } = admitted;
        let slot = self.slots.take(joining.outlet.clone());
        joining.seat = Some(Ok((participant, slot)));
        let claim = SeatClaim { epoch: chat.epoch, participant, identity: joining.identity.clone() };
        let carrier = joining.outlet.carrier();
        info!(room = %self.room.name(), %participant, %carrier, remote = %joining.remote, resumed, protocol = VERSION, "joined");
        let subject = Subject::Participant {
            participant: Some(participant),
            name: name.clone(),
            identity: joining.identity.clone(),
            carrier,
            remote: joining.remote,
        };
        let welcome = Welcome {
            participant,
            ticket: shard.tickets.seal(self.room.name(), claim),
            seat_ms: shard.limits.seat_seconds.saturating_mul(1000),
            resumed,
            tracks,
            participants,
            chat,
            locked,
            name,
            permissions,
            media_bytes_max: MEDIA_BYTES_MAX as u16,
            chat_bytes_max: shard.limits.chat_bytes,
            relay: concat!("tertulia ", env!("CARGO_PKG_VERSION")).into(),
        };
        joining.outlet.send_uncounted(&Encoded::control(&ServerMessage::Welcome(welcome)));
        let member = Member {
            slot,
            outlet: joining.outlet.clone(),
            ending: joining.ending.clone(),
            replay: None,
            replay_wanted: Rc::new(Notify::new()),
            begins: Vec::new(),
            first_kept: 0,
        };
        self.seated.insert(participant, Seated { subject });
        self.members.insert(participant, member);
    }

    fn refuse(&mut self, reason: CloseReason) {
        if let Some(joining) = &mut self.joining {
            joining.seat = Some(Err(reason));
        }
    }

    /// A participant cannot be reached any more. Its slot stays taken until its session has ended: until then datagrams may
    /// come that bear it.
    fn detach(&mut self, participant: ParticipantId) {
        if let Some(member) = self.members.remove(&participant) {
            self.slots.vacate(member.slot);
        }
    }

    fn remove(&mut self, shard: &Shard, participant: ParticipantId, reason: CloseReason) {
        self.detach(participant);
        if let Some(Seated { subject }) = self.seated.remove(&participant) {
            info!(room = %self.room.name(), %participant, reason = reason.label(), "left");
            shard.note_left(self.room.name(), subject, reason);
        }
    }

    /// A session has ended: others may have its slot.
    pub fn free(&mut self, slot: Slot) {
        self.slots.free(slot);
    }

    fn end(&self, participant: ParticipantId, reason: CloseReason) {
        if let Some(member) = self.members.get(&participant) {
            debug!(room = %self.room.name(), %participant, reason = reason.label(), "closing");
            member.ending.request(reason);
        }
    }

    /// Ends every session.
    pub fn end_all(&self, reason: CloseReason) {
        for member in self.members.values() {
            member.ending.request(reason);
        }
    }

    /// Tells the hosting program of everyone that the room ends with the relay.
    pub fn note_end(&mut self, shard: &Shard) {
        for Seated { subject } in std::mem::take(&mut self.seated).into_values() {
            shard.note_left(self.room.name(), subject, CloseReason::ShuttingDown);
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

    fn deliver(&self, to: &[ParticipantId], message: &ChatMessage) {
        if to.is_empty() {
            return;
        }
        let encoded = EncodedChat::new(message);
        for member in to.iter().filter_map(|participant| self.members.get(participant)) {
            member.note(member.outlet.send_chat(&encoded));
        }
    }

    fn replay(&mut self, participant: ParticipantId, replay: Replay) {
        if let Some(member) = self.members.get_mut(&participant) {
            member.replay = Some(replay);
            member.replay_wanted.notify_one();
        }
    }

    /// What a member is to be sent of the history, or what tells when that changes.
    pub fn wanted_replay(&self, participant: ParticipantId) -> Result<Replay, Option<Rc<Notify>>> {
        let member = self.members.get(&participant).ok_or(None)?;
        member.replay.ok_or_else(|| Some(member.replay_wanted.clone()))
    }

    /// Queues a page of history, and says whether more is to come.
    pub fn take_page(&mut self, shard: &Rc<Shard>, participant: ParticipantId, page: &Page) -> bool {
        let Some(member) = self.members.get_mut(&participant) else {
            return false;
        };
        let Some(replay) = &mut member.replay else {
            return false;
        };
        replay.after = page.through;
        let (is_last, through) = (page.through >= replay.through, replay.through);
        member.first_kept = page.first_kept;
        for message in &page.messages {
            member.note(member.outlet.send_chat(&EncodedChat::new(message)));
        }
        if is_last {
            member.replay = None;
            self.handle(shard, Input::Replayed { participant, through });
        }
        !is_last
    }

    fn caught_up(&self, participant: ParticipantId, position: ChatPosition) {
        let first_kept = self.members.get(&participant).map_or(0, |member| member.first_kept);
        self.send(Audience::One(participant), &Encoded::chat(&ServerChat::CaughtUp { position, first_kept }));
    }

    pub fn refuse_chat(&self, shard: &Shard, from: ParticipantId, message: &ClientChat) {
        if let ClientChat::Send { message_id, .. } = message {
            let reason = RefuseReason::RefusedByHost;
            shard.metrics.refuse_request(reason);
            let message = ServerChat::Refused { message_id: *message_id, reason, message: reason.to_string() };
            self.send(Audience::One(from), &Encoded::chat(&message));
        }
    }

    /// Passes on the datagrams that arrived from one publisher, run by run: a run is what goes to the same subscribers.
    pub fn forward(&mut self, shard: &Rc<Shard>, publisher: &mut Publisher, burst: &mut Vec<Bytes>) {
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
                Ok(Forward::To(_)) if waits => self.gather(shard, datagram),
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
                Ok(Forward::Echo) => self.send_to(now, shard, publisher.slot(), &[datagram]),
                Ok(Forward::Repeat) => self.repeat(shard, now, publisher, &datagram),
                Err(reason) => self.leave_out(shard, publisher.slot(), reason),
            }
        }
        self.send_run(now, shard, run_to, &mut run);
        if let Some(outlet) = self.slots.get(publisher.slot()) {
            outlet.tally().note_arrivals(publisher.arrivals());
        }
        if self.routes.take_voice_begun() {
            self.speakers.begin(now);
            self.arm_timer(shard);
        }
    }

    /// Lets a small datagram wait for others.
    fn gather(&self, shard: &Shard, datagram: Bytes) {
        shard.metrics.datagrams_gathered.inc();
        if self.gathering.borrow_mut().push(datagram)
            && let Some(room) = self.this.upgrade()
        {
            shard.note_gathering(room);
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
        for datagram in &gathered {
            let burst = Burst::new(now, std::slice::from_ref(datagram), &self.room);
            self.send_burst(shard, self.routes.takers_now(datagram), &burst);
        }
        gathered.clear();
        shard.gathered.replace(gathered);
    }

    /// Sends once more what a subscriber asks for.
    fn repeat(&self, shard: &Shard, now: Now, subscriber: &mut Publisher, request: &[u8]) {
        let mut found = Vec::new();
        if let Err(reason) = self.routes.repeat(now, subscriber, request, &mut found) {
            shard.metrics.drop_datagrams(reason, 1);
        }
        if found.is_empty() {
            return;
        }
        shard.metrics.datagrams_repeated.inc_by(found.len() as u64);
        self.send_to(now, shard, subscriber.slot(), &found);
    }

    /// Sends datagrams to one participant.
    pub fn send_to(&self, now: Now, shard: &Shard, to: Slot, datagrams: &[Bytes]) {
        self.send_burst(shard, &[to], &Burst::new(now, datagrams, &self.room));
    }

    fn send_run(&self, now: Now, shard: &Shard, to: &[Slot], run: &mut Vec<Bytes>) {
        self.send_burst(shard, to, &Burst::new(now, run, &self.room));
        run.clear();
    }

    fn leave_out(&self, shard: &Shard, from: Slot, reason: DropReason) {
        match self.slots.get(from) {
            Some(outlet) => outlet.tally().leave_out(&shard.metrics, reason, 1),
            None => shard.metrics.drop_datagrams(reason, 1),
        }
    }

    fn send_burst(&self, shard: &Shard, to: &[Slot], burst: &Burst<'_>) {
        for outlet in to.iter().filter_map(|slot| self.slots.get(*slot)) {
            outlet.send_datagrams(burst, &shard.metrics);
        }
    }

    fn arm_timer(&mut self, shard: &Rc<Shard>) {
        let all = [self.room.next_timeout(), self.speakers.next_timeout()];
        let Some(due) = all.into_iter().flatten().min() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_some_and(|timer| timer.due == due && !timer.task.is_finished()) {
            return;
        }
        let (this, shard) = (self.this.clone(), shard.clone());
        let task = tokio::task::spawn_local(async move {
            tokio::time::sleep_until(shard.instant(due)).await;
            if let Some(room) = this.upgrade() {
                shard.guard("timer", || shard.handle(&room, Input::Timeout));
            }
        });
        self.timer = Some(Timer { due, task });
    }
}

impl Member {
    fn note(&self, sent: Result<(), Full>) {
        if sent == Err(Full) {
            self.ending.request(CloseReason::SlowConsumer);
        }
    }
}

/// Why a request or a chat message is refused, if that is what an output says.
fn refusal(output: &Output) -> Option<RefuseReason> {
    match output {
        Output::Tell { message: ServerMessage::Failed { reason, .. }, .. }
        | Output::Chat { message: ServerChat::Refused { reason, .. }, .. } => Some(*reason),
        _ => None,
    }
}
