use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Atomic;

use crate::limits::SHARDS_MAX;
use crate::relay::post::ShardId;

thread_local! {
    /// Where this thread counts.
    static LINE: Cell<usize> = const { Cell::new(0) };
}

/// Where this thread counts, below [`SHARDS_MAX`].
pub fn line() -> usize {
    LINE.get()
}

/// A count that each shard keeps for itself, and that is their sum: for what is counted once for each subscriber. If all threads counted in
/// one place, each would wait for the others' caches.
#[derive(Debug)]
pub struct Spread(Box<[Line]>);

/// As long as what caches exchange.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

impl Spread {
    /// From now on this thread counts as that of this shard.
    pub(in crate::relay) fn count_for(shard: ShardId) {
        LINE.set(shard.0 % SHARDS_MAX);
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self((0..SHARDS_MAX).map(|_| Line::default()).collect())
    }
}

impl Atomic<u64> for Spread {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// Gives what this thread had counted before, not the sum: nobody asks for it.
    fn inc_by(&self, count: u64) -> u64 {
        self.0[line()].0.fetch_add(count, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_threads_count_is_one_sum() {
        let spread = Spread::default();
        std::thread::scope(|scope| {
            for shard in 0..4 {
                let spread = &spread;
                scope.spawn(move || {
                    Spread::count_for(ShardId(shard));
                    (0..1000).for_each(|_| _ = spread.inc_by(2));
                    spread.inc();
                });
            }
        });
        assert_eq!(spread.get(), 4 * 2001);
    }
}
