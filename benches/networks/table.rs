use std::fmt::Write;
use std::fs;
use std::time::Duration;

use super::meeting::Sent;
use super::{Row, targets};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/networks.md");

const HEAD: &str = "\
| Network | Control | Carrier | Audio in 150 ms | Audio p50 / p99 (ms) | Video in 150 ms | Video p50 / p99 (ms) | Queue p50 / p95 (ms) |
|---|---|---|---:|---:|---:|---:|---:|
";

/// Later than this, nobody wants a frame.
const USABLE: Duration = Duration::from_millis(150);

/// What stands in the queue after so long stands for good.
const SETTLED_TENTHS: usize = 30;

pub fn render(rows: &[Row]) -> String {
    let mut table = HEAD.to_owned();
    for row in rows {
        let Row { network, carrier, record, .. } = row;
        let queue = percentiles(record.queue_ms.iter().copied().skip(SETTLED_TENTHS).collect(), 0.95);
        writeln!(
            table,
            "| {} | {} | {carrier} | {} | {} | {} | {} | {queue} |",
            network.name,
            row.control,
            usable(&record.audio),
            latency(&record.audio),
            usable(&record.video),
            latency(&record.video),
        )
        .expect("a string takes everything");
    }
    table
}

/// Writes the tables where README quotes them.
pub fn write(rows: &[Row], [repair, newcomers, cuts]: [&str; 3]) {
    let page = format!(
        "# Bad networks\n\nWritten by `cargo bench --bench networks`; [README.md](README.md) says what the columns mean.\n\n{}\n## Targets\n\n{}\n\
         ![latency over time while the bandwidth falls](networks.svg)\n\n## Loss repair\n\n{repair}\n## A new subscriber\n\n{newcomers}\n## UDP cut\n\n{cuts}",
        render(rows),
        targets::render(rows),
    );
    fs::write(FILE, page).expect("the folder of the benches can be written");
}

/// The share of frames that were usable in time.
pub fn usable(frames: &[Sent]) -> String {
    let usable = frames.iter().filter(|sent| sent.took.is_some_and(|took| took <= USABLE)).count();
    format!("{:.1} %", 100.0 * usable as f64 / frames.len().max(1) as f64)
}

/// The median latency of those that were usable at all, and that which one in a hundred exceeds.
pub fn latency(frames: &[Sent]) -> String {
    percentiles(frames.iter().filter_map(|sent| Some(sent.took?.as_secs_f64() * 1e3)).collect(), 0.99)
}

/// The median, and this share.
fn percentiles(values: Vec<f64>, share: f64) -> String {
    format!("{:.0} / {:.0}", percentile(values.clone(), 0.5), percentile(values, share))
}

pub fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share).ceil() as usize;
    values.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
