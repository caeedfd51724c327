use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::voice::Voice;
use crate::now::Now;
use crate::wire::{AudioLevel, TrackId};

/// From here on a frame may be the beginning of a word, in dB below full scale: most rooms are quieter than this, and the first
/// sound of a word is quieter than [speech](super::voice).
const ONSET_DB: f32 = 52.0;

/// How much louder than another one a voice has to be to take its place, in dB: the levels of two who are equally loud differ by less.
const MARGIN_DB: f32 = 6.0;

/// How long whoever has taken a place counts as speaking at the least: a voice is smoothed, and takes 200 ms to count as one.
const ONSET_TIME: Duration = Duration::from_millis(300);

/// How long one who speaks keeps a place at the least when a louder one comes: half sentences of many are worse than whole ones of few.
const STAY_TIME: Duration = Duration::from_secs(1);

/// How fast it is forgotten how loud one was who has a place, in dB per second: between two words nobody is louder for that alone.
const FADING_DB: f32 = 6.0;

/// A microphone of which nothing comes for so long gives its place up: it was switched off, or its path is gone.
const ABSENT_TIME: Duration = Duration::from_millis(500);

/// Which microphones are passed on, where only the loudest few are: who has the floor.
///
/// There are so many places. As long as there are enough, everyone has one, silent or not. After that, whoever begins to speak
/// gets the place of who does not, at once and with the first sound: what decides is the level of the frame, not the smoothed one. Whoever
/// has a place keeps it through the pauses between words, and in silence too until somebody needs it; so that those who talk with
/// each other need not take it again for each sentence. Where as many speak as there are places, only one who is clearly louder
/// takes one.
///
/// Jitsi Videobridge ranks the latest energies, lets them expire after 150 ms and always adds the dominant speaker, to the
/// same end (`videobridge.loudest` of its `reference.conf`; I. Volfin, I. Cohen: Dominant speaker identification for multipoint
/// videoconferencing, Computer Speech and Language 27, 2013).
#[derive(Debug, Default)]
pub(super) struct Floor {
    places: Vec<Place>,
}

/// The floor of a room, shared by its routes on all shards: it is decided among all who speak. The lock is held for as long as it takes to
/// look at the places, and only for frames of microphones where not all are passed on.
#[derive(Debug, Clone, Default)]
pub struct SharedFloor(Arc<Mutex<Floor>>);

impl SharedFloor {
    /// See [`Floor::admits`].
    pub(super) fn admits(&self, now: Now, places: usize, track: TrackId, level: AudioLevel, voice: Voice) -> bool {
        self.floor().admits(now, places, track, level, voice)
    }

    /// A microphone is gone.
    pub(super) fn leave(&self, track: TrackId) {
        self.floor().leave(track);
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Place {
    track: TrackId,
    taken_at: Duration,
    heard_at: Duration,
    voice: Voice,
    /// How loud it was lately, in dB below full scale.
    loudness_db: f32,
}

impl Floor {
    /// Whether a frame of a microphone is passed on, of which this is the level and which has this voice with it; there are so many
    /// places, at least one.
    pub fn admits(&mut self, now: Now, places: usize, track: TrackId, level: AudioLevel, voice: Voice) -> bool {
        let time = now.since_start;
        if let Some(place) = self.places.iter_mut().find(|place| place.track == track) {
            place.hear(now, voice);
            return true;
        }
        let new = Place { track, taken_at: time, heard_at: time, voice, loudness_db: voice.db() };
        if self.places.len() < places {
            self.places.push(new);
            return true;
        }
        let claims = |place: &&mut Place| place.claim(now);
        let weakest = self.places.iter_mut().min_by(|one, other| claims(one).compare(claims(other)));
        let Some(place) = weakest.filter(|place| place.yields_to(now, level, voice)) else {
            return false;
        };
        *place = new;
        true
    }

    /// A microphone is gone.
    pub fn leave(&mut self, track: TrackId) {
        self.places.retain(|place| place.track != track);
    }
}

/// How good a reason there is to let someone keep a place.
#[derive(Debug, Clone, Copy)]
struct Claim {
    is_here: bool,
    speaks: bool,
    /// Among those who speak, how loud they are; among the others, how lately they did.
    rest: f64,
}

impl Claim {
    fn compare(self, other: Self) -> std::cmp::Ordering {
        (self.is_here, self.speaks).cmp(&(other.is_here, other.speaks)).then(self.rest.total_cmp(&other.rest))
    }
}

impl Place {
    fn hear(&mut self, now: Now, voice: Voice) {
        let passed = now.since_start.saturating_sub(self.heard_at);
        let faded_db = self.loudness_db + FADING_DB * passed.as_secs_f32();
        (self.heard_at, self.voice, self.loudness_db) = (now.since_start, voice, voice.db().min(faded_db));
    }

    fn is_here(&self, now: Now) -> bool {
        self.heard_at + ABSENT_TIME > now.since_start
    }

    fn speaks(&self, now: Now) -> bool {
        self.voice.speaks(now) || self.taken_at + ONSET_TIME > now.since_start
    }

    fn claim(&self, now: Now) -> Claim {
        let speaks = self.speaks(now);
        let rest =
            if speaks { -f64::from(self.loudness_db) } else { self.voice.spoke_at().unwrap_or_default().as_secs_f64() };
        Claim { is_here: self.is_here(now), speaks, rest }
    }

    /// Whether one with this voice, of which a frame of this level has come, gets the place.
    fn yields_to(&self, now: Now, level: AudioLevel, voice: Voice) -> bool {
        if !self.is_here(now) {
            return true;
        }
        if self.speaks(now) {
            let is_clearly_louder = voice.speaks(now) && voice.db() + MARGIN_DB <= self.loudness_db;
            return is_clearly_louder && self.taken_at + STAY_TIME <= now.since_start;
        }
        let db = f32::from(level.db_below_full_scale());
        db < ONSET_DB && db + MARGIN_DB <= self.voice.db()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 2;
    const NOISE: u8 = 65;

    /// A meeting in which each microphone sends a frame every 20 ms.
    #[derive(Default)]
    struct Meeting {
        ms: u64,
        floor: Floor,
        voices: Vec<Voice>,
    }

    impl Meeting {
        fn of(people: usize) -> Self {
            Self { voices: vec![Voice::default(); people], ..Self::default() }
        }

        /// Lets so much time pass, in which each sends frames of its level, or none; gives how many of each were passed on.
        fn goes_on(&mut self, ms: u64, levels: &[Option<u8>]) -> Vec<usize> {
            let mut passed = vec![0; levels.len()];
            for _ in 0..ms / 20 {
                let now = Now::after(Duration::from_millis(self.ms));
                for (number, level) in levels.iter().enumerate() {
                    let Some(level) = level.map(AudioLevel::new) else { continue };
                    let voice = &mut self.voices[number];
                    voice.hear(now, level);
                    let track = TrackId(number as u32);
                    passed[number] += usize::from(self.floor.admits(now, PLACES, track, level, *voice));
                }
                self.ms += 20;
                assert!(self.floor.places.len() <= PLACES);
            }
            passed
        }
    }

    /// All are quiet but these, who have these levels.
    fn but(people: usize, loud: &[(usize, u8)]) -> Vec<Option<u8>> {
        let level = |number| loud.iter().find(|(one, _)| *one == number).map_or(NOISE, |(_, level)| *level);
        (0..people).map(|number| Some(level(number))).collect()
    }

    #[test]
    fn as_long_as_there_are_places_everyone_has_one() {
        let mut meeting = Meeting::of(2);
        assert_eq!(meeting.goes_on(1000, &[Some(127), Some(20)]), [50, 50], "silence too");
    }

    #[test]
    fn whoever_begins_to_speak_is_heard_from_the_first_sound_on() {
        let mut meeting = Meeting::of(6);
        meeting.goes_on(1000, &but(6, &[]));
        for speaker in [2, 3, 4, 5, 0, 1] {
            assert_eq!(meeting.goes_on(20, &but(6, &[(speaker, 50)]))[speaker], 1, "the first sound of {speaker}");
            assert_eq!(meeting.goes_on(2000, &but(6, &[(speaker, 25)]))[speaker], 100, "and all that {speaker} says");
            meeting.goes_on(2000, &but(6, &[]));
        }
    }

    #[test]
    fn noise_takes_nobodys_place() {
        let mut meeting = Meeting::of(4);
        assert_eq!(meeting.goes_on(2000, &but(4, &[(0, 20), (1, 20)])), [100, 100, 0, 0]);
        let quiet = [Some(NOISE), Some(NOISE), Some(53), Some(60)];
        assert_eq!(meeting.goes_on(5000, &quiet), [250, 250, 0, 0], "none of it may be a word");
        meeting.goes_on(2000, &[Some(50), Some(50), Some(NOISE), Some(NOISE)]);
        let uneasy = [Some(50), Some(50), Some(48), Some(46)];
        assert_eq!(meeting.goes_on(5000, &uneasy)[2..], [0, 0], "no louder than where those are who have a place");
    }

    #[test]
    fn pauses_between_words_cost_no_place() {
        let mut meeting = Meeting::of(3);
        meeting.goes_on(2000, &but(3, &[(0, 20), (1, 25)]));
        for _ in 0..5 {
            let pause = meeting.goes_on(600, &but(3, &[(1, 25), (2, 25)]));
            assert_eq!(pause, [30, 30, 0], "both still speak");
            meeting.goes_on(400, &but(3, &[(0, 20), (1, 25), (2, 25)]));
        }
        let later = meeting.goes_on(2000, &but(3, &[(1, 25), (2, 25)]));
        assert!(later[0] >= 40 && later[2] >= 40 && later[1] == 100, "one has ended, and the other begins: {later:?}");
    }

    #[test]
    fn where_all_speak_only_one_who_is_clearly_louder_gets_in() {
        let mut meeting = Meeting::of(4);
        let passed = meeting.goes_on(3000, &but(4, &[(0, 30), (1, 26), (2, 27), (3, 27)]));
        assert_eq!(passed, [150, 150, 0, 0], "those who were first");
        let passed = meeting.goes_on(1000, &but(4, &[(0, 30), (1, 26), (2, 10), (3, 27)]));
        assert!(passed[2] > 40 && passed[0] < 10 && passed[1] == 50, "the quietest goes: {passed:?}");
        assert_eq!(meeting.goes_on(900, &but(4, &[(0, 1), (1, 26), (2, 10), (3, 27)]))[2], 45, "and not at once again");
    }

    #[test]
    fn the_place_of_who_is_gone_is_anyones() {
        let mut meeting = Meeting::of(3);
        meeting.goes_on(2000, &but(3, &[(0, 20), (1, 20)]));
        let passed = meeting.goes_on(1000, &[None, Some(20), Some(127)]);
        assert!((24..=26).contains(&passed[2]), "after half a second: {passed:?}");
        meeting.floor.leave(TrackId(1));
        assert_eq!(meeting.goes_on(20, &[Some(127), None, Some(127)]), [1, 0, 1], "at once");
    }

    #[test]
    fn a_click_in_a_silent_room_is_no_hindrance_for_those_who_speak() {
        let mut meeting = Meeting::of(4);
        meeting.goes_on(1000, &but(4, &[]));
        meeting.goes_on(20, &but(4, &[(2, 10)]));
        meeting.goes_on(20, &but(4, &[]));
        assert_eq!(meeting.goes_on(1000, &but(4, &[(3, 25)]))[3], 50);
    }
}
