use std::fmt::Write;
use std::fs;
use std::time::Duration;

use tertulia::transport::Congestion;

use super::Row;
use super::chart::{Anchor, Chart, INK, Scale, Stroke};
use super::meeting::Sent;
use super::network::FALLING;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/networks.svg");

const WIDTH: f64 = 900.0;
const PANEL_HEIGHT: f64 = 220.0;
const MARGIN: f64 = 50.0;

/// The scale of latency is logarithmic, between these, in milliseconds.
const LATENCY_MS: (f64, f64) = (20.0, 5000.0);

/// Frames of so long make one point: the latest of them.
const STEP: Duration = Duration::from_millis(250);

/// Draws latency over time while the bandwidth falls and returns.
pub fn write(rows: &[Row]) {
    let rows: Vec<_> = rows.iter().filter(|row| row.network.name == FALLING.name && row.carrier == "QUIC").collect();
    let height = 2.0 * (PANEL_HEIGHT + MARGIN) + MARGIN;
    let title = "Latency while the bandwidth falls from 3 Mbit/s to 500 kbit/s (grey) and returns";
    let mut chart = Chart::new(WIDTH, height, title);
    for (index, name) in ["audio", "video"].into_iter().enumerate() {
        let top = MARGIN + index as f64 * (PANEL_HEIGHT + MARGIN);
        frame(&mut chart, top, name);
        for row in &rows {
            let frames = if name == "audio" { &row.record.audio } else { &row.record.video };
            curve(&mut chart, top, frames, stroke(row.control));
        }
    }
    let controls = Congestion::ALL.map(Congestion::label).into_iter().chain(["plain"]);
    chart.legend((MARGIN, height - 18.0), controls.map(|control| (control, stroke(control))));
    fs::write(FILE, chart.svg()).expect("the folder of the benches can be written");
}

fn x(at: Duration) -> f64 {
    MARGIN + at.as_secs_f64() / FALLING.seconds as f64 * (WIDTH - 2.0 * MARGIN)
}

fn y(top: f64, latency_ms: f64) -> f64 {
    Scale { values: LATENCY_MS, places: (top + PANEL_HEIGHT, top) }.at(latency_ms)
}

fn frame(chart: &mut Chart, top: f64, name: &str) {
    let (from, to) = (x(Duration::from_secs(5)), x(Duration::from_secs(12)));
    let (width, bottom) = (to - from, top + PANEL_HEIGHT);
    chart.put(format_args!(
        "<rect x=\"{from}\" y=\"{top}\" width=\"{width}\" height=\"{PANEL_HEIGHT}\" fill-opacity=\"0.15\"/>"
    ));
    for (latency_ms, text) in [(50.0, "50 ms"), (150.0, "150 ms"), (500.0, "500 ms"), (1500.0, "1.5 s")] {
        let at = y(top, latency_ms);
        chart.rule(at, (MARGIN, WIDTH - MARGIN));
        chart.text((MARGIN - 4.0, at + 4.0), Anchor::End, text);
    }
    for second in (0..=FALLING.seconds).step_by(5) {
        chart.text((x(Duration::from_secs(second)), bottom + 16.0), Anchor::Middle, &format!("{second} s"));
    }
    chart.text((MARGIN + 6.0, top + 16.0), Anchor::Start, name);
}

/// The latest frame of each step; where none arrived, the line is broken.
fn curve(chart: &mut Chart, top: f64, frames: &[Sent], stroke: Stroke) {
    let mut path = String::new();
    let mut pen = 'M';
    for step in 0..(FALLING.seconds * 1000 / STEP.as_millis() as u64) as u32 {
        let span = STEP * step..STEP * (step + 1);
        let arrived = frames.iter().filter(|sent| span.contains(&sent.at)).filter_map(|sent| sent.took);
        match arrived.max() {
            Some(took) => {
                write!(path, "{pen}{:.1} {:.1}", x(span.start), y(top, took.as_secs_f64() * 1e3))
                    .expect("a string takes it");
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    chart.curve(&path, stroke);
}

fn stroke(control: &str) -> Stroke {
    let colour = match control {
        "tertulia" => "#0f8a58",
        "bbr" => "#c46a00",
        "cubic" => "#d0453a",
        "newreno" => "#5b6fd8",
        _ => INK,
    };
    Stroke { colour, width: 2.0, dashes: "" }
}
