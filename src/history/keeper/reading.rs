use std::ops::ControlFlow;

use super::Keeper;
use crate::history::store::Problem;
use crate::history::{Page, PageQuery, Recent};
use crate::limits::CHAT_IDS_MAX;
use crate::wire::{ChatMessage, RoomName};

impl Keeper {
    pub(super) fn page(&mut self, query: &PageQuery) -> Result<Page, Problem> {
        let PageQuery { room, reader, after, through, bytes_max } = query;
        let head = match self.rooms.get(room) {
            Some(live) => Some(live.head.clone()),
            None => self.store.head(room)?,
        };
        let Some(head) = head else {
            return Ok(Page { messages: Vec::new(), through: *through, first_kept: through + 1 });
        };
        let mut page = Page { messages: Vec::new(), through: *through, first_kept: head.first };
        let mut bytes = 0;
        let after = (*after).max(head.first.saturating_sub(1));
        self.store.read(room, after, (*through).min(head.last), &mut |message| {
            if !message.concerns(*reader) {
                return ControlFlow::Continue(());
            }
            if bytes > 0 && bytes + message.cost_bytes() > *bytes_max {
                page.through = message.sequence - 1;
                return ControlFlow::Break(());
            }
            bytes += message.cost_bytes();
            page.messages.push(message);
            ControlFlow::Continue(())
        })?;
        Ok(page)
    }

    /// What identifies the last messages.
    pub(super) fn recent(&mut self, room: &RoomName) -> Result<Vec<Recent>, Problem> {
        let (first, last) = self.rooms.get(room).map_or((1, 0), |live| (live.head.first, live.head.last));
        let after = last.saturating_sub(CHAT_IDS_MAX as u64).max(first.saturating_sub(1));
        let mut recent = Vec::new();
        self.store.read(room, after, last, &mut |message| {
            let ChatMessage { message_id, sequence, sent_at_ms, from, .. } = *message;
            recent.push(Recent { message_id, sequence, sent_at_ms, from });
            ControlFlow::Continue(())
        })?;
        Ok(recent)
    }
}
