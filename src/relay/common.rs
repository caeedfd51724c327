use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::callbacks::Callbacks;
use super::key_store::KeyStore;
use super::metrics::Metrics;
use super::post::ShardId;
use crate::auth::TicketKey;
use crate::history::History;
use crate::limits::Limits;
use crate::media::PictureBudget;
use crate::transport::Gate;
use crate::wire::RoomName;

/// What all shards have in common. It is read, counted in or asked, and has no lock on the way of media.
#[derive(Debug)]
pub(super) struct Common {
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    /// Who comes in.
    pub gate: Arc<Gate>,
    /// What tokens are checked with.
    pub keys: Arc<KeyStore>,
    /// What tickets are sealed with.
    pub tickets: TicketKey,
    /// Whether plain WebSocket clients come in without a token all the same.
    pub open_to_plain: bool,
    pub history: History,
    pub callbacks: Callbacks,
    /// What all rooms may keep of recent pictures.
    pub pictures: PictureBudget,
    /// What waits of rosters for newcomers, in bytes.
    pub roster_bytes: Arc<AtomicUsize>,
    /// When the relay started: all shards have one clock, so that what one has noted means the same to another.
    pub started: Instant,
    /// Connections whose first message has not come yet.
    pub connections_pending: AtomicUsize,
    /// Rooms that are open or being opened.
    pub rooms_open: AtomicUsize,
    /// QUIC connections, by shard.
    pub connections_open: Vec<AtomicUsize>,
    /// Sessions and rooms that there were ever.
    pub keys_given: AtomicU64,
    /// Where rooms have their homes. It is keyed: nobody can choose names that all have the same one.
    pub homes: RandomState,
}

impl Common {
    /// A number that is given once.
    pub fn next_key(&self) -> u64 {
        self.keys_given.fetch_add(1, Ordering::Relaxed)
    }

    /// Where the room of this name has its home. It follows from the name, so that nobody has to be asked and no table to be locked;
    /// whoever opens a room is seldom on the shard where most of those come in who follow.
    pub fn home_of(&self, room: &RoomName) -> ShardId {
        ShardId((self.homes.hash_one(room.as_str()) % self.connections_open.len() as u64) as usize)
    }

    /// Notes how many QUIC connections a shard has, and says how many there are on all of them.
    pub fn note_connections(&self, shard: ShardId, open: usize) -> usize {
        self.connections_open[shard.0].store(open, Ordering::Relaxed);
        self.connections_open.iter().map(|open| open.load(Ordering::Relaxed)).sum()
    }

    /// Whether there is a place for another room; takes it if so.
    pub fn take_room_place(&self) -> bool {
        let max = self.limits.rooms as usize;
        let taken =
            self.rooms_open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then_some(open + 1));
        taken.is_ok()
    }
}
