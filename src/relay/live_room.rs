use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tracing::{debug, info};

use super::outbox::Full;
use super::outlet::{Encoded, EncodedChat, Ending, Outlet};
use super::shard::Shard;
use crate::limits::{Limits, MEDIA_BYTES_MAX};
use crate::media::{Forward, Publisher, Routes, Slot};
use crate::room::{Audience, Input, JoinRequest, Output, Room, SessionKey};
use crate::wire::{
    ChatMessage, ChatPosition, ClientChat, CloseReason, ParticipantId, RoomName, ServerChat, ServerMessage, VERSION,
    Welcome,
};

/// A room with its participants' connections: it carries out what the [`Room`] decides.
#[derive(Debug)]
pub(super) struct LiveRoom {
    room: Room,
    routes: Routes,
    members: BTreeMap<ParticipantId, Member>,
    /// The members' outlets by slot, for the media path.
    slots: Vec<Option<Rc<Outlet>>>,
    joining: Option<Joining>,
    timer: Option<Timer>,
    this: Weak<RefCell<Self>>,
}

/// A session that asks for a seat.
#[derive(Debug)]
pub(super) struct Joining {
    pub outlet: Rc<Outlet>,
    pub ending: Rc<Ending>,
    pub remote: SocketAddr,
    /// What came of it.
    pub seat: Option<Result<(ParticipantId, Slot), CloseReason>>,
}

#[derive(Debug)]
struct Member {
    slot: Slot,
    outlet: Rc<Outlet>,
    ending: Rc<Ending>,
    replay: Option<Replay>,
    first_kept: u64,
}

/// History that a member is still to be sent.
#[derive(Debug, Clone, Copy)]
struct Replay {
    after: u64,
    through: u64,
    fetching: bool,
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
    pub fn new(room: Room) -> Rc<RefCell<Self>> {
        Rc::new_cyclic(|this| {
            RefCell::new(Self {
                room,
                routes: Routes::default(),
                members: BTreeMap::new(),
                slots: Vec::new(),
                joining: None,
                timer: None,
                this: this.clone(),
            })
        })
    }

    pub fn name(&self) -> &RoomName {
        self.room.name()
    }

    pub fn is_empty(&self) -> bool {
        self.room.is_empty()
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
        let joined = self.joining.take().and_then(|joining| joining.seat);
        joined.unwrap_or(Err(CloseReason::Internal))
    }

    /// Tells the room what happened and carries out what it decides, and what follows from that.
    pub fn handle(&mut self, shard: &Rc<Shard>, input: Input) {
        for output in self.room.handle(shard.now(), input) {
            self.apply(shard, output);
        }
        self.arm_timer(shard);
    }

    fn apply(&mut self, shard: &Rc<Shard>, output: Output) {
        match output {
            Output::Admitted { participant, participants, chat, .. } => {
                self.admit(shard, participant, participants, chat);
            }
            Output::Refused { reason, .. } => self.refuse(reason),
            Output::Left { participant } => self.remove(participant),
            Output::Tell { to, message } => self.send(to, &Encoded::control(&message)),
            Output::Chat { to, message } => self.send(to, &Encoded::chat(&message)),
            Output::Deliver { to, message } => self.deliver(&to, &message),
            Output::Store(message) => self.store(shard, message),
            Output::Replay { participant, after, through } => {
                if let Some(member) = self.members.get_mut(&participant) {
                    member.replay = Some(Replay { after, through, fetching: false });
                }
                let (this, shard) = (self.this.clone(), shard.clone());
                tokio::task::spawn_local(async move {
                    if let Some(room) = this.upgrade() {
                        Self::chat_drained(&room, &shard, participant).await;
                    }
                });
            }
            Output::CaughtUp { participant, position } => self.caught_up(participant, position),
            Output::RouteOpened { track, publisher } => {
                if let Some(member) = self.members.get(&publisher) {
                    self.routes.open(track, member.slot);
                }
            }
            Output::RouteClosed { track } => self.routes.close(track),
            Output::Subscribed { track, subscriber } => {
                if let Some(member) = self.members.get(&subscriber) {
                    self.routes.subscribe(track, member.slot);
                }
            }
            Output::Unsubscribed { track, subscriber } => {
                if let Some(member) = self.members.get(&subscriber) {
                    self.routes.unsubscribe(track, member.slot);
                }
            }
            Output::Close { participant, reason } => self.end(participant, reason),
        }
    }

    fn admit(&mut self, shard: &Shard, participant: ParticipantId, participants: u32, chat: ChatPosition) {
        let Some(joining) = &mut self.joining else {
            return;
        };
        let slot = free_slot(&mut self.slots, joining.outlet.clone());
        joining.seat = Some(Ok((participant, slot)));
        let welcome = Welcome {
            participant,
            resume: [0; 16],
            participants,
            chat,
            media_bytes_max: MEDIA_BYTES_MAX as u16,
            chat_bytes_max: shard.limits.chat_bytes,
            relay: concat!("tertulia ", env!("CARGO_PKG_VERSION")).into(),
        };
        joining.outlet.send_uncounted(&Encoded::control(&ServerMessage::Welcome(welcome)));
        let carrier = joining.outlet.carrier();
        info!(room = %self.room.name(), %participant, %carrier, remote = %joining.remote, protocol = VERSION, "joined");
        let member = Member {
            slot,
            outlet: joining.outlet.clone(),
            ending: joining.ending.clone(),
            replay: None,
            first_kept: 0,
        };
        self.members.insert(participant, member);
    }

    fn refuse(&mut self, reason: CloseReason) {
        if let Some(joining) = &mut self.joining {
            joining.seat = Some(Err(reason));
        }
    }

    fn remove(&mut self, participant: ParticipantId) {
        if let Some(member) = self.members.remove(&participant) {
            self.slots[member.slot.0 as usize] = None;
        }
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

    fn send(&self, to: Audience, encoded: &Encoded) {
        match to {
            Audience::One(participant) => {
                let Some(member) = self.members.get(&participant) else {
                    return;
                };
                // What a newcomer is told about those who are there is bounded by the room.
                if self
                    .joining
                    .as_ref()
                    .is_some_and(|joining| matches!(joining.seat, Some(Ok((newcomer, _))) if newcomer == participant))
                {
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

    fn store(&self, shard: &Shard, message: Arc<ChatMessage>) {
        shard.history.append(self.room.name(), message);
        shard.metrics.chat_messages.inc();
    }

    pub fn notes(&self) -> crate::room::RoomNotes {
        self.room.notes()
    }

    /// A member's chat outbox is empty: there is room for more history.
    pub async fn chat_drained(this: &Rc<RefCell<Self>>, shard: &Rc<Shard>, participant: ParticipantId) {
        let (name, replay) = {
            let mut room = this.borrow_mut();
            let name = room.name().clone();
            let Some(replay) = room.members.get_mut(&participant).and_then(|member| member.replay.as_mut()) else {
                return;
            };
            if std::mem::replace(&mut replay.fetching, true) {
                return;
            }
            (name, *replay)
        };
        let bytes_max = replay_page_bytes(&shard.limits);
        let page = shard.history.page(name, participant, replay.after, replay.through, bytes_max).await;
        let mut room = this.borrow_mut();
        let Some(member) = room.members.get_mut(&participant) else {
            return;
        };
        let Ok(page) = page else {
            member.ending.request(CloseReason::Internal);
            return;
        };
        for message in &page.messages {
            member.note(member.outlet.send_chat(&EncodedChat::new(message)));
        }
        member.first_kept = page.first_kept;
        if page.through < replay.through {
            member.replay = Some(Replay { after: page.through, fetching: false, ..replay });
            return;
        }
        member.replay = None;
        room.handle(shard, Input::Replayed { participant, through: replay.through });
    }

    fn caught_up(&self, participant: ParticipantId, position: ChatPosition) {
        let first_kept = self.members.get(&participant).map_or(0, |member| member.first_kept);
        self.send(Audience::One(participant), &Encoded::chat(&ServerChat::CaughtUp { position, first_kept }));
    }

    pub fn refuse_chat(&self, from: ParticipantId, message: &ClientChat) {
        if let ClientChat::Send { message_id, .. } = message {
            let reason = crate::wire::RefuseReason::RefusedByHost;
            let message = ServerChat::Refused { message_id: *message_id, reason, message: reason.to_string() };
            self.send(Audience::One(from), &Encoded::chat(&message));
        }
    }

    /// Passes on the datagrams that arrived from one publisher, run by run: a run is what goes to the same subscribers.
    pub fn forward(&self, shard: &Shard, publisher: &mut Publisher, burst: &mut Vec<Bytes>) {
        let now = shard.now();
        shard.metrics.datagrams_received.inc_by(burst.len() as u64);
        let mut run = shard.run.borrow_mut();
        // A panic in the middle of an earlier run may have left something.
        run.clear();
        let mut run_to: &[Slot] = &[];
        for datagram in burst.drain(..) {
            match self.routes.forward(now, &shard.limits, publisher, &datagram) {
                Ok(Forward::To(subscribers)) => {
                    if !std::ptr::eq(subscribers, run_to) {
                        self.send_run(shard, run_to, &mut run);
                        run_to = subscribers;
                    }
                    run.push(datagram);
                }
                Ok(Forward::Echo) => self.send_datagrams(shard, publisher.slot(), &[datagram]),
                Err(reason) => shard.metrics.drop_datagrams(reason, 1),
            }
        }
        self.send_run(shard, run_to, &mut run);
    }

    fn send_run(&self, shard: &Shard, to: &[Slot], run: &mut Vec<Bytes>) {
        for slot in to {
            self.send_datagrams(shard, *slot, run);
        }
        run.clear();
    }

    fn send_datagrams(&self, shard: &Shard, to: Slot, datagrams: &[Bytes]) {
        if let Some(Some(outlet)) = self.slots.get(to.0 as usize) {
            outlet.send_datagrams(datagrams, &shard.metrics);
        }
    }

    fn arm_timer(&mut self, shard: &Rc<Shard>) {
        let Some(due) = self.room.next_timeout() else {
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
                let mut room = room.borrow_mut();
                room.handle(&shard, Input::Timeout);
            }
        });
        self.timer = Some(Timer { due, task });
    }
}

/// How much history is queued for one participant at a time, in bytes: a quarter of what its outbox takes, and no more
/// messages than half of what it takes.
fn replay_page_bytes(limits: &Limits) -> usize {
    let messages = limits.outbox_messages as usize / 2;
    (limits.outbox_bytes as usize / 4).min(messages * size_of::<ChatMessage>())
}

impl Member {
    fn note(&self, sent: Result<(), Full>) {
        if sent == Err(Full) {
            self.ending.request(CloseReason::SlowConsumer);
        }
    }
}

fn free_slot(slots: &mut Vec<Option<Rc<Outlet>>>, outlet: Rc<Outlet>) -> Slot {
    let free = slots.iter().position(Option::is_none).unwrap_or_else(|| {
        slots.push(None);
        slots.len() - 1
    });
    slots[free] = Some(outlet);
    Slot(u32::try_from(free).expect("a room has far fewer than 2^32 participants"))
}
