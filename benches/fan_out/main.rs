//! A real relay under load over loopback: what a delivered datagram costs, how late it is, and whether it comes.
//!
//! One criterion iteration is one window of load; its value is the relay's CPU time per delivered datagram.
//! `FAN_OUT_SECONDS` is how long each cell is measured, 3 unless it is set. `cargo bench --bench fan_out -- plots` measures
//! nothing and draws the plots of the table once more.

mod broadcaster;
mod cell;
#[path = "../support/chart.rs"]
mod chart;
mod cpu;
mod floor;
mod load;
mod naive;
mod plot;
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

const SAMPLES: u32 = 10;

/// How often the rows are measured whose ratios are targets, in turns: the machine drifts meanwhile for all alike.
const ROUNDS: usize = 5;
const COMPARED_SYSTEMS: [System; 6] =
    [System::Floor, System::Quic, System::WebTransport, System::Naive, System::PlainWebSocket, System::LeanBroadcaster];

fn main() {
    if env::args().any(|argument| argument == "plots") {
        return table::draw();
    }
    let mut criterion =
        Criterion::default().sample_size(SAMPLES as usize).nresamples(1000).without_plots().configure_from_args();
    let tested = env::args().any(|argument| argument == "--test");
    if !tested {
        cpu::keep_busy(LOAD_CPU);
    }
    let rows = table::medians(&fan_out(&mut criterion, tested));
    criterion.final_summary();
    let table = table::render(&rows);
    println!("\n{table}");
    let cells: usize =
        Profile::ALL.into_iter().map(|profile| profile.subscribers().len() * profile.systems().len()).sum();
    if rows.len() == cells && !tested {
        table::write(&table);
        table::draw();
    }
}

/// All cells; those with few subscribers, where nothing is asked but whether it runs.
fn fan_out(criterion: &mut Criterion, tested: bool) -> Vec<Row> {
    let seconds = env::var("FAN_OUT_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(3.0);
    let measured = Duration::from_secs_f64(seconds);
    let window = measured / SAMPLES;
    let mut rows = Vec::new();
    for profile in Profile::ALL {
        let mut group = criterion.benchmark_group(format!("fan_out/{}", profile.name()));
        group.sampling_mode(SamplingMode::Flat).warm_up_time(window / 2).measurement_time(measured);
        let most = if tested { 1 } else { usize::MAX };
        for &subscribers in profile.subscribers().iter().take(most) {
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
    let rounds = if profile.has_target(subscribers) { ROUNDS } else { 1 };
    let systems = profile.systems().iter().copied();
    let takes_part = |round, system| round == 1 || COMPARED_SYSTEMS.contains(&system);
    let in_round =
        |round| systems.clone().filter(move |system| takes_part(round, *system)).map(move |system| (round, system));
    (1..=rounds).flat_map(in_round).collect()
}

/// criterion wants another name for each round.
fn parameter(subscribers: usize, round: usize) -> String {
    if round == 1 { subscribers.to_string() } else { format!("{subscribers}/round {round}") }
}
