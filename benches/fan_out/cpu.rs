use std::fs;
use std::thread;
use std::time::Duration;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// The prefix of the name of the thread that keeps a CPU busy.
const BUSY: &str = "busy";

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
    if thread::available_parallelism().is_ok_and(|cpus| cpu >= cpus.get()) {
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

/// Keeps a CPU from ever being idle, until the process ends: a thread that yields to every other one seals packets there.
/// Two CPUs may share what is inside a core. Then what one does costs more the more the other does, and a system whose load
/// works harder would look dearer than it is; beside a CPU that is always busy, all have the same conditions.
pub fn keep_busy(cpu: usize) {
    let (ready, wait) = std::sync::mpsc::channel();
    let body = move || {
        yield_to_all();
        ready.send(()).expect("the caller is waiting");
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("the key has 16 bytes"));
        let mut packet = [0; 1000];
        loop {
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut packet);
            let _ = std::hint::black_box((tag, &packet));
        }
    };
    thread::Builder::new().name(BUSY.to_owned()).spawn(body).expect("a thread can be had");
    wait.recv().expect("the thread starts");
    pin(BUSY, cpu);
}

/// This thread runs only when no other one wants its CPU.
#[expect(unsafe_code, reason = "the standard library has no scheduling policies")]
fn yield_to_all() {
    // SAFETY: all-zero is a valid value, and the call reads it alone.
    let result = unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters)
    };
    assert_eq!(result, 0, "every thread may give way");
}
