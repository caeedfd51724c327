use std::time::Duration;

/// Over how long it is measured: short ones are uneven, because what is taken is taken in bursts.
const TIME: Duration = Duration::from_millis(200);

/// How fast a path takes what waits for it.
#[derive(Debug, Default)]
pub struct Drain {
    /// Since when something has been waiting and is being measured.
    since: Option<Duration>,
    bytes: u64,
    measured: Option<u64>,
    said: Option<u64>,
}

impl Drain {
    /// Bytes a second, if anything is known: a path that was slow for a moment is not slow for good.
    pub fn rate(&self) -> Option<u64> {
        self.measured.max(self.said)
    }

    /// Bytes a second that were taken of late, if something waited for long enough to tell.
    pub fn measured(&self) -> Option<u64> {
        self.measured
    }

    /// Bytes a second, as the connection believes.
    pub fn said(&self) -> Option<u64> {
        self.said
    }

    /// So much is what the connection believes.
    pub fn note_said(&mut self, bytes_per_second: u64) {
        self.said = Some(bytes_per_second);
    }

    /// So much was taken.
    pub fn note_taken(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Whether something is still waiting: what is taken when nothing is says nothing.
    pub fn note_waiting(&mut self, now: Duration, is_waiting: bool) {
        let Some(since) = self.since.filter(|_| is_waiting) else {
            *self = Self { since: is_waiting.then_some(now), said: self.said, ..Self::default() };
            return;
        };
        let time = now.saturating_sub(since);
        if time >= TIME {
            let rate = (self.bytes as f64 / time.as_secs_f64()) as u64;
            self.measured = Some(self.measured.map_or(rate, |before| (before + rate) / 2));
            (self.since, self.bytes) = (Some(now), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn what_is_taken_while_more_waits_is_what_the_path_carries() {
        let mut drain = Drain::default();
        for step in 0..100 {
            drain.note_taken(1000);
            drain.note_waiting(ms(step * 10), true);
        }
        assert!(drain.rate().is_some_and(|rate| (99_000..101_000).contains(&rate)), "{:?}", drain.rate());
        drain.note_said(50_000);
        assert!(drain.rate() > Some(99_000));
        for step in 100..300 {
            drain.note_waiting(ms(step * 10), true);
        }
        assert!(drain.measured() < Some(1000), "it takes nothing any more: {drain:?}");
        assert_eq!(drain.rate(), Some(50_000));
        drain.note_waiting(ms(3000), false);
        assert_eq!((drain.measured(), drain.rate()), (None, Some(50_000)));
    }
}
