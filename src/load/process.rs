use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::report::Usage;
use crate::client::Carrier;

/// A process on this machine: that of a relay, found by the port that it listens on, or one's own. Linux alone has what it takes.
#[derive(Debug, Clone)]
pub struct ObservedProcess {
    directory: PathBuf,
}

/// The unit of times in `/proc/stat`, in milliseconds.
const TICK_MS: u64 = 10;

/// The state of a TCP socket that listens, as the kernel writes it.
const TCP_LISTENS: &str = "0A";

impl ObservedProcess {
    /// The process that listens at this address, if this is its machine and it may be looked at.
    pub fn find(address: SocketAddr, carrier: Carrier) -> Option<Self> {
        if !address.ip().is_loopback() {
            return None;
        }
        let tables = if carrier == Carrier::WebSocket { ["tcp", "tcp6"] } else { ["udp", "udp6"] };
        let inodes: Vec<_> = tables
            .iter()
            .filter_map(|table| fs::read_to_string(format!("/proc/net/{table}")).ok())
            .flat_map(|table| inodes(&table, address.port(), carrier == Carrier::WebSocket))
            .map(|inode| PathBuf::from(format!("socket:[{inode}]")))
            .collect();
        let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let has = |directory: &PathBuf| {
            let descriptors = fs::read_dir(directory.join("fd")).ok();
            let mut links =
                descriptors.into_iter().flatten().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
            links.any(|link| inodes.contains(&link))
        };
        let is_process =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
        processes.filter(is_process).find(has).map(|directory| Self { directory })
    }

    /// This process.
    pub fn own() -> Self {
        Self { directory: "/proc/self".into() }
    }

    /// What it has used until now; nothing if it is gone.
    pub fn usage(&self) -> Usage {
        let threads = fs::read_dir(self.directory.join("task")).into_iter().flatten();
        let nanoseconds = |thread: PathBuf| {
            let statistics = fs::read_to_string(thread.join("schedstat")).ok()?;
            statistics.split_whitespace().next()?.parse::<u64>().ok()
        };
        let cpu = threads.filter_map(|thread| nanoseconds(thread.ok()?.path())).sum();
        let status = fs::read_to_string(self.directory.join("status")).unwrap_or_default();
        let resident_bytes = resident_bytes(&status).unwrap_or(0);
        Usage { cpu: Duration::from_nanos(cpu), resident_bytes }
    }
}

/// The CPU time that all programs of this machine have used; none where it does not say.
pub fn machine_cpu() -> Duration {
    fs::read_to_string("/proc/stat").ok().and_then(|statistics| busy(&statistics)).unwrap_or_default()
}

/// Of user, nice, system, idle, waiting, interrupts and the rest of them, all but the fourth and fifth.
fn busy(statistics: &str) -> Option<Duration> {
    let times = statistics.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(7);
    let ticks = times.enumerate().filter(|(at, _)| !(3..=4).contains(at)).map(|(_, ticks)| ticks.parse::<u64>());
    Some(Duration::from_millis(ticks.sum::<Result<u64, _>>().ok()?.saturating_mul(TICK_MS)))
}

/// The sockets of a table of the kernel that are bound to a port.
fn inodes(table: &str, port: u16, only_listening: bool) -> Vec<u64> {
    let inode = |line: &str| {
        let mut fields = line.split_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let is_it = u16::from_str_radix(local_port, 16) == Ok(port) && (!only_listening || state == TCP_LISTENS);
        let inode = fields.nth(5)?.parse().ok()?;
        (is_it && inode != 0).then_some(inode)
    };
    table.lines().filter_map(inode).collect()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_by_its_port() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0 0 10 0
   1: 0100007F:1F40 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0 100 0 0 10 0
   2: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 103 1 0 100 0 0 10 0\n";
        assert_eq!(inodes(table, 8000, true), [101]);
        assert_eq!(inodes(table, 8000, false), [101, 102]);
        assert_eq!(inodes(table, 8001, true), [103]);
        assert_eq!(inodes("", 8000, true), [0; 0]);
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("Name:\ttertulia\nVmRSS:\t   2048 kB\n"), Some(2 * 1024 * 1024));
        assert_eq!(resident_bytes("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn a_machine_is_busy_when_it_is_not_idle() {
        let statistics = "cpu  100 20 3 5000 600 7 8 90 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n";
        assert_eq!(busy(statistics), Some(Duration::from_millis(1380)));
        assert_eq!(busy(""), None);
        assert_eq!(busy("cpu  a b"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_found_by_what_it_listens_on() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let process = ObservedProcess::find(socket.local_addr().unwrap(), Carrier::Quic).unwrap();
        assert_eq!(process.directory, PathBuf::from(format!("/proc/{}", std::process::id())));
        assert!(process.usage().resident_bytes > 1024 * 1024);
        let elsewhere = "192.0.2.1:4433".parse().unwrap();
        assert!(ObservedProcess::find(elsewhere, Carrier::Quic).is_none());
    }
}
