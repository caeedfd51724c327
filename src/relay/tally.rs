use std::cell::Cell;
use std::time::Duration;

use super::Metrics;
use crate::media::Arrivals;
use crate::wire::{DropReason, LeftOut};

/// What is counted of one session's media. Every datagram counts in the relay's metrics as well.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: Cell<u64>,
    /// In the order of [`DropReason::ALL`].
    left_out: [Cell<u64>; DropReason::ALL.len()],
    arrivals: Cell<Arrivals>,
    /// On WebSocket: how long the last answer to a ping took.
    round_trip: Cell<Duration>,
    sampled: Cell<Sampled>,
}

/// What a session had sent and lost when it was looked at last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sampled {
    pub packets_sent: u64,
    pub packets_lost: u64,
    pub received: u64,
    pub missing: u64,
}

impl Tally {
    /// Datagrams were passed to the session's connection.
    pub fn note_sent(&self, metrics: &Metrics, datagrams: u64) {
        metrics.datagrams_sent.inc_by(datagrams);
        self.sent.set(self.sent.get() + datagrams);
    }

    /// Datagrams from the session or for it were left out.
    pub fn leave_out(&self, metrics: &Metrics, reason: DropReason, datagrams: u64) {
        metrics.drop_datagrams(reason, datagrams);
        let count = &self.left_out[usize::from(reason.code())];
        count.set(count.get() + datagrams);
    }

    /// How the session's own media arrives by now.
    pub fn note_arrivals(&self, arrivals: Arrivals) {
        self.arrivals.set(arrivals);
    }

    pub fn note_round_trip(&self, round_trip: Duration) {
        self.round_trip.set(round_trip);
    }

    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub fn arrivals(&self) -> Arrivals {
        self.arrivals.get()
    }

    /// As pings tell it; zero while there was no answer.
    pub fn round_trip(&self) -> Duration {
        self.round_trip.get()
    }

    /// What was left out, for each reason that there was.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let counts = DropReason::ALL.iter().zip(&self.left_out);
        counts
            .filter(|(_, count)| count.get() > 0)
            .map(|(reason, count)| LeftOut { reason: *reason, datagrams: count.get() })
            .collect()
    }

    /// What was sent and lost since it was looked at last.
    pub fn sample(&self, now: Sampled) -> Sampled {
        let before = self.sampled.replace(now);
        Sampled {
            packets_sent: now.packets_sent.saturating_sub(before.packets_sent),
            packets_lost: now.packets_lost.saturating_sub(before.packets_lost),
            received: now.received.saturating_sub(before.received),
            missing: now.missing.saturating_sub(before.missing),
        }
    }
}
