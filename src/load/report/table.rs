use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::super::outcome::Percentiles;
use super::{Counted, Machine, Process, Report};

/// The width of the names in front of the figures, in characters.
const NAME_WIDTH: usize = 22;

impl Report {
    /// The report for people.
    pub fn table(&self) -> String {
        let mut table = format!("{}\n\n", self.title());
        let sessions = &self.sessions;
        let lost: u32 = sessions.lost.values().sum();
        row(
            &mut table,
            "Sessions",
            format!(
                "{} of {} joined, {lost} lost{}, {} reconnects",
                sessions.joined,
                sessions.wanted,
                in_brackets(&sessions.lost),
                sessions.reconnects
            ),
        );
        if !sessions.failed.is_empty() {
            row(&mut table, "Not joined", list(&sessions.failed));
        }
        if self.delivery.due > 0 {
            self.add_delivery(&mut table);
        }
        match &self.counted {
            Some(counted) => add_counted(&mut table, counted),
            None => row(&mut table, "The relay counts", "unknown: its metrics could not be read; see --admin"),
        }
        match &self.process {
            Some(process) => add_process(&mut table, process, self.delivery.unit),
            None => row(&mut table, "The relay's process", "not found on this machine"),
        }
        if let Some(Machine { load_cpu_percent, others_cpu_percent }) = &self.machine {
            let figures = format!("{load_cpu_percent:.0} % of a core; of other programs {others_cpu_percent:.0} %");
            row(&mut table, "CPU of the load", figures);
        }
        for advice in &self.advice {
            let _ = write!(table, "\n{advice}\n");
        }
        table
    }

    fn title(&self) -> String {
        let (Self { profile, relay, rooms, publishers, subscribers, seconds, .. }, early) =
            (self, if self.ended_early { ", ended early" } else { "" });
        let version = if self.relay_version.is_empty() { String::new() } else { format!(" ({})", self.relay_version) };
        format!(
            "{profile} to {relay}{version}: {rooms} rooms, each with {publishers} publishers and {subscribers} subscribers, \
             {seconds:.1} s{early}"
        )
    }

    fn add_delivery(&self, table: &mut String) {
        let delivery = &self.delivery;
        row(
            table,
            "Delivered",
            format!(
                "{:.3} % ({} of {} {})",
                delivery.percent.unwrap_or(0.0),
                delivery.delivered,
                delivery.due,
                delivery.unit
            ),
        );
        if delivery.strayed > 0 {
            row(table, "In the wrong room", delivery.strayed);
        }
        row(table, "", format!("{:>9} {:>9} {:>9} {:>9}", "p50", "p90", "p99", "p99.9"));
        for (name, percentiles) in [
            ("First receiver (ms)", delivery.first_ms),
            ("Last receiver (ms)", delivery.last_ms),
            ("Jitter (ms)", delivery.jitter_ms),
            ("Sent too late (ms)", delivery.late_ms),
        ] {
            let Percentiles { p50, p90, p99, p999 } = percentiles;
            row(table, name, [p50, p90, p99, p999].map(milliseconds).map(|figure| format!("{figure:>9}")).join(" "));
        }
    }
}

fn add_counted(table: &mut String, counted: &Counted) {
    row(table, "Dropped by the relay", or_nothing(list(&counted.dropped)));
    for (name, counts) in [("Refused by the relay", &counted.refused), ("Requests refused", &counted.requests_refused)]
    {
        if !counts.is_empty() {
            row(table, name, list(counts));
        }
    }
    if counted.udp_dropped > 0 {
        row(table, "Dropped by its kernel", counted.udp_dropped);
    }
}

fn add_process(table: &mut String, process: &Process, unit: &str) {
    let each = process.cpu_us_per_delivered.map_or(String::new(), |us| format!("{us:.2} us for each of the {unit}, "));
    row(table, "CPU of the relay", format!("{each}{:.0} % of a core", process.cpu_percent));
    let per_session = process.resident_bytes_per_session;
    let per_session = per_session.map_or(String::new(), |bytes| format!(" ({:.1} KiB each)", bytes as f64 / 1024.0));
    row(
        table,
        "Memory of the relay",
        format!(
            "{} MiB before, {} with all sessions{per_session}, {} at the end",
            mebibytes(process.resident_bytes_before),
            mebibytes(process.resident_bytes_joined),
            mebibytes(process.resident_bytes_after)
        ),
    );
}

/// A percentile, which may be that of what never came.
pub(in crate::load) fn milliseconds(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms.is_infinite() => "never".to_owned(),
        Some(ms) => format!("{ms:.2}"),
    }
}

fn row(table: &mut String, name: &str, figures: impl Display) {
    let line = format!("{name:NAME_WIDTH$} {figures}");
    table.push_str(line.trim_end());
    table.push('\n');
}

/// Reasons, and how often.
pub(in crate::load) fn list(counts: &BTreeMap<String, impl Display>) -> String {
    counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
}

fn in_brackets(counts: &BTreeMap<String, u32>) -> String {
    if counts.is_empty() { String::new() } else { format!(" ({})", list(counts)) }
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { "nothing".to_owned() } else { text }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::tests::report;

    #[test]
    fn a_table_has_a_row_for_each_figure() {
        let expected = "\
audio to https://localhost:4433/ (tertulia 0.1.0): 2 rooms, each with 1 publishers and 4 subscribers, 1.0 s

Sessions               10 of 10 joined, 0 lost, 0 reconnects
Delivered              100.000 % (4 of 4 datagrams)
                             p50       p90       p99     p99.9
First receiver (ms)         1.00      1.00      1.00      1.00
Last receiver (ms)          4.00      4.00      4.00      4.00
Jitter (ms)                    -         -         -         -
Sent too late (ms)          0.00      0.00      0.00      0.00
Dropped by the relay   nothing
CPU of the relay       25000.00 us for each of the datagrams, 10 % of a core
Memory of the relay    20.0 MiB before, 21.0 with all sessions (102.4 KiB each), 22.0 at the end
CPU of the load        20 % of a core; of other programs 20 %
";
        assert_eq!(report().table(), expected);
    }

    #[test]
    fn what_went_wrong_has_rows_too() {
        let mut report = report();
        report.ended_early = true;
        report.sessions.lost.insert("idle_timeout".to_owned(), 2);
        report.sessions.failed.insert("room_full".to_owned(), 3);
        report.delivery.strayed = 4;
        report.delivery.last_ms.p999 = Some(f64::INFINITY);
        let dropped = [("late".to_owned(), 5), ("over_budget".to_owned(), 6)].into();
        let refused = [("sessions".to_owned(), 7)].into();
        report.counted = Some(Counted { dropped, refused, udp_dropped: 8, ..Counted::default() });
        report.advice.push("Do this.".to_owned());
        let table = report.table();
        for row in [
            "1.0 s, ended early",
            "Sessions               10 of 10 joined, 2 lost (idle_timeout 2), 0 reconnects",
            "Not joined             room_full 3",
            "In the wrong room      4",
            "Last receiver (ms)          4.00      4.00      4.00     never",
            "Dropped by the relay   late 5, over_budget 6",
            "Refused by the relay   sessions 7",
            "Dropped by its kernel  8",
            "\nDo this.\n",
        ] {
            assert!(table.contains(row), "{row}: {table}");
        }
        (report.counted, report.process) = (None, None);
        assert!(report.table().contains("unknown: its metrics could not be read; see --admin"));
        assert!(report.table().contains("The relay's process    not found on this machine"));
    }
}
