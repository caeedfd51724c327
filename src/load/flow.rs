use std::collections::VecDeque;
use std::time::Duration;

use super::outcome::{Outcome, Took};

/// What arrives later than this after it was sent is not delivered.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The frames of one publisher (or its messages) on their way. All times are of one clock, from the beginning of the run.
#[derive(Debug)]
pub struct Flow {
    receivers: u32,
    fragments: u32,
    /// The number of the frame in front.
    first: u32,
    /// Those that were sent in the last [`PATIENCE`].
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    /// `None`: it was due and not sent.
    sent_at: Option<Duration>,
    counts: bool,
    datagrams: u32,
    /// How many receivers had it whole.
    whole: u32,
    /// How long it took until the first and the last of them had.
    took: Option<(Duration, Duration)>,
}

/// A frame that is about to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// When it should have been sent.
    pub due_at: Duration,
    /// When it is.
    pub now: Duration,
    /// Whether it is measured; what comes before and after is not.
    pub counts: bool,
}

impl Flow {
    /// One that so many receive, in frames of so many datagrams.
    pub fn new(receivers: u32, fragments: u32) -> Self {
        Self { receivers, fragments, first: 0, frames: VecDeque::new() }
    }

    /// Notes that the next frame is sent, and gives its number.
    pub fn send(&mut self, sending: Sending, outcome: &mut Outcome) -> u32 {
        let Sending { due_at, now, counts } = sending;
        if counts {
            outcome.sent(self.fragments, self.receivers, now.saturating_sub(due_at));
        }
        self.push(Some(now), counts, now, outcome)
    }

    /// Notes that the next frame is due, and that its publisher cannot send it.
    pub fn miss(&mut self, sending: Sending, outcome: &mut Outcome) {
        if sending.counts {
            outcome.missed(self.fragments, self.receivers);
        }
        self.push(None, sending.counts, sending.now, outcome);
    }

    fn push(&mut self, sent_at: Option<Duration>, counts: bool, now: Duration, outcome: &mut Outcome) -> u32 {
        self.settle(now.checked_sub(PATIENCE), outcome);
        self.frames.push_back(Frame { sent_at, counts, datagrams: 0, whole: 0, took: None });
        self.first.wrapping_add(self.frames.len() as u32 - 1)
    }

    /// Notes that a datagram of a frame arrived, and whether the frame is whole with it. Gives the time it took, unless that was
    /// too long.
    pub fn receive(&mut self, number: u32, is_whole: bool, now: Duration) -> Option<Duration> {
        let frame = self.frames.get_mut(number.wrapping_sub(self.first) as usize)?;
        let took = now.saturating_sub(frame.sent_at?);
        if took > PATIENCE {
            return None;
        }
        frame.datagrams += 1;
        if is_whole {
            frame.whole += 1;
            let (first, last) = frame.took.unwrap_or((took, took));
            frame.took = Some((first.min(took), last.max(took)));
        }
        Some(took)
    }

    /// Counts what became of all that is still on its way: the run is over.
    pub fn finish(&mut self, outcome: &mut Outcome) {
        self.settle(Some(Duration::MAX), outcome);
    }

    /// Counts what became of frames that were sent before `until`.
    fn settle(&mut self, until: Option<Duration>, outcome: &mut Outcome) {
        let Some(until) = until else {
            return;
        };
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.sent_at.is_none_or(|at| at < until)) {
            self.first = self.first.wrapping_add(1);
            if frame.counts {
                outcome.settled(frame.datagrams, frame.took_of(self.receivers));
            }
        }
    }
}

impl Frame {
    /// How long it took until the first and the last of so many receivers had it whole.
    fn took_of(&self, receivers: u32) -> Took {
        match self.took {
            _ if receivers == 0 => Took::Nobody,
            None => Took::Nowhere,
            Some((first, _)) if self.whole < receivers => Took::Somewhere { first },
            Some((first, last)) => Took::Everywhere { first, last },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(now: u64) -> Sending {
        Sending { due_at: ms(now), now: ms(now), counts: true }
    }

    #[test]
    fn a_frame_is_there_when_its_last_datagram_is() {
        let (mut flow, mut outcome) = (Flow::new(2, 2), Outcome::default());
        assert_eq!(flow.send(at(100), &mut outcome), 0);
        for (is_whole, now) in [(false, 101), (false, 102), (true, 105), (true, 140)] {
            assert_eq!(flow.receive(0, is_whole, ms(now)), Some(ms(now - 100)));
        }
        flow.finish(&mut outcome);
        assert_eq!((outcome.due, outcome.delivered), (4, 4));
        assert_eq!(outcome.first_ms().p50.map(f64::round), Some(5.0));
        assert_eq!(outcome.last_ms().p50.map(f64::round), Some(40.0));
    }

    #[test]
    fn what_does_not_come_or_comes_too_late_is_not_delivered() {
        let (mut flow, mut outcome) = (Flow::new(1, 1), Outcome::default());
        assert_eq!((0..3).map(|turn| flow.send(at(turn * 20), &mut outcome)).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(flow.receive(1, true, ms(21)), Some(ms(1)));
        assert_eq!(flow.receive(2, true, ms(2041)), None);
        assert_eq!(flow.receive(3, true, ms(50)), None, "it was not sent");
        flow.finish(&mut outcome);
        assert_eq!((outcome.due, outcome.delivered), (3, 1));
    }

    #[test]
    fn what_one_receiver_lacks_never_was_with_the_last_one() {
        let (mut flow, mut outcome) = (Flow::new(2, 1), Outcome::default());
        (0..4).for_each(|turn| _ = flow.send(at(turn * 20), &mut outcome));
        flow.miss(at(80), &mut outcome);
        for (number, now) in [(0, 10), (0, 15), (1, 30), (1, 35), (2, 50)] {
            assert!(flow.receive(number, true, ms(now)).is_some());
        }
        flow.finish(&mut outcome);
        let (first, last) = (outcome.first_ms(), outcome.last_ms());
        assert_eq!((first.p50.map(f64::round), last.p50), (Some(10.0), Some(f64::INFINITY)), "3 and 2 of 5 were there");
        assert_eq!(first.p90, Some(f64::INFINITY), "one was with nobody, one was not even sent");
    }

    #[test]
    fn what_nobody_is_there_for_takes_no_time() {
        let (mut flow, mut outcome) = (Flow::new(0, 1), Outcome::default());
        flow.send(at(0), &mut outcome);
        flow.finish(&mut outcome);
        assert_eq!((outcome.first_ms().p50, outcome.last_ms().p50), (None, None));
    }

    #[test]
    fn old_frames_are_forgotten_and_numbers_go_on() {
        let (mut flow, mut outcome) = (Flow::new(1, 1), Outcome::default());
        for turn in 0..500_u32 {
            let now = u64::from(turn) * 20;
            assert_eq!(flow.send(at(now), &mut outcome), turn);
            assert!(flow.receive(turn, true, ms(now + 1)).is_some());
        }
        assert!(flow.frames.len() <= 101, "{}", flow.frames.len());
        assert_eq!(flow.receive(10, true, ms(10_000)), None, "it was counted long ago");
        flow.finish(&mut outcome);
        assert_eq!((outcome.due, outcome.delivered), (500, 500));
    }

    #[test]
    fn what_was_due_and_not_sent_is_not_delivered() {
        let (mut flow, mut outcome) = (Flow::new(3, 2), Outcome::default());
        flow.miss(at(0), &mut outcome);
        assert_eq!(flow.send(at(20), &mut outcome), 1);
        assert_eq!(flow.receive(0, true, ms(21)), None);
        flow.finish(&mut outcome);
        assert_eq!((outcome.due, outcome.delivered, outcome.offered), (12, 0, 2));
    }

    #[test]
    fn what_does_not_count_is_not_counted() {
        let (mut flow, mut outcome) = (Flow::new(1, 1), Outcome::default());
        let number = flow.send(Sending { counts: false, ..at(0) }, &mut outcome);
        assert_eq!(flow.receive(number, true, ms(1)), Some(ms(1)));
        flow.finish(&mut outcome);
        assert_eq!((outcome.due, outcome.delivered, outcome.offered), (0, 0, 0));
        assert_eq!(outcome.first_ms().p50, None);
    }

    #[test]
    fn lateness_of_the_load_is_its_own_figure() {
        let (mut flow, mut outcome) = (Flow::new(1, 1), Outcome::default());
        flow.send(Sending { due_at: ms(0), now: ms(30), counts: true }, &mut outcome);
        flow.receive(0, true, ms(31));
        flow.finish(&mut outcome);
        assert_eq!(outcome.late_ms().p99.map(f64::round), Some(30.0));
        assert_eq!(outcome.last_ms().p99.map(f64::round), Some(1.0));
    }
}
