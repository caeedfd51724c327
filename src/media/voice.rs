use std::time::Duration;

use crate::limits::SPEAKER_HOLD;
use crate::now::Now;
use crate::wire::AudioLevel;

/// From here on it is speech, in dB below full scale: rooms are at 50 to 70.
const SPEECH_DB: f32 = 42.0;

/// How fast the level rises and falls, as the share of the difference in [`STEP`].
const RISE: f32 = 0.5;
const FALL: f32 = 0.2;
const STEP: Duration = Duration::from_millis(100);

/// After so many steps without a word nothing is left of what was before.
const STEPS_MAX: f32 = 10.0;

/// How loud a microphone is: smoothed, and speech for a while after the last loud word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice {
    /// Smoothed, below full scale.
    db: f32,
    heard_at: Option<Duration>,
    spoke_at: Option<Duration>,
}

impl Default for Voice {
    fn default() -> Self {
        Self { db: f32::from(AudioLevel::SILENCE.db_below_full_scale()), heard_at: None, spoke_at: None }
    }
}

impl Voice {
    /// Takes the level of a frame. Says whether somebody begins to speak with it.
    pub fn hear(&mut self, now: Now, level: AudioLevel) -> bool {
        let spoke = self.speaks(now);
        let db = f32::from(level.db_below_full_scale());
        let passed = self.heard_at.map_or(STEP, |at| now.since_start.saturating_sub(at));
        let steps = (passed.as_secs_f32() / STEP.as_secs_f32()).min(STEPS_MAX);
        let rest = if db < self.db { 1.0 - RISE } else { 1.0 - FALL };
        self.db += (db - self.db) * (1.0 - rest.powf(steps));
        self.heard_at = Some(now.since_start);
        if self.db < SPEECH_DB {
            self.spoke_at = Some(now.since_start);
        }
        !spoke && self.speaks(now)
    }

    /// Whether somebody speaks, or did a moment ago.
    pub fn speaks(&self, now: Now) -> bool {
        self.spoke_at.is_some_and(|at| now.since_start < at + SPEAKER_HOLD)
    }

    /// When there was the last loud word, as time since the relay started.
    pub fn spoke_at(&self) -> Option<Duration> {
        self.spoke_at
    }

    /// The level, smoothed, in dB below full scale.
    pub fn db(&self) -> f32 {
        self.db
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: u8 = 127;

    /// Frames of 20 ms of these levels from a moment on; gives when somebody began to speak, in milliseconds.
    fn hear(voice: &mut Voice, from_ms: u64, levels: impl IntoIterator<Item = u8>) -> Vec<u64> {
        let frames = (from_ms..).step_by(20).zip(levels);
        let begins = |(ms, level): (u64, u8)| voice.hear(at(ms), AudioLevel::new(level)).then_some(ms);
        frames.filter_map(begins).collect()
    }

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    #[test]
    fn speech_is_noticed_soon_and_noise_and_a_click_are_not() {
        for (what, levels, begins) in [
            ("speech", vec![20; 100], vec![220]),
            ("the noise of a room", vec![50; 100], vec![]),
            ("a click", [vec![SILENCE; 50], vec![0], vec![SILENCE; 50]].concat(), vec![]),
        ] {
            let mut voice = Voice::default();
            hear(&mut voice, 0, vec![SILENCE; 2]);
            let begun = hear(&mut voice, 40, levels);
            assert_eq!(begun.len(), begins.len(), "{what}: {begun:?}");
            assert!(begun.iter().all(|ms| *ms <= 300), "{what}: {begun:?}");
        }
    }

    #[test]
    fn pauses_between_words_are_speech_and_what_follows_is_not() {
        let mut voice = Voice::default();
        hear(&mut voice, 0, vec![20; 50]);
        assert!(voice.speaks(at(980)));
        assert_eq!(
            hear(&mut voice, 1000, [vec![SILENCE; 25], vec![20; 25]].concat()),
            [0; 0],
            "it went on all the time"
        );
        hear(&mut voice, 2000, vec![SILENCE; 100]);
        assert!(!voice.speaks(at(3999)));
        assert_eq!(hear(&mut voice, 4000, vec![20; 50]).len(), 1);
    }

    #[test]
    fn who_sends_nothing_any_more_has_stopped_speaking() {
        let mut voice = Voice::default();
        hear(&mut voice, 0, vec![20; 50]);
        let last = 980;
        let hold = SPEAKER_HOLD.as_millis() as u64;
        assert_eq!((voice.speaks(at(last + hold - 1)), voice.speaks(at(last + hold))), (true, false));
    }
}
