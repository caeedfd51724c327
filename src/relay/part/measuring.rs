//! How the sessions of a room do: for their clients, for whoever runs the relay, and as aggregates.
use serde::Serialize;

use super::Part;
use crate::now::Now;
use crate::relay::Metrics;
use crate::relay::outlet::{Encoded, Outlet};
use crate::relay::post::ShardId;
use crate::relay::tally::Sampled;
use crate::room::Audience;
use crate::transport::Carrier;
use crate::wire::{LeftOut, Measurements, ParticipantId, ServerMessage};

/// A session as `/sessions.json` tells of it. What is counted is counted since it began.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::relay) struct SessionRecord {
    room: String,
    participant: u32,
    identity: Option<String>,
    shard: usize,
    carrier: &'static str,
    remote: String,
    /// `null`: not known yet.
    round_trip_ms: Option<f64>,
    /// `null`: not known.
    bandwidth_bps: Option<u64>,
    sent: u64,
    packets_sent: u64,
    packets_lost: u64,
    received: u64,
    missing: u64,
    jitter_ms: u16,
    left_out: Vec<LeftOutRecord>,
}

#[derive(Debug, Serialize)]
struct LeftOutRecord {
    reason: &'static str,
    datagrams: u64,
}

impl SessionRecord {
    /// What the list of all is sorted by.
    pub fn order(&self) -> (&str, u32) {
        (&self.room, self.participant)
    }
}

impl From<LeftOut> for LeftOutRecord {
    fn from(LeftOut { reason, datagrams }: LeftOut) -> Self {
        Self { reason: reason.label(), datagrams }
    }
}

impl Part {
    pub(super) fn tell_measurements(&self, participant: ParticipantId, request: u32) {
        if let Some(member) = self.members.get(&participant) {
            let measurements = measure(&member.outlet);
            let message = ServerMessage::Measurements { request, measurements };
            self.send(Audience::One(participant), &Encoded::control(&message));
        }
    }

    /// How its sessions do.
    pub fn sessions(&self, shard: ShardId) -> impl Iterator<Item = SessionRecord> {
        self.members.iter().map(move |(participant, member)| {
            let measured = measure(&member.outlet);
            let Measurements { round_trip_us, bandwidth_bps, .. } = measured;
            SessionRecord {
                room: self.name().to_string(),
                participant: participant.0,
                identity: member.identity.as_ref().map(|identity| identity.as_str().to_owned()),
                shard: shard.0,
                carrier: member.outlet.carrier().label(),
                remote: member.remote.to_string(),
                round_trip_ms: (round_trip_us > 0).then(|| f64::from(round_trip_us) / 1e3),
                bandwidth_bps: (bandwidth_bps > 0).then_some(bandwidth_bps),
                sent: measured.sent,
                packets_sent: measured.packets_sent,
                packets_lost: measured.packets_lost,
                received: measured.received,
                missing: measured.missing,
                jitter_ms: measured.jitter_ms,
                left_out: measured.left_out.into_iter().map(LeftOutRecord::from).collect(),
            }
        })
    }

    /// Adds how its sessions do, and what they lost since the last time, to the aggregates; and gives back memory that nobody needs.
    pub fn sample(&mut self, now: Now, metrics: &Metrics) {
        self.routes.forget_old(now);
        for member in self.members.values().filter(|member| member.outlet.carrier() != Carrier::PlainWebSocket) {
            let measured = measure(&member.outlet);
            let Measurements { packets_sent, packets_lost, received, missing, .. } = measured;
            let now = Sampled { packets_sent, packets_lost, received, missing };
            metrics.samples.add(&measured, member.outlet.tally().sample(now));
        }
    }
}

fn measure(outlet: &Outlet) -> Measurements {
    let tally = outlet.tally();
    let arrivals = tally.arrivals();
    let (round_trip, path) = match outlet {
        Outlet::Quic { media, .. } => (media.connection().rtt(), media.connection().stats().path),
        Outlet::WebSocket { .. } | Outlet::Plain { .. } => (tally.round_trip(), Default::default()),
    };
    let round_trip_us = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
    let bandwidth_bps = match outlet {
        // A window leaves in each round trip.
        Outlet::Quic { .. } => path.cwnd.saturating_mul(8_000_000).checked_div(round_trip_us.into()).unwrap_or(0),
        Outlet::WebSocket { flight, .. } => flight.rate().unwrap_or(0).saturating_mul(8),
        Outlet::Plain { .. } => 0,
    };
    Measurements {
        round_trip_us,
        bandwidth_bps,
        sent: tally.sent(),
        packets_sent: path.sent_packets,
        packets_lost: path.lost_packets,
        received: arrivals.received,
        missing: arrivals.missing,
        jitter_ms: arrivals.jitter_ms(),
        left_out: tally.left_out(),
    }
}
