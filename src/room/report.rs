use super::{Output, Participant, Room};
use crate::now::Now;
use crate::wire::{ParticipantId, ServerMessage, TrackId, TrackReport};

impl Room {
    /// Keeps what a subscriber says of its tracks, and tells their publishers now and then.
    pub(super) fn report(&mut self, now: Now, from: ParticipantId, reports: Vec<TrackReport>, out: &mut Vec<Output>) {
        // Nobody has more to say.
        for report in reports.into_iter().take(self.limits.subscriptions_per_participant as usize) {
            let Some(track) = self.tracks.get_mut(&report.track) else {
                continue;
            };
            if track.subscribers.note_report(now, from, report) && track.feedback.ask(now) {
                self.tell_feedback(now, report.track, out);
            }
        }
    }

    pub(super) fn tell_feedback(&self, now: Now, id: TrackId, out: &mut Vec<Output>) {
        let Some(track) = self.tracks.get(&id) else {
            return;
        };
        let is_here = self.participants.get(&track.publisher).is_some_and(Participant::is_here);
        if let Some(feedback) = feedback(id, track.subscribers.reports(now)).filter(|_| is_here) {
            out.push(Output::tell(track.publisher, feedback));
        }
    }
}

/// What a publisher is told of what its subscribers said; nothing if they said nothing.
fn feedback(track: TrackId, reports: impl Iterator<Item = TrackReport>) -> Option<ServerMessage> {
    let reports: Vec<_> = reports.collect();
    let best = *reports.iter().min_by_key(|report| impairment(report))?;
    let worst = *reports.iter().max_by_key(|report| impairment(report))?;
    let count = u16::try_from(reports.len()).unwrap_or(u16::MAX);
    Some(ServerMessage::Feedback { track, reports: count, best, worst })
}

/// How badly a track arrives: 1 % of loss weighs as much as 10 ms of delay; jitter decides between equals. Whoever got nothing
/// at all does not know what was lost: that counts as everything.
fn impairment(report: &TrackReport) -> (u64, u16) {
    let (received, lost) = (u64::from(report.received), u64::from(report.lost));
    let loss_per_mille = if received == 0 { 1000 } else { lost * 1000 / (received + lost) };
    (loss_per_mille + u64::from(report.delay_ms), report.jitter_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACK: TrackId = TrackId(1);

    fn report(received: u32, lost: u32, delay_ms: u16, jitter_ms: u16) -> TrackReport {
        TrackReport { track: TRACK, received, lost, jitter_ms, delay_ms }
    }

    #[test]
    fn loss_and_delay_are_weighed_against_each_other() {
        for (less, more) in [
            (report(100, 0, 0, 0), report(99, 1, 0, 0)),
            (report(990, 10, 9, 0), report(1000, 0, 20, 0)),
            (report(1000, 0, 9, 0), report(990, 10, 0, 0)),
            (report(10, 0, 5, 3), report(10, 0, 5, 4)),
            (report(1, 99, 0, 0), report(0, 0, 0, 0)),
            (report(10_000, 100, 0, 0), report(10, 1, 0, 0)),
        ] {
            assert!(impairment(&less) < impairment(&more), "{less:?} {more:?}");
        }
        impairment(&report(u32::MAX, u32::MAX, u16::MAX, u16::MAX));
    }

    #[test]
    fn the_best_and_the_worst_are_told() {
        let (good, fair, bad) = (report(100, 0, 1, 1), report(100, 2, 1, 1), report(50, 50, 1, 1));
        let told = |reports: &[TrackReport]| feedback(TRACK, reports.iter().copied());
        let expected = |reports, best, worst| Some(ServerMessage::Feedback { track: TRACK, reports, best, worst });
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[fair]), expected(1, fair, fair));
        assert_eq!(told(&[fair, bad, good]), expected(3, good, bad));
    }
}
