use std::time::Duration;

use bytes::Bytes;

use crate::now::Now;
use crate::wire::TrackReport;

/// Above this part of lost datagrams, in thousandths, repair is sent before anyone asks for it.
const LOSS_PER_MILLE_MIN: u64 = 10;

/// How long it goes on after the last loss: loss comes in spells.
const SPELL: Duration = Duration::from_secs(10);

/// Whether to send more than a track needs, because some of it is lost: parity of pictures, audio twice.
#[derive(Debug, Default)]
pub struct Redundancy {
    until: Duration,
    previous: Vec<Bytes>,
}

impl Redundancy {
    /// Takes what the most impaired subscriber says: a second copy costs the others less than the gap costs that one.
    pub fn report(&mut self, now: Now, report: &TrackReport) {
        let (received, lost) = (u64::from(report.received), u64::from(report.lost));
        if lost > 0 && lost * 1000 >= LOSS_PER_MILLE_MIN * (received + lost) {
            self.until = now.since_start + SPELL;
        }
    }

    /// Whether there is loss at the moment.
    pub fn is_due(&self, now: Now) -> bool {
        now.since_start < self.until
    }

    /// What to send beside an audio frame, whose datagrams these are: those of the frame before it, while there is loss.
    pub fn beside(&mut self, now: Now, datagrams: Vec<Bytes>) -> Vec<Bytes> {
        let previous = std::mem::replace(&mut self.previous, datagrams);
        if self.is_due(now) { previous } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TrackId;

    fn at(seconds: u64) -> Now {
        Now::after(Duration::from_secs(seconds))
    }

    fn report(received: u32, lost: u32) -> TrackReport {
        TrackReport { track: TrackId(1), received, lost, jitter_ms: 0, delay_ms: 0 }
    }

    #[test]
    fn it_is_due_for_a_while_after_one_percent_was_lost() {
        let mut redundancy = Redundancy::default();
        for (received, lost, is_due) in [(50, 0, false), (0, 0, false), (991, 9, false), (990, 10, true), (0, 1, true)]
        {
            let mut redundancy = Redundancy::default();
            redundancy.report(at(0), &report(received, lost));
            assert_eq!(redundancy.is_due(at(9)), is_due, "{lost} of {received}");
        }
        redundancy.report(at(0), &report(90, 10));
        redundancy.report(at(5), &report(90, 10));
        redundancy.report(at(6), &report(100, 0));
        assert_eq!([14, 15].map(|seconds| redundancy.is_due(at(seconds))), [true, false]);
    }

    #[test]
    fn the_frame_before_comes_beside_each_while_there_is_loss() {
        let mut redundancy = Redundancy::default();
        let frame = |number: u8| vec![Bytes::copy_from_slice(&[number])];
        assert_eq!(redundancy.beside(at(0), frame(0)), frame(0)[..0]);
        redundancy.report(at(0), &report(9, 1));
        assert_eq!(redundancy.beside(at(1), frame(1)), frame(0));
        assert_eq!(redundancy.beside(at(2), frame(2)), frame(1));
        assert_eq!(redundancy.beside(at(30), frame(3)), frame(0)[..0]);
    }
}
