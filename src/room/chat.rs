use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::participant::Presence;
use super::{Audience, Output, Participant, PassedOver, Room, SessionKey};
use crate::limits::{CHAT_IDS_MAX, CHAT_PENDING_MAX};
use crate::now::Now;
use crate::wire::{
    ChatMessage, ChatPosition, ClientChat, MessageId, NOT_KEPT, ParticipantId, ParticipantKind, RefuseReason,
    ServerChat,
};

/// The chat of a room: one count of sequence numbers, and what is on its way into the history.
#[derive(Debug)]
pub(super) struct Chat {
    epoch: u64,
    /// The last number that was given.
    given: u64,
    /// The last number that was delivered.
    delivered: u64,
    /// Given, not yet kept.
    pending: VecDeque<Arc<ChatMessage>>,
    /// The ids of the last messages, to recognise a repetition.
    known: BTreeMap<MessageId, Known>,
    known_in_order: VecDeque<MessageId>,
}

/// What the acknowledgement of a message says.
#[derive(Debug, Clone, Copy)]
struct Known {
    sequence: u64,
    sent_at_ms: u64,
}

impl Known {
    fn acknowledgement(self, message_id: MessageId) -> ServerChat {
        let Self { sequence, sent_at_ms } = self;
        match sequence {
            NOT_KEPT => ServerChat::NotKept { message_id, sent_at_ms },
            sequence => ServerChat::Accepted { message_id, sequence, sent_at_ms },
        }
    }
}

/// What a participant wants to say.
struct Words {
    message_id: MessageId,
    to: Option<ParticipantId>,
    body: String,
}

/// Where a participant stands in the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Gets each message as it is kept.
    Live,
    /// Is being sent the history that it asked for; what comes meanwhile will be history too.
    Replaying,
    /// Could not be sent all as it was kept, and is being sent the rest as it takes it.
    Behind,
}

impl Chat {
    pub fn new(position: ChatPosition) -> Self {
        Self {
            epoch: position.epoch,
            given: position.sequence,
            delivered: position.sequence,
            pending: VecDeque::new(),
            known: BTreeMap::new(),
            known_in_order: VecDeque::new(),
        }
    }

    pub fn position(&self) -> ChatPosition {
        ChatPosition { epoch: self.epoch, sequence: self.delivered }
    }

    /// Whether as much is on its way into the history as may be.
    pub fn is_busy(&self) -> bool {
        self.pending.len() >= CHAT_PENDING_MAX
    }

    /// Whether nothing is on its way into the history.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn remember(&mut self, message_id: MessageId, sequence: u64, sent_at_ms: u64) {
        if self.known_in_order.len() == CHAT_IDS_MAX
            && let Some(oldest) = self.known_in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known_in_order.push_back(message_id);
        self.known.insert(message_id, Known { sequence, sent_at_ms });
    }
}

impl Room {
    /// Counts on in another epoch, before anyone is in the room.
    pub fn begin_epoch(&mut self, epoch: u64) {
        self.chat.epoch = epoch;
    }

    pub(super) fn chat_message(&mut self, now: Now, from: ParticipantId, message: ClientChat, out: &mut Vec<Output>) {
        match message {
            ClientChat::Send { message_id, to, body } => {
                if let Err(reason) = self.say(now, from, Words { message_id, to, body }, out) {
                    out.push(Output::chat(
                        from,
                        ServerChat::Refused { message_id, reason, message: reason.to_string() },
                    ));
                }
            }
            ClientChat::Typing { active } => self.set_typing(now, from, active, out),
        }
    }

    fn say(&mut self, now: Now, from: ParticipantId, words: Words, out: &mut Vec<Output>) -> Result<(), RefuseReason> {
        let Words { message_id, to, body } = words;
        if let Some(known) = self.chat.known.get(&message_id) {
            // One that is still on its way into the history is acknowledged when it is there.
            if known.sequence <= self.chat.delivered {
                out.push(Output::chat(from, known.acknowledgement(message_id)));
            }
            return Ok(());
        }
        let limits = self.limits;
        let speaks = |participant: &Participant| participant.grant.chat && !participant.grant.hidden;
        if !self.participants.get(&from).is_some_and(speaks) {
            return Err(RefuseReason::NotAllowed);
        }
        if body.len() > limits.chat_bytes as usize {
            return Err(RefuseReason::ChatTooLong);
        }
        // A hidden participant is not there, for all that others can tell.
        let is_seen = |to| self.participants.get(&to).is_some_and(|participant| !participant.grant.hidden);
        if to.is_some_and(|to| !is_seen(to)) {
            return Err(RefuseReason::ParticipantUnknown);
        }
        if self.chat.is_busy() {
            return Err(RefuseReason::ChatBusy);
        }
        let sender = self.participants.get_mut(&from).ok_or(RefuseReason::ParticipantUnknown)?;
        // A plain client understands no refusal: its session waits instead.
        let (rate, units) = (limits.chat(), limits.chat_units(body.len()));
        if sender.kind == ParticipantKind::Meeting && !sender.chat_bucket.take(now, rate, units) {
            return Err(RefuseReason::ChatTooFast);
        }
        self.chat.given += 1;
        let message = Arc::new(ChatMessage {
            sequence: self.chat.given,
            message_id,
            sent_at_ms: now.unix_ms,
            from,
            from_name: sender.name.clone(),
            to,
            body,
        });
        self.chat.remember(message_id, message.sequence, message.sent_at_ms);
        self.chat.pending.push_back(message.clone());
        out.push(Output::Store(message));
        Ok(())
    }

    pub(super) fn chat_stored(&mut self, through: u64, out: &mut Vec<Output>) {
        while let Some(message) = self.chat.pending.pop_front_if(|message| message.sequence <= through) {
            self.chat.delivered = message.sequence;
            let ChatMessage { message_id, sequence, sent_at_ms, from, .. } = *message;
            // A sender that is being sent history finds the message there, in its place: that is its acknowledgement.
            if self.is_live(from) {
                out.push(Output::chat(from, ServerChat::Accepted { message_id, sequence, sent_at_ms }));
            }
            let to = self.concerned(&message).filter(|id| self.is_live(*id)).collect();
            out.push(Output::Deliver { to, message });
        }
    }

    /// The messages from `from` on could not be kept: those who are here get them all the same, without a number, and the
    /// numbers are given again.
    pub(super) fn chat_not_stored(&mut self, from: u64, out: &mut Vec<Output>) {
        let kept = self.chat.pending.partition_point(|message| message.sequence < from);
        for message in self.chat.pending.split_off(kept) {
            let ChatMessage { message_id, sent_at_ms, from, .. } = *message;
            let known = Known { sequence: NOT_KEPT, sent_at_ms };
            self.chat.known.entry(message_id).and_modify(|entry| *entry = known);
            // Those who are being sent history too: it will not be in there.
            if self.is_here(from) {
                out.push(Output::chat(from, known.acknowledgement(message_id)));
            }
            let message = Arc::new(ChatMessage { sequence: NOT_KEPT, ..Arc::unwrap_or_clone(message) });
            let to = self.concerned(&message).filter(|id| self.is_here(*id)).collect();
            out.push(Output::Deliver { to, message });
        }
        self.chat.given = self.chat.pending.back().map_or(self.chat.delivered, |message| message.sequence);
    }

    /// Whom a message is meant for.
    fn concerned(&self, message: &ChatMessage) -> impl Iterator<Item = ParticipantId> {
        self.participants.keys().copied().filter(|id| *id != message.from && message.concerns(*id))
    }

    fn is_here(&self, id: ParticipantId) -> bool {
        self.participants.get(&id).is_some_and(Participant::is_here)
    }

    fn is_live(&self, id: ParticipantId) -> bool {
        let live = |participant: &Participant| participant.is_here() && participant.delivery == Delivery::Live;
        self.participants.get(&id).is_some_and(live)
    }

    /// Someone whose session broke writes no longer.
    pub(super) fn stop_typing(&mut self, id: ParticipantId, out: &mut Vec<Output>) {
        let typing = self.participants.get_mut(&id).is_some_and(|participant| std::mem::take(&mut participant.typing));
        if typing {
            let message = ServerChat::Typing { participant: id, active: false };
            out.push(Output::Chat { to: Audience::EveryoneBut(id), message });
        }
    }

    pub(super) fn begin_replay(&mut self, id: ParticipantId, chat_after: Option<ChatPosition>, out: &mut Vec<Output>) {
        let Some(chat_after) = chat_after else {
            return;
        };
        // A position in another epoch says nothing about this one: everything that is kept is news.
        let after = if chat_after.epoch == self.chat.epoch { chat_after.sequence.min(self.chat.delivered) } else { 0 };
        let Some(participant) = self.participants.get_mut(&id) else {
            return;
        };
        if participant.kind == ParticipantKind::Meeting {
            participant.delivery = Delivery::Replaying;
            out.push(Output::Replay { participant: id, after, through: self.chat.delivered });
        }
    }

    /// A session has been sent the history up to a message.
    pub(super) fn chat_replayed(
        &mut self,
        (id, session): (ParticipantId, SessionKey),
        through: u64,
        out: &mut Vec<Output>,
    ) {
        let holds = |participant: &&mut Participant| participant.presence == Presence::Here(session);
        let Some(participant) = self.participants.get_mut(&id).filter(holds) else {
            return;
        };
        if through < self.chat.delivered {
            out.push(Output::Replay { participant: id, after: through, through: self.chat.delivered });
            return;
        }
        // Who was only slow for a while asked for nothing, and is told nothing.
        if std::mem::replace(&mut participant.delivery, Delivery::Live) == Delivery::Replaying {
            out.push(Output::CaughtUp { participant: id, position: self.chat.position() });
        }
    }

    /// Someone who is slow for the moment gets the rest from the history.
    pub(super) fn chat_fell_behind(
        &mut self,
        (id, session): (ParticipantId, SessionKey),
        after: u64,
        out: &mut Vec<Output>,
    ) {
        let is_live = |participant: &&mut Participant| {
            participant.presence == Presence::Here(session) && participant.delivery == Delivery::Live
        };
        let Some(participant) = self.participants.get_mut(&id).filter(is_live) else {
            return;
        };
        participant.delivery = Delivery::Behind;
        out.push(Output::Replay {
            participant: id,
            after: after.min(self.chat.delivered),
            through: self.chat.delivered,
        });
    }

    fn set_typing(&mut self, now: Now, from: ParticipantId, active: bool, out: &mut Vec<Output>) {
        let Some(participant) = self.participants.get(&from) else {
            return;
        };
        let changes = participant.typing != active && participant.grant.chat && !participant.grant.hidden;
        if changes && !self.may_request(now, from) {
            out.push(Output::PassedOver(PassedOver::Typing));
        } else if changes {
            self.participants.entry(from).and_modify(|participant| participant.typing = active);
            let message = ServerChat::Typing { participant: from, active };
            out.push(Output::Chat { to: Audience::EveryoneBut(from), message });
        }
    }
}
