//! What other shards have to tell this one.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Shard;
use crate::limits::SESSIONS_TOLD_MAX;
use crate::relay::home::{Home, SharedHome};
use crate::relay::part::{HomePlace, Part, PartOpening, SessionRecord, SharedPart};
use crate::relay::post::{Bag, Letter, RoomKey};
use crate::wire::{DropReason, RoomName};

impl Shard {
    /// Carries out what another shard has said; what takes time, by a task.
    pub fn take_letter(self: &Rc<Self>, letter: Letter, tasks: &mut JoinSet<()>) {
        match letter {
            Letter::Join(room, joining) => {
                let shard = self.clone();
                tasks.spawn_local(async move { shard.let_in(room, *joining).await });
            }
            Letter::Input(key, input) => {
                if let Some(home) = self.home(key) {
                    self.handle(&home, *input);
                }
            }
            Letter::Speaking(key, from, speaking) => {
                if let Some(home) = self.home(key) {
                    home.borrow_mut().note_voices(self, from, speaking);
                }
            }
            Letter::Outcome(outcome) => self.take_outcome(outcome),
            Letter::Open(key, opening) => {
                let home = HomePlace::On(opening.home);
                self.begin_part(key, *opening, home);
            }
            Letter::Order(key, order) => self.with_part(key, |part| part.carry_out(self, *order)),
            Letter::Close(key) => self.close_part(key),
            Letter::Refused(session, reason) => self.refuse(self.id, session, reason),
            Letter::Kept(key, track, kept, _weight) => self.with_part(key, |part| part.take_kept(self, track, &kept)),
            Letter::Media(bag) => self.take_media(bag),
            Letter::PlaceWanted(given_up) => {
                self.give_up_unattended();
                // Whoever asked may be gone.
                let _ = given_up.send(());
            }
            Letter::SessionsWanted(room, answer) => _ = answer.send(self.sessions(room.as_ref())),
        }
    }

    fn take_media(self: &Rc<Self>, mut bag: Bag) {
        let mut run = self.crossed.take();
        // A panic may have left something.
        run.clear();
        while let Some(room) = bag.unpack(&mut run) {
            self.with_part(room, |part| part.take_run(self, &mut run));
            // The last one who took it has gone.
            self.metrics.drop_datagrams(DropReason::TrackUnknown, run.drain(..).len() as u64);
        }
        self.crossed.replace(run);
    }

    fn home(&self, key: RoomKey) -> Option<SharedHome> {
        self.homes_by_key.borrow().get(&key).cloned()
    }

    /// What comes for a part that is gone is of no use to anyone.
    fn with_part(self: &Rc<Self>, key: RoomKey, act: impl FnOnce(&mut Part)) {
        let part = self.parts.borrow().get(&key).cloned();
        if let Some(part) = part {
            act(&mut part.borrow_mut());
            self.tell_said(&part);
        }
    }

    /// Begins the part of a room that has its home here too.
    pub fn open_part(&self, key: RoomKey, opening: PartOpening, home: Weak<RefCell<Home>>) -> SharedPart {
        self.begin_part(key, opening, HomePlace::Here(home))
    }

    fn begin_part(&self, key: RoomKey, opening: PartOpening, home: HomePlace) -> SharedPart {
        let part = Part::new(self, key, opening, home);
        self.parts.borrow_mut().insert(key, part.clone());
        part
    }

    /// No session of a room is here any more.
    pub fn close_part(&self, key: RoomKey) {
        self.parts.borrow_mut().remove(&key);
    }

    /// How sessions do that are here, of one room or of all, the first ones if they are many.
    fn sessions(&self, room: Option<&RoomName>) -> Vec<SessionRecord> {
        let mut sessions = Vec::new();
        for part in self.parts() {
            let part = part.borrow();
            if room.is_none_or(|room| room == part.name()) {
                sessions.extend(part.sessions(self.id).take(SESSIONS_TOLD_MAX - sessions.len()));
            }
        }
        sessions
    }

    /// How sessions do on all shards, as JSON: of one room or of all, the first ones if they are many.
    pub async fn sessions_json(self: Rc<Self>, room: Option<RoomName>) -> String {
        let mut sessions = self.sessions(room.as_ref());
        for other in self.post.shards().filter(|other| *other != self.id) {
            let (answer, answered) = oneshot::channel();
            self.post.send(other, Letter::SessionsWanted(room.clone(), answer));
            // An error means that the relay is stopping.
            sessions.extend(answered.await.unwrap_or_default());
        }
        sessions.sort_by(|one, other| one.order().cmp(&other.order()));
        sessions.truncate(SESSIONS_TOLD_MAX);
        // Numbers, text and nothing else: it can be written.
        serde_json::to_string(&sessions).unwrap_or_default()
    }
}
