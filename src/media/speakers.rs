use std::time::Duration;

use crate::limits::{SPEAKERS_INTERVAL, SPEAKERS_MAX};
use crate::now::Now;
use crate::wire::ParticipantId;

/// Who speaks, as a room is told of it: now and then, and only what is news.
#[derive(Debug, Default)]
pub struct Speakers {
    told: Vec<ParticipantId>,
    looked_at: Option<Duration>,
    due: Option<Duration>,
}

impl Speakers {
    /// Somebody begins to speak: look as soon as may be.
    pub fn begin(&mut self, now: Now) {
        let soonest = self.looked_at.map_or(now.since_start, |at| now.since_start.max(at + SPEAKERS_INTERVAL));
        self.due = Some(self.due.map_or(soonest, |due| due.min(soonest)));
    }

    /// When to [look](Self::look), as time since the relay started.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.due
    }

    /// Takes who speaks now, the loudest first, and says whom to tell the room of if that is news. Who is loudest is news, the order
    /// of the others is not.
    pub fn look(&mut self, now: Now, mut speaking: Vec<ParticipantId>) -> Option<&[ParticipantId]> {
        self.looked_at = Some(now.since_start);
        self.due = (!speaking.is_empty()).then(|| now.since_start + SPEAKERS_INTERVAL);
        speaking.truncate(SPEAKERS_MAX);
        let are_same = speaking.len() == self.told.len()
            && speaking.first() == self.told.first()
            && speaking.iter().all(|id| self.told.contains(id));
        if are_same {
            return None;
        }
        self.told = speaking;
        Some(&self.told)
    }

    /// What the room was told last.
    pub fn told(&self) -> &[ParticipantId] {
        &self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    fn ids(ids: &[u32]) -> Vec<ParticipantId> {
        ids.iter().copied().map(ParticipantId).collect()
    }

    #[test]
    fn only_news_is_told() {
        let mut speakers = Speakers::default();
        for (speaking, is_news) in [
            (&[][..], false),
            (&[1], true),
            (&[1], false),
            (&[1, 2, 3], true),
            (&[1, 3, 2], false),
            (&[3, 1, 2], true),
            (&[3, 1], true),
            (&[], true),
            (&[], false),
        ] {
            assert_eq!(speakers.look(at(0), ids(speaking)).is_some(), is_news, "{speaking:?}");
            assert_eq!(speakers.told().len(), speaking.len());
        }
        let many: Vec<_> = (0..100).collect();
        assert_eq!(speakers.look(at(0), ids(&many)).map(<[_]>::len), Some(SPEAKERS_MAX));
    }

    #[test]
    fn it_is_looked_at_once_and_then_now_and_then_while_somebody_speaks() {
        let interval = SPEAKERS_INTERVAL.as_millis() as u64;
        let due_ms = |speakers: &Speakers| speakers.next_timeout().map(|due| due.as_millis() as u64);
        let mut speakers = Speakers::default();
        assert_eq!(due_ms(&speakers), None);
        speakers.begin(at(1000));
        assert_eq!(due_ms(&speakers), Some(1000));
        speakers.look(at(1000), ids(&[1]));
        assert_eq!(due_ms(&speakers), Some(1000 + interval));
        speakers.begin(at(1010));
        assert_eq!(due_ms(&speakers), Some(1000 + interval), "not more often for that");
        speakers.look(at(1000 + interval), ids(&[]));
        assert_eq!(due_ms(&speakers), None);
        speakers.begin(at(1001 + interval));
        assert_eq!(due_ms(&speakers), Some(1000 + 2 * interval));
    }
}
