use std::time::Duration;

/// The slowest pace, in bytes a second: what some voices need. A round trip that was measured while nothing passed is no measure of
/// a path.
const RATE_MIN: f64 = 16_000.0;

/// What may leave at once where a queue stood of late, as time of the path, and two datagrams at least: less than until the next frame of
/// audio, which does not stand behind all of a large frame then, should the path become slow just now.
pub const LIMITED_BURST_TIME: Duration = Duration::from_millis(8);

/// What may leave at once on any path, in bytes: two datagrams.
const BURST_BYTES_MIN: f64 = 2400.0;

/// What may have left too soon, in bytes: two datagrams more.
const DEBT_BYTES_MAX: f64 = 2400.0;

/// How fast media leaves: as the path carries it, so that a large frame does not stand in a queue behind which audio would wait.
/// Video waits for it; audio, which takes little, counts but does not wait.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// What may leave now, in bytes; less than nothing after a datagram that was larger.
    credit: f64,
    counted: Duration,
}

impl Pace {
    /// How many bytes may leave at once, on a path that carries so many a second: at most what it carries in `burst_time`.
    pub fn credit_bytes(&mut self, now: Duration, bytes_per_second: u64, burst_time: Duration) -> usize {
        let rate = rate(bytes_per_second);
        let most = (rate * burst_time.as_secs_f64()).max(BURST_BYTES_MIN);
        let earned = rate * now.saturating_sub(self.counted).as_secs_f64();
        (self.credit, self.counted) = ((self.credit + earned).min(most), now);
        self.credit.max(0.0) as usize
    }

    /// So much has left. Behind a large message media waits until it has arrived, not for the pace as well.
    pub fn sent(&mut self, bytes: usize) {
        self.credit = (self.credit - bytes as f64).max(-DEBT_BYTES_MAX);
    }

    /// How long it takes until anything may leave, a second at most; `None`: it may now.
    pub fn wait(&self, bytes_per_second: u64) -> Option<Duration> {
        let missing = 1.0 - self.credit;
        (missing > 0.0).then(|| Duration::from_secs_f64((missing / rate(bytes_per_second)).min(1.0)))
    }
}

fn rate(bytes_per_second: u64) -> f64 {
    (bytes_per_second as f64).max(RATE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn wait_ms(pace: &Pace, bytes_per_second: u64) -> Option<u128> {
        pace.wait(bytes_per_second).map(|wait| wait.as_millis())
    }

    #[test]
    fn a_burst_leaves_at_once_and_what_follows_as_the_path_carries_it() {
        let mut pace = Pace::default();
        assert_eq!(pace.credit_bytes(ms(1000), 500_000, LIMITED_BURST_TIME), 4000);
        pace.sent(4000);
        assert_eq!(
            [
                pace.credit_bytes(ms(1000), 500_000, LIMITED_BURST_TIME),
                pace.credit_bytes(ms(1002), 500_000, LIMITED_BURST_TIME)
            ],
            [0, 1000]
        );
        pace.sent(2000);
        assert_eq!((pace.credit_bytes(ms(1002), 500_000, LIMITED_BURST_TIME), wait_ms(&pace, 500_000)), (0, Some(2)));
        assert_eq!(
            [
                pace.credit_bytes(ms(1004), 500_000, LIMITED_BURST_TIME),
                pace.credit_bytes(ms(1005), 500_000, LIMITED_BURST_TIME)
            ],
            [0, 500]
        );
        assert_eq!(pace.credit_bytes(ms(1100), 500_000, LIMITED_BURST_TIME), 4000);
        assert_eq!(wait_ms(&pace, 500_000), None);
    }

    #[test]
    fn media_does_not_pay_for_what_was_said() {
        let mut pace = Pace::default();
        pace.credit_bytes(ms(1000), 16_000, LIMITED_BURST_TIME);
        pace.sent(500_000);
        assert_eq!((pace.credit_bytes(ms(1000), 16_000, LIMITED_BURST_TIME), wait_ms(&pace, 16_000)), (0, Some(150)));
        assert!(pace.credit_bytes(ms(1151), 16_000, LIMITED_BURST_TIME) > 0);
    }

    #[test]
    fn two_datagrams_leave_at_once_on_the_slowest_path_and_many_on_a_fast_one() {
        let mut pace = Pace::default();
        assert_eq!(pace.credit_bytes(ms(10_000), 1000, LIMITED_BURST_TIME), 2400);
        assert_eq!(pace.credit_bytes(ms(20_000), 10_000_000, LIMITED_BURST_TIME), 80_000);
    }
}
