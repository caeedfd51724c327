//! A session asks for a seat, and the room's home answers, wherever it is.

use std::rc::Rc;

use tokio::sync::oneshot;

use super::{Asking, SeatRequest, Shard};
use crate::relay::callbacks::{Opened, Verdict};
use crate::relay::home::Joining;
use crate::relay::outlet::Ending;
use crate::relay::part::Seated;
use crate::relay::post::{Letter, ShardId};
use crate::relay::seat::Seat;
use crate::room::{Input, SessionKey};
use crate::wire::{CloseReason, RoomName};

/// Forgets a session that waits for a seat when nobody waits any more, and gives back the seat if one was given meanwhile.
struct Waits<'a> {
    shard: &'a Rc<Shard>,
    session: SessionKey,
    answered: oneshot::Receiver<Result<Seated, CloseReason>>,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.shard.asking.borrow_mut().remove(&self.session);
        if let Ok(Ok(Seated { part, participant, slot, .. })) = self.answered.try_recv() {
            let (session, reason) = (self.session, CloseReason::ConnectionLost);
            self.shard.tell(&part, Input::Ended { participant, session, reason });
            part.borrow_mut().free(slot);
        }
    }
}

/// Answers a session on whichever shard, even if what is done for it fails.
struct Owed<'a> {
    shard: &'a Shard,
    to: ShardId,
    session: SessionKey,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shard.refuse(self.to, self.session, CloseReason::Internal);
        }
    }
}

impl Shard {
    /// Seats a session in a room, which opens if nobody is in it yet.
    pub async fn join(self: &Rc<Self>, wanted: SeatRequest) -> Result<Seat, CloseReason> {
        let SeatRequest { room, request, outlet, remote } = wanted;
        self.post.space().await;
        let session = SessionKey(self.next_key());
        let (identity, ending) = (request.grant.identity.clone(), Rc::<Ending>::default());
        let (answer, answered) = oneshot::channel();
        let asking = Asking { outlet: outlet.clone(), ending: ending.clone(), remote, identity, answer };
        self.asking.borrow_mut().insert(session, asking);
        let mut waits = Waits { shard: self, session, answered };
        let carrier = outlet.carrier();
        let joining = Joining { session, shard: self.id, request, carrier, remote, admitted: None };
        let home = self.home_of(&room);
        if home == self.id {
            // In a box: most of the session's future would be room for it otherwise, for as long as the session lives.
            Box::pin(self.let_in(room, joining)).await;
        } else {
            self.post.send(home, Letter::Join(room, Box::new(joining)));
        }
        let seated = (&mut waits.answered).await.unwrap_or(Err(CloseReason::Internal))?;
        Ok(Seat::new(self.clone(), session, seated, outlet, ending))
    }

    /// Gives a session of whichever shard a seat in a room that has its home here, or says why not.
    pub async fn let_in(self: &Rc<Self>, name: RoomName, joining: Joining) {
        let (to, session) = (joining.shard, joining.session);
        let _owed = Owed { shard: self, to, session };
        let home = match self.open_room(&name).await {
            Ok(home) => home,
            Err(reason) => return self.refuse(to, session, reason),
        };
        if self.is_stopping() {
            return self.refuse(to, session, CloseReason::ShuttingDown);
        }
        if self.callbacks.open(|| Opened { room: name, subject: joining.subject() }) == Verdict::Refuse {
            self.refuse(to, session, CloseReason::RefusedByHost);
        } else {
            home.borrow_mut().join(self, joining);
        }
        self.close_if_empty(&home);
    }

    /// Tells a session of whichever shard that it gets no seat.
    pub fn refuse(&self, to: ShardId, session: SessionKey, reason: CloseReason) {
        if to != self.id {
            self.post.send(to, Letter::Refused(session, reason));
        } else if let Some(asking) = self.take_asking(session) {
            // Whoever asked may be gone.
            let _ = asking.answer.send(Err(reason));
        }
    }

    /// Who waits for a seat by this session, if it still does.
    pub fn take_asking(&self, session: SessionKey) -> Option<Asking> {
        self.asking.borrow_mut().remove(&session)
    }
}
