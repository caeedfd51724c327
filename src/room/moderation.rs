use std::time::Duration;

use super::{Audience, Output, RemovedIdentity, Room};
use crate::limits::REMOVED_IDENTITIES_MAX;
use crate::now::Now;
use crate::wire::{CloseReason, Identity, ParticipantId, RefuseReason, ServerMessage, TrackId};

impl Room {
    fn require_admin(&self, from: ParticipantId) -> Result<(), RefuseReason> {
        let is_admin = self.participants.get(&from).is_some_and(|participant| participant.grant.admin);
        if is_admin { Ok(()) } else { Err(RefuseReason::NotAllowed) }
    }

    pub(super) fn remove_participant(
        &mut self,
        now: Now,
        from: ParticipantId,
        participant: ParticipantId,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        self.require_admin(from)?;
        let removed = self.participants.get(&participant).ok_or(RefuseReason::ParticipantUnknown)?;
        if let Some(identity) = removed.identity().cloned() {
            self.keep_out(now, &identity, out);
        }
        self.send_away(now, participant, CloseReason::Removed, out);
        Ok(())
    }

    fn keep_out(&mut self, now: Now, identity: &Identity, out: &mut Vec<Output>) {
        let time = Duration::from_secs(60) * self.limits.removed_minutes;
        let removed = &mut self.notes.removed;
        removed.retain(|removed| removed.until_unix_ms > now.unix_ms && removed.identity != identity.as_str());
        if removed.len() >= REMOVED_IDENTITIES_MAX {
            removed.remove(0);
        }
        let until_unix_ms = now.unix_ms + time.as_millis() as u64;
        removed.push(RemovedIdentity { identity: identity.as_str().to_owned(), until_unix_ms });
        out.push(Output::Note(self.notes.clone()));
    }

    /// Whether an identity was removed and has to stay out.
    pub(super) fn is_removed(&self, now: Now, identity: Option<&Identity>) -> bool {
        let Some(identity) = identity else {
            return false;
        };
        let mut removed = self.notes.removed.iter();
        removed.any(|removed| removed.identity == identity.as_str() && removed.until_unix_ms > now.unix_ms)
    }

    pub(super) fn mute_track(
        &mut self,
        from: ParticipantId,
        id: TrackId,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        self.require_admin(from)?;
        let track = self.tracks.get_mut(&id).ok_or(RefuseReason::TrackUnknown)?;
        if !track.silence() {
            return Ok(());
        }
        self.stage_is_due = true;
        out.push(Output::RouteMuted { track: id, muted: true });
        // The publisher too: it has to know that nobody hears it.
        let message = ServerMessage::TrackMuted { track: id, muted: true };
        out.push(Output::Tell { to: Audience::Everyone, message });
        Ok(())
    }

    pub(super) fn set_locked(
        &mut self,
        from: ParticipantId,
        locked: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        self.require_admin(from)?;
        if std::mem::replace(&mut self.notes.locked, locked) != locked {
            out.push(Output::Note(self.notes.clone()));
            out.push(Output::Tell { to: Audience::Everyone, message: ServerMessage::RoomLocked { locked } });
        }
        Ok(())
    }

    /// Sends everyone away, the admin too. The room stays as open as it was: whoever has a token can begin anew.
    pub(super) fn end_meeting(
        &mut self,
        now: Now,
        from: ParticipantId,
        request: u32,
        out: &mut Vec<Output>,
    ) -> Result<(), RefuseReason> {
        self.require_admin(from)?;
        out.push(Output::tell(from, ServerMessage::Done { request }));
        self.notes.locked = false;
        out.push(Output::Note(self.notes.clone()));
        let reason = CloseReason::MeetingEnded;
        // All sessions first: each is told why it ends, and not of everyone else's end.
        let everyone: Vec<_> = self.participants.keys().copied().collect();
        for participant in &everyone {
            self.detach(now, *participant, reason, out);
        }
        for participant in everyone {
            self.leave(now, participant, reason, out);
        }
        Ok(())
    }
}
