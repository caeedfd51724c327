use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::limits::SPEAKERS_INTERVAL;
use crate::now::Now;
use crate::wire::ParticipantId;

/// How long someone has to speak to come onto a stage that is full: a "yes" that counts as speech until its hold is over is shorter.
const SPEECH_TIME: Duration = Duration::from_millis(1200);

/// How long someone is on the stage at the least when others want to: a picture takes a keyframe and a moment to be recognised.
const STAY_TIME: Duration = Duration::from_secs(3);

/// Who was not heard for so long has stopped: a look at who speaks may come late.
const PAUSE_TIME: Duration = SPEAKERS_INTERVAL.saturating_mul(2);

/// Whose cameras everyone is sent, where not all are: those who spoke last, on so many places.
///
/// As long as there are places, everyone with a camera has one. After that, whoever has spoken for a while gets the place of who
/// does not speak and did so longest ago. So a place changes only for speech, and who is asked and answers stays with who asks.
///
/// That is what Jitsi Videobridge's Last N does, with the dominant speaker at the head of the list (B. Grozev, L. Marinov, V. Singh,
/// E. Ivov: Last N: relevance-based selectivity for forwarding video in multimedia conferences, NOSSDAV 2015).
#[derive(Debug, Default)]
pub(super) struct Stage {
    on: Vec<Place>,
    /// Who was ever heard.
    speech: BTreeMap<ParticipantId, Speech>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    participant: ParticipantId,
    since: Duration,
}

/// When somebody began to speak the last time, and was heard last.
#[derive(Debug, Clone, Copy)]
struct Speech {
    began: Duration,
    last: Duration,
}

impl Stage {
    /// These speak now.
    pub fn hear(&mut self, now: Now, speaking: &[ParticipantId]) {
        let last = now.since_start;
        for participant in speaking {
            let speech = self.speech.entry(*participant).or_insert(Speech { began: last, last });
            let began = if speech.last + PAUSE_TIME < last { last } else { speech.began };
            *speech = Speech { began, last };
        }
    }

    /// A participant is not there any more.
    pub fn forget(&mut self, participant: ParticipantId) {
        self.speech.remove(&participant);
    }

    /// Who is on it, of whom longest first.
    pub fn on(&self) -> impl Iterator<Item = ParticipantId> {
        self.on.iter().map(|place| place.participant)
    }

    pub fn has(&self, participant: ParticipantId) -> bool {
        self.on().any(|one| one == participant)
    }

    /// Gives its places to those of the candidates, who have cameras, to whom they belong now.
    pub fn fill(&mut self, now: Now, places: usize, candidates: &BTreeSet<ParticipantId>) {
        self.on.retain(|place| candidates.contains(&place.participant));
        let mut waiting: Vec<_> = candidates.iter().copied().filter(|candidate| !self.has(*candidate)).collect();
        waiting.sort_by_key(|candidate| Reverse(self.spoke_last(*candidate)));
        let mut waiting = waiting.into_iter();
        let new = |participant| Place { participant, since: now.since_start };
        while self.on.len() < places
            && let Some(candidate) = waiting.next()
        {
            self.on.push(new(candidate));
        }
        for candidate in waiting.filter(|candidate| self.has_spoken_enough(now, *candidate)).collect::<Vec<_>>() {
            let Some(goes) = self.who_goes(now) else {
                return;
            };
            self.on.remove(goes);
            self.on.push(new(candidate));
        }
    }

    /// The place of who does not speak, did so longest ago, and has been there for a while.
    fn who_goes(&self, now: Now) -> Option<usize> {
        let may_go = |place: &Place| place.since + STAY_TIME <= now.since_start && !self.speaks(now, place.participant);
        let may_go = self.on.iter().enumerate().filter(|(_, place)| may_go(place));
        may_go.min_by_key(|(_, place)| self.spoke_last(place.participant)).map(|(index, _)| index)
    }

    fn spoke_last(&self, participant: ParticipantId) -> Option<Duration> {
        self.speech.get(&participant).map(|speech| speech.last)
    }

    fn speaks(&self, now: Now, participant: ParticipantId) -> bool {
        self.spoke_last(participant).is_some_and(|last| last + PAUSE_TIME >= now.since_start)
    }

    fn has_spoken_enough(&self, now: Now, participant: ParticipantId) -> bool {
        let speech = self.speech.get(&participant);
        self.speaks(now, participant) && speech.is_some_and(|speech| speech.began + SPEECH_TIME <= speech.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 3;

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    fn ids<T: FromIterator<ParticipantId>>(ids: impl IntoIterator<Item = u32>) -> T {
        ids.into_iter().map(ParticipantId).collect()
    }

    /// These speak for a time, of these candidates; gives who is on the stage at the end.
    fn speak(stage: &mut Stage, from_ms: u64, to_ms: u64, candidates: u32, speaking: &[u32]) -> Vec<u32> {
        for ms in (from_ms..to_ms).step_by(250) {
            stage.hear(at(ms), &ids::<Vec<_>>(speaking.iter().copied()));
            stage.fill(at(ms), PLACES, &ids(1..=candidates));
        }
        stage.on().map(|id| id.0).collect()
    }

    #[test]
    fn as_long_as_there_are_places_everyone_has_one() {
        let mut stage = Stage::default();
        for (candidates, on) in [(1, vec![1]), (3, vec![1, 2, 3]), (9, vec![1, 2, 3]), (0, vec![]), (2, vec![1, 2])] {
            assert_eq!(speak(&mut stage, 0, 1, candidates, &[]), on);
        }
    }

    #[test]
    fn who_speaks_takes_the_place_of_who_spoke_longest_ago() {
        let mut stage = Stage::default();
        speak(&mut stage, 0, 1000, 9, &[1]);
        speak(&mut stage, 2000, 3000, 9, &[3]);
        speak(&mut stage, 4000, 5000, 9, &[2]);
        assert_eq!(speak(&mut stage, 6000, 7000, 9, &[8]), [1, 2, 3], "not long enough yet");
        assert_eq!(speak(&mut stage, 7000, 7500, 9, &[8]), [2, 3, 8]);
        assert_eq!(speak(&mut stage, 8000, 10_000, 9, &[9]), [2, 8, 9]);
        assert_eq!(speak(&mut stage, 10_000, 12_000, 9, &[2]), [2, 8, 9], "who is there already stays");
        assert_eq!(speak(&mut stage, 14_000, 16_000, 9, &[3]), [2, 9, 3]);
    }

    #[test]
    fn a_short_word_changes_nothing() {
        let mut stage = Stage::default();
        speak(&mut stage, 0, 5000, 9, &[1]);
        for ms in (6000..30_000).step_by(2000) {
            assert_eq!(speak(&mut stage, ms, ms + 1200, 9, &[7]), [1, 2, 3]);
        }
    }

    #[test]
    fn nobody_goes_who_speaks_or_has_just_come() {
        let mut stage = Stage::default();
        assert_eq!(speak(&mut stage, 0, 20_000, 9, &[1, 2, 3, 4]), [1, 2, 3]);
        assert_eq!(speak(&mut stage, 20_000, 22_000, 9, &[1, 2, 4]), [1, 2, 4], "one has stopped");
        assert_eq!(
            speak(&mut stage, 22_000, 23_500, 9, &[1, 2, 5, 6]),
            [1, 2, 4],
            "who has just come stays for a while"
        );
        assert_eq!(speak(&mut stage, 23_500, 25_500, 9, &[1, 2, 5, 6]), [1, 2, 5], "and then one of two comes");
    }

    #[test]
    fn a_free_place_goes_to_who_spoke_last() {
        let mut stage = Stage::default();
        speak(&mut stage, 0, 1, 9, &[]);
        speak(&mut stage, 0, 1000, 9, &[7]);
        speak(&mut stage, 1000, 2000, 9, &[5]);
        stage.fill(at(3000), PLACES, &ids([2, 3, 4, 5, 6, 7, 8]));
        assert!(stage.has(ParticipantId(5)) && !stage.has(ParticipantId(1)) && !stage.has(ParticipantId(7)));
        stage.forget(ParticipantId(7));
        stage.fill(at(3000), PLACES, &ids([4, 7]));
        assert_eq!(stage.on().collect::<Vec<_>>(), ids::<Vec<_>>([4, 7]));
        assert_eq!(stage.speech.len(), 1, "who is gone is forgotten");
    }
}
