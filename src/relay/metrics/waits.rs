use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::spread;
use crate::limits::SHARDS_MAX;
use crate::media::Class;

/// The bounds by which waiting is counted, in seconds.
const BOUNDS: [f64; 9] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.2];

/// How long media datagrams waited, by class: a histogram that each shard counts in memory of its own, without a lock, since all
/// that goes to a WebSocket is counted here.
#[derive(Debug, Clone)]
pub struct Waits(Arc<[Line]>);

/// What one shard counts.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([Counts; Class::COUNT]);

#[derive(Debug, Default)]
struct Counts {
    /// Those that waited for as long as a bound says and for longer than the one before; and the longest ones.
    datagrams: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Default for Waits {
    fn default() -> Self {
        Self((0..SHARDS_MAX).map(|_| Line::default()).collect())
    }
}

impl Waits {
    /// Counts a datagram that waited for so long.
    pub fn observe(&self, class: Class, time: Duration) {
        let counts = &self.0[spread::line()].0[class.number()];
        let seconds = time.as_secs_f64();
        let at = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        counts.datagrams[at].fetch_add(1, Ordering::Relaxed);
        counts.microseconds.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    /// What all shards have counted of a class: seconds in all, and datagrams by their bounds.
    fn of(&self, class: usize) -> (f64, [(f64, u64); BOUNDS.len() + 1]) {
        let sum =
            |count: fn(&Counts, usize) -> u64, at| self.0.iter().map(|line| count(&line.0[class], at)).sum::<u64>();
        let datagrams = std::array::from_fn(|at| {
            let bound = BOUNDS.get(at).copied().unwrap_or(f64::INFINITY);
            (bound, sum(|counts, at| counts.datagrams[at].load(Ordering::Relaxed), at))
        });
        let microseconds = sum(|counts, _| counts.microseconds.load(Ordering::Relaxed), 0);
        (Duration::from_micros(microseconds).as_secs_f64(), datagrams)
    }
}

impl EncodeMetric for Waits {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (class, label) in Class::LABELS.into_iter().enumerate() {
            let (seconds, datagrams) = self.of(class);
            let count = datagrams.iter().map(|(_, count)| count).sum();
            let labels = [("class", label)];
            encoder.encode_family(&labels)?.encode_histogram::<NoLabelSet>(seconds, count, &datagrams, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::super::Spread;
    use super::*;
    use crate::relay::post::ShardId;

    #[test]
    fn what_all_shards_count_is_one_histogram_for_each_class() {
        let waits = Waits::default();
        std::thread::scope(|scope| {
            for shard in 0..3 {
                let waits = &waits;
                scope.spawn(move || {
                    Spread::count_for(ShardId(shard));
                    waits.observe(Class::Audio, Duration::from_millis(5));
                    waits.observe(Class::Upper(2), Duration::from_secs(2));
                });
            }
        });
        let mut registry = Registry::default();
        registry.register("wait_seconds", "Waiting", waits);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE wait_seconds histogram",
            "wait_seconds_sum{class=\"audio\"} 0.015",
            "wait_seconds_bucket{le=\"0.001\",class=\"audio\"} 0",
            "wait_seconds_bucket{le=\"0.005\",class=\"audio\"} 3",
            "wait_seconds_bucket{le=\"+Inf\",class=\"audio\"} 3",
            "wait_seconds_bucket{le=\"1.2\",class=\"upper\"} 0",
            "wait_seconds_bucket{le=\"+Inf\",class=\"upper\"} 3",
            "wait_seconds_count{class=\"base\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
