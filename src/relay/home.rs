mod span;
mod speaking;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::info;

use span::Span;

use super::callbacks::Subject;
use super::part::{Admission, Order, PartOpening, SharedPart};
use super::post::{Letter, RoomKey, ShardId};
use super::shard::Shard;
use crate::auth::SeatClaim;
use crate::limits::MEDIA_BYTES_MAX;
use crate::media::{SharedFloor, Speakers, Speaking};
use crate::room::{Admitted, Audience, Input, JoinRequest, Output, Room, SessionKey};
use crate::transport::Carrier;
use crate::wire::{
    CloseReason, Identity, ParticipantId, RefuseReason, RoomName, ServerChat, ServerMessage, VERSION, Welcome,
};

/// A room's home, shared by what is on its shard.
pub(super) type SharedHome = Rc<RefCell<Home>>;

/// Where a room's rules run, on one shard: it has its [parts](super::part::Part), on this shard and on others, carry out what the [`Room`] decides.
#[derive(Debug)]
pub(super) struct Home {
    key: RoomKey,
    room: Room,
    speakers: Speakers,
    /// Who speaks on other shards, as they said last.
    voices: BTreeMap<ShardId, Vec<Speaking>>,
    floor: SharedFloor,
    /// Who has a seat, from the first session to the end of the seat, as a hosting program is told of them.
    seated: BTreeMap<ParticipantId, Subject>,
    span: Span,
    /// Its part on this shard.
    part: Option<SharedPart>,
    joining: Option<Joining>,
    /// Whether it takes no chat until some of it is kept, for its parts to see.
    chat_busy: Arc<AtomicBool>,
    timer: Option<Timer>,
    this: Weak<RefCell<Self>>,
}

/// A session that asks for a seat.
#[derive(Debug)]
pub(super) struct Joining {
    pub session: SessionKey,
    pub shard: ShardId,
    pub request: JoinRequest,
    pub carrier: Carrier,
    pub remote: SocketAddr,
    /// The participant that it has become.
    pub admitted: Option<ParticipantId>,
}

impl Joining {
    /// As a hosting program is asked about it.
    pub fn subject(&self) -> Subject {
        let shown = self.request.grant.name.as_ref().or(self.request.name.as_ref());
        Subject::Participant {
            participant: None,
            name: shown.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            identity: self.identity(),
            carrier: self.carrier,
            remote: self.remote,
        }
    }

    fn identity(&self) -> Option<Identity> {
        self.request.grant.identity.clone()
    }
}

/// The task that waits for something to be due; ends with it.
#[derive(Debug)]
pub(super) struct Timer {
    pub due: Duration,
    pub task: JoinHandle<()>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Home {
    pub fn new(key: RoomKey, room: Room) -> SharedHome {
        Rc::new_cyclic(|this| {
            RefCell::new(Self {
                key,
                room,
                speakers: Speakers::default(),
                voices: BTreeMap::new(),
                floor: SharedFloor::default(),
                seated: BTreeMap::new(),
                span: Span::default(),
                part: None,
                joining: None,
                chat_busy: Arc::default(),
                timer: None,
                this: this.clone(),
            })
        })
    }

    pub fn key(&self) -> RoomKey {
        self.key
    }

    pub fn room(&self) -> &Room {
        &self.room
    }

    pub fn name(&self) -> &RoomName {
        self.room.name()
    }

    /// Gives a session a seat, or tells its shard that it gets none.
    pub fn join(&mut self, shard: &Rc<Shard>, joining: Joining) {
        let (session, request) = (joining.session, joining.request.clone());
        self.joining = Some(joining);
        self.handle(shard, Input::Join { session, request });
    }

    /// Tells the room what happened and has carried out what it decides.
    pub fn handle(&mut self, shard: &Rc<Shard>, input: Input) {
        self.decide(shard, input);
        self.tell_speakers(shard);
        self.settle(shard);
        while let Some(said) = self.part.as_ref().and_then(|part| part.borrow_mut().take_said()) {
            self.decide(shard, said);
        }
        self.arm_timer(shard);
        self.chat_busy.store(self.room.is_chat_busy(), Ordering::Relaxed);
    }

    fn decide(&mut self, shard: &Rc<Shard>, input: Input) {
        let ended = match &input {
            Input::Ended { session, .. } => Some(*session),
            _ => None,
        };
        for output in self.room.handle(shard.now(), input) {
            self.carry_out(shard, output);
        }
        if let Some(last_of) = ended.and_then(|session| self.span.end(session)) {
            self.close_part(shard, last_of);
        }
    }

    fn carry_out(&mut self, shard: &Rc<Shard>, output: Output) {
        if let Some(reason) = refusal(&output) {
            shard.metrics.refuse_request(reason);
        }
        match output {
            Output::Admitted(admitted) => self.admit(shard, admitted),
            Output::Refused { session, reason } => {
                if let Some(joining) = self.joining.take() {
                    shard.refuse(joining.shard, session, reason);
                }
            }
            Output::Store(message) => shard.history.append(self.room.name(), message),
            Output::Note(notes) => shard.history.note(self.room.name(), notes),
            Output::PassedOver(what) => shard.metrics.pass_over(what),
            Output::Left { participant, reason } => {
                self.spread(shard, Output::Left { participant, reason });
                if let Some(subject) = self.seated.remove(&participant) {
                    info!(room = %self.room.name(), %participant, reason = reason.label(), "left");
                    shard.note_left(self.room.name(), subject, reason);
                }
            }
            output => self.spread(shard, output),
        }
    }

    fn spread(&mut self, shard: &Rc<Shard>, output: Output) {
        for (to, order) in self.span.spread(output) {
            self.order(shard, to, order);
        }
    }

    fn order(&self, shard: &Rc<Shard>, to: ShardId, order: Order) {
        if to != shard.id {
            shard.post.send(to, Letter::Order(self.key, Box::new(order)));
        } else if let Some(part) = &self.part {
            part.borrow_mut().carry_out(shard, order);
        }
    }

    fn admit(&mut self, shard: &Rc<Shard>, admitted: Admitted) {
        let Some(joining) = &mut self.joining else {
            return;
        };
        let Joining { shard: to, carrier, remote, .. } = *joining;
        let identity = joining.identity();
        let Admitted { session, participant, resumed, tracks, participants, chat, locked, name, permissions } =
            admitted;
        joining.admitted = Some(participant);
        if self.span.enter(session, participant, to) {
            self.open_part(shard, to);
        }
        info!(room = %self.room.name(), %participant, %carrier, %remote, shard = %to, resumed, protocol = VERSION, "joined");
        let claim = SeatClaim { epoch: chat.epoch, participant, identity: identity.clone() };
        let subject =
            Subject::Participant { participant: Some(participant), name: name.clone(), identity, carrier, remote };
        self.seated.insert(participant, subject);
        let welcome = Welcome {
            participant,
            ticket: shard.tickets.seal(self.room.name(), claim),
            seat_ms: shard.limits.seat_seconds.saturating_mul(1000),
            resumed,
            tracks,
            participants,
            chat,
            locked,
            name: name.clone(),
            permissions,
            media_bytes_max: MEDIA_BYTES_MAX as u16,
            chat_bytes_max: shard.limits.chat_bytes,
            relay: concat!("tertulia ", env!("CARGO_PKG_VERSION")).into(),
        };
        let admission = Admission { session, participant, name, welcome: ServerMessage::Welcome(welcome) };
        self.order(shard, to, Order::Admit(Box::new(admission)));
    }

    /// Whoever has come in has been told what there is.
    fn settle(&mut self, shard: &Rc<Shard>) {
        let Some(Joining { shard: to, admitted: Some(newcomer), .. }) = self.joining.take() else {
            return;
        };
        if !self.speakers.told().is_empty() {
            let message = ServerMessage::ActiveSpeakers { participants: self.speakers.told().to_vec() };
            self.spread(shard, Output::Tell { to: Audience::One(newcomer), message });
        }
        self.order(shard, to, Order::Settle);
    }

    fn open_part(&mut self, shard: &Rc<Shard>, on: ShardId) {
        let opening = PartOpening {
            name: self.room.name().clone(),
            home: shard.id,
            chat_busy: self.chat_busy.clone(),
            floor: self.floor.clone(),
            routes: self.span.routes(),
        };
        if on == shard.id {
            self.part = Some(shard.open_part(self.key, opening, self.this.clone()));
        } else {
            shard.post.send(on, Letter::Open(self.key, Box::new(opening)));
        }
    }

    fn close_part(&mut self, shard: &Shard, on: ShardId) {
        self.voices.remove(&on);
        if on != shard.id {
            shard.post.send(on, Letter::Close(self.key));
        } else if self.part.take().is_some() {
            shard.close_part(self.key);
        }
    }

    /// Nobody has a seat in it any more. Sessions that are still ending go on without it.
    pub fn close(&mut self, shard: &Shard) {
        for on in self.span.shards().collect::<Vec<_>>() {
            self.close_part(shard, on);
        }
    }

    /// Tells the hosting program of everyone that the room ends with the relay.
    pub fn note_end(&mut self, shard: &Shard) {
        for subject in std::mem::take(&mut self.seated).into_values() {
            shard.note_left(self.room.name(), subject, CloseReason::ShuttingDown);
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
            shard.post.space().await;
            if let Some(home) = this.upgrade() {
                shard.guard("timer", || shard.handle(&home, Input::Timeout));
            }
        });
        self.timer = Some(Timer { due, task });
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
