use std::ops::RangeInclusive;
use std::time::Duration;

use super::obstacle::Obstacle;

/// Looks for the largest size that holds: twice as large each time until one does not, then between the two. Bounded in size and time.
#[derive(Debug, Clone)]
pub struct Search {
    smallest: u32,
    largest: u32,
    time_max: Duration,
    /// The largest that held.
    held: Option<u32>,
    /// The smallest whose latency did not.
    failed: Option<u32>,
    /// What ended it before the two were next to each other.
    ended_by: Option<Obstacle>,
}

impl Search {
    /// The last size that is tried is no further from one that failed than this part of it.
    const PRECISION: u32 = 16;

    /// Looks among these sizes, beginning with the smallest, for so long.
    pub fn among(sizes: RangeInclusive<u32>, time_max: Duration) -> Self {
        let (smallest, largest) = sizes.into_inner();
        Self { smallest, largest, time_max, held: None, failed: None, ended_by: None }
    }

    /// The size to try next, when the search has taken so long already and a run takes `run_time`. `None`: it is over.
    pub fn next_size(&mut self, spent: Duration, run_time: Duration) -> Option<u32> {
        let size = self.size()?;
        if spent.saturating_add(run_time) > self.time_max {
            self.end(Obstacle::Time);
            return None;
        }
        Some(size)
    }

    fn size(&self) -> Option<u32> {
        match (self.held, self.failed) {
            _ if self.ended_by.is_some() => None,
            (None, None) => Some(self.smallest),
            // The smallest one does not hold.
            (None, Some(_)) => None,
            (Some(held), None) => Some(held.saturating_mul(2).min(self.largest)).filter(|next| *next > held),
            (Some(held), Some(failed)) => {
                let gap = failed - held;
                (gap > 1 && gap > held / Self::PRECISION).then_some(held + gap / 2)
            }
        }
    }

    /// Notes what a size met; `None`: it holds. Whatever is not latency ends the search: what a larger size, or one between, would
    /// say of latency is not known then.
    pub fn note(&mut self, size: u32, obstacle: Option<Obstacle>) {
        match obstacle {
            None => self.held = self.held.max(Some(size)),
            Some(Obstacle::Latency) => self.failed = Some(self.failed.map_or(size, |failed| failed.min(size))),
            Some(other) => self.end(other),
        }
    }

    /// No further size is tried.
    pub fn end(&mut self, obstacle: Obstacle) {
        self.ended_by = Some(obstacle);
    }

    /// The largest size that held.
    pub fn found(&self) -> Option<u32> {
        self.held
    }

    /// What ended it, when it is over.
    pub fn ended_by(&self) -> Obstacle {
        self.ended_by.unwrap_or(if self.failed.is_some() { Obstacle::Latency } else { Obstacle::Size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// The sizes that are tried where each meets this, and what is found and ended it; a run takes so long.
    fn tried(
        sizes: RangeInclusive<u32>,
        run_time: Duration,
        met: impl Fn(u32) -> Option<Obstacle>,
    ) -> (Vec<u32>, Option<u32>, Obstacle) {
        let mut search = Search::among(sizes, HOUR);
        let mut tried = Vec::new();
        while let Some(size) = search.next_size(run_time * tried.len() as u32, run_time) {
            tried.push(size);
            search.note(size, met(size));
        }
        (tried, search.found(), search.ended_by())
    }

    /// The same where everything up to `limit` holds.
    fn limited(sizes: RangeInclusive<u32>, limit: u32) -> (Vec<u32>, Option<u32>, Obstacle) {
        tried(sizes, Duration::ZERO, |size| (size > limit).then_some(Obstacle::Latency))
    }

    #[test]
    fn it_doubles_and_then_halves() {
        let latency = |tried: &[u32], found| (tried.to_vec(), Some(found), Obstacle::Latency);
        assert_eq!(limited(10..=1000, 100), latency(&[10, 20, 40, 80, 160, 120, 100, 110, 105], 100));
        assert_eq!(limited(1..=1000, 1), latency(&[1, 2], 1));
        assert_eq!(limited(1..=1000, 5), latency(&[1, 2, 4, 8, 6, 5], 5));
    }

    #[test]
    fn bounds_end_it() {
        assert_eq!(limited(10..=1000, 9), (vec![10], None, Obstacle::Latency));
        assert_eq!(limited(10..=30, 1000), (vec![10, 20, 30], Some(30), Obstacle::Size));
        assert_eq!(limited(10..=10, 1000), (vec![10], Some(10), Obstacle::Size));
    }

    #[test]
    fn what_is_not_latency_ends_it_and_is_no_limit_of_latency() {
        for obstacle in [Obstacle::Admission, Obstacle::Options, Obstacle::Load] {
            let up = tried(10..=1000, Duration::ZERO, |size| (size > 30).then_some(obstacle));
            assert_eq!(up, (vec![10, 20, 40], Some(20), obstacle));
            let first = tried(10..=1000, Duration::ZERO, |_| Some(obstacle));
            assert_eq!(first, (vec![10], None, obstacle));
            // 60 would have to hold for 40 to be less than the largest, and that is not known.
            let between = tried(10..=1000, Duration::ZERO, |size| match size {
                80 => Some(Obstacle::Latency),
                60 => Some(obstacle),
                _ => None,
            });
            assert_eq!(between, (vec![10, 20, 40, 80, 60], Some(40), obstacle));
        }
    }

    #[test]
    fn no_run_begins_that_would_end_after_the_time() {
        let runs = |run_time| tried(1..=5000, run_time, |_| None).0.len();
        assert_eq!(runs(HOUR / 4), 4);
        assert_eq!(runs(HOUR / 3 + Duration::from_secs(1)), 2);
        assert_eq!(tried(1..=5000, HOUR, |_| None), (vec![1], Some(1), Obstacle::Time));
        assert_eq!(tried(1..=5000, Duration::MAX, |_| None), (vec![], None, Obstacle::Time));
        let found = tried(1..=2, HOUR / 2, |_| None);
        assert_eq!(found, (vec![1, 2], Some(2), Obstacle::Size), "it was over in time");
    }

    #[test]
    fn what_is_found_is_near_what_fails_and_soon_found() {
        for limit in 1..=5000 {
            let (tried, found, _) = limited(1..=5000, limit);
            let found = found.unwrap();
            assert!(found <= limit && limit - found <= found / Search::PRECISION, "{limit}: {found}");
            assert!(tried.len() < 20, "{limit}: {tried:?}");
        }
    }
}
