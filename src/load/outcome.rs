use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What became of everything that was sent.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Datagrams (or messages) that publishers sent.
    pub offered: u64,
    /// How many should have arrived at all receivers together, those that could not be sent included.
    pub due: u64,
    /// How many did.
    pub delivered: u64,
    first: Times,
    last: Times,
    jitter: Times,
    late: Times,
}

/// How long a frame took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// There is nobody who should have got it.
    Nobody,
    /// No receiver got it whole.
    Nowhere,
    /// Some receivers never had it whole.
    Somewhere {
        /// Until the first one had.
        first: Duration,
    },
    /// Every receiver had it whole.
    Everywhere {
        /// Until the first one had.
        first: Duration,
        /// Until the last one had.
        last: Duration,
    },
}

/// Times, among them those of what never came.
#[derive(Debug, Clone)]
struct Times {
    known: Histogram<u64>,
    never: u64,
}

/// What that many percent of the values do not exceed, in milliseconds. `None`: there are no values. Infinite, which JSON says as
/// `null`: fewer came at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// 50 %.
    pub p50: Option<f64>,
    /// 90 %.
    pub p90: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p999: Option<f64>,
}

/// The longest time that is told from longer ones, in microseconds.
const TIME_US_MAX: u64 = 60_000_000;

/// Times are right to three digits.
const DIGITS: u8 = 3;

impl Default for Outcome {
    fn default() -> Self {
        let times = Times::default();
        Self {
            offered: 0,
            due: 0,
            delivered: 0,
            first: times.clone(),
            last: times.clone(),
            jitter: times.clone(),
            late: times,
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        let known = Histogram::new_with_max(TIME_US_MAX, DIGITS).expect("the bounds are ones that it can have");
        Self { known, never: 0 }
    }
}

impl Outcome {
    /// A frame was sent that many should get.
    pub(super) fn sent(&mut self, fragments: u32, receivers: u32, late: Duration) {
        self.offered += u64::from(fragments);
        self.missed(fragments, receivers);
        self.late.note(late);
    }

    /// A frame was due that many should get.
    pub(super) fn missed(&mut self, fragments: u32, receivers: u32) {
        self.due += u64::from(fragments) * u64::from(receivers);
    }

    /// So many datagrams of a frame arrived, and so long it took.
    pub(super) fn settled(&mut self, datagrams: u32, took: Took) {
        self.delivered += u64::from(datagrams);
        let (first, last) = match took {
            Took::Nobody => return,
            Took::Nowhere => (None, None),
            Took::Somewhere { first } => (Some(first), None),
            Took::Everywhere { first, last } => (Some(first), Some(last)),
        };
        self.first.note_or_never(first);
        self.last.note_or_never(last);
    }

    /// How much the times varied that one publisher's frames took to one receiver (RFC 3550, section 6.4.1).
    pub(super) fn varied(&mut self, jitter: Duration) {
        self.jitter.note(jitter);
    }

    /// How long frames took until the first receiver had them whole; of those that were due, sent or not.
    pub fn first_ms(&self) -> Percentiles {
        Percentiles::of(&self.first)
    }

    /// How long frames took until the last receiver had them whole, and so everyone; for ever, if one never had.
    pub fn last_ms(&self) -> Percentiles {
        Percentiles::of(&self.last)
    }

    /// Of all pairs of publisher and receiver.
    pub fn jitter_ms(&self) -> Percentiles {
        Percentiles::of(&self.jitter)
    }

    /// How much later than they should have frames were sent: the load's own fault.
    pub fn late_ms(&self) -> Percentiles {
        Percentiles::of(&self.late)
    }
}

impl Times {
    fn note(&mut self, time: Duration) {
        self.known.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn note_or_never(&mut self, time: Option<Duration>) {
        match time {
            Some(time) => self.note(time),
            None => self.never += 1,
        }
    }

    /// What so many thousandths of the values do not exceed, in milliseconds.
    fn at(&self, thousandths: u64) -> Option<f64> {
        let (known, all) = (self.known.len(), self.known.len() + self.never);
        // That of the value in this place, counted from the least one.
        let place = (all * thousandths).div_ceil(1000);
        match all {
            0 => None,
            _ if place > known => Some(f64::INFINITY),
            _ => Some(self.known.value_at_quantile(place as f64 / known as f64) as f64 / 1e3),
        }
    }
}

impl Percentiles {
    fn of(times: &Times) -> Self {
        Self { p50: times.at(500), p90: times.at(900), p99: times.at(990), p999: times.at(999) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_values() {
        let mut outcome = Outcome::default();
        for ms in 1..=1000 {
            let (first, last) = (Duration::from_millis(ms), Duration::from_millis(2 * ms));
            outcome.settled(1, Took::Everywhere { first, last });
        }
        let near = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() <= expected / 500.0;
        let Percentiles { p50, p90, p99, p999 } = outcome.first_ms();
        assert!(near(p50, 500.0) && near(p90, 900.0) && near(p99, 990.0) && near(p999, 999.0));
        assert!(near(outcome.last_ms().p50, 1000.0));
        assert_eq!(outcome.jitter_ms().p50, None);
    }

    #[test]
    fn what_never_came_is_later_than_everything_that_did() {
        let first = Duration::from_millis(1);
        for (lacking, p99, p999) in [(0, 2.0, 2.0), (10, 2.0, f64::INFINITY), (11, f64::INFINITY, f64::INFINITY)] {
            let mut outcome = Outcome::default();
            for number in 0..1000 {
                let whole = Took::Everywhere { first, last: 2 * first };
                outcome.settled(1, if number < lacking { Took::Somewhere { first } } else { whole });
            }
            let round = |ms: Option<f64>| ms.unwrap().round();
            assert_eq!((round(outcome.last_ms().p99), round(outcome.last_ms().p999)), (p99, p999), "{lacking}");
            assert_eq!(round(outcome.first_ms().p999), 1.0);
        }
    }

    #[test]
    fn a_time_beyond_the_scale_is_the_longest_one() {
        let mut outcome = Outcome::default();
        outcome.varied(Duration::MAX);
        assert!(outcome.jitter_ms().p50.is_some_and(|ms| ms >= 60_000.0));
    }
}
