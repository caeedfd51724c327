use std::time::Duration;

use bytes::Bytes;

use super::Slot;
use crate::limits::{GATHER_BYTES_MAX, GATHER_DATAGRAMS_MAX, GATHER_PER_SECOND_MIN, GATHER_TIME_MAX};
use crate::now::Now;

/// Up to this share of its time a shard has enough of it to send everything at once; from the second one on, what may wait does
/// so as long as it may.
const IDLE_SHARE: f64 = 0.05;
const BUSY_SHARE: f64 = 0.2;

/// How much of what was known of the load is left when more is known.
const REST: f64 = 0.5;

/// Less than this is not worth waiting, nor can a timer tell it.
const TIME_MIN: Duration = Duration::from_millis(2);

/// Over how long it is counted how many small datagrams come.
const WINDOW: Duration = Duration::from_millis(100);

/// How busy a shard is, smoothed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Load {
    /// 0: idle; 1: it never rests.
    share: f64,
}

impl Load {
    /// Takes for how long of the time that has passed the shard was busy.
    pub fn note(&mut self, busy: Duration, passed: Duration) {
        if !passed.is_zero() {
            let share = (busy.as_secs_f64() / passed.as_secs_f64()).min(1.0);
            self.share = self.share * REST + share * (1.0 - REST);
        }
    }

    /// How long small datagrams may wait for others, so that one packet carries several of them: not at all on an idle shard, and up
    /// to [`GATHER_TIME_MAX`] on a busy one. What that saves makes it less busy, so the time finds its place between.
    pub fn gather_time(self) -> Option<Duration> {
        let share = ((self.share - IDLE_SHARE) / (BUSY_SHARE - IDLE_SHARE)).clamp(0.0, 1.0);
        Some(GATHER_TIME_MAX.mul_f64(share)).filter(|time| *time >= TIME_MIN)
    }
}

/// Small datagrams of one room that wait for each other: what goes to the same subscriber shares a packet.
#[derive(Debug, Default)]
pub struct Gathering {
    waiting: Vec<Bytes>,
    window_began: Duration,
    /// Small datagrams in this window, and how many a second came in the one before.
    arrived: usize,
    per_second: f64,
}

impl Gathering {
    /// Whether what arrived together waits for others, at most for `time`: where one of them is large the subscribers get a packet at
    /// once anyway, where nothing else is to be expected in time, waiting would be in vain, and where `people` are few it is others who
    /// make the shard busy.
    pub fn may_wait(&mut self, now: Now, burst: &[Bytes], people: usize, time: Option<Duration>) -> bool {
        if burst.iter().any(|datagram| datagram.len() > GATHER_BYTES_MAX) {
            return false;
        }
        self.count(now, burst.len());
        let is_worth_it = self.per_second * people as f64 >= GATHER_PER_SECOND_MIN;
        is_worth_it && time.is_some_and(|time| self.per_second * time.as_secs_f64() >= 1.0)
    }

    fn count(&mut self, now: Now, datagrams: usize) {
        let passed = now.since_start.saturating_sub(self.window_began);
        if passed >= WINDOW {
            self.per_second = self.arrived as f64 / passed.as_secs_f64();
            self.arrived = 0;
            self.window_began = now.since_start;
        }
        self.arrived += datagrams;
    }

    /// Lets a datagram wait. Says whether it is the first one.
    pub fn push(&mut self, datagram: Bytes) -> bool {
        self.waiting.push(datagram);
        self.waiting.len() == 1
    }

    /// Takes all that wait, in the order in which they came, into `gathered`, which is empty and whose space is used from now on.
    pub fn take(&mut self, gathered: &mut Vec<Bytes>) {
        std::mem::swap(&mut self.waiting, gathered);
    }

    /// Whether no more are to wait.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= GATHER_DATAGRAMS_MAX
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Puts into `sorted` who takes which datagram, taker by taker, each one's in their own order: what leaves for one subscriber in a row
/// shares packets, and its connection is looked up once. Each datagram has a number and its takers.
pub fn sort_by_taker<'a>(takers: impl Iterator<Item = (u32, &'a [Slot])>, sorted: &mut Vec<(Slot, u32)>) {
    sorted.clear();
    for (number, takers) in takers {
        sorted.extend(takers.iter().map(|taker| (*taker, number)));
    }
    sorted.sort_unstable();
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Option<Duration> = Some(Duration::from_millis(5));

    fn load(share: f64) -> Load {
        let mut load = Load::default();
        let passed = Duration::from_millis(100);
        for _ in 0..20 {
            load.note(passed.mul_f64(share), passed);
        }
        load
    }

    #[test]
    fn nothing_waits_on_an_idle_shard_and_all_of_5_ms_on_a_busy_one() {
        for (share, milliseconds) in [
            (0.0, None),
            (0.05, None),
            (0.07, None),
            (0.1, None),
            (0.14, Some(3.0)),
            (0.2, Some(5.0)),
            (1.0, Some(5.0)),
        ] {
            let time = load(share).gather_time().map(|time| (time.as_secs_f64() * 10_000.0).round() / 10.0);
            assert_eq!(time, milliseconds, "busy for {share} of the time");
        }
    }

    #[test]
    fn one_busy_moment_makes_nothing_wait_long() {
        let mut load = Load::default();
        load.note(Duration::from_millis(25), Duration::from_millis(100));
        assert_eq!(load.gather_time(), Some(Duration::from_micros(2500)));
        load.note(Duration::ZERO, Duration::from_millis(100));
        load.note(Duration::ZERO, Duration::from_millis(100));
        assert_eq!(load.gather_time(), None);
        load.note(Duration::ZERO, Duration::ZERO);
        assert_eq!(load.gather_time(), None);
    }

    /// So many datagrams a second, for a while; whether the last one waits.
    fn waits(per_second: u64, bytes: usize, people: usize, time: Option<Duration>) -> bool {
        let mut gathering = Gathering::default();
        let burst = [Bytes::from(vec![0; bytes])];
        (0..per_second)
            .map(|index| {
                gathering.may_wait(Now::after(Duration::from_millis(index * 1000 / per_second)), &burst, people, time)
            })
            .last()
            .unwrap_or_default()
    }

    #[test]
    fn a_datagram_waits_where_others_come_in_time() {
        for (speakers, expected) in [(1, false), (2, false), (3, false), (5, true), (10, true)] {
            assert_eq!(waits(speakers * 50, 120, 50, TIME), expected, "{speakers} speakers");
        }
        assert!(!waits(500, 120, 9, TIME), "a small meeting beside something that makes the shard busy");
        assert!(waits(500, 120, 10, TIME));
        assert!(!waits(500, 120, 50, None));
        assert!(!waits(500, 120, 50, Some(Duration::from_millis(1))));
        assert!(waits(500, GATHER_BYTES_MAX, 50, TIME));
        assert!(!waits(500, GATHER_BYTES_MAX + 1, 50, TIME));
    }

    #[test]
    fn all_are_taken_in_order_and_the_first_is_told() {
        let mut gathering = Gathering::default();
        let told: Vec<_> = (0..3).map(|index| gathering.push(Bytes::from(vec![index]))).collect();
        assert_eq!(told, [true, false, false]);
        let mut gathered = Vec::new();
        gathering.take(&mut gathered);
        assert_eq!(gathered.iter().map(|datagram| datagram[0]).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(gathering.is_empty());
        assert!(gathering.push(Bytes::new()));
    }

    #[test]
    fn each_taker_has_what_is_for_it_in_a_row_and_in_order() {
        let (one, two) = (Slot(1), Slot(2));
        let takers: [(u32, &[Slot]); 4] = [(0, &[two, one]), (1, &[two]), (2, &[]), (3, &[one, two])];
        let mut sorted = vec![(Slot(7), 7)];
        sort_by_taker(takers.into_iter(), &mut sorted);
        assert_eq!(sorted, [(one, 0), (one, 3), (two, 0), (two, 1), (two, 3)]);
    }

    #[test]
    fn only_so_many_wait() {
        let mut gathering = Gathering::default();
        let waiting = std::iter::from_fn(|| (!gathering.is_full()).then(|| gathering.push(Bytes::new())));
        assert_eq!(waiting.take(2 * GATHER_DATAGRAMS_MAX).count(), GATHER_DATAGRAMS_MAX);
    }
}
