use std::time::Duration;

use crate::limits::DATAGRAM_SEND_BYTES_MAX;
use crate::transport::Estimate;

/// What of the path's time may wait in quinn: there, nothing can be left out any more, and chat waits behind it. Less than what
/// passes between two looks at it would leave the path idle.
const QUEUE_TIME: Duration = Duration::from_millis(15);

/// What may wait in quinn however slow the path is, in bytes: a large datagram and some small ones.
pub const QUEUE_BYTES_MIN: usize = 1500;

/// What is known of the path of a QUIC connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path {
    /// When it was looked at.
    pub seen: Option<Duration>,
    /// What the path is taken to carry.
    pub bytes_per_second: u64,
    /// What has left on it since the connection began.
    pub left_bytes: u64,
    pub round_trip: Duration,
    pub least_round_trip: Duration,
    /// When something was acknowledged, since that measures the round trip, and how long something had waited for it.
    pub acknowledged: Duration,
    pub pause: Duration,
    /// What Tertulia's congestion control knows, less what was handed to quinn since.
    pub estimate: Option<Estimate>,
    /// A whole packet.
    pub packet_bytes: u64,
}

impl Path {
    /// What may wait in quinn, in bytes.
    pub fn queue_bytes_max(self) -> usize {
        let bytes = self.bytes_per_second as f64 * QUEUE_TIME.as_secs_f64();
        (bytes as usize).clamp(QUEUE_BYTES_MIN, DATAGRAM_SEND_BYTES_MAX)
    }

    /// Whether what is handed to quinn leaves at once, as far as the window goes.
    pub fn has_room(self) -> bool {
        self.estimate.is_none_or(|estimate| estimate.room_bytes > self.packet_bytes)
    }

    /// So much was handed to quinn.
    pub fn handed(&mut self, bytes: usize) {
        if let Some(estimate) = &mut self.estimate {
            estimate.room_bytes = estimate.room_bytes.saturating_sub(bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_path_lets_little_wait_in_quinn_and_a_fast_one_what_it_carries_meanwhile() {
        for (bytes_per_second, bytes) in [(10_000, 1500), (1_000_000, 15_000), (1_000_000_000, DATAGRAM_SEND_BYTES_MAX)]
        {
            assert_eq!(Path { bytes_per_second, ..Path::default() }.queue_bytes_max(), bytes);
        }
    }

    #[test]
    fn there_is_room_while_a_whole_packet_fits_into_the_window() {
        let estimate = Some(Estimate { bytes_per_second: 75_000, room_bytes: 3200, is_full: true });
        let mut path = Path { estimate, packet_bytes: 1200, ..Path::default() };
        let handed: Vec<_> = std::iter::from_fn(|| path.has_room().then(|| path.handed(1000))).collect();
        assert_eq!(handed.len(), 2);
        assert!(Path::default().has_room(), "nothing is known of it");
    }
}
