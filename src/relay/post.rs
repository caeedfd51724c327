mod bag;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use bag::{Packing, Weight};

use super::home::Joining;
use super::part::{Order, PartOpening, SessionRecord};
use crate::history::Outcome;
use crate::limits::{BAG_BYTES_MAX, CROSSING_BYTES_MAX, LETTERS_WAITING_MAX};
use crate::media::{KeptPictures, Speaking};
use crate::room::{Input, SessionKey};
use crate::wire::{CloseReason, RoomName, TrackId};

pub(super) use bag::Bag;

/// A shard's number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShardId(pub usize);

impl ShardId {
    /// It also does what is done once for all shards.
    pub const FIRST: Self = Self(0);
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A room that is open, on all shards that have a part in it. No other one of its name, before or after it, has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RoomKey(pub u64);

/// What one shard has to tell another.
#[derive(Debug)]
pub(super) enum Letter {
    /// To a room's home: a session asks for a seat.
    Join(RoomName, Box<Joining>),
    /// To a room's home: something happened.
    Input(RoomKey, Box<Input>),
    /// To a room's home: who speaks on another shard.
    Speaking(RoomKey, ShardId, Vec<Speaking>),
    /// To a room's home: what came of its messages.
    Outcome(Outcome),
    /// From a room's home: a part of it begins.
    Open(RoomKey, Box<PartOpening>),
    /// From a room's home, to a part of it.
    Order(RoomKey, Box<Order>),
    /// From a room's home: nobody of it is on this shard any more.
    Close(RoomKey),
    /// From a room's home: a session gets no seat.
    Refused(SessionKey, CloseReason),
    /// From the publisher's part: what the subscribers on this shard begin with.
    Kept(RoomKey, TrackId, Vec<KeptPictures>, Option<Weight>),
    /// From publishers' parts: media for the subscribers on this shard.
    Media(Bag),
    /// The relay has no place for another room: one in which nobody can be reached is to be given up.
    PlaceWanted(oneshot::Sender<()>),
    /// Somebody wants to know how sessions do, of one room or of all.
    SessionsWanted(Option<RoomName>, oneshot::Sender<Vec<SessionRecord>>),
}

/// As much media waits for a shard as may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShardBusy;

/// The way from one shard to all of them. What is sent first arrives first, also by way of a third one: media never leaves after a
/// letter that came later.
#[derive(Debug)]
pub(super) struct Post {
    /// By their numbers.
    boxes: Arc<[Letterbox]>,
    /// Media that leaves at the end of a turn, by shard.
    bags: RefCell<Vec<Packing>>,
    /// Told when the first of it is packed.
    packed: Notify,
    /// Told when a shard is no longer far behind.
    caught_up: Arc<Notify>,
}

#[derive(Debug)]
struct Letterbox {
    letters: mpsc::UnboundedSender<Posted>,
    /// Letters that wait. Media is not among them: it is bounded in bytes.
    waiting: Arc<AtomicUsize>,
    /// Media that waits, in bytes.
    media_bytes: Arc<AtomicUsize>,
}

/// A letter, and that it is counted as waiting until it has been carried out.
#[derive(Debug)]
pub(super) struct Posted {
    pub letter: Letter,
    pub _waiting: Option<Waiting>,
}

impl Posted {
    /// One that does not count.
    pub fn uncounted(letter: Letter) -> Self {
        Self { letter, _waiting: None }
    }
}

#[derive(Debug)]
pub(super) struct Waiting {
    count: Arc<AtomicUsize>,
    caught_up: Arc<Notify>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == LETTERS_WAITING_MAX {
            self.caught_up.notify_waiters();
        }
    }
}

/// What has come for a shard.
pub(super) type Letters = mpsc::UnboundedReceiver<Posted>;

impl Post {
    /// Those of so many shards, and for each what comes for it.
    pub fn between(shards: usize) -> Vec<(Self, Letters)> {
        let (boxes, received): (Vec<_>, Vec<_>) = (0..shards)
            .map(|_| {
                let (letters, received) = mpsc::unbounded_channel();
                (Letterbox { letters, waiting: Arc::default(), media_bytes: Arc::default() }, received)
            })
            .unzip();
        let (boxes, caught_up) = (Arc::<[Letterbox]>::from(boxes), Arc::<Notify>::default());
        let post = || Self {
            boxes: boxes.clone(),
            bags: RefCell::new(boxes.iter().map(|to| Packing::new(to.media_bytes.clone())).collect()),
            packed: Notify::new(),
            caught_up: caught_up.clone(),
        };
        received.into_iter().map(|received| (post(), received)).collect()
    }

    /// All shards.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.boxes.len()).map(ShardId)
    }

    /// Sends a letter. One to a shard that has ended is lost: the relay is stopping.
    pub fn send(&self, to: ShardId, letter: Letter) {
        self.send_media();
        let to = &self.boxes[to.0];
        to.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting { count: to.waiting.clone(), caught_up: self.caught_up.clone() };
        let _ = to.letters.send(Posted { letter, _waiting: Some(waiting) });
    }

    /// Whether no shard is so far behind that nobody is to give it more to do. Media does not ask: it has a bound of its own.
    ///
    /// That bounds what waits: whoever reads messages of a session, seats one, or decides when a time has come asks first. What follows
    /// from one of these goes on, and is no more than one message of each kind for each participant and track of the room.
    pub fn has_space(&self) -> bool {
        self.boxes.iter().all(|to| to.waiting.load(Ordering::Relaxed) < LETTERS_WAITING_MAX)
    }

    /// Waits until that is so.
    pub async fn space(&self) {
        while !self.has_space() {
            // It is told also of what happens between this and the second look.
            let caught_up = self.caught_up.notified();
            if self.has_space() {
                return;
            }
            caught_up.await;
        }
    }

    /// Packs datagrams of a room that cross with the next media, or all that is packed with them: in a buffer of its own, so that neither shard
    /// counts references that the other one holds, and so that nothing that the publisher's socket received is kept alive by it.
    ///
    /// # Errors
    /// [`ShardBusy`]: the other shard is too far behind.
    pub fn pack(&self, to: ShardId, room: RoomKey, datagrams: &[Bytes]) -> Result<(), ShardBusy> {
        if !self.has_media_space(to, datagrams.iter().map(Bytes::len).sum()) {
            return Err(ShardBusy);
        }
        let bag = &mut self.bags.borrow_mut()[to.0];
        if bag.is_empty() {
            self.packed.notify_one();
        }
        bag.pack(room, datagrams);
        // What is kept of it keeps all of it.
        if bag.bytes() >= BAG_BYTES_MAX {
            self.send_bag(to, bag);
        }
        Ok(())
    }

    /// Sends what a shard begins with of a track. Where no more may wait for it, it begins with nothing and asks for a keyframe.
    pub fn send_kept(&self, to: ShardId, room: RoomKey, track: TrackId, mut kept: Vec<KeptPictures>) {
        let bytes = kept.iter().map(KeptPictures::bytes).sum();
        let weight = self.has_media_space(to, bytes).then(|| Weight::new(bytes, self.boxes[to.0].media_bytes.clone()));
        if weight.is_none() {
            kept.clear();
        }
        self.send(to, Letter::Kept(room, track, kept, weight));
    }

    fn has_media_space(&self, to: ShardId, bytes: usize) -> bool {
        self.boxes[to.0].media_bytes.load(Ordering::Relaxed) + bytes <= CROSSING_BYTES_MAX
    }

    /// Sends what is packed at the end of each turn, for as long as it is polled: all that the sessions have passed on which had something
    /// to do crosses together, and on an idle shard nothing waits.
    pub async fn send_packed(&self) {
        loop {
            self.packed.notified().await;
            self.send_media();
        }
    }

    fn send_media(&self) {
        for (to, bag) in self.shards().zip(self.bags.borrow_mut().iter_mut()) {
            if !bag.is_empty() {
                self.send_bag(to, bag);
            }
        }
    }

    fn send_bag(&self, to: ShardId, bag: &mut Packing) {
        let _ = self.boxes[to.0].letters.send(Posted::uncounted(Letter::Media(bag.close())));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const TO: ShardId = ShardId(1);
    const ROOM: RoomKey = RoomKey(1);

    /// The first shard's way, and what comes for the second one.
    fn post() -> (Post, Letters) {
        let [(post, _), (_, received)] = Post::between(2).try_into().ok().unwrap();
        (post, received)
    }

    fn media(received: &mut Letters) -> Vec<(RoomKey, Vec<Bytes>)> {
        let Letter::Media(mut bag) = received.try_recv().unwrap().letter else { panic!("media was sent") };
        let mut all = Vec::new();
        let mut run = Vec::new();
        while let Some(room) = bag.unpack(&mut run) {
            all.push((room, std::mem::take(&mut run)));
        }
        all
    }

    #[test]
    fn media_that_waits_is_bounded_and_what_is_taken_makes_room() {
        let (post, mut received) = post();
        let datagrams = vec![Bytes::from(vec![7; 1000]); 10];
        let mut sent = 0;
        while post.pack(TO, ROOM, &datagrams).is_ok() {
            sent += 1;
        }
        assert_eq!(sent, CROSSING_BYTES_MAX / 10_000);
        let all = media(&mut received);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].1.len(), BAG_BYTES_MAX.div_ceil(10_000) * 10);
        assert_eq!(post.pack(TO, ROOM, &datagrams), Ok(()));
    }

    #[test]
    fn what_is_packed_in_a_turn_crosses_together_room_by_room() {
        let (post, mut received) = post();
        let datagram = |number| vec![Bytes::from(vec![number; 10])];
        for (room, number) in [(1, 1), (1, 2), (2, 3), (1, 4)] {
            post.pack(TO, RoomKey(room), &datagram(number)).unwrap();
        }
        assert!(received.try_recv().is_err(), "the turn is not over");
        assert!(post.send_packed().now_or_never().is_none());
        let both = [datagram(1), datagram(2)].concat();
        assert_eq!(media(&mut received), [(RoomKey(1), both), (RoomKey(2), datagram(3)), (RoomKey(1), datagram(4))]);
        assert!(post.send_packed().now_or_never().is_none());
        assert!(received.try_recv().is_err());
    }

    #[test]
    fn no_letter_overtakes_media_also_by_way_of_a_third_shard() {
        let [(post, _), (_, mut received), (third, mut by_third)] = Post::between(3).try_into().ok().unwrap();
        post.pack(TO, ROOM, &[Bytes::from_static(b"media")]).unwrap();
        post.send(ShardId(2), Letter::Close(ROOM));
        by_third.try_recv().unwrap();
        third.send(TO, Letter::Close(ROOM));
        assert_eq!(media(&mut received).len(), 1);
        assert!(matches!(received.try_recv().unwrap().letter, Letter::Close(_)));
    }

    #[test]
    fn whoever_causes_letters_waits_while_a_shard_is_far_behind() {
        let (post, mut received) = post();
        for _ in 0..LETTERS_WAITING_MAX {
            assert!(post.space().now_or_never().is_some());
            post.send(TO, Letter::Close(ROOM));
        }
        let mut space = Box::pin(post.space());
        assert!(space.as_mut().now_or_never().is_none());
        // What follows from something else goes on.
        post.send(TO, Letter::Close(ROOM));
        drop(received.try_recv());
        assert!(space.as_mut().now_or_never().is_none());
        drop(received.try_recv());
        assert!(space.as_mut().now_or_never().is_some());
        // Nobody waits for a shard that has ended.
        (0..2 * LETTERS_WAITING_MAX).for_each(|_| post.send(TO, Letter::Close(ROOM)));
        drop(received);
        assert!(post.has_space());
    }
}
