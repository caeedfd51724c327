use std::time::Instant;

use crate::limits::{Bucket, PINGS_PER_SECOND, Rate};
use crate::now::Now;
use crate::wire::CloseReason;

/// How many pings and pongs a WebSocket client may still send: each ping costs a pong.
#[derive(Debug)]
pub struct PingBudget {
    bucket: Bucket,
    started: Instant,
}

impl Default for PingBudget {
    fn default() -> Self {
        Self { bucket: Bucket::default(), started: Instant::now() }
    }
}

impl PingBudget {
    /// Notes a ping or pong.
    ///
    /// # Errors
    /// [`CloseReason::TooFast`]: it is one too many.
    pub fn take(&mut self) -> Result<(), CloseReason> {
        let rate = Rate { per_second: PINGS_PER_SECOND, burst: PINGS_PER_SECOND };
        let now = Now { since_start: self.started.elapsed(), unix_ms: 0 };
        if self.bucket.take(now, rate, 1) { Ok(()) } else { Err(CloseReason::TooFast) }
    }
}
