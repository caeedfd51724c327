use std::fmt::Write;

use serde::Serialize;

use super::obstacle::Obstacle;
use super::report::Report;
use super::report::table::{list, milliseconds};
use crate::limits::LOAD_SEARCH_TIME_MAX;

/// What a search for the largest size has come to. [`Finding::table`] is for people, [`Finding::json`] says the same to programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was made larger: `subscribers` or `rooms`.
    pub grown: &'static str,
    /// What was to hold, in milliseconds.
    pub p99_ms: f64,
    /// The largest size that held it.
    pub found: Option<u32>,
    /// Why the search went no further.
    pub ended_by: Obstacle,
    /// What was tried, in this order.
    pub steps: Vec<Step>,
}

/// A size that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// How many there were of what grows.
    pub size: u32,
    /// Why it does not hold; `None`: it does.
    pub obstacle: Option<Obstacle>,
    /// What the run has shown.
    pub report: Report,
}

impl Step {
    /// The step for people: a line, and its advice below.
    pub fn row(&self) -> String {
        let Report { delivery, sessions, advice, .. } = &self.report;
        let percent = delivery.percent.map_or("-".to_owned(), |percent| format!("{percent:.2} %"));
        let (p99, late) = (milliseconds(delivery.last_ms.p99), milliseconds(delivery.late_ms.p99));
        let holds = match self.obstacle {
            None => "yes".to_owned(),
            Some(Obstacle::Admission) => {
                format!("{} of {} came in ({})", sessions.joined, sessions.wanted, list(&sessions.failed))
            }
            Some(obstacle) => obstacle.label().to_owned(),
        };
        let mut row = format!("{:>12} {percent:>10} {p99:>12} {late:>15}   {holds}\n", self.size);
        for advice in advice {
            let _ = writeln!(row, "{:12} {advice}", "");
        }
        row
    }
}

impl Finding {
    /// The finding for programs: one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("it holds nothing that JSON cannot say")
    }

    /// The finding for people.
    pub fn table(&self) -> String {
        let head =
            format!("{:>12} {:>10} {:>12} {:>15}   holds\n", self.grown, "delivered", "p99 (ms)", "sent late (ms)");
        let rows: String = self.steps.iter().map(Step::row).collect();
        format!("{head}{rows}\n{}\n", self.verdict())
    }

    fn verdict(&self) -> String {
        let Self { grown, p99_ms, found, .. } = self;
        let last = self.steps.last().map_or(0, |step| step.size);
        let met = match self.ended_by {
            Obstacle::Latency => {
                return match found {
                    Some(size) => format!("The largest that holds a p99 of {p99_ms} ms: {size} {grown}."),
                    None => format!("Not even {last} {grown} hold a p99 of {p99_ms} ms."),
                };
            }
            Obstacle::Admission => format!("with {last} not everyone came in, and that was the limit, not the latency"),
            Obstacle::Options => {
                format!("with {last} the options of the relay allow no more, and that was the limit, not the latency")
            }
            Obstacle::Load => format!("with {last} the load itself was late, and that was the limit, not the relay"),
            Obstacle::Size => "one run has no more sessions, so a limit was not found".to_owned(),
            Obstacle::Time => {
                format!("all runs together take at most {} minutes", LOAD_SEARCH_TIME_MAX.as_secs() / 60)
            }
            Obstacle::Stop => "then it was stopped".to_owned(),
        };
        match found {
            Some(size) => format!("{size} {grown} hold a p99 of {p99_ms} ms; {met}."),
            None => format!("Nothing was found that holds a p99 of {p99_ms} ms: {met}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::tests::report;

    /// What is found where 10 hold, and 20 met this.
    fn finding(ended_by: Obstacle) -> Finding {
        let step = |size, obstacle| Step { size, obstacle, report: report() };
        let mut last = step(20, Some(ended_by));
        last.report.advice.push("Do this.".to_owned());
        Finding { grown: "rooms", p99_ms: 20.0, found: Some(10), ended_by, steps: vec![step(10, None), last] }
    }

    #[test]
    fn each_step_has_a_row_with_its_advice() {
        let expected = "       rooms  delivered     p99 (ms)  sent late (ms)   holds
          10   100.00 %         4.00            0.00   yes
          20   100.00 %         4.00            0.00   no
             Do this.

The largest that holds a p99 of 20 ms: 10 rooms.
";
        assert_eq!(finding(Obstacle::Latency).table(), expected);
        let mut refused = finding(Obstacle::Admission);
        let sessions = &mut refused.steps[1].report.sessions;
        (sessions.joined, sessions.failed) = (7, [("room_full".to_owned(), 3)].into());
        assert!(refused.table().contains("0.00   7 of 10 came in (room_full 3)\n"), "{}", refused.table());
        refused.steps[1].report.delivery.last_ms.p99 = Some(f64::INFINITY);
        assert!(refused.table().contains("100.00 %        never"), "{}", refused.table());
    }

    #[test]
    fn latency_alone_is_called_the_limit_of_latency() {
        for (obstacle, expected) in [
            (Obstacle::Admission, "with 20 not everyone came in, and that was the limit, not the latency."),
            (
                Obstacle::Options,
                "with 20 the options of the relay allow no more, and that was the limit, not the latency.",
            ),
            (Obstacle::Load, "with 20 the load itself was late, and that was the limit, not the relay."),
            (Obstacle::Size, "one run has no more sessions, so a limit was not found."),
            (Obstacle::Time, "all runs together take at most 60 minutes."),
            (Obstacle::Stop, "then it was stopped."),
        ] {
            let mut finding = finding(obstacle);
            assert_eq!(finding.verdict(), format!("10 rooms hold a p99 of 20 ms; {expected}"));
            finding.found = None;
            assert_eq!(finding.verdict(), format!("Nothing was found that holds a p99 of 20 ms: {expected}"));
        }
        let mut nothing = finding(Obstacle::Latency);
        nothing.found = None;
        assert_eq!(nothing.verdict(), "Not even 20 rooms hold a p99 of 20 ms.");
    }

    #[test]
    fn the_json_has_all_of_it() {
        let json: serde_json::Value = serde_json::from_str(&finding(Obstacle::Load).json()).unwrap();
        assert_eq!((&json["found"], &json["endedBy"], &json["grown"]), (&10.into(), &"load".into(), &"rooms".into()));
        assert_eq!((&json["steps"][0]["obstacle"], &json["steps"][1]["size"]), (&serde_json::Value::Null, &20.into()));
        assert_eq!(json["steps"][1]["report"]["advice"][0], "Do this.");
    }
}
