//! What crosses from one shard to another: a run of datagrams once for all who take it there, and before it what is kept of its track.

use std::rc::Rc;

use bytes::Bytes;

use super::{HomePlace, Part, Taker};
use crate::limits::SPEAKERS_INTERVAL;
use crate::media::{Forward, KeptPictures, Slot, Speaking};
use crate::now::Now;
use crate::relay::home::Timer;
use crate::relay::post::{Letter, ShardId};
use crate::relay::shard::Shard;
use crate::wire::{DropReason, TrackId};

impl Part {
    pub(super) fn link(&mut self, shard: &Shard, track: TrackId, to: ShardId) {
        let slot = *self.links.entry(to).or_insert_with(|| self.slots.take(Taker::Shard(to)));
        self.routes.link(track, slot);
        shard.post.send_kept(to, self.key, track, self.routes.kept_pictures(track));
    }

    pub(super) fn unlink(&mut self, track: TrackId, to: ShardId) {
        if let Some(slot) = self.links.get(&to) {
            self.routes.unsubscribe(track, *slot);
        }
    }

    /// Takes what is kept of a track on its publisher's shard, and shows it to those who wait for it.
    pub fn take_kept(&mut self, shard: &Shard, track: TrackId, pictures: &[KeptPictures]) {
        self.routes.keep(shard.now(), track, pictures);
        for (subscriber, layers) in self.awaited.remove(&track).unwrap_or_default() {
            self.show(shard, track, subscriber, layers);
        }
    }

    /// Media goes to those other shards of these that are not too far behind: each of them waits for others on the shard that it goes to,
    /// if at all, and there for no longer than what was sent there.
    pub(super) fn cross(&self, shard: &Shard, to: &[Slot], datagrams: &[Bytes]) {
        for to in self.other_shards(to) {
            if !datagrams.is_empty() && shard.post.pack(to, self.key, datagrams).is_err() {
                shard.metrics.drop_datagrams(DropReason::ShardBusy, datagrams.len() as u64);
            }
        }
    }

    /// The other shards among those who take something: they come first.
    fn other_shards(&self, takers: &[Slot]) -> impl Iterator<Item = ShardId> {
        takers.iter().map_while(|taker| match self.slots.get(*taker) {
            Some(Taker::Shard(shard)) => Some(*shard),
            _ => None,
        })
    }

    /// Those who are here among those who take something.
    pub(super) fn takers_here<'a>(&self, takers: &'a [Slot]) -> &'a [Slot] {
        // Where nothing crosses, nothing is to be left out.
        if self.links.is_empty() { takers } else { &takers[self.other_shards(takers).count()..] }
    }

    /// Passes on what has come from another shard, and empties `crossed`.
    pub fn take_run(&mut self, shard: &Shard, crossed: &mut Vec<Bytes>) {
        let now = shard.now();
        let mut run = shard.run.borrow_mut();
        run.clear();
        let mut run_to: &[Slot] = &[];
        let waits = self.gathering.get_mut().may_wait(now, crossed, self.members.len(), shard.gather_time.get());
        if !waits {
            self.send_gathered(now, shard);
        }
        for datagram in crossed.drain(..) {
            match self.routes.pass_on(now, &datagram) {
                Ok(Forward::To(_)) if waits => self.gather(now, shard, datagram),
                Ok(Forward::To(subscribers)) => {
                    if !std::ptr::eq(subscribers, run_to) {
                        self.send_run(now, shard, run_to, &mut run);
                        run_to = subscribers;
                    }
                    run.push(datagram);
                }
                Ok(Forward::After(change)) => {
                    self.send_gathered(now, shard);
                    self.send_run(now, shard, run_to, &mut run);
                    self.routes.change(change);
                    run_to = self.routes.takers(change);
                    run.push(datagram);
                }
                // What asks for something does not cross.
                Ok(Forward::Echo | Forward::Repeat) => {}
                Err(reason) => shard.metrics.drop_datagrams(reason, 1),
            }
        }
        self.send_run(now, shard, run_to, &mut run);
    }

    /// The microphones here into which somebody speaks, the loudest first.
    pub fn speaking(&self, now: Now) -> Vec<Speaking> {
        self.routes.speaking(now)
    }

    /// Tells a home on another shard who speaks here: at once, and as long as somebody does as often as it looks.
    pub fn tell_voices(&mut self, shard: &Rc<Shard>) {
        let HomePlace::On(home) = self.home else {
            return;
        };
        let now = shard.now();
        let speaking = self.speaking(now);
        // A shard that is far behind is told when it has caught up.
        let is_told = shard.post.has_space();
        let due = (!speaking.is_empty() || !is_told).then(|| now.since_start + SPEAKERS_INTERVAL);
        if is_told {
            shard.post.send(home, Letter::Speaking(self.key, shard.id, speaking));
        }
        let (this, shard) = (self.this.clone(), shard.clone());
        self.timer = due.map(|due| {
            let task = tokio::task::spawn_local(async move {
                tokio::time::sleep_until(shard.instant(due)).await;
                if let Some(part) = this.upgrade() {
                    shard.guard("voices", || part.borrow_mut().tell_voices(&shard));
                }
            });
            Timer { due, task }
        });
    }
}
