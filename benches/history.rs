//! What it costs to keep chat: messages per second, and the time from appending one to hearing that it is kept, in memory and
//! on the disk below the target directory. Each room has some messages on their way at any time, as the rooms of a relay have.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tertulia::history::{History, HistoryPlace, Outcome};
use tertulia::limits::Limits;
use tertulia::wire::{ChatMessage, MessageId, ParticipantId, RoomName};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;

/// Messages of a room on their way at a time: ten participants that say a few words at once.
const PENDING: u64 = 32;

/// A message of usual length, in bytes.
const BODY_BYTES: usize = 100;

/// A store with some open rooms, and what is on its way into each.
struct Rooms {
    runtime: Runtime,
    history: History,
    outcomes: UnboundedReceiver<Outcome>,
    rooms: BTreeMap<RoomName, Room>,
    waits: Vec<Duration>,
}

#[derive(Default)]
struct Room {
    sequence: u64,
    pending: VecDeque<Instant>,
}

impl Rooms {
    fn open(place: HistoryPlace, count: u32) -> Self {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let (history, outcomes) = History::start(place, Limits::default()).expect("a free place");
        let names = (0..count).map(|number| RoomName::parse(&format!("room-{number}")).expect("a good name"));
        let rooms = names.map(|name| (name, Room::default())).collect::<BTreeMap<_, _>>();
        for name in rooms.keys() {
            runtime.block_on(history.open(name.clone(), 1, unix_ms())).expect("a new room");
        }
        Self { runtime, history, outcomes, rooms, waits: Vec::new() }
    }

    /// Appends that many messages in all and waits until they are kept.
    fn keep(&mut self, messages: u64) -> Duration {
        let begin = Instant::now();
        let mut left = messages;
        for (name, room) in &mut self.rooms {
            for _ in 0..PENDING.min(left) {
                left -= 1;
                room.append(&self.history, name);
            }
        }
        let mut waited = 0;
        while waited < messages {
            let Some(Outcome::Stored { room: name, through }) = self.runtime.block_on(self.outcomes.recv()) else {
                panic!("a message was not kept");
            };
            let room = self.rooms.get_mut(&name).expect("an open room");
            while through > room.sequence - room.pending.len() as u64 {
                let sent = room.pending.pop_front().expect("something was on its way");
                self.waits.push(sent.elapsed());
                waited += 1;
                if left > 0 {
                    left -= 1;
                    room.append(&self.history, &name);
                }
            }
        }
        begin.elapsed()
    }

    fn wait_us(&mut self, part: f64) -> u128 {
        self.waits.sort_unstable();
        self.waits.get((self.waits.len() as f64 * part) as usize).map_or(0, Duration::as_micros)
    }
}

impl Room {
    fn append(&mut self, history: &History, name: &RoomName) {
        self.sequence += 1;
        self.pending.push_back(Instant::now());
        history.append(
            name,
            Arc::new(ChatMessage {
                sequence: self.sequence,
                message_id: MessageId([0; 16]),
                sent_at_ms: unix_ms(),
                from: ParticipantId(1),
                from_name: "Ana".into(),
                to: None,
                body: "x".repeat(BODY_BYTES),
            }),
        );
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn keep(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("history");
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(4));
    let directory: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("history-bench");
    for count in [1, 8, 64] {
        for (label, place) in
            [("memory", HistoryPlace::Memory), ("disk", HistoryPlace::Directory(directory.join(count.to_string())))]
        {
            let mut rooms = Rooms::open(place, count);
            group.bench_function(BenchmarkId::new(label, count), |b| b.iter_custom(|messages| rooms.keep(messages)));
            println!(
                "history/{label}/{count}: from append to stored p50 {} us, p99 {} us over {} messages",
                rooms.wait_us(0.5),
                rooms.wait_us(0.99),
                rooms.waits.len()
            );
            rooms.runtime.block_on(rooms.history.stop());
        }
    }
    group.finish();
    let _ = std::fs::remove_dir_all(directory);
}

criterion_group!(benches, keep);
criterion_main!(benches);
