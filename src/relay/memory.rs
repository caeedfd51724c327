use std::fs;
use std::path::Path;

/// Where Linux shows control groups (cgroups(7)).
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

/// The memory that this process may use. On systems that do not tell, it is never short.
#[derive(Debug)]
pub(super) struct Memory {
    bytes_max: u64,
    is_short: bool,
}

impl Memory {
    /// So many megabytes; 0: what the control group or the machine has.
    pub fn new(megabytes: u32) -> Self {
        let bytes_max = match megabytes {
            0 => machine().into_iter().chain(control_groups()).min().unwrap_or(u64::MAX),
            megabytes => u64::from(megabytes) * 1_000_000,
        };
        Self { bytes_max, is_short: false }
    }

    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Looks whether more than four fifths are used. From then on it is short until no more than three quarters are: what is used
    /// goes up and down all the time.
    pub fn is_short(&mut self) -> bool {
        used().is_some_and(|bytes| self.is_short_with(bytes))
    }

    fn is_short_with(&mut self, used_bytes: u64) -> bool {
        let most = if self.is_short { self.bytes_max / 4 * 3 } else { self.bytes_max / 5 * 4 };
        self.is_short = used_bytes > most;
        self.is_short
    }
}

/// What of this process is in memory, in bytes (proc_pid_status(5)).
fn used() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// What the machine has, in bytes (proc_meminfo(5)).
fn machine() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// A line of the kernel's tables, in bytes.
fn kilobytes(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(number * 1024)
}

/// What the control groups of this process may have, those that are in it and those that it is in; in either version.
fn control_groups() -> Vec<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut limits = Vec::new();
    for (controllers, path) in groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')) {
        let (place, file) = match controllers {
            "" => (Path::new(CONTROL_GROUPS).to_owned(), "memory.max"),
            "memory" => (Path::new(CONTROL_GROUPS).join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        // In a container the path may be one outside of it; then the root is the container's own.
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let text = fs::read_to_string(place.join(group).join(file)).unwrap_or_default();
            // "max": as much as there is.
            limits.extend(text.trim().parse::<u64>());
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_tables_is_understood() {
        let table = "Name:\ttertulia\nVmHWM:\t   12000 kB\nVmRSS:\t   11512 kB\nThreads:\t3\n";
        assert_eq!(kilobytes(table, "VmRSS:"), Some(11_788_288));
        assert_eq!([kilobytes(table, "VmSwap:"), kilobytes(table, "Threads:"), kilobytes("", "VmRSS:")], [None; 3]);
    }

    #[test]
    fn memory_is_short_from_four_fifths_until_three_quarters() {
        let mut memory = Memory::new(100);
        for (used_bytes, is_short) in [
            (80_000_000, false),
            (80_000_001, true),
            (75_000_001, true),
            (75_000_000, false),
            (80_000_000, false),
            (90_000_000, true),
        ] {
            assert_eq!(memory.is_short_with(used_bytes), is_short, "{used_bytes}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_some_of_what_there_is() {
        let used = used().unwrap();
        assert!(used > 1_000_000 && used < Memory::new(0).bytes_max() && Memory::new(0).bytes_max() < u64::MAX);
        assert!(Memory::new(1).is_short());
    }
}
