pub(super) mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::counts::Counts;
use super::outcome::{Outcome, Percentiles};
use super::plan::Plan;

/// Later than this, in milliseconds, what is measured is the load itself.
const SENT_LATE_MS_MAX: f64 = 5.0;

/// What a run has shown. [`Report::table`] is for people, [`Report::json`] says the same to programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where the relay is, like `https://localhost:4433`.
    pub relay: String,
    /// What it calls itself; empty if nobody came in.
    pub relay_version: String,
    /// What was sent.
    pub profile: &'static str,
    /// Rooms.
    pub rooms: u32,
    /// Of each room.
    pub publishers: u32,
    /// Of each room.
    pub subscribers: u32,
    /// For how long it was measured, in seconds.
    pub seconds: f64,
    /// Whether it was ended before its time.
    pub ended_early: bool,
    /// What became of the sessions.
    pub sessions: Sessions,
    /// What became of what was sent.
    pub delivery: Delivery,
    /// What the relay counts; `None` where its metrics could not be read.
    pub counted: Option<Counted>,
    /// What the relay's process used; `None` where it was not found on this machine.
    pub process: Option<Process>,
    /// What else this machine did; `None` where it does not say.
    pub machine: Option<Machine>,
    /// What to look at, and what to do.
    pub advice: Vec<String>,
}

/// What became of the sessions of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    /// How many there should have been.
    pub wanted: u32,
    /// How many came to their seat at least once.
    pub joined: u32,
    /// Why the others did not.
    pub failed: BTreeMap<String, u32>,
    /// Why sessions ended before the run did.
    pub lost: BTreeMap<String, u32>,
    /// Sessions that took the place of a lost one.
    pub reconnects: u32,
}

/// What became of what was sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// What is counted: `datagrams` or `messages`.
    pub unit: &'static str,
    /// What publishers sent.
    pub sent: u64,
    /// What should have arrived at all receivers together.
    pub due: u64,
    /// What did, within two seconds.
    pub delivered: u64,
    /// The share that did; `None` where nothing was due.
    pub percent: Option<f64>,
    /// What arrived in a room that it was not sent in. There should be none.
    pub strayed: u64,
    /// How long frames took until the first receiver had them whole; infinite where none ever had.
    pub first_ms: Percentiles,
    /// How long frames took until the last receiver had them whole, and so everyone; infinite where one never had.
    pub last_ms: Percentiles,
    /// How much the times vary, of all pairs of publisher and receiver (RFC 3550).
    pub jitter_ms: Percentiles,
    /// How much later than they should have frames were sent: the load's own fault.
    pub late_ms: Percentiles,
}

/// What a relay counted during a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// Datagrams that it did not forward, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Packets that its kernel dropped because they were not read in time.
    pub udp_dropped: u64,
    /// Connections and sessions that it turned away, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Requests and chat messages that it refused, by reason.
    pub requests_refused: BTreeMap<String, u64>,
}

/// What a relay's process used during a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// CPU time for each datagram delivered, in microseconds; `None` where none was.
    pub cpu_us_per_delivered: Option<f64>,
    /// CPU time in percent of one core.
    pub cpu_percent: f64,
    /// Resident memory before the sessions, in bytes; one has come and gone by then.
    pub resident_bytes_before: u64,
    /// When all sessions were there and nothing was sent yet.
    pub resident_bytes_joined: u64,
    /// At the end, with all sessions there.
    pub resident_bytes_after: u64,
    /// What each session added to it before anything was sent; `None` where there were none.
    pub resident_bytes_per_session: Option<u64>,
}

/// What else the machine did during a run, in percent of one core.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// CPU time of the load.
    pub load_cpu_percent: f64,
    /// CPU time of all programs but the load and the relay; where the relay was not found, it is among them.
    pub others_cpu_percent: f64,
}

impl Sessions {
    /// Whether everyone has come in or failed.
    pub(super) fn are_settled(&self) -> bool {
        self.undecided() == 0
    }

    fn undecided(&self) -> u32 {
        self.wanted.saturating_sub(self.joined + self.failed.values().sum::<u32>())
    }

    /// The same, where those who were still about to come in when the run ended did not.
    pub(super) fn with_undecided(mut self) -> Self {
        let undecided = self.undecided();
        if undecided > 0 {
            self.failed.insert("still connecting".to_owned(), undecided);
        }
        self
    }
}

impl Counted {
    /// What is of interest among everything that a relay counts.
    pub fn of(counts: &Counts) -> Self {
        Self {
            dropped: counts.by_reason("tertulia_datagrams_dropped_total"),
            udp_dropped: counts.of("tertulia_udp_dropped_total"),
            refused: counts.by_reason("tertulia_refused_total"),
            requests_refused: counts.by_reason("tertulia_requests_refused_total"),
        }
    }
}

impl Delivery {
    /// What a run of this plan came to.
    pub fn of(plan: &Plan, outcome: &Outcome, strayed: u64) -> Self {
        Self {
            unit: plan.profile.unit(),
            sent: outcome.offered,
            due: outcome.due,
            delivered: outcome.delivered,
            percent: (outcome.due > 0).then(|| 100.0 * outcome.delivered as f64 / outcome.due as f64),
            strayed,
            first_ms: outcome.first_ms(),
            last_ms: outcome.last_ms(),
            jitter_ms: outcome.jitter_ms(),
            late_ms: outcome.late_ms(),
        }
    }

    /// Whether the load sent so late that the latencies are partly its own.
    pub(super) fn is_sent_late(&self) -> bool {
        self.late_ms.p99.is_some_and(|ms| ms > SENT_LATE_MS_MAX)
    }
}

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
}

/// What was used until one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// By the relay; nothing where its process was not found.
    pub relay: Usage,
    /// By the load.
    pub load: Usage,
    /// CPU time of all that runs on this machine; none where it does not say.
    pub machine_cpu: Duration,
}

/// Looks at what is used, in the order of time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looks {
    /// Before the sessions.
    pub before: Look,
    /// When all sessions were there.
    pub joined: Look,
    /// When it was measured from.
    pub began: Look,
    /// When it was measured to.
    pub ended: Look,
}

impl Machine {
    /// What these looks say, if it was measured for so long.
    pub fn of(looks: &Looks, measured: Duration) -> Option<Self> {
        let all = looks.ended.machine_cpu.saturating_sub(looks.began.machine_cpu);
        let load = looks.ended.load.cpu.saturating_sub(looks.began.load.cpu);
        let relay = looks.ended.relay.cpu.saturating_sub(looks.began.relay.cpu);
        let others = all.saturating_sub(load + relay);
        (!all.is_zero()).then(|| Self {
            load_cpu_percent: percent_of(load, measured),
            others_cpu_percent: percent_of(others, measured),
        })
    }
}

fn percent_of(cpu: Duration, measured: Duration) -> f64 {
    100.0 * cpu.as_secs_f64() / measured.as_secs_f64().max(f64::MIN_POSITIVE)
}

impl Process {
    /// What these looks say, if it was measured for so long, and so much was delivered meanwhile to so many sessions.
    pub fn of(looks: &Looks, measured: Duration, delivered: u64, sessions: u32) -> Self {
        let Looks { before, joined, began, ended } = looks;
        let cpu = ended.relay.cpu.saturating_sub(began.relay.cpu);
        let added = joined.relay.resident_bytes.saturating_sub(before.relay.resident_bytes);
        Self {
            cpu_us_per_delivered: (delivered > 0).then(|| cpu.as_secs_f64() * 1e6 / delivered as f64),
            cpu_percent: percent_of(cpu, measured),
            resident_bytes_before: before.relay.resident_bytes,
            resident_bytes_joined: joined.relay.resident_bytes,
            resident_bytes_after: ended.relay.resident_bytes,
            resident_bytes_per_session: added.checked_div(u64::from(sessions)),
        }
    }
}

impl Report {
    /// The report for programs: one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("it holds nothing that JSON cannot say")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::load::Profile;
    use crate::load::flow::{Flow, Sending};

    const PLAN: Plan = Plan {
        profile: Profile::Audio,
        rooms: 2,
        publishers: 1,
        subscribers: 4,
        duration: Duration::from_secs(1),
        ramp: Duration::ZERO,
    };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// One frame to four receivers that had it after 1, 2, 3 and 4 ms.
    fn outcome() -> Outcome {
        let (mut outcome, mut flow) = (Outcome::default(), Flow::new(4, 1));
        flow.send(Sending { due_at: ms(10), now: ms(10), counts: true }, &mut outcome);
        (11..=14).for_each(|now| assert!(flow.receive(0, true, ms(now)).is_some()));
        flow.finish(&mut outcome);
        outcome
    }

    /// One of a run in which all went well.
    pub fn report() -> Report {
        let look = |cpu_ms, mebibytes: u64| {
            let relay = Usage { cpu: ms(cpu_ms), resident_bytes: mebibytes << 20 };
            let load = Usage { cpu: ms(2 * cpu_ms), resident_bytes: 0 };
            Look { relay, load, machine_cpu: ms(5 * cpu_ms) }
        };
        let looks = Looks { before: look(5, 20), joined: look(10, 21), began: look(20, 21), ended: look(120, 22) };
        Report {
            relay: "https://localhost:4433/".to_owned(),
            relay_version: "tertulia 0.1.0".to_owned(),
            profile: PLAN.profile.name(),
            rooms: PLAN.rooms,
            publishers: PLAN.publishers,
            subscribers: PLAN.subscribers,
            seconds: 1.0,
            ended_early: false,
            sessions: Sessions { wanted: 10, joined: 10, ..Sessions::default() },
            delivery: Delivery::of(&PLAN, &outcome(), 0),
            counted: Some(Counted::default()),
            process: Some(Process::of(&looks, Duration::from_secs(1), 4, 10)),
            machine: Machine::of(&looks, Duration::from_secs(1)),
            advice: Vec::new(),
        }
    }

    #[test]
    fn the_process_is_what_was_used_while_it_was_measured() {
        let process = report().process.unwrap();
        assert_eq!((process.cpu_us_per_delivered, process.cpu_percent), (Some(25_000.0), 10.0));
        assert_eq!((process.resident_bytes_before, process.resident_bytes_after), (20 << 20, 22 << 20));
        assert_eq!(process.resident_bytes_per_session, Some((1 << 20) / 10));
        let machine = report().machine.unwrap();
        assert_eq!((machine.load_cpu_percent, machine.others_cpu_percent), (20.0, 20.0));
        assert_eq!(Machine::of(&Looks::default(), Duration::ZERO), None);
        let nothing = Process::of(&Looks::default(), Duration::ZERO, 0, 0);
        assert_eq!((nothing.cpu_us_per_delivered, nothing.resident_bytes_per_session), (None, None));
    }

    #[test]
    fn who_was_still_on_the_way_did_not_come_in() {
        let failed = BTreeMap::from([("room_full".to_owned(), 2)]);
        let sessions = Sessions { wanted: 10, joined: 5, failed, ..Sessions::default() };
        assert!(!sessions.are_settled());
        assert_eq!(sessions.with_undecided().failed["still connecting"], 3);
    }

    #[test]
    fn the_json_has_all_of_it() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(json["sessions"]["wanted"], 10);
        assert_eq!(json["delivery"]["percent"], 100.0);
        assert_eq!(json["delivery"]["lastMs"]["p999"], 4.001);
        assert_eq!(json["process"]["cpuUsPerDelivered"], 25_000.0);
        assert_eq!(json["counted"]["dropped"], serde_json::json!({}));
    }
}
