use bincode::{Decode, Encode};

use super::DropReason;

/// How a session does, as the relay sees it. What is counted is counted since the session began.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Measurements {
    /// There and back, in microseconds; 0: not known yet.
    pub round_trip_us: u32,
    /// What the path to the client carries by estimate, in bits per second; 0: not known.
    pub bandwidth_bps: u64,
    /// Media datagrams for the client that its path took.
    pub sent: u64,
    /// Packets to the client, of all kinds; 0 on WebSocket.
    pub packets_sent: u64,
    /// Those of them that got lost; 0 on WebSocket.
    pub packets_lost: u64,
    /// Media datagrams of the client's tracks that arrived.
    pub received: u64,
    /// Media datagrams of the client's tracks that should have arrived and did not, or only because they were asked for.
    pub missing: u64,
    /// How much the time that the client's datagrams take varies, in milliseconds (RFC 3550, section 6.4.1).
    pub jitter_ms: u16,
    /// What was left out, in both directions, for each reason that there was.
    pub left_out: Vec<LeftOut>,
}

/// Datagrams that were left out for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct LeftOut {
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub datagrams: u64,
}
