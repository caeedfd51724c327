//! A real relay under load over loopback: what a delivered datagram costs, how late it is, and whether it comes.
//!
//! One criterion iteration is one window of load; its value is the relay's CPU time per delivered datagram.
//! `FAN_OUT_SECONDS` is how long each cell is measured, 3 unless it is set.

mod cell;
mod cpu;
mod floor;
mod load;
mod naive;
mod profile;
mod session;
mod socket;
mod table;
mod tally;
mod tls;

use std::env;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use mimalloc::MiMalloc;

use cell::{Cell, System};
use profile::Profile;
use table::Row;

/// The allocator of the `tertulia` command. All rows have it, as they share the process.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The CPU of what is measured, and that of the load.
const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;

const SUBSCRIBERS: [usize; 3] = [10, 50, 100];
const SAMPLES: u32 = 10;

/// How often the rows are measured whose ratios are targets, in turns: the machine drifts meanwhile for all alike.
const ROUNDS: usize = 5;
const COMPARED_SUBSCRIBERS: usize = 100;
const COMPARED_PROFILES: [Profile; 2] = [Profile::Video, Profile::Audio];
const COMPARED_SYSTEMS: [System; 3] = [System::Floor, System::WebTransport, System::Naive];

fn main() {
    let mut criterion =
        Criterion::default().sample_size(SAMPLES as usize).nresamples(1000).without_plots().configure_from_args();
    let tested = env::args().any(|argument| argument == "--test");
    if !tested {
        cpu::keep_busy(LOAD_CPU);
    }
    let rows = table::medians(&fan_out(&mut criterion));
    criterion.final_summary();
    let table = table::render(&rows);
    println!("\n{table}");
    if rows.len() == Profile::ALL.len() * SUBSCRIBERS.len() * System::ALL.len() && !tested {
        table::write(&table);
    }
}

fn fan_out(criterion: &mut Criterion) -> Vec<Row> {
    let seconds = env::var("FAN_OUT_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(3.0);
    let measured = Duration::from_secs_f64(seconds);
    let window = measured / SAMPLES;
    let mut rows = Vec::new();
    for profile in Profile::ALL {
        let mut group = criterion.benchmark_group(format!("fan_out/{}", profile.name()));
        group.sampling_mode(SamplingMode::Flat).warm_up_time(window / 2).measurement_time(measured);
        for subscribers in SUBSCRIBERS {
            for (round, system) in in_turns(profile, subscribers) {
                let mut cell = None;
                group.bench_function(BenchmarkId::new(system.name(), parameter(subscribers, round)), |bencher| {
                    let cell = cell.get_or_insert_with(|| Cell::start(profile, system, subscribers));
                    bencher.iter_custom(|iterations| (0..iterations).map(|_| cell.window(window)).sum());
                });
                rows.extend(cell.map(Cell::finish));
            }
        }
    }
    rows
}

/// What is measured under one load, in this order, and in which round.
fn in_turns(profile: Profile, subscribers: usize) -> Vec<(usize, System)> {
    let mut turns: Vec<_> = System::ALL.map(|system| (1, system)).into();
    if COMPARED_PROFILES.contains(&profile) && subscribers == COMPARED_SUBSCRIBERS {
        turns.extend((2..=ROUNDS).flat_map(|round| COMPARED_SYSTEMS.map(|system| (round, system))));
    }
    turns
}

/// criterion wants another name for each round.
fn parameter(subscribers: usize, round: usize) -> String {
    if round == 1 { subscribers.to_string() } else { format!("{subscribers}/round {round}") }
}
