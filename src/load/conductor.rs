use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::advice::advice;
use super::counts::Counts;
use super::pace::Times;
use super::process::{ObservedProcess, machine_cpu};
use super::report::{Counted, Delivery, Look, Looks, Machine, Process, Report};
use super::run::{LoadError, Run, Stage};
use super::workers::Workers;

/// For how long media flows before it counts: the first datagrams of a connection find out about their path.
const SETTLE: Duration = Duration::from_millis(500);

/// How long what was sent last may take to arrive.
const LINGER: Duration = Duration::from_millis(500);

/// How often it is looked whether everyone has joined.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long after the ramp those who have neither joined nor failed are waited for.
const JOINING_TIME_MAX: Duration = Duration::from_secs(120);

/// Tells everyone when to do what, and looks at the relay meanwhile.
pub struct Conductor {
    pub run: Arc<Run>,
    stages: watch::Sender<Stage>,
    workers: Workers,
    process: Option<ObservedProcess>,
    counts_before: Option<Counts>,
    looks: Looks,
    /// What had arrived when it was measured from and to.
    arrived: (u64, u64),
    /// Until when it was measured; `None`: it is not over.
    ended: Option<Duration>,
}

impl Conductor {
    /// Starts the sessions, which join as the plan says.
    pub async fn start(
        run: Arc<Run>,
        stages: watch::Sender<Stage>,
        process: Option<ObservedProcess>,
    ) -> Result<Self, LoadError> {
        let counts_before = counts(&run).await;
        let before = look(process.as_ref());
        let looks = Looks { before, ..Looks::default() };
        let workers = Workers::start(&run).map_err(LoadError::Thread)?;
        Ok(Self { run, stages, workers, process, counts_before, looks, arrived: (0, 0), ended: None })
    }

    /// From the first session to the last datagram. It can be dropped at any point.
    pub async fn conduct(&mut self) {
        let patience = Instant::now() + self.run.plan.ramp + JOINING_TIME_MAX;
        while !self.run.tally.sessions().are_settled() && Instant::now() < patience {
            sleep(LOOK_INTERVAL).await;
        }
        if self.run.tally.sessions().joined == 0 {
            return;
        }
        sleep(SETTLE).await;
        self.looks.joined = self.look();
        let start = self.run.now();
        let from = start + SETTLE;
        let times = Times { start, from, until: from + self.run.plan.duration };
        self.stages.send_modify(|stage| stage.times = Some(times));
        self.wait_until(times.from).await;
        self.looks.began = self.look();
        self.arrived.0 = self.run.tally.arrived();
        self.wait_until(times.until).await;
        self.end();
        sleep(LINGER).await;
    }

    /// Ends it, where it is, and says what it has shown.
    pub async fn finish(mut self, is_early: bool) -> Report {
        if self.ended.is_none() {
            self.end();
            let now = self.run.now();
            self.stages.send_modify(|stage| stage.times = stage.times.map(|times| times.cut(now)));
            sleep(LINGER).await;
        }
        let counts = counts(&self.run).await;
        self.stages.send_modify(|stage| stage.is_over = true);
        self.workers.stop().await;
        self.report(is_early, counts)
    }

    fn report(&self, is_early: bool, counts: Option<Counts>) -> Report {
        let Self { run, .. } = self;
        let (plan, outcome, sessions) = (&run.plan, run.tally.finish(), run.tally.sessions());
        let times = self.stages.borrow().times;
        let measured = times.map_or(Duration::ZERO, |times| times.until.saturating_sub(times.from));
        let delivered = self.arrived.1 - self.arrived.0;
        let joined = sessions.joined;
        let mut report = Report {
            relay: run.target.url.clone(),
            relay_version: run.tally.relay(),
            profile: plan.profile.name(),
            rooms: plan.rooms,
            publishers: plan.publishers,
            subscribers: plan.subscribers,
            seconds: measured.as_secs_f64(),
            ended_early: is_early,
            sessions: sessions.with_undecided(),
            delivery: Delivery::of(plan, &outcome, run.tally.strayed()),
            counted: counts.zip(self.counts_before.as_ref()).map(|(after, before)| Counted::of(&after.since(before))),
            process: self.process.as_ref().map(|_| Process::of(&self.looks, measured, delivered, joined)),
            machine: Machine::of(&self.looks, measured),
            advice: Vec::new(),
        };
        report.advice = advice(&report);
        report
    }

    /// Nothing is measured from now on.
    fn end(&mut self) {
        self.ended = Some(self.run.now());
        self.looks.ended = self.look();
        self.arrived.1 = self.run.tally.arrived();
        if self.looks.joined == Look::default() {
            self.looks.joined = self.looks.ended;
        }
        if self.looks.began == Look::default() {
            (self.looks.began, self.arrived.0) = (self.looks.ended, self.arrived.1);
        }
    }

    fn look(&self) -> Look {
        look(self.process.as_ref())
    }

    async fn wait_until(&self, time: Duration) {
        sleep_until(Instant::from_std(self.run.begun + time)).await;
    }
}

fn look(process: Option<&ObservedProcess>) -> Look {
    let relay = process.map(ObservedProcess::usage).unwrap_or_default();
    Look { relay, load: ObservedProcess::own().usage(), machine_cpu: machine_cpu() }
}

async fn counts(run: &Run) -> Option<Counts> {
    run.found.admin.as_ref()?.counts().await
}
