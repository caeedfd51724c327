//! Chat on its way to the members of a part: live, and from the history for those who join or take it more slowly than it comes.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Encoded, EncodedChat, Full, Part, Replay};
use crate::history::Page;
use crate::relay::shard::Shard;
use crate::room::{Audience, Input};
use crate::wire::{
    ChatMessage, ChatPosition, ClientChat, CloseReason, NOT_KEPT, ParticipantId, RefuseReason, ServerChat,
};

impl Part {
    /// Sends a kept message to those who take it now. Who has no place for it gets it from the history, with all that follows.
    pub(super) fn deliver(&mut self, shard: &Shard, to: &[ParticipantId], message: &ChatMessage) {
        if to.is_empty() {
            return;
        }
        let encoded = EncodedChat::new(message);
        for participant in to {
            let Some(member) = self.members.get_mut(participant) else {
                continue;
            };
            if message.sequence == NOT_KEPT {
                member.note(member.outlet.send_chat(&encoded));
            } else if member.fell_behind_at.is_none() && member.outlet.offer_chat(&encoded) == Err(Full) {
                let after = message.sequence - 1;
                (member.fell_behind_at, member.has_fallen_behind) = (Some(after), true);
                self.said.push(Input::FellBehind { participant: *participant, session: member.session, after });
                shard.metrics.chat_fell_behind.inc();
            }
        }
    }

    /// Tells of the chat.
    pub(super) fn tell_chat(&self, to: Audience, message: &ServerChat) {
        let encoded = Encoded::chat(message);
        match (message, to) {
            // Nobody misses it.
            (ServerChat::Typing { .. }, Audience::EveryoneBut(one)) => {
                for (_, member) in self.members.iter().filter(|(participant, _)| **participant != one) {
                    let _ = member.outlet.offer(&encoded);
                }
            }
            // It finds the message in its place in the history.
            (ServerChat::Accepted { sequence, .. }, Audience::One(participant))
                if self.is_behind(participant, *sequence) => {}
            _ => self.send(to, &encoded),
        }
    }

    fn is_behind(&self, participant: ParticipantId, sequence: u64) -> bool {
        let fell_behind_at = self.members.get(&participant).and_then(|member| member.fell_behind_at);
        fell_behind_at.is_some_and(|at| sequence > at)
    }

    pub(super) fn replay(&mut self, participant: ParticipantId, replay: Replay) {
        if let Some(member) = self.members.get_mut(&participant) {
            member.replay = Some(replay);
            member.fell_behind_at = None;
            member.replay_wanted.notify_one();
        }
    }

    /// What a member is to be sent of the history, or what tells when that changes.
    pub fn wanted_replay(&self, participant: ParticipantId) -> Result<Replay, Option<Rc<Notify>>> {
        let member = self.members.get(&participant).ok_or(None)?;
        member.replay.ok_or_else(|| Some(member.replay_wanted.clone()))
    }

    /// Queues a page of history, and says what to tell the room if it was the last one.
    pub fn take_page(&mut self, participant: ParticipantId, page: &Page) -> Option<Input> {
        let member = self.members.get_mut(&participant)?;
        let replay = member.replay.as_mut()?;
        // What it missed is not kept any more. When it comes back it is told so.
        if member.has_fallen_behind && page.first_kept > replay.after + 1 {
            member.ending.request(CloseReason::SlowConsumer);
            return None;
        }
        replay.after = page.through;
        let (is_last, through) = (page.through >= replay.through, replay.through);
        member.first_kept = page.first_kept;
        // A plain client is told what others say.
        let is_told = |message: &&Arc<ChatMessage>| !member.outlet.is_plain() || message.from != participant;
        for message in page.messages.iter().filter(is_told) {
            member.note(member.outlet.send_chat(&EncodedChat::new(message)));
        }
        if is_last {
            member.replay = None;
        }
        is_last.then_some(Input::Replayed { participant, session: member.session, through })
    }

    pub(super) fn caught_up(&self, participant: ParticipantId, position: ChatPosition) {
        let first_kept = self.members.get(&participant).map_or(0, |member| member.first_kept);
        self.send(Audience::One(participant), &Encoded::chat(&ServerChat::CaughtUp { position, first_kept }));
    }

    /// The hosting program takes no such message.
    pub fn refuse_chat(&self, shard: &Shard, from: ParticipantId, message: &ClientChat) {
        if let ClientChat::Send { message_id, .. } = message {
            let reason = RefuseReason::RefusedByHost;
            shard.metrics.refuse_request(reason);
            let message = ServerChat::Refused { message_id: *message_id, reason, message: reason.to_string() };
            self.send(Audience::One(from), &Encoded::chat(&message));
        }
    }
}
