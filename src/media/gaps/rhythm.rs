use std::time::Duration;

use super::TAIL;

/// How many frames of one datagram are asked for before a later one has come: as many as 60 ms of sound, after which it has
/// rather paused.
pub(super) const AHEAD_FRAMES_MAX: u32 = 3;

/// Frames that usually come more seldom than this are not expected at a time.
const INTERVAL_MAX: Duration = Duration::from_millis(60);

/// What comes so much later than the frame before it has paused rather than been late: its rhythm begins anew.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// How many intervals have to be known until the next frame is expected, and over how many they are averaged then.
const INTERVALS_MIN: u32 = 4;
const INTERVALS_MAX: u32 = 8;

/// How many times the mean deviation of the interval a frame may be late, as RFC 6298 has it for round trips.
const TAIL_DEVIATIONS: u32 = 4;

/// At what times frames of one datagram come by themselves, and how many of them are overdue.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rhythm {
    /// How many intervals are known, up to [`INTERVALS_MAX`].
    intervals: u32,
    interval: Duration,
    /// How far an interval is from that, on average.
    deviation: Duration,
    /// How many frames after the newest one are overdue and count as missing.
    ahead: u32,
}

impl Rhythm {
    /// A frame has come by itself, so long after the one before it.
    pub fn note(&mut self, interval: Duration) {
        if interval > PAUSE_MIN {
            *self = Self::default();
            return;
        }
        let before = self.intervals.min(INTERVALS_MAX - 1);
        let deviation = if before == 0 { Duration::ZERO } else { interval.abs_diff(self.interval) };
        self.intervals = before + 1;
        self.interval = (self.interval * before + interval) / self.intervals;
        self.deviation = (self.deviation * before + deviation) / self.intervals;
    }

    /// A frame has come: those after it are expected.
    pub fn begin(&mut self) {
        self.ahead = 0;
    }

    /// When the next frame is overdue, if they come regularly and the newest one has come at this time.
    pub fn overdue_at(&self, newest_at: Duration) -> Option<Duration> {
        let is_expected = self.is_known() && self.ahead < AHEAD_FRAMES_MAX;
        is_expected.then(|| newest_at + self.interval * (self.ahead + 1) + self.tail())
    }

    /// The next frame counts as missing. Gives how far behind the newest one it is, and when it should have come.
    pub fn miss(&mut self, newest_at: Duration) -> (u32, Duration) {
        self.ahead += 1;
        (self.ahead, newest_at + self.interval * self.ahead)
    }

    fn is_known(&self) -> bool {
        self.intervals >= INTERVALS_MIN && self.interval <= INTERVAL_MAX
    }

    /// How late a frame has to be until it counts as overdue.
    fn tail(&self) -> Duration {
        TAIL.max(self.deviation * TAIL_DEVIATIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DEADLINE, asked, at, due_ms, header};
    use super::super::{Arrival, Gaps};
    use super::*;
    use crate::wire::Wanted;

    #[test]
    fn a_frame_that_is_overdue_is_asked_for_before_a_later_one_comes() {
        let mut gaps = Gaps::new(DEADLINE);
        (0..5).for_each(|frame| _ = gaps.push(at(u64::from(frame) * 20), &header(frame, 0, 1), true));
        let asks: Vec<_> =
            (80..145).flat_map(|ms| asked(&mut gaps, ms).into_iter().map(move |wanted| (ms, wanted))).collect();
        let whole = [5, 6].map(Wanted::whole);
        assert_eq!(
            asks,
            [(115, whole[0]), (125, whole[0]), (135, whole[0]), (135, whole[1])],
            "it should have come at 100"
        );
        assert_eq!(gaps.push(at(144), &header(6, 0, 1), true), Arrival::Unasked, "no answer comes so soon");
        assert_eq!(gaps.push(at(176), &header(5, 0, 1), true), Arrival::Asked);
    }

    /// Frames of one datagram as `(moment, frame)`, and what is asked for meanwhile until this moment.
    fn asked_while(gaps: &mut Gaps, ms: std::ops::Range<u64>, frames: &[(u64, u32)]) -> Vec<(u64, u32)> {
        let at_moment = |ms| {
            let wanted = asked(gaps, ms);
            let come = frames.iter().filter(|(moment, _)| *moment == ms);
            come.for_each(|(_, frame)| _ = gaps.push(at(ms), &header(*frame, 0, 1), true));
            wanted.into_iter().map(move |wanted| (ms, wanted.frame))
        };
        ms.flat_map(at_moment).collect()
    }

    const REGULAR: [(u64, u32); 5] = [(0, 0), (20, 1), (40, 2), (60, 3), (80, 4)];

    #[test]
    fn a_frame_that_is_overdue_and_comes_by_itself_was_not_lost() {
        for (came_at, arrival) in [(150, Arrival::Unasked), (174, Arrival::Unasked), (175, Arrival::Asked)] {
            let mut gaps = Gaps::new(DEADLINE);
            assert_eq!(asked_while(&mut gaps, 0..130, &REGULAR), [(115, 5), (125, 5)]);
            assert_eq!(gaps.push(at(came_at), &header(5, 0, 1), true), arrival, "at {came_at}");
        }
    }

    #[test]
    fn a_frame_that_is_overdue_was_lost_if_a_later_one_has_come() {
        for (came_at, arrival) in [(144, Arrival::Unasked), (145, Arrival::Asked)] {
            let mut gaps = Gaps::new(DEADLINE);
            assert_eq!(asked_while(&mut gaps, 0..130, &[&REGULAR[..], &[(120, 6)]].concat()), [(115, 5), (125, 5)]);
            assert_eq!(gaps.push(at(came_at), &header(5, 0, 1), true), arrival, "at {came_at}");
        }
    }

    #[test]
    fn frames_that_come_together_are_not_asked_for_in_between() {
        // How many come together, how many milliseconds apart, and for how long they are vainly asked for.
        for (together, apart, learning_ms) in
            [(2, 0, 0), (2, 3, 0), (3, 0, 0), (3, 1, 0), (4, 5, 0), (5, 4, 250), (6, 1, 400)]
        {
            let mut gaps = Gaps::new(DEADLINE);
            let come_at = |frame| u64::from(frame / together * together * 20 + frame % together * apart);
            let frames: Vec<_> = (0..120).map(|frame| (come_at(frame), frame)).collect();
            let mut asked = asked_while(&mut gaps, 0..120 * 20, &frames);
            asked.retain(|(ms, _)| *ms >= learning_ms);
            assert_eq!(asked, [], "{together} together, {apart} ms apart");
        }
    }

    #[test]
    fn frames_that_come_regularly_again_are_expected_again() {
        let mut gaps = Gaps::new(DEADLINE);
        let pairs = (0..20).map(|frame| (u64::from(frame / 2 * 40), frame));
        let regular = (20..40).map(|frame| (u64::from(frame * 20), frame));
        let frames: Vec<_> = pairs.chain(regular).collect();
        let asked = asked_while(&mut gaps, 0..820, &frames);
        assert_eq!(asked.iter().map(|(_, frame)| *frame).collect::<Vec<_>>(), [40], "{asked:?}");
    }

    #[test]
    fn an_answer_says_nothing_of_when_the_next_frame_should_come() {
        let mut gaps = Gaps::new(DEADLINE);
        let frames = [&REGULAR[..], &[(176, 5), (180, 9), (200, 10)]].concat();
        let early: Vec<_> = asked_while(&mut gaps, 0..230, &frames)
            .into_iter()
            .filter(|(ms, frame)| *ms < u64::from(frame * 20))
            .collect();
        assert_eq!(early, []);
        let ahead: Vec<_> =
            asked_while(&mut gaps, 230..256, &[]).into_iter().filter(|(_, frame)| *frame > 10).collect();
        assert_eq!(ahead, [(235, 11), (245, 11), (255, 11), (255, 12)], "the rhythm is still known");
    }

    #[test]
    fn sound_that_has_paused_is_not_asked_for_for_long() {
        let mut gaps = Gaps::new(Duration::from_millis(200));
        (0..5).for_each(|frame| _ = gaps.push(at(u64::from(frame) * 20), &header(frame, 0, 1), true));
        let asked: Vec<_> = (80..2000).flat_map(|ms| asked(&mut gaps, ms)).collect();
        assert!(asked.len() <= 18 && asked.iter().all(|wanted| wanted.frame <= 7), "{asked:?}");
        assert_eq!(due_ms(&gaps), None);
    }
}
