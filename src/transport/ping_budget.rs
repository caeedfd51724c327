use std::time::{Duration, Instant};

use crate::limits::{Bucket, PINGS_PER_SECOND, Rate};
use crate::now::Now;
use crate::wire::CloseReason;

/// What may be sent at once of what came while nothing was read, as time: that of as much as is said at once.
const CREDIT_MAX: Duration = Duration::from_secs(60);

/// How many pings and pongs a WebSocket client may still send: each ping costs a pong.
#[derive(Debug)]
pub struct PingBudget {
    bucket: Bucket,
    started: Instant,
    /// For how long nothing was read, in all.
    unread: Duration,
    /// As much of that as no ping has used up.
    credit: Duration,
}

impl Default for PingBudget {
    fn default() -> Self {
        Self { bucket: Bucket::default(), started: Instant::now(), unread: Duration::ZERO, credit: Duration::ZERO }
    }
}

impl PingBudget {
    /// Notes a ping or pong.
    ///
    /// # Errors
    /// [`CloseReason::TooFast`]: it is one too many.
    pub fn take(&mut self) -> Result<(), CloseReason> {
        self.take_at(self.started.elapsed())
    }

    /// Notes that nothing was read for so long: what came meanwhile is read at once, and was not sent at once.
    pub fn note_unread(&mut self, time: Duration) {
        self.unread += time;
        self.credit = (self.credit + time).min(CREDIT_MAX);
    }

    fn take_at(&mut self, since_start: Duration) -> Result<(), CloseReason> {
        let rate = Rate { per_second: PINGS_PER_SECOND, burst: PINGS_PER_SECOND };
        if self.bucket.take(Now::after(since_start.saturating_sub(self.unread)), rate, 1) {
            return Ok(());
        }
        self.credit = self.credit.checked_sub(Duration::from_secs(1) / PINGS_PER_SECOND).ok_or(CloseReason::TooFast)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many may come at once, after so many milliseconds.
    fn taken(pings: &mut PingBudget, ms: u64) -> u32 {
        (0..).take_while(|_| pings.take_at(Duration::from_millis(ms)).is_ok()).count() as u32
    }

    #[test]
    fn so_many_may_come_at_once_and_in_a_second() {
        let mut pings = PingBudget::default();
        let all = [0, 500, 60_000].map(|ms| taken(&mut pings, ms));
        assert_eq!(all, [PINGS_PER_SECOND, PINGS_PER_SECOND / 2, PINGS_PER_SECOND]);
    }

    #[test]
    fn what_came_while_nothing_was_read_may_be_as_many_as_in_that_time() {
        let mut pings = PingBudget::default();
        // Each text is waited for a little.
        (0..1000).for_each(|_| pings.note_unread(Duration::from_millis(50)));
        assert_eq!(taken(&mut pings, 50_000), 51 * PINGS_PER_SECOND);
        assert_eq!(taken(&mut pings, 50_500), PINGS_PER_SECOND / 2, "once");
    }
}
