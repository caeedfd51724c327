use std::fmt::Write;
use std::time::Duration;

use super::layers::HIGHEST;
use super::meeting::{Record, Sent};
use super::network::{FALLING, RETURN};
use super::{Row, table};

const HEAD: &str = "\
| Network | Control | Carrier | Audio p99 (150 ms) | Audio left out (0) | Longest without audio (200 ms) | Chat p99 (300 ms) | Queue p95 (100 ms) | Cut frames (0) | Pictures a second | Full again after (5 s) |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|
";

/// What stands in the queue after so long stands for good, and what people are sent is what they will be sent.
const SETTLED: Duration = Duration::from_secs(3);

/// The figures of targets, each under its bound, for the networks where more is offered than passes.
pub fn render(rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().filter(|row| row.network.has_layers).collect();
    let mut text = if rows.is_empty() { String::new() } else { HEAD.to_owned() };
    for row in rows {
        let Row { network, carrier, record, .. } = row;
        let left_out = record.audio_left_out.map_or("-".into(), |count| count.to_string());
        let queue = table::percentile(record.queue_ms.iter().copied().skip(30).collect(), 0.95);
        let full = if network.name == FALLING.name { full_again(record) } else { "-".into() };
        writeln!(
            text,
            "| {} | {} | {carrier} | {:.0} | {left_out} | {:.0} | {:.0} | {queue:.0} | {} | {:.1} | {full} |",
            network.name,
            row.control,
            p99(&record.audio),
            longest_gap(&record.audio).as_secs_f64() * 1e3,
            p99(&record.chat),
            record.cut,
            pictures(record, network.seconds),
        )
        .expect("a string takes everything");
    }
    text
}

/// In milliseconds; what never came took for ever.
fn p99(sent: &[Sent]) -> f64 {
    let took = |sent: &Sent| sent.took.map_or(f64::INFINITY, |took| took.as_secs_f64() * 1e3);
    let settled = sent.iter().filter(|sent| sent.at > SETTLED).map(took).collect();
    table::percentile(settled, 0.99)
}

/// The longest time in which no audio came.
fn longest_gap(sent: &[Sent]) -> Duration {
    let mut times: Vec<_> = sent.iter().filter_map(|sent| Some(sent.at + sent.took?)).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
}

/// Frames that could be shown, each second.
fn pictures(record: &Record, seconds: u64) -> f64 {
    let shown = record.quality.iter().filter(|(at, _)| *at > SETTLED).count();
    shown as f64 / (Duration::from_secs(seconds).saturating_sub(SETTLED)).as_secs_f64().max(0.1)
}

/// From the return of the bandwidth to the first frame of the highest layer.
fn full_again(record: &Record) -> String {
    let full = record.quality.iter().find(|(at, layers)| *at > RETURN && *layers == HIGHEST);
    full.map_or("never".into(), |(at, _)| format!("{:.1} s", (*at - RETURN).as_secs_f64()))
}
