use std::fmt::Write;
use std::fs;
use std::time::Duration;

use super::cell::System;
use super::plot;
use super::profile::Profile;
use super::tally::{Delivery, Percentiles};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fan_out.md");
const LATENCY_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fan_out_latency.svg");
const CPU_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fan_out_cpu.svg");

const HEAD: &str = "\
| Profile | Carrier | Subscribers | Delivered | First p50 / p99 (ms) | Last p50 / p99 (ms) | CPU per datagram (us) | x floor | of naive |
|---|---|---:|---:|---:|---:|---:|---:|---:|
";

/// What was measured of one system under one load.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub profile: Profile,
    pub system: System,
    pub subscribers: usize,
    pub delivery: Delivery,
    pub cpu: Duration,
    pub delivered: u64,
}

impl Row {
    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.delivered as f64
    }

    fn cell(&self) -> (Profile, System, usize) {
        (self.profile, self.system, self.subscribers)
    }
}

/// One row for all rounds of a cell: the round with the median CPU time, with the least that was delivered in any.
pub fn medians(rows: &[Row]) -> Vec<Row> {
    let cells = rows.iter().map(Row::cell);
    let mut medians: Vec<Row> = Vec::new();
    for cell in cells {
        if medians.iter().any(|row| row.cell() == cell) {
            continue;
        }
        let mut rounds: Vec<_> = rows.iter().filter(|row| row.cell() == cell).copied().collect();
        rounds.sort_by(|one, other| one.cpu_us().total_cmp(&other.cpu_us()));
        let mut median = rounds[rounds.len() / 2];
        median.delivery.percent = rounds.iter().map(|row| row.delivery.percent).fold(f64::INFINITY, f64::min);
        medians.push(median);
    }
    medians
}

/// All rows, each compared with the floor and the naive relay of its own load.
pub fn render(rows: &[Row]) -> String {
    let mut table = HEAD.to_owned();
    for row in rows {
        let beside = |system| {
            let other = rows.iter().find(|other| other.cell() == (row.profile, system, row.subscribers));
            other.map_or("-".to_owned(), |other| format!("{:.2}", row.cpu_us() / other.cpu_us()))
        };
        let (floor, naive) = (beside(System::Floor), beside(row.profile.naive()));
        writeln!(
            table,
            "| {} | {} | {} | {:.2} % | {} | {} | {:.2} | {floor} | {naive} |",
            row.profile.name(),
            row.system.name(),
            row.subscribers,
            row.delivery.percent,
            pair(row.delivery.first_ms),
            pair(row.delivery.last_ms),
            row.cpu_us(),
        )
        .expect("a string takes everything");
    }
    table
}

/// Writes the table where README quotes it.
pub fn write(table: &str) {
    let page = format!(
        "# Fan-out\n\nWritten by `cargo bench --bench fan_out`; [README.md](README.md) says what the columns mean.\n\n{table}"
    );
    fs::write(FILE, page).expect("the folder of the benches can be written");
}

/// Draws the plots of the table that was written last.
pub fn draw() {
    let points = plot::read(&fs::read_to_string(FILE).expect("the table was written"));
    for (file, svg) in [(LATENCY_FILE, plot::latency(&points)), (CPU_FILE, plot::cpu(&points))] {
        fs::write(file, svg).expect("the folder of the benches can be written");
    }
}

fn pair(Percentiles { p50, p99 }: Percentiles) -> String {
    format!("{p50:.2} / {p99:.2}")
}
