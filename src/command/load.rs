use std::cell::Cell;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tertulia::config::Config;
use tertulia::limits::{LOAD_SEARCH_TIME_MAX, LOAD_SESSIONS_MAX};
use tertulia::load::{
    AdminAt, Finding, Obstacle, Plan, Profile, Progress, Report, Search, Step, Target, parse_sha256, run,
};
use tokio::time::sleep;

use super::secret::SecretSource;
use super::signal::StopSignals;
use super::time::parse_time;

const HOW_TO_BEGIN: &str = "\
A relay allows one address 200 sessions, and 20 new ones a second, unless it is told otherwise:

    tertulia serve --sessions-per-address 5000 --handshakes-per-second-per-address 5000 --handshakes-burst-per-address 5000

Ten people in each of 20 rooms, two of whom speak:

    tertulia load --rooms 20 --publishers 2 --subscribers 8 --profile meeting --duration 30s

The largest meeting with one speaker in which 99 % of what is said is with everyone in 20 ms:

    tertulia load --find-p99 20 --subscribers 50 --duration 5s

Ctrl-C ends a run early, with what it has shown until then. Latencies are measured from the moment in which a frame is sent.";

/// Load a relay with real sessions, and say what became of what they sent.
#[derive(Debug, Args)]
#[command(after_long_help = HOW_TO_BEGIN)]
pub struct Load {
    /// The relay's host and port [default: localhost:4433, for ws localhost:8000]
    #[arg(value_name = "HOST:PORT")]
    relay: Option<String>,
    /// How sessions travel
    #[arg(long, value_name = "CARRIER", default_value = "webtransport")]
    carrier: CarrierChoice,
    /// What publishers send
    #[arg(long, value_name = "PROFILE", default_value = "audio")]
    profile: ProfileChoice,
    /// Rooms
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    rooms: u32,
    /// Participants of each room who send
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    publishers: u32,
    /// Participants of each room who only receive
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    subscribers: u32,
    /// For how long it is measured, once everyone has joined: 10s, 5m, at most an hour
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// The time over which sessions begin
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    ramp: Duration,
    /// Threads that the sessions are spread over
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    threads: usize,
    /// Look for the largest size for which 99 % of the frames are with everyone within so many milliseconds, where a frame that
    /// one receiver lacks is late for ever: begin with what is given here, double it, then halve the steps. What else ends the
    /// search (the relay lets no more in, the load is late) is said, and is no limit of latency. All runs together take at most an
    /// hour
    #[arg(long, value_name = "MILLISECONDS")]
    find_p99: Option<f64>,
    /// What --find-p99 makes larger
    #[arg(long, value_name = "WHAT", default_value = "subscribers", requires = "find_p99")]
    grow: Growth,
    /// Write the report as JSON into this file as well; -: print it instead of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    secret: SecretSource,
    /// The SHA-256 of the relay's certificate, 64 hexadecimal digits [default: what a relay on this machine says, or else what
    /// the system trusts]
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    certificate_sha256: Option<[u8; 32]>,
    /// Where the relay serves plain HTTP, to read what it counts, or `none` [default: for ws the relay itself, for others
    /// localhost:8000 if the relay is on this machine]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// The host once more, to load another machine than this one
    #[arg(long, value_name = "HOST")]
    elsewhere: Option<String>,
}

/// How sessions travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CarrierChoice {
    Webtransport,
    Quic,
    /// WebSocket with TLS.
    Wss,
    /// WebSocket without TLS.
    #[value(alias = "websocket")]
    Ws,
}

/// What publishers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProfileChoice {
    /// Datagrams of 121 bytes, 50 a second, to the subscribers.
    Audio,
    /// Frames of 10 datagrams of 1001 bytes, 30 a second, to the subscribers.
    Video,
    /// What `audio` sends, to everyone else in the room.
    Meeting,
    /// Chat messages of 100 bytes, 5 a second, to everyone else in the room.
    Chat,
    /// Nothing.
    Idle,
}

/// What a stepped run makes larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Growth {
    /// Subscribers of each room.
    Subscribers,
    /// Rooms, each of the same size.
    Rooms,
}

impl Load {
    /// Loads the relay and prints what came of it.
    pub fn run(&self) -> anyhow::Result<()> {
        let target = Arc::new(self.target()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.find_p99 {
                Some(p99_ms) => self.find(target, p99_ms).await,
                None => self.once(target).await,
            }
        })
    }

    async fn once(&self, target: Arc<Target>) -> anyhow::Result<()> {
        let (report, _) = self.measure(target, self.plan(), Duration::MAX).await?;
        self.tell(&report.table(), &report.json())?;
        if report.sessions.joined == 0 {
            bail!("nobody came in; the table says why");
        }
        Ok(())
    }

    /// Runs larger and smaller sizes until the largest that holds is found, or something else is in the way.
    async fn find(&self, target: Arc<Target>, p99_ms: f64) -> anyhow::Result<()> {
        let (plan, begun) = (self.plan(), Instant::now());
        plan.check()?;
        let smallest = self.grow.size(&plan).max(1);
        let mut search = Search::among(smallest..=self.grow.largest(&plan).max(smallest), LOAD_SEARCH_TIME_MAX);
        let mut steps = Vec::new();
        while let Some(size) = search.next_size(begun.elapsed(), plan.ramp.saturating_add(plan.duration)) {
            let time_max = LOAD_SEARCH_TIME_MAX.saturating_sub(begun.elapsed());
            let (report, ended_by) = self.measure(target.clone(), self.grow.grown(&plan, size), time_max).await?;
            if let Some(ended_by) = ended_by {
                search.end(ended_by);
                break;
            }
            let obstacle = Obstacle::met(&report, p99_ms);
            search.note(size, obstacle);
            let step = Step { size, obstacle, report };
            eprint!("{}", step.row());
            steps.push(step);
        }
        let (grown, found, ended_by) = (self.grow.name(), search.found(), search.ended_by());
        let finding = Finding { grown, p99_ms, found, ended_by, steps };
        self.tell(&finding.table(), &finding.json())
    }

    /// One run, and what ended it early: Ctrl-C, or that it took longer than it may.
    async fn measure(
        &self,
        target: Arc<Target>,
        plan: Plan,
        time_max: Duration,
    ) -> anyhow::Result<(Report, Option<Obstacle>)> {
        let ended_by = Cell::new(None);
        let mut signals = StopSignals::listen()?;
        let stop = async {
            let ended = tokio::select! {
                () = signals.next() => Obstacle::Stop,
                () = sleep(time_max) => Obstacle::Time,
            };
            ended_by.set(Some(ended));
        };
        let report = run(target, plan, show, stop).await?;
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
        Ok((report, ended_by.get()))
    }

    fn tell(&self, table: &str, json: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        match &self.json {
            Some(path) if path.as_os_str() == "-" => writeln!(out, "{json}").context("the report could not be printed"),
            Some(path) => {
                write!(out, "{table}").context("the table could not be printed")?;
                fs::write(path, format!("{json}\n")).with_context(|| format!("cannot write {}", path.display()))
            }
            None => write!(out, "{table}").context("the table could not be printed"),
        }
    }

    fn plan(&self) -> Plan {
        let Self { rooms, publishers, subscribers, duration, ramp, .. } = *self;
        Plan { profile: self.profile.profile(), rooms, publishers, subscribers, duration, ramp }
    }

    fn target(&self) -> anyhow::Result<Target> {
        let relay = self.relay.clone().unwrap_or_else(|| format!("localhost:{}", self.carrier.port()));
        let admin = match self.admin.as_deref() {
            None => AdminAt::Usual,
            Some("none") => AdminAt::Nowhere,
            Some(at) => AdminAt::Given(at.to_owned()),
        };
        if self.threads == 0 {
            bail!("sessions need a thread; give --threads 1 or more");
        }
        Ok(Target {
            url: format!("{}://{relay}/", self.carrier.scheme()),
            elsewhere: self.elsewhere.clone(),
            admin,
            certificate_sha256: self.certificate_sha256,
            key: self.secret.read()?,
            threads: self.threads,
        })
    }
}

impl CarrierChoice {
    fn scheme(self) -> &'static str {
        match self {
            Self::Webtransport => "https",
            Self::Quic => "quic",
            Self::Wss => "wss",
            Self::Ws => "ws",
        }
    }

    fn port(self) -> u16 {
        if self == Self::Ws { Config::HTTP_PORT } else { Config::PORT }
    }
}

impl ProfileChoice {
    fn profile(self) -> Profile {
        match self {
            Self::Audio => Profile::Audio,
            Self::Video => Profile::Video,
            Self::Meeting => Profile::Meeting,
            Self::Chat => Profile::Chat,
            Self::Idle => Profile::Idle,
        }
    }
}

impl Growth {
    fn name(self) -> &'static str {
        match self {
            Self::Subscribers => "subscribers",
            Self::Rooms => "rooms",
        }
    }

    fn size(self, plan: &Plan) -> u32 {
        match self {
            Self::Subscribers => plan.subscribers,
            Self::Rooms => plan.rooms,
        }
    }

    fn grown(self, plan: &Plan, size: u32) -> Plan {
        match self {
            Self::Subscribers => Plan { subscribers: size, ..*plan },
            Self::Rooms => Plan { rooms: size, ..*plan },
        }
    }

    /// The largest size that one run can have.
    fn largest(self, plan: &Plan) -> u32 {
        match self {
            Self::Subscribers => (LOAD_SESSIONS_MAX / plan.rooms.max(1)).saturating_sub(plan.publishers),
            Self::Rooms => LOAD_SESSIONS_MAX / plan.publishers.saturating_add(plan.subscribers).max(1),
        }
    }
}

/// Says how a run does: on a terminal in one line that changes.
fn show(progress: Progress) {
    let Progress { elapsed, present, wanted, delivered } = progress;
    let line = format!("{:>4} s: {present} of {wanted} sessions, {delivered} delivered/s", elapsed.as_secs());
    match std::io::stderr().is_terminal() {
        true => eprint!("\r\x1b[2K{line}"),
        false => eprintln!("{line}"),
    }
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    parse_time(text).ok_or("it is a number with s, m or h, like 90s or 5m")
}

fn parse_hash(text: &str) -> Result<[u8; 32], &'static str> {
    parse_sha256(text).ok_or("it has 64 hexadecimal digits; the relay prints it when it starts")
}
