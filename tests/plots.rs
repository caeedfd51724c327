//! The plots of the fan-out show what its table says.

#[path = "../benches/support/chart.rs"]
mod chart;
#[path = "../benches/fan_out/plot.rs"]
mod plot;

use std::fs;

use plot::Point;

const BENCHES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches");

fn file(name: &str) -> String {
    fs::read_to_string(format!("{BENCHES}/{name}")).expect("it is in the repository")
}

#[test]
fn values_are_read_by_the_names_of_their_columns() {
    let page = "\
# Fan-out

| Carrier | CPU per datagram (us) | Profile | x floor | Subscribers | Last p50 / p99 (ms) |
|---|---:|---|---:|---:|---:|
| quic | 2.35 | video | 1.83 | 100 | 2.39 / 2.64 |
| naive | NaN | video | - | 100 | 4.83 / 10.16 |
| floor | 6.03 | audio | 1.00 | 400 | NaN / NaN |

| no column | of this table |
";
    let point = Point {
        profile: "video".into(),
        carrier: "quic".into(),
        subscribers: 100.0,
        last_ms_p50: 2.39,
        last_ms_p99: 2.64,
        cpu_us: 2.35,
    };
    assert_eq!(plot::read(page), [point]);
    assert_eq!(plot::read("# no table"), []);
}

#[test]
fn every_row_of_the_table_is_read() {
    let table = file("fan_out.md");
    let rows = table.lines().filter(|line| line.starts_with("| ")).count() - 1;
    assert_eq!(plot::read(&table).len(), rows);
}

/// Draw them again with `cargo bench --bench fan_out -- plots`.
#[test]
fn the_plots_are_those_of_the_table() {
    let points = plot::read(&file("fan_out.md"));
    let advice = "cargo bench --bench fan_out -- plots";
    assert!(plot::latency(&points) == file("fan_out_latency.svg"), "not drawn again: {advice}");
    assert!(plot::cpu(&points) == file("fan_out_cpu.svg"), "not drawn again: {advice}");
}
