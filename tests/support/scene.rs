//! A relay in a process of its own, a meeting in it that goes on, and what both have to look like after a fault; and a second
//! relay, for comparison, in which nothing else happens. Both run on the same processor.

use tertulia::limits::HISTORY_CACHE_BYTES;
use tokio::sync::{Mutex, MutexGuard};

use super::bystander::Bystander;
use super::child::{ChildRelay, Launch, Resources};
use super::session::Target;

/// Only one test of a file works at a time while something is measured: the others would be the noise.
static TURN: Mutex<()> = Mutex::const_new(());

/// Waits until nothing is measured, and keeps others from it. For tests that work hard and measure nothing.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// What may be kept after a fault, in bytes: the pages of the database that were read or written, and what the allocator does not
/// give back.
pub const MEMORY_KEPT_MAX: usize = HISTORY_CACHE_BYTES + 8 * 1024 * 1024;

pub struct Scene {
    pub launch: Launch,
    pub relay: ChildRelay,
    pub bystander: Bystander,
    pub before: Resources,
    _apart: ChildRelay,
    _turn: MutexGuard<'static, ()>,
}

/// Nobody is kept out for being many: the tests all come from one address.
pub const CROWDED: [&str; 8] = [
    "--sessions-per-address",
    "20000",
    "--tcp-connections-per-address",
    "4000",
    "--handshakes-per-second-per-address",
    "20000",
    "--handshakes-burst-per-address",
    "20000",
];

impl Scene {
    /// With these arguments for the relay, apart from ports and directories.
    pub async fn open(arguments: &[&str]) -> Self {
        Self::of(Launch::new(arguments), |_| None).await
    }

    /// A relay that everyone on this machine may crowd.
    pub async fn crowded(arguments: &[&str]) -> Self {
        Self::open(&[&CROWDED, arguments].concat()).await
    }

    pub async fn of(launch: Launch, token: impl Fn(&str) -> Option<String>) -> Self {
        let turn = turn().await;
        let mut launch = launch.on_one_processor();
        let apart = launch.another().start();
        let relay = launch.start();
        let bystander = Bystander::begin(relay.target, apart.target, token).await;
        let before = relay.resources().await;
        Self { launch, relay, bystander, before, _apart: apart, _turn: turn }
    }

    pub fn target(&self) -> Target {
        self.relay.target
    }

    /// Invariants I1 and I2: no part of the relay has failed, and the meeting beside the fault did not notice it.
    pub async fn assert_undisturbed(&mut self, case: &str) {
        self.bystander.assert_undisturbed(case).await;
        self.relay.assert_sound(case).await;
    }

    /// All four, once everybody who did something wrong has gone; the third one is for the test to see.
    pub async fn close(mut self, case: &str) {
        self.assert_undisturbed(case).await;
        self.relay.assert_at_rest(case, self.before, MEMORY_KEPT_MAX).await;
    }
}
