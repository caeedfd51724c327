use std::time::Duration;

use crate::now::Now;

/// Many askings become few: one in an interval at most. The last one is not lost.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    interval: Duration,
    last_sent: Option<Duration>,
    waiting: bool,
}

impl Merged {
    pub fn every(interval: Duration) -> Self {
        Self { interval, last_sent: None, waiting: false }
    }

    /// When what was asked for should be sent, if it was not yet.
    pub fn due(&self) -> Option<Duration> {
        self.waiting.then(|| self.last_sent.map_or(Duration::ZERO, |last| last + self.interval))
    }

    /// Whether what was sent last may yet be answered: nothing came since, and not much time has passed.
    pub fn is_awaited(&self, now: Now, came_at: Option<Duration>) -> bool {
        let is_open = |sent| came_at.is_none_or(|came| came < sent) && now.since_start < sent + self.interval;
        self.last_sent.is_some_and(is_open)
    }

    /// Whether to send now what is asked for.
    pub fn ask(&mut self, now: Now) -> bool {
        self.waiting = true;
        self.take_if_due(now)
    }

    /// Whether to send now what was asked for before.
    pub fn take_if_due(&mut self, now: Now) -> bool {
        if self.due().is_none_or(|due| due > now.since_start) {
            return false;
        }
        (self.last_sent, self.waiting) = (Some(now.since_start), false);
        true
    }
}
