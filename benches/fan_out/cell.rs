use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tertulia::config::{CertificateSource, Config, HistoryPlace};
use tertulia::limits::Limits;
use tertulia::relay::Relay;

use super::broadcaster::{self, Broadcaster, Reading};
use super::cpu;
use super::floor::{self, Floor, Sinks};
use super::load::{self, Load, Parts};
use super::naive::{self, Naive};
use super::profile::Profile;
use super::session::Endpoint;
use super::socket::{self, SUBSCRIBERS_PER_SOCKET};
use super::table::Row;
use super::tally::Tally;
use super::{LOAD_CPU, SERVER_CPU};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    Floor,
    FloorIdle,
    Quic,
    WebTransport,
    WebSocket,
    Naive,
    /// A relay whose clients are plain WebSocket clients.
    PlainWebSocket,
    Broadcaster,
    LeanBroadcaster,
}

/// How long media flows before it counts: subscriptions take effect, round-trip times are learnt.
const SETTLE: Duration = Duration::from_millis(500);

/// How long the last frames may take to arrive.
const LINGER: Duration = Duration::from_millis(300);

/// One system under one load, running.
pub struct Cell {
    profile: Profile,
    system: System,
    subscribers: usize,
    tally: Arc<Tally>,
    began: Option<Duration>,
    cpu: Duration,
    delivered: u64,
    // The load goes first.
    _load: Load,
    _server: Server,
}

enum Server {
    Floor { _floor: Floor },
    Relay { relay: Option<Relay> },
    Naive { _naive: Naive },
    Broadcaster { _broadcaster: Broadcaster },
}

impl Drop for Server {
    /// Waits for the relay's thread, so that the next cell does not count it.
    fn drop(&mut self) {
        if let Self::Relay { relay } = self
            && let Some(relay) = relay.take()
        {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(relay.stop());
            while cpu::is_running(System::Quic.threads()) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl System {
    pub const MEDIA: [Self; 6] =
        [Self::Floor, Self::FloorIdle, Self::Quic, Self::WebTransport, Self::WebSocket, Self::Naive];
    /// Those that have rooms, beside the floor.
    pub const ROOMS: [Self; 4] = [Self::Floor, Self::Quic, Self::WebTransport, Self::WebSocket];
    pub const CHAT: [Self; 3] = [Self::PlainWebSocket, Self::LeanBroadcaster, Self::Broadcaster];

    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::FloorIdle => "floor-idle",
            Self::Quic => "quic",
            Self::WebTransport => "webtransport",
            Self::WebSocket => "websocket",
            Self::Naive => "naive",
            Self::PlainWebSocket => "plain-websocket",
            Self::Broadcaster => "broadcaster",
            Self::LeanBroadcaster => "lean-broadcaster",
        }
    }

    /// How the names of the threads begin that do the forwarding.
    fn threads(self) -> &'static str {
        match self {
            Self::Floor | Self::FloorIdle => floor::THREAD,
            Self::Quic | Self::WebTransport | Self::WebSocket | Self::PlainWebSocket => "tertulia",
            Self::Naive => naive::THREAD,
            Self::Broadcaster | Self::LeanBroadcaster => broadcaster::THREAD,
        }
    }
}

impl Cell {
    pub fn start(profile: Profile, system: System, subscribers: usize) -> Self {
        let tally = Tally::new(profile, subscribers);
        let parts = Parts { profile, subscribers, tally: tally.clone() };
        let (server, load) = match system {
            System::Floor => start_floor(Sinks::Open, parts),
            System::FloorIdle => start_floor(Sinks::Count, parts),
            System::Quic | System::WebTransport | System::WebSocket | System::PlainWebSocket => {
                start_relay(system, parts)
            }
            System::Naive => start_naive(parts),
            System::Broadcaster => start_broadcaster(Reading::Example, parts),
            System::LeanBroadcaster => start_broadcaster(Reading::Lean, parts),
        };
        thread::sleep(SETTLE);
        let (cpu, delivered) = (Duration::ZERO, 0);
        Self { profile, system, subscribers, tally, began: None, cpu, delivered, _load: load, _server: server }
    }

    /// CPU time per delivered datagram while the load runs for `length`.
    pub fn window(&mut self, length: Duration) -> Duration {
        self.began.get_or_insert_with(|| self.tally.now());
        let (cpu, delivered) = (cpu::time(self.system.threads()), self.tally.delivered());
        thread::sleep(length);
        let cpu = cpu::time(self.system.threads()) - cpu;
        let delivered = self.tally.delivered() - delivered;
        self.cpu += cpu;
        self.delivered += delivered;
        cpu.div_f64(delivered.max(1) as f64)
    }

    /// What all windows together say.
    pub fn finish(self) -> Row {
        let (began, ended) = (self.began.unwrap_or_default(), self.tally.now());
        thread::sleep(LINGER);
        Row {
            profile: self.profile,
            system: self.system,
            subscribers: self.subscribers,
            delivery: self.tally.delivery(began, ended),
            cpu: self.cpu,
            delivered: self.delivered,
        }
    }
}

fn start_floor(sinks: Sinks, parts: Parts) -> (Server, Load) {
    let rooms = parts.profile.rooms(parts.subscribers);
    let receivers = parts.profile.receivers(parts.subscribers) * rooms;
    let sockets: Vec<_> = (0..receivers.div_ceil(SUBSCRIBERS_PER_SOCKET)).map(|_| socket::udp()).collect();
    let address =
        |receiver: usize| sockets[receiver / SUBSCRIBERS_PER_SOCKET].local_addr().expect("the socket is bound");
    let floor = Floor::start((0..receivers).map(address).collect(), rooms);
    let server = floor.address;
    pin_server(System::Floor);
    let load = start_load(parts.clone(), async move || load::udp(parts, sinks, sockets, server).await);
    (Server::Floor { _floor: floor }, load)
}

fn start_relay(system: System, parts: Parts) -> (Server, Load) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fan_out");
    let certificate = CertificateSource::Development { directory };
    // All subscribers come from one address, at once.
    let many = u32::MAX;
    let limits = Limits {
        sessions_per_address: many,
        handshakes_per_second_per_address: many,
        handshakes_burst_per_address: many,
        // One writes as much as many people.
        chat_per_second: many,
        chat_burst: many,
        ..Limits::default()
    };
    let http = vec![loopback];
    let config = Config {
        listen: loopback,
        http,
        certificate,
        history: HistoryPlace::Memory,
        data_directory: None,
        // The floor has one thread as well.
        shards: 1,
        limits,
        ..Config::default()
    };
    let relay = Relay::start(config).expect("the relay starts");
    let quic = relay.address();
    let http = relay.http_address().expect("HTTP is on");
    let endpoint = move || match system {
        System::Quic => Endpoint::quic(quic),
        System::WebSocket => Endpoint::WebSocket { server: http },
        _ => Endpoint::webtransport(quic),
    };
    pin_server(system);
    let load = start_load(parts.clone(), async move || match system {
        System::PlainWebSocket => load::unseated(parts, || Endpoint::PlainWebSocket { server: http }).await,
        _ => load::rooms(parts, endpoint).await,
    });
    (Server::Relay { relay: Some(relay) }, load)
}

fn start_naive(parts: Parts) -> (Server, Load) {
    let naive = Naive::start();
    let server = naive.address;
    let load = start_load(parts.clone(), async move || load::unseated(parts, || Endpoint::webtransport(server)).await);
    (Server::Naive { _naive: naive }, load)
}

fn start_broadcaster(reading: Reading, parts: Parts) -> (Server, Load) {
    let broadcaster = Broadcaster::start(reading);
    let server = broadcaster.address;
    pin_server(System::Broadcaster);
    let endpoint = move || Endpoint::PlainWebSocket { server };
    let load = start_load(parts.clone(), async move || load::unseated(parts, endpoint).await);
    (Server::Broadcaster { _broadcaster: broadcaster }, load)
}

/// The naive relay has two threads and stays unpinned: it may use both CPUs.
fn pin_server(system: System) {
    cpu::pin(system.threads(), SERVER_CPU);
}

fn start_load(parts: Parts, make: impl AsyncFnOnce() -> Vec<load::Publisher> + Send + 'static) -> Load {
    let load = Load::start(make, parts);
    cpu::pin(load::THREAD, LOAD_CPU);
    load
}
