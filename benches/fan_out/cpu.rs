use std::fs;
use std::time::Duration;

/// The threads of this process whose names begin with `prefix`.
fn threads(prefix: &str) -> Vec<libc::pid_t> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux lists the threads of a process there");
    tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?;
            name.starts_with(prefix).then(|| path.file_name()?.to_str()?.parse().ok())?
        })
        .collect()
}

/// Whether there still are such threads.
pub fn is_running(prefix: &str) -> bool {
    !threads(prefix).is_empty()
}

/// The CPU time that these threads have used, as the scheduler counts it.
pub fn time(prefix: &str) -> Duration {
    let nanoseconds = |thread| {
        let statistics = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
        statistics.split_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads(prefix).into_iter().filter_map(nanoseconds).sum())
}

/// Keeps these threads on one CPU, so that what is measured and what loads it do not take turns on the same one.
/// Without a second CPU nothing changes.
#[expect(unsafe_code, reason = "the standard library has no affinity")]
pub fn pin(prefix: &str, cpu: usize) {
    if std::thread::available_parallelism().is_ok_and(|cpus| cpu >= cpus.get()) {
        return;
    }
    for thread in threads(prefix) {
        // SAFETY: an all-zero set is a valid empty one, and the call reads no more than its size.
        let result = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(thread, size_of_val(&set), &set)
        };
        assert_eq!(result, 0, "a thread of this process may be pinned");
    }
}
