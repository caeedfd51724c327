//! The time, as a value that is handed in: the core never reads a clock.

use std::time::Duration;

/// A moment, on both clocks that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the relay started, on a clock that never jumps. For intervals.
    pub since_start: Duration,
    /// Milliseconds since 1970, on the clock that people read. For what people see.
    pub unix_ms: u64,
}

impl Now {
    /// A moment of a simulation or a test, that long after its beginning.
    pub const fn after(since_start: Duration) -> Self {
        Self { since_start, unix_ms: 1_700_000_000_000 + since_start.as_millis() as u64 }
    }
}
