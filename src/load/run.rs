use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::interval;

use super::conductor::Conductor;
use super::link::endpoint;
use super::pace::{Pace, Times};
use super::plan::{Part, Plan, PlanError};
use super::process::ObservedProcess;
use super::profile::Profile;
use super::report::Report;
use super::session::Session;
use super::tally::Tally;
use super::target::{Found, Target, TargetError};
use crate::client::ConnectError;
use crate::wire::CloseReason;

/// What QUIC says when a relay turns somebody away.
const REFUSED: &str = "refused to accept a new connection";

/// How often it is told how a run does.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How a run does.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since it began.
    pub elapsed: Duration,
    /// Sessions that there are now.
    pub present: u32,
    /// Sessions that there should be.
    pub wanted: u32,
    /// What was delivered in the last second.
    pub delivered: u64,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The plan is not within the bounds.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The relay is not to be loaded, or was not found.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The first session of all did not come about.
    #[error("{error}{hint}")]
    First {
        /// Why.
        error: ConnectError,
        /// What else may help.
        hint: &'static str,
    },
    /// No thread could be had.
    #[error("no thread could be started for the sessions: {0}")]
    Thread(std::io::Error),
}

/// What all participants of a run share.
#[derive(Debug)]
pub struct Run {
    /// Chosen at random.
    pub number: u32,
    pub plan: Plan,
    pub target: Arc<Target>,
    pub found: Arc<Found>,
    pub tally: Tally,
    pub begun: Instant,
    pub stage: watch::Receiver<Stage>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stage {
    /// When publishers send, once everyone has joined.
    pub times: Option<Times>,
    /// Everyone leaves.
    pub is_over: bool,
}

impl Run {
    fn new(plan: Plan, target: Arc<Target>, found: Arc<Found>) -> (Self, watch::Sender<Stage>) {
        let (stages, stage) = watch::channel(Stage::default());
        let (number, tally, begun) = (rand::random(), Tally::new(&plan), Instant::now());
        (Self { number, plan, target, found, tally, begun, stage }, stages)
    }

    /// The time since the run began.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The name of a room, which no other run has.
    pub fn room(&self, number: u32) -> String {
        format!("load-{:08x}-{number}", self.number)
    }

    /// When a participant sends next; never, if it does not.
    pub fn due_at(&self, part: &Part, pace: &mut Option<Pace>) -> Option<Duration> {
        let times = self.stage.borrow().times?;
        let interval = self.plan.profile.interval().filter(|_| part.publisher.is_some())?;
        pace.get_or_insert_with(|| Pace::new(times, part.phase, interval)).due_at(times)
    }
}

/// Runs a plan against a relay, until it is over or `stop` is; tells once a second how it does.
///
/// # Errors
/// [`LoadError`] says why there is nothing to report and what to do.
pub async fn run(
    target: Arc<Target>,
    plan: Plan,
    progress: impl FnMut(Progress),
    stop: impl Future<Output = ()>,
) -> Result<Report, LoadError> {
    plan.check()?;
    let found = Arc::new(target.find().await?);
    let process = ObservedProcess::find(found.remote, found.address.carrier);
    try_one(target.clone(), found.clone()).await?;
    let (run, stages) = Run::new(plan, target, found);
    let mut conductor = Conductor::start(Arc::new(run), stages, process).await?;
    let telling = tell(conductor.run.clone(), progress);
    let is_early = tokio::select! {
        () = conductor.conduct() => false,
        () = telling => false,
        () = stop => true,
    };
    Ok(conductor.finish(is_early).await)
}

/// Takes a seat and leaves it again: if that fails, so would everything.
async fn try_one(target: Arc<Target>, found: Arc<Found>) -> Result<(), LoadError> {
    let (duration, ramp) = (Duration::ZERO, Duration::ZERO);
    let plan = Plan { profile: Profile::Idle, rooms: 1, publishers: 0, subscribers: 1, duration, ramp };
    let (run, _stages) = Run::new(plan, target, found);
    let first = |error: ConnectError| LoadError::First { hint: hint(&error), error };
    let endpoint = endpoint(&run.found).map_err(first)?;
    let session = Session::open(Arc::new(run), plan.parts()[0], endpoint, None).await;
    session.map_err(|failure| first(failure.into_error()))?.leave().await;
    Ok(())
}

/// Says how a run does, for as long as it does.
async fn tell(run: Arc<Run>, mut progress: impl FnMut(Progress)) {
    let mut ticks = interval(PROGRESS_INTERVAL);
    let mut arrived = 0;
    loop {
        ticks.tick().await;
        let now = run.tally.arrived();
        let (present, wanted) = (run.tally.present(), run.plan.sessions());
        progress(Progress { elapsed: run.now(), present, wanted, delivered: now - arrived });
        arrived = now;
    }
}

/// What else to do when not even one session came about, behind what the error says.
fn hint(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Certificate { .. } => {
            "; give its hash with --certificate-sha256, or the address of its plain HTTP with --admin, where a relay on this \
             machine says it"
        }
        ConnectError::Refused { reason: CloseReason::TokenMissing, .. } => "; give the --keys that the relay runs with",
        ConnectError::Refused { reason: CloseReason::TokenInvalid, .. } => {
            "; give the --keys and --api-key that the relay runs with"
        }
        ConnectError::Unreachable { why, .. } if why.contains(REFUSED) => {
            "; it has as many sessions of this address or in all as it allows: see --sessions-per-address and --sessions of \
             `tertulia serve`"
        }
        _ => "",
    }
}
