use std::time::Duration;

/// Over how long it is measured: short ones are uneven, because what is taken is taken in bursts.
const TIME: Duration = Duration::from_millis(200);

/// How long something may wait all the time, although less comes than is taken.
const STANDING_TIME: Duration = Duration::from_secs(4);

/// How fast a path takes what waits for it, and whether that is enough for what comes.
#[derive(Debug, Default)]
pub struct Drain {
    /// Since when something has been waiting and is being measured.
    since: Option<Duration>,
    /// What was taken since then, and what came.
    bytes: u64,
    come_bytes: u64,
    /// Since when there has always been something waiting.
    stands_since: Option<Duration>,
    /// Whether that is too long.
    stands: bool,
    measured: Option<u64>,
    /// Bytes a second that come, in the mean of the last two times: four frames of a camera with layers take as long as two thirds of one.
    comes: Option<u64>,
    /// The same of the last time alone.
    came: Option<u64>,
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

    /// So much came, of what comes all the time.
    pub fn note_come(&mut self, bytes: usize) {
        self.come_bytes += bytes as u64;
    }

    /// What comes from now on is something else, and no more than is taken until that is known.
    pub fn note_change(&mut self, now: Duration) {
        if self.since.is_some() {
            (self.since, self.bytes) = (Some(now), 0);
            (self.come_bytes, self.came, self.comes) = (0, None, Some(0));
        }
    }

    /// Whether more comes than is taken, as far as is known: otherwise what waits becomes less by itself. What is left out although nothing
    /// waits is too much by itself, and so is what keeps waiting.
    pub fn is_short(&self) -> bool {
        let is_short = self.comes.zip(self.measured).map(|(comes, taken)| comes > taken);
        self.stands || is_short.unwrap_or(true)
    }

    /// Whether something is still waiting: what is taken when nothing is says nothing.
    pub fn note_waiting(&mut self, now: Duration, is_waiting: bool) {
        let Some(since) = self.since.filter(|_| is_waiting) else {
            let since = is_waiting.then_some(now);
            *self = Self { since, stands_since: since, said: self.said, ..Self::default() };
            return;
        };
        self.stands = self.stands_since.is_some_and(|since| now >= since + STANDING_TIME);
        let time = now.saturating_sub(since);
        if time >= TIME {
            let rate = (self.bytes as f64 / time.as_secs_f64()) as u64;
            self.measured = Some(self.measured.map_or(rate, |before| (before + rate) / 2));
            let comes = (self.come_bytes as f64 / time.as_secs_f64()) as u64;
            self.comes = Some((comes + self.came.unwrap_or(comes)) / 2);
            self.came = Some(comes);
            (self.since, self.bytes, self.come_bytes) = (Some(now), 0, 0);
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

    /// What it says every 100 ms while so much comes and so much is taken in each of these.
    fn shortness(drain: &mut Drain, from: u64, to: u64, comes: usize, taken: usize) -> Vec<bool> {
        let step = |at| {
            drain.note_come(comes);
            drain.note_taken(taken);
            drain.note_waiting(ms(at), true);
            drain.is_short()
        };
        (from..to).step_by(100).map(step).collect()
    }

    #[test]
    fn what_keeps_waiting_for_four_seconds_is_too_much() {
        let mut drain = Drain::default();
        let shortness = shortness(&mut drain, 0, 4200, 9000, 10_000);
        assert_eq!(shortness.iter().filter(|is_short| **is_short).count(), 2 + 2, "{shortness:?}");
        assert_eq!(shortness[39..], [false, true, true]);
    }

    #[test]
    fn a_path_is_short_while_more_comes_than_is_taken() {
        let mut drain = Drain::default();
        assert_eq!(shortness(&mut drain, 0, 300, 20_000, 10_000), [true; 3]);
        // What came before counts for another 400 ms.
        assert_eq!(shortness(&mut drain, 300, 900, 9000, 10_000), [true, true, true, false, false, false]);
        assert_eq!(shortness(&mut drain, 900, 1500, 11_000, 10_000), [false, false, false, true, true, true]);
        drain.note_change(ms(1500));
        assert!(!drain.is_short(), "nothing is known of what comes now");
        assert_eq!(shortness(&mut drain, 1600, 1900, 20_000, 10_000), [false, true, true]);
        drain.note_waiting(ms(2000), false);
        assert!(drain.is_short(), "what is left out although nothing waits is too much by itself");
        drain.note_change(ms(2000));
        assert!(drain.is_short());
    }
}
