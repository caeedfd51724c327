use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::outlet::{Ending, Outlet};
use crate::limits::ROSTER_BYTES_MAX;
use crate::wire::CloseReason;

/// Newcomers that have not taken the roster yet, in the order in which they came. No outbox bounds what waits for them, so it is
/// bounded for all of them together.
#[derive(Debug, Default)]
pub(super) struct Rosters {
    waiting: VecDeque<Waiting>,
    /// What waits for them, in bytes, as far as is known: not less.
    bytes: usize,
    /// The same on all shards.
    bytes_all: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Waiting {
    outlet: Weak<Outlet>,
    ending: Rc<Ending>,
    bytes: usize,
}

impl Waiting {
    fn roster_bytes(&self) -> usize {
        self.outlet.upgrade().map_or(0, |outlet| outlet.roster_bytes())
    }
}

impl Rosters {
    /// Those of one shard; what waits on all of them is counted in `bytes_all`.
    pub fn new(bytes_all: Arc<AtomicUsize>) -> Self {
        Self { waiting: VecDeque::new(), bytes: 0, bytes_all }
    }

    /// Takes note of a newcomer whose roster has been queued. Where too much waits, the sessions end that have waited longest.
    pub fn note(&mut self, outlet: &Rc<Outlet>, ending: &Rc<Ending>) {
        while let Some(first) = self.waiting.pop_front_if(|first| first.roster_bytes() == 0) {
            self.count(self.bytes - first.bytes);
        }
        let bytes = outlet.roster_bytes();
        self.waiting.push_back(Waiting { outlet: Rc::downgrade(outlet), ending: ending.clone(), bytes });
        self.count(self.bytes + bytes);
        if self.is_too_much() {
            self.make_room();
        }
    }

    /// Looks who has taken the roster: what others wait for must not count against newcomers on other shards any longer.
    pub fn look(&mut self) {
        for waiting in &mut self.waiting {
            waiting.bytes = waiting.roster_bytes();
        }
        self.waiting.retain(|waiting| waiting.bytes > 0);
        self.count(self.waiting.iter().map(|waiting| waiting.bytes).sum());
    }

    fn make_room(&mut self) {
        self.look();
        while self.is_too_much()
            && let Some(Waiting { outlet, ending, bytes }) = self.waiting.pop_front()
        {
            self.count(self.bytes - bytes);
            ending.request(CloseReason::SlowConsumer);
            if let Some(outlet) = outlet.upgrade() {
                outlet.forget_roster();
            }
        }
    }

    fn is_too_much(&self) -> bool {
        self.bytes_all.load(Ordering::Relaxed) > ROSTER_BYTES_MAX
    }

    fn count(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.bytes_all.fetch_add(bytes, Ordering::Relaxed);
        self.bytes_all.fetch_sub(before, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::relay::outlet::Encoded;
    use crate::wire::{ParticipantId, ServerMessage};

    /// A newcomer whose roster is a quarter of what may wait.
    fn newcomer() -> (Rc<Outlet>, Rc<Ending>) {
        let outlet = Rc::new(Outlet::websocket(&Limits::default()));
        let participants = vec![ParticipantId(1); ROSTER_BYTES_MAX / 4 - 100];
        outlet.send_uncounted(&Encoded::control(&ServerMessage::ActiveSpeakers { participants }));
        (outlet, Rc::default())
    }

    #[test]
    fn those_who_have_waited_longest_make_room() {
        let mut rosters = Rosters::default();
        let all: Vec<_> = (0..6).map(|_| newcomer()).collect();
        let is_ended = || all.iter().map(|(_, ending)| ending.is_requested()).collect::<Vec<_>>();
        all[..4].iter().for_each(|(outlet, ending)| rosters.note(outlet, ending));
        assert_eq!(is_ended(), [false; 6]);
        // The second one has taken its own.
        all[1].0.forget_roster();
        rosters.note(&all[4].0, &all[4].1);
        assert_eq!(is_ended(), [false; 6]);
        rosters.note(&all[5].0, &all[5].1);
        assert_eq!(is_ended(), [true, false, false, false, false, false]);
        assert_eq!(all[0].0.roster_bytes(), 0, "what nobody takes is not kept");
        assert!(rosters.bytes <= ROSTER_BYTES_MAX);
    }

    #[test]
    fn what_waits_on_all_shards_is_bounded_together_and_what_was_taken_counts_no_more() {
        let all = Arc::default();
        let [mut one, mut other] = [&all, &all].map(|all| Rosters::new(Arc::clone(all)));
        let (first, second): (Vec<_>, Vec<_>) =
            ((0..3).map(|_| newcomer()).collect(), (0..4).map(|_| newcomer()).collect());
        first.iter().for_each(|(outlet, ending)| one.note(outlet, ending));
        second[..2].iter().for_each(|(outlet, ending)| other.note(outlet, ending));
        assert!(second[0].1.is_requested(), "one of five is too many");
        first.iter().for_each(|(outlet, _)| outlet.forget_roster());
        one.look();
        second[2..].iter().for_each(|(outlet, ending)| other.note(outlet, ending));
        assert_eq!(second[1..].iter().filter(|(_, ending)| ending.is_requested()).count(), 0);
    }
}
