use serde::Serialize;

use super::report::{Counted, Report};

/// What a search for the largest size meets, so that it goes no further. Only latency is the limit that it looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Obstacle {
    /// Less than 99 % of the frames were with everyone in time, or sessions were lost.
    Latency,
    /// Not everyone came in, because the relay allows no more or did not answer in time.
    Admission,
    /// The relay kept back some of what was sent, because its options allow no more.
    Options,
    /// The load sent too late itself: what is late then need not be the relay's fault.
    Load,
    /// One run has no more sessions.
    Size,
    /// The time for all runs of a search is over.
    Time,
    /// It was stopped.
    Stop,
}

/// Why a relay drops what it is told to drop, as it counts that.
const DROPPED_BY_OPTIONS: [&str; 2] = ["over_budget", "not_selected"];

impl Obstacle {
    /// What this run met; `None`: it holds. A load that was late and held all the same would hold if it was not.
    pub fn met(report: &Report, p99_ms: f64) -> Option<Self> {
        let Report { sessions, delivery, counted, .. } = report;
        if sessions.joined < sessions.wanted {
            return Some(Self::Admission);
        }
        let is_in_time = delivery.last_ms.p99.is_some_and(|ms| ms.is_finite() && ms <= p99_ms);
        if is_in_time && sessions.lost.is_empty() {
            return None;
        }
        if counted.as_ref().is_some_and(are_options_met) {
            return Some(Self::Options);
        }
        Some(if delivery.is_sent_late() { Self::Load } else { Self::Latency })
    }

    /// It in a few words, as the last column of a step.
    pub fn label(self) -> &'static str {
        match self {
            Self::Latency => "no",
            Self::Admission => "not everyone came in",
            Self::Options => "the relay's options",
            Self::Load => "the load was late",
            Self::Size => "no more sessions",
            Self::Time => "no more time",
            Self::Stop => "stopped",
        }
    }
}

fn are_options_met(counted: &Counted) -> bool {
    !counted.requests_refused.is_empty()
        || DROPPED_BY_OPTIONS.iter().any(|reason| counted.dropped.contains_key(*reason))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::load::report::tests::report;

    fn met(change: impl FnOnce(&mut Report)) -> Option<Obstacle> {
        let mut report = report();
        change(&mut report);
        Obstacle::met(&report, 4.1)
    }

    fn once(reason: &str) -> BTreeMap<String, u64> {
        BTreeMap::from([(reason.to_owned(), 1)])
    }

    /// Not everyone had it in time.
    fn slow(report: &mut Report) {
        report.delivery.last_ms.p99 = Some(4.2);
    }

    #[test]
    fn it_holds_if_everyone_got_it_in_time() {
        assert_eq!(met(|_| {}), None);
        assert_eq!(met(slow), Some(Obstacle::Latency));
        assert_eq!(met(|report| report.delivery.last_ms.p99 = Some(f64::INFINITY)), Some(Obstacle::Latency));
        assert_eq!(Obstacle::met(&report(), f64::NAN), Some(Obstacle::Latency));
        assert_eq!(met(|report| report.delivery.last_ms.p99 = None), Some(Obstacle::Latency), "nothing was due");
        let lost = met(|report| _ = report.sessions.lost.insert("idle_timeout".to_owned(), 1));
        assert_eq!(lost, Some(Obstacle::Latency));
    }

    #[test]
    fn who_is_not_there_has_no_latency() {
        assert_eq!(met(|report| report.sessions.joined -= 1), Some(Obstacle::Admission));
        let slow_too = met(|report| {
            report.sessions.joined -= 1;
            slow(report);
        });
        assert_eq!(slow_too, Some(Obstacle::Admission));
    }

    #[test]
    fn what_the_relay_is_told_to_keep_back_is_not_slow() {
        for counted in [
            Counted { dropped: once("over_budget"), ..Counted::default() },
            Counted { dropped: once("not_selected"), ..Counted::default() },
            Counted { requests_refused: once("chat_too_fast"), ..Counted::default() },
        ] {
            let refused = |report: &mut Report| report.counted = Some(counted.clone());
            let slow_and_refused = |report: &mut Report| {
                slow(report);
                refused(report);
            };
            assert_eq!((met(refused), met(slow_and_refused)), (None, Some(Obstacle::Options)), "{counted:?}");
        }
        let full = Counted { dropped: once("subscriber_slow"), udp_dropped: 1, ..Counted::default() };
        let full = met(|report| {
            slow(report);
            report.counted = Some(full);
        });
        assert_eq!(full, Some(Obstacle::Latency), "it had too much to do");
    }

    #[test]
    fn a_load_that_is_late_does_not_know_what_is_slow() {
        let late = |report: &mut Report| report.delivery.late_ms.p99 = Some(5.1);
        let late_and_slow = |report: &mut Report| {
            late(report);
            slow(report);
        };
        assert_eq!((met(late), met(late_and_slow)), (None, Some(Obstacle::Load)));
    }
}
