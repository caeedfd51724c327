use std::collections::BTreeSet;
use std::time::Duration;

use crate::limits::{LAPSED_SEATS_MAX, RESTART_TIME};
use crate::now::Now;
use crate::wire::ParticipantId;

/// Who may come back into a locked room: those whose seat ended because their connection was gone for too long, and, for a
/// while after the room was opened locked, everyone who has a ticket: the relay was started again under them.
#[derive(Debug)]
pub(super) struct Returning {
    lapsed: BTreeSet<ParticipantId>,
    opened_locked: bool,
    opened_at: Option<Duration>,
    was_entered: bool,
}

impl Returning {
    pub fn new(opened_locked: bool) -> Self {
        Self { lapsed: BTreeSet::new(), opened_locked, opened_at: None, was_entered: false }
    }

    pub fn note_time(&mut self, now: Now) {
        self.opened_at.get_or_insert(now.since_start);
    }

    /// Somebody has a seat.
    pub fn note_entry(&mut self, id: ParticipantId) {
        self.was_entered = true;
        self.lapsed.remove(&id);
    }

    /// A seat ended while nobody was in it.
    pub fn note_lapse(&mut self, id: ParticipantId) {
        if self.lapsed.len() >= LAPSED_SEATS_MAX {
            self.lapsed.pop_first();
        }
        self.lapsed.insert(id);
    }

    pub fn was_entered(&self) -> bool {
        self.was_entered
    }

    pub fn may_pass_lock(&self, now: Now, id: ParticipantId) -> bool {
        let just_opened = self.opened_at.is_none_or(|opened| now.since_start < opened + RESTART_TIME);
        self.lapsed.contains(&id) || (self.opened_locked && just_opened)
    }
}
