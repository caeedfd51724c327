use std::fmt::Write;
use std::fs;
use std::time::Duration;

use super::cell::System;
use super::profile::Profile;
use super::tally::{Delivery, Percentiles};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/fan_out.md");

const HEAD: &str = "\
| Profile | Carrier | Subscribers | Delivered | First p50 / p99 (ms) | Last p50 / p99 (ms) | CPU per datagram (us) | x floor |
|---|---|---:|---:|---:|---:|---:|---:|
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
}

/// All rows, each compared with the floor of its own load.
pub fn render(rows: &[Row]) -> String {
    let mut table = HEAD.to_owned();
    for row in rows {
        let floor = rows.iter().find(|other| {
            (other.system, other.profile, other.subscribers) == (System::Floor, row.profile, row.subscribers)
        });
        let ratio = floor.map_or("-".to_owned(), |floor| format!("{:.2}", row.cpu_us() / floor.cpu_us()));
        writeln!(
            table,
            "| {} | {} | {} | {:.2} % | {} | {} | {:.2} | {ratio} |",
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

fn pair(Percentiles { p50, p99 }: Percentiles) -> String {
    format!("{p50:.2} / {p99:.2}")
}
