//! A relay in a process of its own: it can be killed, stopped, starved, and looked at from outside.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Directory;
use super::http::{exchange, get};
use super::session::Target;

/// Names the relay that these tests start: `make test` gives the optimised one, as it is released. Without it, it is the one that
/// cargo has built for the tests.
const RELAY: &str = "TERTULIA_RELAY";

/// Says, with `last`, on which processor relays run that run on one alone: it is the first one otherwise. What two tests do to
/// their relays at a time is then none of the other's matter.
const PROCESSOR: &str = "TERTULIA_PROCESSOR";

fn relay_binary() -> String {
    std::env::var(RELAY).unwrap_or_else(|_| env!("CARGO_BIN_EXE_tertulia").to_owned())
}

/// Whether the relays that these tests start are optimised.
pub fn is_optimised() -> bool {
    !cfg!(debug_assertions) || std::env::var_os(RELAY).is_some()
}

/// What a relay in a process of its own is started with, and where its files are. It can be started again with the same.
pub struct Launch {
    pub directory: Arc<Directory>,
    arguments: Vec<String>,
    /// A program that starts it, such as `sh -c` with a limit.
    wrapper: Vec<String>,
    ports: Option<Target>,
}

impl Launch {
    /// Any ports, and a directory of its own for everything; with these arguments more.
    pub fn new(arguments: &[&str]) -> Self {
        Self::in_directory(Directory::in_memory(), arguments)
    }

    /// The same, with files on the disk.
    pub fn on_disk(arguments: &[&str]) -> Self {
        Self::in_directory(Directory::new(), arguments)
    }

    fn in_directory(directory: Directory, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { directory: Arc::new(directory), arguments, wrapper: Vec::new(), ports: None }
    }

    /// One with the same arguments and the same keys, and with other ports and other data.
    pub fn another(&self) -> Self {
        let near = self.directory.path().parent().unwrap();
        let (arguments, wrapper) = (self.arguments.clone(), self.wrapper.clone());
        Self { directory: Arc::new(Directory::under(near)), arguments, wrapper, ports: None }
    }

    /// Runs a line of shell before the relay, in the same process.
    pub fn after(mut self, line: &str) -> Self {
        self.wrapper = ["sh", "-c", &format!("{line}; exec \"$0\" \"$@\"")].map(String::from).into();
        self
    }

    /// Runs it on one processor alone, always the same one: when a virtual machine is held up, it is one of its processors, and
    /// two relays are compared. Tests that run beside others take [another one](PROCESSOR).
    pub fn on_one_processor(mut self) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let mut numbers = allowed.unwrap_or_default().trim().split([',', '-']);
        let is_last = std::env::var(PROCESSOR).is_ok_and(|which| which == "last");
        let one = if is_last { numbers.next_back() } else { numbers.next() };
        let is_there = Command::new("taskset").arg("--version").output().is_ok();
        if let Some(one) = one.filter(|one| is_there && !one.is_empty()) {
            let pinned = ["taskset", "--cpu-list", one].map(String::from);
            self.wrapper.splice(0..0, pinned);
        }
        self
    }

    /// With one argument more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// A file in the directory, by its path.
    pub fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(relay_binary());
        let (listen, http) = match &self.ports {
            Some(target) => (target.quic.to_string(), target.http.to_string()),
            None => ("127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()),
        };
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["serve", "--listen", &listen, "--http", &http]);
        command.args(["--certificate-dir", &self.file("certificates"), "--data-dir", &self.file("data")]);
        command.args(&self.arguments);
        command
    }

    /// Starts it where it was before, if it was started before, and waits until it serves.
    pub fn start(&mut self) -> ChildRelay {
        let log = self.directory.path().join("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut printed = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !printed.contains("Ctrl-C") {
            let read = lines.read_line(&mut printed).unwrap();
            assert!(read > 0, "it ended early: {printed}{}", fs::read_to_string(&log).unwrap());
        }
        let port = |before: &str| {
            let (_, after) = printed.split_once(before).unwrap();
            let port: u16 = after.split('/').next().unwrap().parse().unwrap();
            SocketAddr::from(([127, 0, 0, 1], port))
        };
        let target = Target { quic: port("Relay: https://127.0.0.1:"), http: port("Page:  http://127.0.0.1:") };
        self.ports = Some(target);
        let arguments = String::from_utf8(fs::read(format!("/proc/{}/cmdline", child.id())).unwrap()).unwrap();
        ChildRelay {
            child,
            target,
            log,
            printed,
            arguments,
            stdout: Some(lines.into_inner()),
            _directory: self.directory.clone(),
        }
    }

    /// Runs it to its end, which has to come by itself: its exit code and what it wrote to standard error.
    pub fn fail(&self) -> (Option<i32>, String) {
        let output = self.command().stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// What a relay's process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    pub file_descriptors: usize,
    pub threads: usize,
    pub resident_bytes: usize,
    /// Those of its gauges.
    pub participants: i64,
    pub rooms: i64,
}

/// A running one.
pub struct ChildRelay {
    child: Child,
    pub target: Target,
    log: PathBuf,
    /// What it has written to standard output until it served.
    pub printed: String,
    /// Its command line, as everyone on the machine can read it.
    pub arguments: String,
    stdout: Option<ChildStdout>,
    _directory: Arc<Directory>,
}

impl ChildRelay {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Ends it without a goodbye.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
    }

    /// Closes the other end of its standard output.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// The SHA-256 of its development certificate.
    pub fn certificate_sha256(&self) -> [u8; 32] {
        let (_, after) = self.printed.split_once("SHA-256: ").unwrap();
        std::array::from_fn(|at| u8::from_str_radix(&after[2 * at..2 * at + 2], 16).unwrap())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// All of its metrics.
    pub async fn metrics(&self) -> String {
        let begin = Instant::now();
        loop {
            let reply = exchange(self.target.http, &get("/metrics", "")).await;
            if reply.status() == Some(200) {
                return reply.body().to_owned();
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "no metrics: {}", reply.text);
        }
    }

    /// One of its metrics, like `tertulia_rooms` or `tertulia_refused_total{reason="origin"}`.
    pub async fn metric(&self, name: &str) -> i64 {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not among\n{text}")).parse().unwrap()
    }

    /// Waits until one of its metrics is as it should be.
    pub async fn until(&self, name: &str, is_so: impl Fn(i64) -> bool) {
        let begin = Instant::now();
        loop {
            let value = self.metric(name).await;
            if is_so(value) {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{name} is still {value}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn resources(&self) -> Resources {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(process.join("status")).unwrap();
        let number = |name: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let text = self.metrics().await;
        let sum = |name: &str| -> i64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum()
        };
        Resources {
            file_descriptors: fs::read_dir(process.join("fd")).unwrap().count(),
            threads: number("Threads:"),
            resident_bytes: number("VmRSS:") * 1024,
            participants: sum("tertulia_participants{"),
            rooms: sum("tertulia_rooms "),
        }
    }

    /// No part of it has failed: invariant I1.
    pub async fn assert_sound(&self, case: &str) {
        let failed = self.metric("tertulia_sessions_closed_total{reason=\"internal\"}").await;
        assert_eq!(failed, 0, "{case}: sessions failed");
        let log = self.log();
        let panicked = log.lines().find(|line| line.contains("panicked") || line.contains("overflow"));
        assert_eq!(panicked, None, "{case}");
    }

    /// What it holds comes back to what it held before: invariant I4. The memory may keep a little more, for the allocator
    /// gives back what it likes.
    pub async fn assert_at_rest(&self, case: &str, before: Resources, more_bytes_max: usize) {
        let begin = Instant::now();
        loop {
            let now = self.resources().await;
            let is_back = now.file_descriptors <= before.file_descriptors
                && now.participants <= before.participants
                && now.rooms <= before.rooms
                && now.resident_bytes <= before.resident_bytes + more_bytes_max;
            if is_back {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{case}: {before:?} became {now:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for ChildRelay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
