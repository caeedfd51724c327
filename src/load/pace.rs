use std::time::Duration;

/// The times at which a publisher sends, from the beginning of the run.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    next_at: Duration,
    interval: Duration,
}

/// When publishers send, and which of that is measured; from the beginning of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The first one sends.
    pub start: Duration,
    /// From now on it counts.
    pub from: Duration,
    /// Nobody sends any more.
    pub until: Duration,
}

impl Times {
    /// The same, ended by `now`.
    pub fn cut(self, now: Duration) -> Self {
        Self { until: self.until.min(now), ..self }
    }
}

impl Pace {
    /// One that begins so much later than the first publisher.
    pub fn new(times: Times, phase: Duration, interval: Duration) -> Self {
        Self { next_at: times.start + phase, interval }
    }

    /// When the next frame is due; `None`: there are no more.
    pub fn due_at(&self, times: Times) -> Option<Duration> {
        (self.next_at < times.until).then_some(self.next_at)
    }

    /// Takes the next frame, if it is due: when it was, and whether it counts.
    pub fn take(&mut self, times: Times, now: Duration) -> Option<(Duration, bool)> {
        let due_at = self.due_at(times).filter(|due_at| *due_at <= now)?;
        self.next_at += self.interval;
        Some((due_at, due_at >= times.from))
    }

    /// The same for what was due so long ago that it makes no sense to send it any more.
    pub fn skip(&mut self, times: Times, now: Duration) -> Option<(Duration, bool)> {
        self.take(times, now.saturating_sub(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const TIMES: Times = Times { start: ms(100), from: ms(150), until: ms(200) };

    #[test]
    fn frames_are_due_at_fixed_times_however_late_they_are_taken() {
        let mut pace = Pace::new(TIMES, ms(5), ms(20));
        assert_eq!(pace.take(TIMES, ms(104)), None);
        assert_eq!(pace.take(TIMES, ms(105)), Some((ms(105), false)));
        assert_eq!(pace.take(TIMES, ms(105)), None);
        let rest: Vec<_> = std::iter::from_fn(|| pace.take(TIMES, ms(1000))).collect();
        assert_eq!(rest, [(ms(125), false), (ms(145), false), (ms(165), true), (ms(185), true)]);
        assert_eq!(pace.due_at(TIMES), None);
    }

    #[test]
    fn what_is_skipped_is_older_than_one_frame() {
        let mut pace = Pace::new(TIMES, ms(0), ms(20));
        assert_eq!(pace.skip(TIMES, ms(119)), None);
        assert_eq!(pace.skip(TIMES, ms(145)), Some((ms(100), false)));
        assert_eq!(pace.skip(TIMES, ms(145)), Some((ms(120), false)));
        assert_eq!(pace.skip(TIMES, ms(145)), None);
        assert_eq!(pace.take(TIMES, ms(145)), Some((ms(140), false)));
    }
}
