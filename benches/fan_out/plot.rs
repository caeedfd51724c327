//! The plots in README: they are drawn from the table that was written, so that they show what can be read there.

use std::fmt::Write;

use super::chart::{Anchor, Chart, INK, Scale, Stroke};

const WIDTH: f64 = 900.0;
/// The names of the values stand left of the panels.
const LEFT: f64 = 62.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 58.0;
const PANEL_HEIGHT: f64 = 190.0;
const GAP: f64 = 14.0;
/// From a row of panels to the next: the numbers of subscribers stand between them.
const ROW_GAP: f64 = 48.0;
/// The curves keep away from the edges of their panel.
const INSET: f64 = 14.0;

/// Those whose curves are drawn, and how: what is measured in colour, what it is compared with broken.
const CURVES: [(&str, Stroke); 8] = [
    ("floor", Stroke { colour: INK, width: 1.5, dashes: "6 3" }),
    ("quic", Stroke { colour: "#5b6fd8", width: 2.5, dashes: "" }),
    ("webtransport", Stroke { colour: "#0f8a58", width: 2.5, dashes: "" }),
    ("websocket", Stroke { colour: "#c46a00", width: 2.5, dashes: "" }),
    ("naive", Stroke { colour: "#d0453a", width: 1.5, dashes: "6 3" }),
    ("plain-websocket", Stroke { colour: "#0b869a", width: 2.5, dashes: "" }),
    ("lean-broadcaster", Stroke { colour: "#d0453a", width: 1.5, dashes: "2 3" }),
    ("broadcaster", Stroke { colour: "#9a6bb0", width: 1.5, dashes: "2 3" }),
];

/// What is drawn of a row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub profile: String,
    pub carrier: String,
    pub subscribers: f64,
    pub last_ms_p50: f64,
    pub last_ms_p99: f64,
    pub cpu_us: f64,
}

/// A value of a row, and what it is called.
type Measure = (&'static str, fn(&Point) -> f64);

/// Reads the table out of the page. A row without a value that is drawn, because nothing arrived, is left out.
pub fn read(page: &str) -> Vec<Point> {
    let mut rows = page.lines().filter(|line| line.starts_with('|')).map(cells);
    let Some(head) = rows.next() else {
        return Vec::new();
    };
    rows.filter_map(|row| {
        let cell = |name: &str| row.get(head.iter().position(|column| *column == name)?).copied();
        let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite());
        let (p50, p99) = cell("Last p50 / p99 (ms)")?.split_once(" / ")?;
        Some(Point {
            profile: cell("Profile")?.to_owned(),
            carrier: cell("Carrier")?.to_owned(),
            subscribers: number(cell("Subscribers")?)?,
            last_ms_p50: number(p50)?,
            last_ms_p99: number(p99)?,
            cpu_us: number(cell("CPU per datagram (us)")?)?,
        })
    })
    .collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// Latency against number of subscribers, by profile and carrier.
pub fn latency(points: &[Point]) -> String {
    let measures: [Measure; 2] = [("p50", |point| point.last_ms_p50), ("p99", |point| point.last_ms_p99)];
    draw(points, "Until the last subscriber has a frame, by number of subscribers", "ms", &measures)
}

/// CPU time against number of subscribers, by profile and carrier.
pub fn cpu(points: &[Point]) -> String {
    draw(points, "CPU time for each delivered datagram, by number of subscribers", "us", &[("", |point| point.cpu_us)])
}

/// A column of panels for each profile, and a row of them for each measure.
fn draw(points: &[Point], title: &str, unit: &str, measures: &[Measure]) -> String {
    let is_drawn = |point: &&Point| CURVES.iter().any(|(carrier, _)| *carrier == point.carrier);
    let points: Vec<&Point> = points.iter().filter(is_drawn).collect();
    let mut profiles: Vec<&str> = points.iter().map(|point| &*point.profile).collect();
    profiles.dedup();
    let width = (RIGHT - LEFT + GAP) / profiles.len().max(1) as f64 - GAP;
    let height = TOP + measures.len() as f64 * (PANEL_HEIGHT + ROW_GAP) + 24.0;
    let mut chart = Chart::new(WIDTH, height, title);
    let all = measures.iter().flat_map(|(_, value)| points.iter().map(|point| value(point)));
    let (values, marks) = axis(all);
    for (index, (name, value)) in measures.iter().enumerate() {
        let top = TOP + index as f64 * (PANEL_HEIGHT + ROW_GAP);
        let y = Scale { values, places: (top + PANEL_HEIGHT, top) };
        for mark in &marks {
            chart.text((LEFT - 6.0, y.at(*mark) + 4.0), Anchor::End, &format!("{mark} {unit}"));
        }
        for (index, profile) in profiles.iter().enumerate() {
            let left = LEFT + index as f64 * (width + GAP);
            let points: Vec<&Point> = points.iter().filter(|point| point.profile == *profile).copied().collect();
            marks.iter().for_each(|mark| chart.rule(y.at(*mark), (left, left + width)));
            chart.text((left, top - 8.0), Anchor::Start, format!("{profile} {name}").trim_end());
            panel(&mut chart, (left, left + width), &y, &points, *value);
        }
    }
    let drawn = CURVES.into_iter().filter(|(carrier, _)| points.iter().any(|point| point.carrier == *carrier));
    chart.legend((LEFT - 54.0, height - 14.0), drawn);
    chart.svg()
}

/// The curves of one profile, on an axis of its own numbers of subscribers.
fn panel(chart: &mut Chart, (left, right): (f64, f64), y: &Scale, points: &[&Point], value: fn(&Point) -> f64) {
    let numbers = points.iter().map(|point| point.subscribers);
    let values = (numbers.clone().fold(f64::INFINITY, f64::min), numbers.clone().fold(0.0, f64::max));
    let x = Scale { values, places: (left + INSET, right - INSET) };
    let (bottom, _) = y.places;
    let mut marked = Vec::new();
    for number in numbers {
        if !marked.contains(&number) {
            marked.push(number);
            chart.text((x.at(number), bottom + 16.0), Anchor::Middle, &number.to_string());
        }
    }
    for (carrier, stroke) in CURVES {
        let mut path = String::new();
        for point in points.iter().filter(|point| point.carrier == carrier) {
            let pen = if path.is_empty() { 'M' } else { 'L' };
            let (x, y) = (x.at(point.subscribers), y.at(value(point)));
            write!(path, "{pen}{x:.1} {y:.1}").expect("a string takes it");
            chart.put(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>", stroke.colour));
        }
        if !path.is_empty() {
            chart.curve(&path, stroke);
        }
    }
}

/// The ends of an axis on which all these values are, and its marks: 1, 3, 10, 30, and so on.
fn axis(values: impl Iterator<Item = f64> + Clone) -> ((f64, f64), Vec<f64>) {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(0.0, f64::max);
    let marks: Vec<_> = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0].into();
    let from = marks.partition_point(|mark| *mark <= least).saturating_sub(1);
    let to = marks.partition_point(|mark| *mark < most).clamp(from + 1, marks.len() - 1);
    ((marks[from], marks[to]), marks[from..=to].to_vec())
}
