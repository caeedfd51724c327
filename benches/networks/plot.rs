use std::fmt::Write;
use std::fs;
use std::time::Duration;

use tertulia::transport::Congestion;

use super::Row;
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
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">Latency while the \
         bandwidth falls from 3 Mbit/s to 500 kbit/s (grey) and returns</text>\n"
    );
    for (index, name) in ["audio", "video"].into_iter().enumerate() {
        let top = MARGIN + index as f64 * (PANEL_HEIGHT + MARGIN);
        frame(&mut svg, top, name);
        for row in &rows {
            let frames = if name == "audio" { &row.record.audio } else { &row.record.video };
            curve(&mut svg, top, frames, colour(row.control));
        }
    }
    legend(&mut svg, height - 18.0);
    svg += "</svg>\n";
    fs::write(FILE, svg).expect("the folder of the benches can be written");
}

fn x(at: Duration) -> f64 {
    MARGIN + at.as_secs_f64() / FALLING.seconds as f64 * (WIDTH - 2.0 * MARGIN)
}

fn y(top: f64, latency_ms: f64) -> f64 {
    let (least, most) = LATENCY_MS;
    let share = (latency_ms.clamp(least, most) / least).ln() / (most / least).ln();
    top + PANEL_HEIGHT * (1.0 - share)
}

fn frame(svg: &mut String, top: f64, name: &str) {
    let (from, to) = (x(Duration::from_secs(5)), x(Duration::from_secs(12)));
    let bottom = top + PANEL_HEIGHT;
    put(
        svg,
        format_args!(
            "<rect x=\"{from}\" y=\"{top}\" width=\"{}\" height=\"{PANEL_HEIGHT}\" fill=\"#eee\"/>",
            to - from
        ),
    );
    for latency_ms in [50.0, 150.0, 500.0, 1500.0] {
        let (at, right) = (y(top, latency_ms), WIDTH - MARGIN);
        put(svg, format_args!("<path d=\"M{MARGIN} {at}H{right}\" stroke=\"#ccc\"/>"));
        put(svg, format_args!("<text x=\"4\" y=\"{}\">{latency_ms} ms</text>", at + 4.0));
    }
    for second in (0..=FALLING.seconds).step_by(5) {
        let at = x(Duration::from_secs(second));
        put(svg, format_args!("<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{second} s</text>", bottom + 16.0));
    }
    put(svg, format_args!("<text x=\"{}\" y=\"{}\">{name}</text>", MARGIN + 6.0, top + 16.0));
}

/// The latest frame of each step; where none arrived, the line is broken.
fn curve(svg: &mut String, top: f64, frames: &[Sent], colour: &str) {
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
    put(svg, format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
}

fn legend(svg: &mut String, y: f64) {
    for (control, index) in Congestion::ALL.map(Congestion::label).into_iter().chain(["plain"]).zip(0..) {
        let (at, colour) = (MARGIN + f64::from(index) * 130.0, colour(control));
        put(svg, format_args!("<path d=\"M{at} {}h24\" stroke=\"{colour}\" stroke-width=\"3\"/>", y - 4.0));
        put(svg, format_args!("<text x=\"{}\" y=\"{y}\">{}</text>", at + 30.0, control));
    }
}

fn colour(control: &str) -> &'static str {
    match control {
        "tertulia" => "#0a7d4f",
        "bbr" => "#c46a00",
        "cubic" => "#b3261e",
        "newreno" => "#5b5fc7",
        _ => "#777",
    }
}

fn put(svg: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(svg, "{line}").expect("a string takes it");
}
