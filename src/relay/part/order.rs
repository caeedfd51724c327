//! What a part carries out.

use std::rc::Rc;

use tokio::sync::Notify;
use tracing::debug;

use super::{Encoded, Member, Newcomer, Part, Replay, Seated, Taker};
use crate::relay::post::ShardId;
use crate::relay::shard::Shard;
use crate::room::{Input, Output, SessionKey};
use crate::wire::{CloseReason, ParticipantId, ServerMessage, TrackId, TrackSource};

/// What a room's home wants one of its parts to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::relay) enum Order {
    /// What the room has decided, as far as it concerns this part.
    Output(Output),
    /// A session of this shard has a seat.
    Admit(Box<Admission>),
    /// Whoever was admitted last has been told what there is.
    Settle,
    /// Somebody on another shard begins to take a track that is published here: all of it goes there from now on, and what is kept of
    /// it first.
    Link { track: TrackId, to: ShardId },
    /// Nobody there takes it any more.
    Unlink { track: TrackId, to: ShardId },
    /// What is kept of a track on its publisher's shard will come, before anything else of it.
    AwaitKept { track: TrackId },
}

/// A seat that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::relay) struct Admission {
    pub session: SessionKey,
    pub participant: ParticipantId,
    pub name: String,
    pub welcome: ServerMessage,
}

impl From<Output> for Order {
    fn from(output: Output) -> Self {
        Self::Output(output)
    }
}

impl Part {
    /// Carries out what the home wants.
    pub fn carry_out(&mut self, shard: &Shard, order: Order) {
        match order {
            Order::Output(output) => self.carry_out_output(shard, output),
            Order::Admit(admission) => self.admit(shard, *admission),
            Order::Settle => self.settle(shard),
            Order::Link { track, to } => self.link(shard, track, to),
            Order::Unlink { track, to } => self.unlink(track, to),
            Order::AwaitKept { track } => _ = self.awaited.insert(track, Vec::new()),
        }
    }

    pub(super) fn carry_out_output(&mut self, shard: &Shard, output: Output) {
        match output {
            Output::Away { participant } | Output::Left { participant, .. } => self.detach(participant),
            Output::Tell { to, message } => self.send(to, &Encoded::control(&message)),
            Output::Chat { to, message } => self.tell_chat(to, &message),
            Output::Deliver { to, message } => self.deliver(shard, &to, &message),
            Output::Replay { participant, after, through } => self.replay(participant, Replay { after, through }),
            Output::CaughtUp { participant, position } => self.caught_up(participant, position),
            Output::RouteOpened { track, publisher, highest, is_video, source } => {
                let publisher = self.members.get(&publisher).map(|member| member.slot);
                match publisher {
                    Some(slot) => self.routes.open(track, slot, highest),
                    None => self.routes.open_elsewhere(track, highest),
                }
                if is_video {
                    self.routes.keep_pictures(track);
                } else if source == TrackSource::Microphone && publisher.is_some() {
                    self.routes.listen(track);
                }
            }
            Output::RouteClosed { track } => {
                self.awaited.remove(&track);
                self.routes.close(track);
            }
            Output::RouteMuted { track, muted } => self.routes.set_muted(track, muted),
            Output::RouteHeld { track, held } => self.routes.set_held(track, held),
            Output::Subscribed { track, subscriber, layers } => self.subscribe(track, subscriber, layers),
            Output::PictureWanted { track, subscriber, layers } => self.want_picture(shard, track, subscriber, layers),
            Output::LayersSet { track, subscriber, layers } => self.set_layers(track, subscriber, layers),
            Output::Unsubscribed { track, subscriber } => self.unsubscribe(track, subscriber),
            Output::MeasurementsWanted { participant, request } => self.tell_measurements(participant, request),
            Output::Close { participant, reason } => self.end(participant, reason),
            // The home carries them out by itself.
            Output::Admitted(_)
            | Output::Refused { .. }
            | Output::Store(_)
            | Output::Note(_)
            | Output::PassedOver(_) => {}
        }
    }

    fn admit(&mut self, shard: &Shard, admission: Admission) {
        let Admission { session, participant, name, welcome } = admission;
        let Some(asking) = shard.take_asking(session) else {
            // The session has ended meanwhile.
            self.said.push(Input::Ended { participant, session, reason: CloseReason::ConnectionLost });
            return;
        };
        let slot = self.slots.take(Taker::Participant(asking.outlet.clone()));
        asking.outlet.send_uncounted(&Encoded::control(&welcome));
        let member = Member {
            session,
            slot,
            outlet: asking.outlet,
            ending: asking.ending,
            remote: asking.remote,
            identity: asking.identity,
            fell_behind_at: None,
            has_fallen_behind: false,
            replay: None,
            replay_wanted: Rc::new(Notify::new()),
            begins: Some(Vec::new()),
            first_kept: 0,
        };
        if shard.is_stopping() {
            member.ending.request(CloseReason::ShuttingDown);
        }
        self.members.insert(participant, member);
        self.newcomer = Some(Newcomer { session, participant, name, slot, answer: asking.answer });
    }

    /// Now the session goes on: what it sends first is behind all that its participant is told about the room.
    fn settle(&mut self, shard: &Shard) {
        let Some(Newcomer { session, participant, name, slot, answer }) = self.newcomer.take() else {
            return;
        };
        if let Some(member) = self.members.get(&participant) {
            shard.rosters.borrow_mut().note(&member.outlet, &member.ending);
        }
        let Some(part) = self.this.upgrade() else {
            return;
        };
        if answer.send(Ok(Seated { part, participant, slot, name })).is_err() {
            // Nobody will let go of it who has not got it.
            self.slots.free(slot);
            self.said.push(Input::Ended { participant, session, reason: CloseReason::ConnectionLost });
        }
    }

    /// A participant cannot be reached any more, and all ways to it are closed. Its slot stays taken until its session has ended:
    /// until then datagrams may come that bear it.
    fn detach(&mut self, participant: ParticipantId) {
        if let Some(member) = self.members.remove(&participant) {
            self.slots.vacate(member.slot);
        }
    }

    fn end(&self, participant: ParticipantId, reason: CloseReason) {
        if let Some(member) = self.members.get(&participant) {
            debug!(room = %self.name, %participant, reason = reason.label(), "closing");
            member.ending.request(reason);
        }
    }
}
