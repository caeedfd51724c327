use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::flow::{Flow, Sending};
use super::outcome::Outcome;
use super::plan::Plan;
use super::report::Sessions;

/// Reasons that are told apart: a relay could make up any number of them.
const REASONS_MAX: usize = 16;

/// What all sessions of a run note, on whichever thread they are.
#[derive(Debug)]
pub struct Tally {
    flows: Vec<Mutex<Flow>>,
    outcome: Mutex<Outcome>,
    sessions: Mutex<Sessions>,
    relay: Mutex<String>,
    arrived: AtomicU64,
    strayed: AtomicU64,
    present: AtomicU32,
}

impl Tally {
    /// One for a run of this plan.
    pub fn new(plan: &Plan) -> Self {
        let flow = |_| Mutex::new(Flow::new(plan.receivers(), plan.profile.fragments()));
        Self {
            flows: (0..plan.rooms * plan.publishers).map(flow).collect(),
            outcome: Mutex::default(),
            sessions: Mutex::new(Sessions { wanted: plan.sessions(), ..Sessions::default() }),
            relay: Mutex::default(),
            arrived: AtomicU64::new(0),
            strayed: AtomicU64::new(0),
            present: AtomicU32::new(0),
        }
    }

    /// A publisher sends its next frame, of that number.
    pub fn send(&self, publisher: u32, sending: Sending) -> u32 {
        lock(&self.flows[publisher as usize]).send(sending, &mut lock(&self.outcome))
    }

    /// A publisher does not send its next frame.
    pub fn miss(&self, publisher: u32, sending: Sending) {
        lock(&self.flows[publisher as usize]).miss(sending, &mut lock(&self.outcome));
    }

    /// A datagram of a frame has arrived: how long it took.
    pub fn receive(&self, publisher: u32, frame: u32, is_whole: bool, now: Duration) -> Option<Duration> {
        let took = lock(self.flows.get(publisher as usize)?).receive(frame, is_whole, now)?;
        self.arrived.fetch_add(1, Ordering::Relaxed);
        Some(took)
    }

    /// Something arrived that was meant for another room.
    pub fn stray(&self) {
        self.strayed.fetch_add(1, Ordering::Relaxed);
    }

    /// How much the times of one publisher's frames varied at one receiver.
    pub fn vary(&self, jitter: Duration) {
        lock(&self.outcome).varied(jitter);
    }

    /// A session has its seat.
    pub fn join(&self, is_first: bool, relay: &str) {
        self.present.fetch_add(1, Ordering::Relaxed);
        let mut sessions = lock(&self.sessions);
        match is_first {
            true => sessions.joined += 1,
            false => sessions.reconnects += 1,
        }
        let mut name = lock(&self.relay);
        if name.is_empty() {
            relay.clone_into(&mut name);
        }
    }

    /// A participant could not come in.
    pub fn fail(&self, reason: &str) {
        count(&mut lock(&self.sessions).failed, reason);
    }

    /// A session ended that should have gone on.
    pub fn lose(&self, reason: &str) {
        self.leave();
        count(&mut lock(&self.sessions).lost, reason);
    }

    /// A session ended.
    pub fn leave(&self) {
        self.present.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many sessions there are now.
    pub fn present(&self) -> u32 {
        self.present.load(Ordering::Relaxed)
    }

    /// What arrived until now, measured or not.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// What arrived in wrong rooms.
    pub fn strayed(&self) -> u64 {
        self.strayed.load(Ordering::Relaxed)
    }

    /// What became of the sessions until now.
    pub fn sessions(&self) -> Sessions {
        lock(&self.sessions).clone()
    }

    /// What the relay calls itself; empty while nobody came in.
    pub fn relay(&self) -> String {
        lock(&self.relay).clone()
    }

    /// What became of everything, when nobody sends any more.
    pub fn finish(&self) -> Outcome {
        for flow in &self.flows {
            lock(flow).finish(&mut lock(&self.outcome));
        }
        lock(&self.outcome).clone()
    }
}

fn count(counts: &mut BTreeMap<String, u32>, reason: &str) {
    let is_new = !counts.contains_key(reason);
    let reason = if is_new && counts.len() >= REASONS_MAX { "other" } else { reason };
    *counts.entry(reason.to_owned()).or_default() += 1;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Profile;

    fn plan() -> Plan {
        let (duration, ramp) = (Duration::from_secs(1), Duration::ZERO);
        Plan { profile: Profile::Audio, rooms: 2, publishers: 1, subscribers: 2, duration, ramp }
    }

    #[test]
    fn sessions_are_settled_when_everyone_is_in_or_out() {
        let tally = Tally::new(&plan());
        for _ in 0..5 {
            tally.join(true, "relay 1");
        }
        assert!(!tally.sessions().are_settled());
        tally.lose("idle_timeout");
        tally.join(false, "relay 2");
        assert!(!tally.sessions().are_settled(), "a reconnect is not another one");
        tally.fail("room_full");
        let sessions = tally.sessions();
        assert!(sessions.are_settled());
        assert_eq!((sessions.joined, sessions.reconnects, tally.present()), (5, 1, 5));
        assert_eq!((sessions.lost["idle_timeout"], sessions.failed["room_full"]), (1, 1));
        assert_eq!(tally.relay(), "relay 1");
    }

    #[test]
    fn reasons_are_bounded() {
        let tally = Tally::new(&plan());
        (0..100).for_each(|number| tally.fail(&format!("reason {number}")));
        let failed = tally.sessions().failed;
        assert_eq!((failed.len(), failed["other"], failed.values().sum::<u32>()), (REASONS_MAX + 1, 84, 100));
    }

    #[test]
    fn all_publishers_are_one_outcome() {
        let tally = Tally::new(&plan());
        let at = Sending { due_at: Duration::ZERO, now: Duration::ZERO, counts: true };
        assert_eq!((tally.send(0, at), tally.send(1, at)), (0, 0));
        tally.miss(1, at);
        assert!(tally.receive(0, 0, true, Duration::from_millis(1)).is_some());
        assert!(tally.receive(1, 0, true, Duration::from_millis(1)).is_some());
        assert!(tally.receive(2, 0, true, Duration::from_millis(1)).is_none(), "there is no such publisher");
        let outcome = tally.finish();
        assert_eq!((outcome.offered, outcome.due, outcome.delivered, tally.arrived()), (2, 6, 2, 2));
    }
}
