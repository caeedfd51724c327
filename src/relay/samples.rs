use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::tally::Sampled;

/// In seconds: from one machine to the other side of the world by satellite.
const ROUND_TRIP_BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6];

/// As a part of what was sent: what nobody notices, what repair mends, and what nothing mends.
const LOSS_BUCKETS: [f64; 8] = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3];

/// How all sessions do, looked at now and then.
#[derive(Debug)]
pub(super) struct Samples {
    round_trips: Histogram,
    /// The part that got lost since the last look: of packets to the client, of datagrams from it.
    losses: [Histogram; 2],
}

impl Samples {
    pub fn register(registry: &mut Registry) -> Self {
        let round_trips = Histogram::new(ROUND_TRIP_BUCKETS);
        registry.register(
            "round_trip_seconds",
            "Round trips of all sessions, looked at every 10 s",
            round_trips.clone(),
        );
        let losses = ["to_client", "from_client"].map(|direction| {
            let histogram = Histogram::new(LOSS_BUCKETS);
            let help = format!("The part that got lost in 10 s, of all sessions: {direction}");
            registry.register(format!("loss_ratio_{direction}"), help, histogram.clone());
            histogram
        });
        Self { round_trips, losses }
    }

    /// Adds how one session does, and what it sent and lost since the last time.
    pub fn add(&self, round_trip: Duration, since: Sampled) {
        if !round_trip.is_zero() {
            self.round_trips.observe(round_trip.as_secs_f64());
        }
        let of = [(since.packets_lost, since.packets_sent), (since.missing, since.received + since.missing)];
        for (losses, (lost, all)) in self.losses.iter().zip(of).filter(|(_, (_, all))| *all > 0) {
            losses.observe(lost as f64 / all as f64);
        }
    }
}
