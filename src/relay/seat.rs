use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until, timeout};

use super::callbacks::Said;
use super::outlet::{Ending, Outlet};
use super::part::{Replay, Seated, SharedPart};
use super::shard::Shard;
use crate::history::PageQuery;
use crate::limits::{Bucket, HISTORY_RETRY_INTERVAL, Limits, ROSTER_TIMEOUT};
use crate::media::{Publisher, Slot};
use crate::room::{Input, SessionKey};
use crate::wire::{ChatMessage, ClientChat, ClientMessage, CloseReason, DropReason, ParticipantId, RepeatRequest};

/// A session's hold on its participant's seat: dropping it tells the room that the session has ended.
#[derive(Debug)]
pub(super) struct Seat {
    shard: Rc<Shard>,
    part: SharedPart,
    participant: ParticipantId,
    session: SessionKey,
    slot: Slot,
    /// What the participant is called.
    name: String,
    publisher: RefCell<Publisher>,
    /// For messages of all kinds.
    messages: RefCell<Bucket>,
    /// When it is looked next what is missing of what the participant sent.
    look_at: Cell<Option<Duration>>,
    look_earlier: Notify,
    pub outlet: Rc<Outlet>,
    pub ending: Rc<Ending>,
    reason: Cell<CloseReason>,
}

impl Seat {
    pub fn new(shard: Rc<Shard>, session: SessionKey, seated: Seated, outlet: Rc<Outlet>, ending: Rc<Ending>) -> Self {
        let Seated { part, participant, slot, name } = seated;
        shard.metrics.participant_joined(outlet.carrier());
        let publisher = match outlet.round_trip() {
            Some(_) => Publisher::on_lossy_path(slot),
            None => Publisher::new(slot),
        };
        Self {
            shard,
            part,
            participant,
            session,
            slot,
            name,
            publisher: RefCell::new(publisher),
            messages: RefCell::default(),
            look_at: Cell::new(None),
            look_earlier: Notify::new(),
            outlet,
            ending,
            reason: Cell::new(CloseReason::ConnectionLost),
        }
    }

    /// Whether the room takes no chat until some of it is kept.
    pub fn is_chat_busy(&self) -> bool {
        self.part.borrow().is_chat_busy()
    }

    /// Counts one message of whatever kind, before it is looked at: what is refused or passed over costs time as well.
    ///
    /// # Errors
    /// [`CloseReason::TooFast`]: the session has sent more than it may for as long as a burst lasts.
    pub fn count_message(&self) -> Result<(), CloseReason> {
        let has_room = self.messages.borrow_mut().take(self.shard.now(), self.shard.limits.messages(), 1);
        has_room.then_some(()).ok_or(CloseReason::TooFast)
    }

    pub fn message(&self, message: ClientMessage) {
        if self.is_held() {
            self.shard.tell(&self.part, Input::Message { from: self.participant, message });
        }
    }

    pub fn chat(&self, message: ClientChat) {
        if !self.is_held() {
            return;
        }
        if let ClientChat::Send { to, body, .. } = &message {
            let part = self.part.borrow();
            let said = Said { room: part.name(), from: self.participant, from_name: &self.name, to: *to, body };
            if !self.shard.may_say(said) {
                return part.refuse_chat(&self.shard, self.participant, &message);
            }
        }
        self.shard.tell(&self.part, Input::Chat { from: self.participant, message });
    }

    /// Passes on what arrived, and empties `burst`.
    pub fn forward(&self, burst: &mut Vec<Bytes>) {
        let mut publisher = self.publisher.borrow_mut();
        let voice_begun = self.part.borrow_mut().forward(&self.shard, &mut publisher, burst);
        if voice_begun {
            self.shard.note_voice(&self.part);
        }
        let due = publisher.next_timeout();
        if due.is_some_and(|due| self.look_at.get().is_none_or(|at| due < at)) {
            self.look_earlier.notify_one();
        }
    }

    /// Something that arrived was no datagram.
    pub fn leave_out(&self, reason: DropReason) {
        self.outlet.tally().leave_out(&self.shard.metrics, reason, 1);
    }

    /// Asks the participant for what it sent and did not arrive. Ends with the session.
    pub async fn ask_again(&self) -> CloseReason {
        loop {
            let due = self.publisher.borrow().next_timeout();
            self.look_at.set(due);
            let looked = async {
                match due {
                    Some(due) => sleep_until(self.shard.instant(due)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = looked => self.ask(),
                () = self.look_earlier.notified() => {}
            }
        }
    }

    fn ask(&self) {
        let Some(round_trip) = self.outlet.round_trip() else {
            return;
        };
        let missing = self.publisher.borrow_mut().missing(self.shard.now(), round_trip);
        let requests: Vec<_> = missing.iter().map(RepeatRequest::encode).collect();
        self.shard.metrics.repeats_requested.inc_by(requests.len() as u64);
        self.outlet.ask(&requests, &self.shard.metrics);
    }

    /// Begins to send media once the participant has been told what there is. Ends with the session.
    pub async fn begin_media(&self) -> CloseReason {
        self.outlet.control_goes_first().await;
        if self.is_held() {
            self.part.borrow_mut().begin(&self.shard, self.participant);
            self.shard.tell_said(&self.part);
        }
        std::future::pending().await
    }

    /// Waits until the participant has not taken the roster in time. Ends with the session.
    pub async fn roster_overdue(&self) -> CloseReason {
        match timeout(ROSTER_TIMEOUT, self.outlet.roster_taken()).await {
            Ok(()) => std::future::pending().await,
            Err(_) => CloseReason::SlowConsumer,
        }
    }

    /// Sends history, page by page, as fast as the other side takes it. Ends with the session, or when nothing is taken any more.
    pub async fn feed_history(&self) -> CloseReason {
        let bytes_max = replay_page_bytes(&self.shard.limits);
        loop {
            let wanted = self.part.borrow().wanted_replay(self.participant);
            let replay = match wanted {
                Ok(replay) => replay,
                Err(Some(changed)) => {
                    changed.notified().await;
                    continue;
                }
                // Another session has the seat, or nobody: this one is about to end.
                Err(None) => std::future::pending().await,
            };
            // What waits was said before it.
            if !self.outlet.chat_drained().await {
                return CloseReason::SlowConsumer;
            }
            let (room, Replay { after, through }) = (self.part.borrow().name().clone(), replay);
            let query = PageQuery { room, reader: self.participant, after, through, bytes_max };
            let Ok(page) = self.shard.history.page(query).await else {
                // The meeting goes on meanwhile.
                sleep(HISTORY_RETRY_INTERVAL).await;
                continue;
            };
            if !self.is_held() {
                std::future::pending::<()>().await;
            }
            let replayed = self.part.borrow_mut().take_page(self.participant, &page);
            if let Some(replayed) = replayed {
                self.shard.tell(&self.part, replayed);
            }
        }
    }

    /// Sends media that had to wait, as the path takes it, and tells the room what does not fit. Ends with the session.
    pub async fn tend_media(&self) -> CloseReason {
        let (shard, participant) = (&self.shard, self.participant);
        loop {
            self.outlet.media_due(shard.now()).await;
            let now = shard.now();
            self.outlet.send_waiting(now, &shard.metrics);
            if let Some(pressure) = self.outlet.take_pressure(now).filter(|_| self.may_tell()) {
                shard.tell(&self.part, Input::Pressed { participant, pressure });
            }
            while let Some((track, spatial_layer)) = self.outlet.take_keyframe_wish(now).filter(|_| self.may_tell()) {
                shard.tell(&self.part, Input::KeyframeWanted { participant, track, spatial_layer });
            }
        }
    }

    /// Whether the room is to hear of what comes again if nothing comes of it.
    fn may_tell(&self) -> bool {
        self.is_held() && self.shard.post.has_space()
    }

    /// Whether the session still speaks for its participant: not when it was told to end.
    fn is_held(&self) -> bool {
        !self.ending.is_requested()
    }

    /// Notes why the session ends, before the seat is dropped.
    pub fn note_reason(&self, reason: CloseReason) {
        self.reason.set(reason);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (participant, session, reason) = (self.participant, self.session, self.reason.get());
        self.shard.metrics.participant_left(self.outlet.carrier());
        self.shard.tell(&self.part, Input::Ended { participant, session, reason });
        self.part.borrow_mut().free(self.slot);
        self.outlet.close_media(&self.shard.metrics);
    }
}

/// How much history is queued for one participant at a time, in bytes: a quarter of what its outbox takes, and no more
/// messages than half of what it takes.
fn replay_page_bytes(limits: &Limits) -> usize {
    let messages = limits.outbox_messages as usize / 2;
    (limits.outbox_bytes as usize / 4).min(messages * size_of::<ChatMessage>())
}
