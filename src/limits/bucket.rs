use std::time::Duration;

use crate::now::Now;

/// So many units at once, so many per second over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Units per second; 0 counts as 1.
    pub per_second: u32,
    /// Units at once.
    pub burst: u32,
}

impl Rate {
    fn time_for(self, units: u32) -> Duration {
        Duration::from_nanos(u64::from(units) * 1_000_000_000 / u64::from(self.per_second.max(1)))
    }
}

/// A token bucket: it is full at first.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// When the bucket is full again, as time since the relay started.
    full_at: Duration,
}

impl Bucket {
    /// Takes `units` out if they are there, and says whether they were.
    pub fn take(&mut self, now: Now, rate: Rate, units: u32) -> bool {
        let has = self.has(now, rate, units);
        if has {
            self.full_at = self.full_at.max(now.since_start) + rate.time_for(units);
        }
        has
    }

    /// Whether `units` are there.
    pub fn has(&self, now: Now, rate: Rate, units: u32) -> bool {
        self.full_at.max(now.since_start) + rate.time_for(units) <= now.since_start + rate.time_for(rate.burst)
    }

    /// Whether nothing is missing: such a bucket is as good as a new one.
    pub fn is_full(&self, now: Now) -> bool {
        self.full_at <= now.since_start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate { per_second: 20, burst: 50 };
        let mut bucket = Bucket::default();
        let mut taken = |ms| (0..100).filter(|_| bucket.take(Now::after(Duration::from_millis(ms)), rate, 1)).count();
        assert_eq!(taken(0), 50);
        assert_eq!(taken(49), 0);
        assert_eq!(taken(50), 1);
        assert_eq!(taken(1050), 20);
        assert_eq!(taken(1_000_000), 50);
    }

    #[test]
    fn looking_takes_nothing_and_a_bucket_fills_up_again() {
        let rate = Rate { per_second: 10, burst: 2 };
        let mut bucket = Bucket::default();
        let now = Now::after(Duration::ZERO);
        assert!(bucket.is_full(now) && bucket.has(now, rate, 2) && bucket.has(now, rate, 2));
        assert!(bucket.take(now, rate, 2));
        assert!(!bucket.has(now, rate, 1));
        let later = |ms| Now::after(Duration::from_millis(ms));
        assert_eq!([99, 100, 199, 200].map(|ms| bucket.has(later(ms), rate, 1)), [false, true, true, true]);
        assert_eq!([199, 200].map(|ms| bucket.is_full(later(ms))), [false, true]);
    }

    #[test]
    fn what_is_too_large_takes_nothing() {
        let rate = Rate { per_second: 1000, burst: 1000 };
        let mut bucket = Bucket::default();
        let now = Now::after(Duration::ZERO);
        assert!(!bucket.take(now, rate, 1001));
        assert!(bucket.take(now, rate, 1000));
        assert!(!bucket.take(now, rate, 1));
    }
}
