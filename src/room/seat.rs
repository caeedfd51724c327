use std::time::Duration;

use super::allowance::Allowance;
use super::participant::{Presence, own_tracks};
use super::{Admitted, Audience, JoinRequest, Output, Participant, Room, SessionKey};
use crate::limits::{IDS_RESERVED, PAGE_SEAT_TIME, SameIdentity};
use crate::now::Now;
use crate::wire::{CloseReason, ParticipantId, ParticipantKind, ServerMessage, TrackId};

/// How a session comes into the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entrance {
    /// To the seat that it had, as it was left.
    Resume(ParticipantId),
    /// Under an id that was its own: the seat is gone, because too much time went by or because the relay was restarted.
    Return(ParticipantId),
    /// Under a new id.
    New,
}

impl Room {
    pub(super) fn join(&mut self, now: Now, session: SessionKey, request: JoinRequest, out: &mut Vec<Output>) {
        let id = match self.entrance(now, &request) {
            Err(reason) => return out.push(Output::Refused { session, reason }),
            Ok(Entrance::Resume(id)) if self.is_hidden(id) == request.grant.hidden => {
                return self.resume(now, session, id, request, out);
            }
            // Others have to see it leave, or come.
            Ok(Entrance::Resume(id)) => {
                self.send_away(now, id, CloseReason::Replaced, out);
                id
            }
            Ok(Entrance::Return(id)) => id,
            Ok(Entrance::New) => {
                self.ids.participants += 1;
                ParticipantId(self.ids.participants)
            }
        };
        if let Some(other) = self.same_identity(&request) {
            self.send_away(now, other, CloseReason::Replaced, out);
        }
        if self.is_full()
            && let Some(away) = self.longest_away()
        {
            self.leave(now, away, CloseReason::ConnectionLost, out);
        }
        self.seat(now, session, id, request, out);
        self.note_ids(out);
    }

    /// Whether and how a session may come in.
    fn entrance(&self, now: Now, request: &JoinRequest) -> Result<Entrance, CloseReason> {
        if self.is_removed(now, request.grant.identity.as_ref()) {
            return Err(CloseReason::Removed);
        }
        let entrance = self.claimed(request);
        if let Entrance::Resume(_) = entrance {
            return Ok(entrance);
        }
        let passes_lock = match entrance {
            Entrance::Resume(_) => true,
            Entrance::Return(id) => self.returning.may_pass_lock(now, id),
            Entrance::New => false,
        };
        if self.notes.locked && !passes_lock && !request.grant.admin {
            return Err(CloseReason::RoomLocked);
        }
        let same = self.same_identity(request).and_then(|other| self.participants.get(&other));
        if same.is_some_and(|other| other.is_here() && self.limits.same_identity == SameIdentity::Refuse) {
            return Err(CloseReason::IdentityInUse);
        }
        if same.is_none() && self.is_full() && self.longest_away().is_none() {
            return Err(CloseReason::RoomFull);
        }
        if self.ids.participants == u32::MAX && entrance == Entrance::New {
            return Err(CloseReason::RoomFull);
        }
        Ok(entrance)
    }

    fn is_hidden(&self, id: ParticipantId) -> bool {
        self.participants.get(&id).is_some_and(|participant| participant.grant.hidden)
    }

    fn is_full(&self) -> bool {
        self.participants.len() >= self.limits.participants_per_room as usize
    }

    /// Whose seat a newcomer gets in a full room: without that, one could fill it by coming and going.
    fn longest_away(&self) -> Option<ParticipantId> {
        let away = self.participants.iter().filter_map(|(id, participant)| match participant.presence {
            Presence::Here(_) => None,
            Presence::Away { until, .. } => Some((until, *id)),
        });
        away.min().map(|(_, id)| id)
    }

    /// What the ticket of a request is good for. An id is given once in an epoch, so whoever was given it may have it again.
    fn claimed(&self, request: &JoinRequest) -> Entrance {
        let Some(claim) = &request.seat else {
            return Entrance::New;
        };
        let is_known = claim.participant.0 <= self.ids.participants && claim.epoch == self.chat.position().epoch;
        if !is_known || claim.identity != request.grant.identity || request.kind != ParticipantKind::Meeting {
            return Entrance::New;
        }
        match self.participants.contains_key(&claim.participant) {
            true => Entrance::Resume(claim.participant),
            false => Entrance::Return(claim.participant),
        }
    }

    /// Who in the room is the same person, by another seat.
    fn same_identity(&self, request: &JoinRequest) -> Option<ParticipantId> {
        let identity = request.grant.identity.as_ref()?;
        let mut all = self.participants.iter();
        all.find(|(_, participant)| participant.identity() == Some(identity)).map(|(id, _)| *id)
    }

    fn seat(&mut self, now: Now, session: SessionKey, id: ParticipantId, request: JoinRequest, out: &mut Vec<Output>) {
        let JoinRequest { name, kind, grant, auto_subscribe, chat_after, .. } = request;
        let given = grant.name.as_ref().or(name.as_ref()).map(|name| name.as_str().to_owned());
        let identity = grant.identity.as_ref().map(|identity| identity.as_str().to_owned());
        let name = given.or(identity).unwrap_or_else(|| format!("guest {id}"));
        let mut newcomer = Participant::new(session, name, kind, grant, now);
        newcomer.auto_subscribe = auto_subscribe && newcomer.takes_media();
        let auto_subscribe = newcomer.auto_subscribe;
        out.push(Output::Admitted(self.admitted(session, id, &newcomer)));
        self.tell_roster(id, out);
        self.tell_stage(id, out);
        if !newcomer.grant.hidden {
            let message = ServerMessage::ParticipantJoined(newcomer.info(id, &self.tracks));
            out.push(Output::Tell { to: Audience::EveryoneBut(id), message });
        }
        self.participants.insert(id, newcomer);
        self.returning.note_entry(id);
        if auto_subscribe {
            self.subscribe_to_all(now, id, out);
        }
        self.begin_replay(id, chat_after, out);
    }

    /// Brings a participant back to its seat: the others notice nothing but media that flows again.
    fn resume(
        &mut self,
        now: Now,
        session: SessionKey,
        id: ParticipantId,
        request: JoinRequest,
        out: &mut Vec<Output>,
    ) {
        self.detach(now, id, CloseReason::Replaced, out);
        let Some(mut participant) = self.participants.remove(&id) else {
            return;
        };
        let renewed = Participant::new(session, participant.name, participant.kind, request.grant, now);
        participant = Participant {
            auto_subscribe: request.auto_subscribe && renewed.takes_media(),
            subscriptions: participant.subscriptions,
            chat_bucket: participant.chat_bucket,
            request_bucket: participant.request_bucket,
            ..renewed
        };
        let mut tracks = own_tracks(id, &self.tracks);
        tracks.retain(|track| participant.grant.publish.allows(track.info.source));
        out.push(Output::Admitted(Admitted { resumed: true, tracks, ..self.admitted(session, id, &participant) }));
        self.tell_roster(id, out);
        self.tell_stage(id, out);
        self.participants.insert(id, participant);
        self.reopen(now, id, out);
        self.begin_replay(id, request.chat_after, out);
    }

    fn admitted(&self, session: SessionKey, id: ParticipantId, participant: &Participant) -> Admitted {
        let others = self.participants.iter().filter(|(other, participant)| **other != id && !participant.grant.hidden);
        Admitted {
            session,
            participant: id,
            resumed: false,
            tracks: Vec::new(),
            participants: others.count() as u32,
            chat: self.chat.position(),
            locked: self.notes.locked,
            name: participant.name.clone(),
            permissions: participant.permissions(),
        }
    }

    fn tell_roster(&self, to: ParticipantId, out: &mut Vec<Output>) {
        let others = self.participants.iter().filter(|(other, participant)| **other != to && !participant.grant.hidden);
        out.extend(others.map(|(other, participant)| {
            Output::tell(to, ServerMessage::ParticipantJoined(participant.info(*other, &self.tracks)))
        }));
    }

    /// Reserves more ids before those that are reserved run out.
    pub(super) fn note_ids(&mut self, out: &mut Vec<Output>) {
        let left = |reserved: u32, given: u32| reserved.saturating_sub(given);
        let reserved = self.notes.ids;
        if left(reserved.participants, self.ids.participants).min(left(reserved.tracks, self.ids.tracks))
            < IDS_RESERVED / 2
        {
            out.push(Output::Note(self.reserve_ids()));
        }
    }

    pub(super) fn session_ended(
        &mut self,
        now: Now,
        id: ParticipantId,
        session: SessionKey,
        reason: CloseReason,
        out: &mut Vec<Output>,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else {
            return;
        };
        if participant.presence != Presence::Here(session) {
            return;
        }
        let mut seat = Duration::from_secs(self.limits.seat_seconds.into());
        if reason == CloseReason::PageClosed {
            seat = seat.min(PAGE_SEAT_TIME);
        }
        if participant.kind == ParticipantKind::Plain || !reason.keeps_seat() || seat.is_zero() {
            return self.leave(now, id, reason, out);
        }
        participant.presence = Presence::Away { until: now.since_start + seat, reason };
        self.release(now, id, out);
        out.push(Output::Away { participant: id });
    }

    /// Ends a participant's session, if it has one; the seat is as if the session had broken.
    pub(super) fn detach(&mut self, now: Now, id: ParticipantId, reason: CloseReason, out: &mut Vec<Output>) {
        let Some(participant) = self.participants.get_mut(&id).filter(|participant| participant.is_here()) else {
            return;
        };
        participant.presence = Presence::Away { until: Duration::ZERO, reason };
        out.push(Output::Close { participant: id, reason });
        self.release(now, id, out);
        out.push(Output::Away { participant: id });
    }

    /// Stops what flows to and from a participant whose session is gone.
    fn release(&mut self, now: Now, id: ParticipantId, out: &mut Vec<Output>) {
        self.stage_is_due = true;
        let ids: Vec<_> = self.tracks.keys().copied().collect();
        for track in ids {
            let Some(published) = self.tracks.get_mut(&track) else {
                continue;
            };
            if published.publisher == id {
                out.push(Output::RouteClosed { track });
            } else if published.subscribers.contains(id) {
                published.subscribers.set_here(id, false);
                out.push(Output::Unsubscribed { track, subscriber: id });
                self.tell_wanted(now, track, out);
            }
        }
        self.stop_typing(id, out);
    }

    /// Lets everything flow again to and from a participant that came back, as far as its token still allows.
    fn reopen(&mut self, now: Now, id: ParticipantId, out: &mut Vec<Output>) {
        let Some(participant) = self.participants.get_mut(&id) else {
            return;
        };
        // What its new path carries is not known.
        participant.allowance = Allowance::default();
        self.stage_is_due = true;
        let (publish, takes_media) = (participant.grant.publish, participant.takes_media());
        let ids: Vec<_> = self.tracks.keys().copied().collect();
        for track_id in ids {
            let Some(track) = self.tracks.get_mut(&track_id) else {
                continue;
            };
            if track.publisher == id && publish.allows(track.source()) {
                let wanted = track.wanted_renditions();
                self.open_route(track_id, out);
                // Its new session knows of no wish, and the subscribers missed what was sent meanwhile.
                self.tell_wanted_again(now, track_id, out);
                wanted.for_each(|layer| self.ask_for_keyframe(now, track_id, layer, out));
            } else if track.publisher == id {
                // It is there and its own, so it cannot fail.
                let _ = self.unpublish(id, track_id, out);
            } else if !takes_media {
                let was_subscribed = track.subscribers.remove(id);
                if let Some(participant) = self.participants.get_mut(&id).filter(|_| was_subscribed) {
                    participant.subscriptions -= 1;
                }
            } else if track.subscribers.contains(id) {
                track.subscribers.set_here(id, true);
                let sent = track.sent_by(&Allowance::default(), id);
                track.subscribers.set_sent(id, sent);
                if let Some(layers) = sent {
                    out.push(Output::Subscribed { track: track_id, subscriber: id, layers });
                    self.tell_wanted(now, track_id, out);
                    self.want_picture(now, id, track_id, layers, out);
                }
            }
        }
    }

    /// Opens the way of a track from its publisher to all its subscribers that are here.
    pub(super) fn open_route(&self, id: TrackId, out: &mut Vec<Output>) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        let (publisher, highest, is_video) = (track.publisher, track.highest_layers(), track.is_video());
        out.push(Output::RouteOpened { track: id, publisher, highest, is_video, source: track.source() });
        if track.is_silenced() {
            out.push(Output::RouteMuted { track: id, muted: true });
        }
        if track.is_held() {
            out.push(Output::RouteHeld { track: id, held: true });
        }
        let here = track.subscribers.here();
        out.extend(here.map(|(subscriber, layers)| Output::Subscribed { track: id, subscriber, layers }));
    }

    /// Ends a participant's session, if it has one, and gives up its seat.
    pub(super) fn send_away(&mut self, now: Now, id: ParticipantId, reason: CloseReason, out: &mut Vec<Output>) {
        if self.participants.get(&id).is_some_and(Participant::is_here) {
            out.push(Output::Close { participant: id, reason });
        }
        self.leave(now, id, reason, out);
    }

    pub(super) fn leave(&mut self, now: Now, id: ParticipantId, reason: CloseReason, out: &mut Vec<Output>) {
        let Some(gone) = self.participants.remove(&id) else {
            return;
        };
        self.stage.forget(id);
        self.stage_is_due = true;
        let is_here = gone.is_here();
        if !is_here && reason.keeps_seat() {
            self.returning.note_lapse(id);
        }
        let own: Vec<_> = self.tracks.extract_if(.., |_, track| track.publisher == id).collect();
        for (track, published) in own {
            self.forget_subscriptions(&published);
            if is_here {
                out.push(Output::RouteClosed { track });
            }
        }
        let subscribed = self.tracks.iter_mut().filter_map(|(track, its)| its.subscribers.remove(id).then_some(*track));
        for track in subscribed.collect::<Vec<_>>() {
            if is_here {
                out.push(Output::Unsubscribed { track, subscriber: id });
            }
            self.tell_wanted(now, track, out);
        }
        out.push(Output::Left { participant: id, reason });
        if !gone.grant.hidden {
            let message = ServerMessage::ParticipantLeft { participant: id, reason };
            out.push(Output::Tell { to: Audience::Everyone, message });
        }
    }

    /// Gives up every seat that nobody is in: others need the place.
    pub(super) fn give_up_empty_seats(&mut self, now: Now, out: &mut Vec<Output>) {
        while let Some(away) = self.longest_away() {
            self.leave(now, away, CloseReason::ConnectionLost, out);
        }
    }

    /// Gives up seats that nobody came back to, and ends sessions whose token has expired.
    pub(super) fn end_seats(&mut self, now: Now, out: &mut Vec<Output>) {
        let is_due = |participant: &Participant| participant.end().is_some_and(|due| due <= now.since_start);
        let due: Vec<_> =
            self.participants.iter().filter(|(_, participant)| is_due(participant)).map(|(id, _)| *id).collect();
        for id in due {
            let presence = self.participants.get(&id).map(|participant| participant.presence);
            let reason = match presence {
                Some(Presence::Away { reason, .. }) => reason,
                _ => CloseReason::TokenExpired,
            };
            self.send_away(now, id, reason, out);
        }
    }
}
