use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::tally::Sampled;
use crate::wire::Measurements;

/// In seconds: from one machine to the other side of the world by satellite.
const ROUND_TRIP_BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6];

/// As a part of what was sent: what nobody notices, what repair mends, and what nothing mends.
const LOSS_BUCKETS: [f64; 8] = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3];

/// In bits a second: from what a voice needs to what many pictures do.
const BANDWIDTH_BUCKETS: [f64; 9] = [1e5, 2.5e5, 5e5, 1e6, 2e6, 4e6, 8e6, 3e7, 1e8];

/// In seconds: what nobody hears to what no buffer takes.
const JITTER_BUCKETS: [f64; 8] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/// How all sessions do, looked at now and then.
#[derive(Debug)]
pub(super) struct Samples {
    round_trips: Histogram,
    bandwidths: Histogram,
    jitters: Histogram,
    /// The part that got lost since the last look: of packets to the client, of datagrams from it.
    losses: [Histogram; 2],
}

impl Samples {
    pub fn register(registry: &mut Registry) -> Self {
        let mut histogram = |name: &str, what: &str, buckets: &[f64]| {
            let histogram = Histogram::new(buckets.iter().copied());
            registry.register(name, format!("{what} of all sessions, looked at every 10 s"), histogram.clone());
            histogram
        };
        let round_trips = histogram("round_trip_seconds", "Round trips", &ROUND_TRIP_BUCKETS);
        let bandwidths =
            histogram("bandwidth_bits_per_second", "What the paths to clients carry by estimate,", &BANDWIDTH_BUCKETS);
        let jitters = histogram("jitter_seconds", "Jitter of what comes from clients,", &JITTER_BUCKETS);
        let losses = ["to_client", "from_client"].map(|direction| {
            let histogram = Histogram::new(LOSS_BUCKETS);
            let help = format!("The part that got lost in 10 s, of all sessions: {direction}");
            registry.register(format!("loss_ratio_{direction}"), help, histogram.clone());
            histogram
        });
        Self { round_trips, bandwidths, jitters, losses }
    }

    /// Adds how one session does, and what it sent and lost since the last time.
    pub fn add(&self, measured: &Measurements, since: Sampled) {
        let seconds = |microseconds: u32| f64::from(microseconds) / 1e6;
        if measured.round_trip_us > 0 {
            self.round_trips.observe(seconds(measured.round_trip_us));
        }
        if measured.bandwidth_bps > 0 {
            self.bandwidths.observe(measured.bandwidth_bps as f64);
        }
        if since.received > 0 {
            self.jitters.observe(f64::from(measured.jitter_ms) / 1e3);
        }
        let of = [(since.packets_lost, since.packets_sent), (since.missing, since.received + since.missing)];
        for (losses, (lost, all)) in self.losses.iter().zip(of).filter(|(_, (_, all))| *all > 0) {
            losses.observe(lost as f64 / all as f64);
        }
    }
}
