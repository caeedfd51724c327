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
    first: Histogram<u64>,
    last: Histogram<u64>,
    jitter: Histogram<u64>,
    late: Histogram<u64>,
}

/// What that many percent of the values do not exceed, in milliseconds. `None`: there are no values.
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
        let times = Histogram::new_with_max(TIME_US_MAX, DIGITS).expect("the bounds are ones that it can have");
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

impl Outcome {
    /// A frame was sent that many should get.
    pub(super) fn sent(&mut self, fragments: u32, receivers: u32, late: Duration) {
        self.offered += u64::from(fragments);
        self.missed(fragments, receivers);
        note(&mut self.late, late);
    }

    /// A frame was due that many should get.
    pub(super) fn missed(&mut self, fragments: u32, receivers: u32) {
        self.due += u64::from(fragments) * u64::from(receivers);
    }

    /// So many datagrams of a frame arrived, and so long it took until the first and the last receiver had it whole.
    pub(super) fn settled(&mut self, datagrams: u32, took: Option<(Duration, Duration)>) {
        self.delivered += u64::from(datagrams);
        if let Some((first, last)) = took {
            note(&mut self.first, first);
            note(&mut self.last, last);
        }
    }

    /// How much the times varied that one publisher's frames took to one receiver (RFC 3550, section 6.4.1).
    pub(super) fn varied(&mut self, jitter: Duration) {
        note(&mut self.jitter, jitter);
    }

    /// How long frames took until the first receiver had them whole.
    pub fn first_ms(&self) -> Percentiles {
        Percentiles::of(&self.first)
    }

    /// How long frames took until the last receiver of those who got them had them whole.
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

fn note(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

impl Percentiles {
    fn of(times: &Histogram<u64>) -> Self {
        let at = |share| (!times.is_empty()).then(|| times.value_at_quantile(share) as f64 / 1e3);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_values() {
        let mut outcome = Outcome::default();
        for ms in 1..=1000 {
            outcome.settled(1, Some((Duration::from_millis(ms), Duration::from_millis(2 * ms))));
        }
        let near = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() <= expected / 500.0;
        let Percentiles { p50, p90, p99, p999 } = outcome.first_ms();
        assert!(near(p50, 500.0) && near(p90, 900.0) && near(p99, 990.0) && near(p999, 999.0));
        assert!(near(outcome.last_ms().p50, 1000.0));
        assert_eq!(outcome.jitter_ms().p50, None);
    }

    #[test]
    fn a_time_beyond_the_scale_is_the_longest_one() {
        let mut outcome = Outcome::default();
        outcome.varied(Duration::MAX);
        assert!(outcome.jitter_ms().p50.is_some_and(|ms| ms >= 60_000.0));
    }
}
