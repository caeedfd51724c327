use std::cell::Cell;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use tertulia::config::Config;
use tertulia::limits::LOAD_SESSIONS_MAX;
use tertulia::load::{Plan, Profile, Progress, Report, Search, Target, parse_sha256, run};

use super::secret::SecretSource;
use super::signal::stop_signal;
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
    /// Look for the largest size for which 99 % of the frames are with the last receiver within so many milliseconds, and 99 % of
    /// the datagrams arrive at all: begin with what is given here, double it, then halve the steps
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
    /// Where the relay serves plain HTTP, to read what it counts, or `none` [default: localhost:8000, for ws the relay itself]
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
        let (report, _) = self.measure(target, self.plan()).await?;
        self.tell(&report.table(), &report.json())?;
        if report.sessions.joined == 0 {
            bail!("nobody came in; the table says why");
        }
        Ok(())
    }

    /// Runs larger and smaller sizes until the largest that holds is found.
    async fn find(&self, target: Arc<Target>, p99_ms: f64) -> anyhow::Result<()> {
        let plan = self.plan();
        let smallest = self.grow.size(&plan).max(1);
        let mut search = Search::among(smallest..=self.grow.largest(&plan).max(smallest));
        let mut steps = Vec::new();
        let mut table = format!("{:>12} {:>10} {:>12} {:>8}\n", self.grow.name(), "delivered", "p99 (ms)", "holds");
        while let Some(size) = search.next_size() {
            let (report, was_stopped) = self.measure(target.clone(), self.grow.grown(&plan, size)).await?;
            if was_stopped {
                break;
            }
            let holds = report.holds(p99_ms);
            search.note(size, holds);
            let line = step(size, &report, holds);
            eprint!("{line}");
            table += &line;
            steps.push(json!({ "size": size, "holds": holds, "report": report }));
        }
        let (name, found) = (self.grow.name(), search.found());
        let verdict = match (found, search.is_limit()) {
            (Some(size), true) => format!("The largest that holds a p99 of {p99_ms} ms: {size} {name}."),
            (Some(size), false) => format!("{size} {name} hold a p99 of {p99_ms} ms; more were not tried."),
            (None, _) => format!("Not even {smallest} {name} hold a p99 of {p99_ms} ms."),
        };
        let json =
            json!({ "grown": name, "p99Ms": p99_ms, "found": found, "isLimit": search.is_limit(), "steps": steps });
        self.tell(&format!("{table}\n{verdict}\n"), &json.to_string())
    }

    /// One run, and whether Ctrl-C ended it.
    async fn measure(&self, target: Arc<Target>, plan: Plan) -> anyhow::Result<(Report, bool)> {
        let was_stopped = Cell::new(false);
        let stop = stop_signal()?;
        let stop = async {
            stop.await;
            was_stopped.set(true);
        };
        let report = run(target, plan, show, stop).await?;
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
        Ok((report, was_stopped.get()))
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
        let admin = match &self.admin {
            Some(none) if none == "none" => None,
            Some(admin) => Some(admin.clone()),
            None if self.carrier == CarrierChoice::Ws => Some(relay.clone()),
            None => Some(format!("localhost:{}", Config::HTTP_PORT)),
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

fn step(size: u32, report: &Report, holds: bool) -> String {
    let percent = report.delivery.percent.map_or("-".to_owned(), |percent| format!("{percent:.2} %"));
    let p99 = report.delivery.last_ms.p99.map_or("-".to_owned(), |ms| format!("{ms:.2}"));
    format!("{size:>12} {percent:>10} {p99:>12} {:>8}\n", if holds { "yes" } else { "no" })
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    parse_time(text).ok_or("it is a number with s, m or h, like 90s or 5m")
}

fn parse_hash(text: &str) -> Result<[u8; 32], &'static str> {
    parse_sha256(text).ok_or("it has 64 hexadecimal digits; the relay prints it when it starts")
}
