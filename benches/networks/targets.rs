use std::fmt::Write;
use std::time::Duration;

use super::layers::HIGHEST;
use super::meeting::{Record, Sent};
use super::network::{FALLING, RETURN};
use super::{Row, table};

const HEAD: &str = "\
| Network | Control | Carrier | Audio p99 (ms) | Audio left out | Longest without audio (ms) | Chat p99 (ms) | Queue p95 (ms) | Cut frames | Pictures a second | Full again after (s) |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|
";

/// What stands in the queue after so long stands for good, and what people are sent is what they will be sent.
const SETTLED: Duration = Duration::from_secs(3);

/// The figures of the networks where more is offered than passes, each beside its target, where its network has one; what is above it is
/// bold.
pub fn render(rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().filter(|row| row.network.has_layers).collect();
    let mut text = if rows.is_empty() { String::new() } else { HEAD.to_owned() };
    for row in rows {
        let Row { network, carrier, record, .. } = row;
        let targets = &network.targets;
        let queue = table::percentile(record.queue_ms.iter().copied().skip(30).collect(), 0.95);
        let full = (network.name == FALLING.name).then(|| full_again(record));
        let cells = [
            figure(Some(p99(&record.audio)), targets.audio_p99_ms, 0),
            figure(record.audio_left_out.map(|count| count as f64), targets.audio_left_out, 0),
            figure(Some(longest_gap(&record.audio).as_secs_f64() * 1e3), targets.without_audio_ms, 0),
            figure(Some(p99(&record.chat)), targets.chat_p99_ms, 0),
            figure(Some(queue), targets.queue_p95_ms, 0),
            figure(Some(record.cut as f64), targets.cut_frames, 0),
            figure(Some(pictures(record, network.seconds)), None, 1),
            figure(full, targets.full_again_s, 1),
        ];
        let (name, control) = (network.name, row.control);
        writeln!(text, "| {name} | {control} | {carrier} | {} |", cells.join(" | "))
            .expect("a string takes everything");
    }
    text
}

/// A figure with so many digits behind the point, its target in brackets.
fn figure(measured: Option<f64>, target: Option<f64>, digits: usize) -> String {
    let Some(measured) = measured else {
        return "-".into();
    };
    let text = format!("{measured:.digits$}");
    let shown: f64 = text.parse().expect("it is a number");
    match target {
        Some(target) if shown > target => format!("**{text}** ({target})"),
        Some(target) => format!("{text} ({target})"),
        None => text,
    }
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

/// Seconds from the return of the bandwidth to the first frame of the highest layer; for ever if there was none.
fn full_again(record: &Record) -> f64 {
    let full = record.quality.iter().find(|(at, layers)| *at > RETURN && *layers == HIGHEST);
    full.map_or(f64::INFINITY, |(at, _)| (*at - RETURN).as_secs_f64())
}
