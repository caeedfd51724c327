//! Chat through a real relay over loopback: messages per second, and how long the acknowledgement of one takes, with the
//! history in memory and on disk.
//!
//! One criterion iteration is one message of each sender. Every sender has so many messages on their way as people with a
//! script might; every message reaches the others in its room.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::stream::{self, StreamExt};
use tertulia::client::{Certificates, Options, Room};
use tertulia::config::{CertificateSource, Config, HistoryPlace};
use tertulia::limits::Limits;
use tertulia::relay::Relay;
use tokio::runtime::Runtime;

const SENDERS_PER_ROOM: usize = 4;
const IN_FLIGHT: usize = 32;
const BODY: &str =
    "As long as what people write in a meeting: a sentence, perhaps two, seldom more than a hundred bytes.";

/// Rooms, and with what history.
struct Cell {
    rooms: usize,
    place: &'static str,
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).without_plots().configure_from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let mut rows = Vec::new();
    let mut group = criterion.benchmark_group("chat");
    for rooms in [1, 8] {
        for place in ["memory", "disk"] {
            let cell = Cell { rooms, place };
            let mut meeting = None;
            let mut latencies = Vec::new();
            let (mut sent, mut spent) = (0, Duration::ZERO);
            group.throughput(Throughput::Elements((rooms * SENDERS_PER_ROOM) as u64));
            group.bench_function(BenchmarkId::new(place, rooms), |bencher| {
                let meeting = meeting.get_or_insert_with(|| Meeting::start(&cell, &runtime));
                bencher.iter_custom(|each| {
                    let (time, taken) = runtime.block_on(meeting.talk(each as usize));
                    sent += taken.len();
                    spent += time;
                    latencies.extend(taken);
                    time
                });
            });
            if let Some(meeting) = meeting {
                runtime.block_on(meeting.end());
                latencies.sort_unstable();
                rows.push(Row { cell, per_second: sent as f64 / spent.as_secs_f64(), latencies });
            }
        }
    }
    group.finish();
    criterion.final_summary();
    print(&rows);
    // A single pass says nothing.
    if !std::env::args().any(|argument| argument == "--test") {
        rows.iter()
            .for_each(|row| assert!(row.of_memory(&rows) >= ON_DISK_MIN, "{}: disk is too slow", row.cell.rooms));
    }
}

/// What chat on disk has to carry of what it does in memory.
const ON_DISK_MIN: f64 = 0.2;

struct Row {
    cell: Cell,
    per_second: f64,
    latencies: Vec<Duration>,
}

impl Row {
    /// Its throughput, of that in memory with as many rooms; where that was not measured, it is all that can be said.
    fn of_memory(&self, rows: &[Self]) -> f64 {
        let memory = rows.iter().find(|other| other.cell.rooms == self.cell.rooms && other.cell.place == "memory");
        memory.map_or(1.0, |memory| self.per_second / memory.per_second)
    }
}

fn print(rows: &[Row]) {
    println!(
        "\n| Rooms | History | Messages per second | of memory | Acknowledged after p50 / p99 (ms) |\n|---:|---|---:|---:|---:|"
    );
    for row in rows {
        let of_memory = format!("{:.0} %", 100.0 * row.of_memory(rows));
        let at = |share: f64| {
            let index = ((row.latencies.len() - 1) as f64 * share) as usize;
            row.latencies[index].as_secs_f64() * 1e3
        };
        println!(
            "| {} | {} | {:.0} | {of_memory} | {:.2} / {:.2} |",
            row.cell.rooms,
            row.cell.place,
            row.per_second,
            at(0.5),
            at(0.99)
        );
    }
}

/// People who talk, and the relay that they meet on.
struct Meeting {
    relay: Relay,
    people: Vec<Room>,
    directory: PathBuf,
}

impl Meeting {
    fn start(cell: &Cell, runtime: &Runtime) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chat-{}", std::process::id()));
        // What an earlier cell left.
        let _ = std::fs::remove_dir_all(&directory);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let many = u32::MAX;
        let limits = Limits {
            chat_per_second: many,
            chat_burst: many / 2,
            outbox_messages: 100_000,
            outbox_bytes: 64 * 1024 * 1024,
            sessions_per_address: many,
            handshakes_per_second_per_address: many,
            handshakes_burst_per_address: many,
            ..Limits::default()
        };
        let config = Config {
            listen: loopback,
            http: vec![loopback],
            certificate: CertificateSource::Development { directory: directory.join("certs") },
            history: match cell.place {
                "memory" => HistoryPlace::Memory,
                _ => HistoryPlace::Directory(directory.join("data")),
            },
            data_directory: None,
            shards: 1,
            limits,
            ..Config::default()
        };
        let relay = Relay::start(config).expect("the relay starts");
        let people = runtime.block_on(join(&relay, cell.rooms));
        Self { relay, people, directory }
    }

    /// Everyone sends `each` messages; how long that took, and how long each waited for its acknowledgement.
    async fn talk(&self, each: usize) -> (Duration, Vec<Duration>) {
        let began = Instant::now();
        let talking = self.people.iter().map(|person| async move {
            let say = |_| async move {
                let said = Instant::now();
                person.chat().send(BODY).await.expect("the relay takes it");
                said.elapsed()
            };
            let latencies: Vec<_> = stream::iter(0..each).map(say).buffer_unordered(IN_FLIGHT).collect().await;
            latencies
        });
        let latencies = futures_util::future::join_all(talking).await;
        (began.elapsed(), latencies.concat())
    }

    async fn end(self) {
        self.relay.stop().await;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn join(relay: &Relay, rooms: usize) -> Vec<Room> {
    let sha256 = relay.certificate_sha256().expect("the certificate is our own");
    let mut people = Vec::new();
    for number in 0..rooms * SENDERS_PER_ROOM {
        let options = Options {
            name: format!("person {number}"),
            certificates: Certificates::Sha256(vec![sha256]),
            ..Options::default()
        };
        let url = format!("quic://{}/room-{}", relay.address(), number % rooms);
        people.push(Room::connect(&url, options).await.expect("the relay lets everyone in"));
    }
    people
}
