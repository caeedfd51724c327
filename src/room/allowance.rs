use std::time::Duration;

use crate::limits::LAYERS_MAX;
use crate::now::Now;
use crate::wire::Layers;

/// Steps for one rendition: all temporal layers, all but the highest, the base layer alone.
const STEPS: u8 = 3;

/// As many steps as can matter: one rendition more than there are, and then nothing.
const STEPS_MAX: u8 = STEPS * (LAYERS_MAX + 1);

/// How long a step takes to show: what waits has to leave, and another rendition begins with a keyframe.
const SETTLE_TIME: Duration = Duration::from_millis(700);

/// How long all has to go well until a step up is tried, at first.
const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// The same after tries that failed. Temporal layers that come in vain cost nothing but themselves, another rendition costs its
/// keyframe and one to come back.
const PATIENCE_MAX: Duration = Duration::from_secs(2);
const RENDITION_PATIENCE_MAX: Duration = Duration::from_secs(3);

/// Between two steps up, while all goes well.
const STEP_TIME: Duration = Duration::from_millis(300);

/// How soon after a step up pressure is taken to come from it.
const TRIAL_TIME: Duration = Duration::from_millis(1500);

/// How short of the path's time media for one participant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Upper layers are left out, or frames wait for long on a full path.
    Low,
    /// What is needed is left out: base layers, keyframes, audio.
    High,
}

/// What of the video that a participant wishes its path carries: all of it, less so many steps.
///
/// Temporal layers are left out first, then the rendition changes, then video pauses. It goes down at pressure, and up when there was
/// none for a while, which becomes longer by tries that fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    steps: u8,
    changed: Duration,
    /// When a step up is to be tried.
    due: Duration,
    patience: Duration,
    trial: Option<Trial>,
    /// The step up that was too much last: those below it are to go well before it is tried again.
    failed: Option<u8>,
}

/// A step up that may turn out to be too much.
#[derive(Debug, Clone, Copy)]
struct Trial {
    steps_before: u8,
    /// The same for the first of several steps one soon after another.
    steps_first: u8,
    until: Duration,
}

impl Default for Allowance {
    fn default() -> Self {
        let time = Duration::ZERO;
        Self { steps: 0, changed: time, due: time, patience: PATIENCE_MIN, trial: None, failed: None }
    }
}

/// What of a video track is sent to someone who wishes these layers, so many steps below all that there is. `None`: nothing.
fn at(steps: u8, highest: Layers, wished: Layers) -> Option<Layers> {
    let (renditions, temporal) = (steps / STEPS, steps % STEPS);
    let smallest = Layers { spatial: 0, temporal: 0 };
    let allowed = match highest.spatial.checked_sub(renditions) {
        // It stays a little at the least before it pauses.
        None => (renditions == highest.spatial + 1).then_some(smallest)?,
        Some(spatial) => match temporal {
            0 => Layers { spatial, temporal: highest.temporal },
            1 => Layers { spatial, temporal: highest.temporal.saturating_sub(1) },
            _ => Layers { spatial, temporal: 0 },
        },
    };
    let rank = |layers: Layers| (layers.spatial, layers.temporal);
    Some(if rank(allowed) < rank(wished) { allowed } else { wished })
}

impl Allowance {
    /// What is sent of a video track.
    pub fn layers(&self, highest: Layers, wished: Layers) -> Option<Layers> {
        at(self.steps, highest, wished)
    }

    /// When [`Allowance::step_up`] is due.
    pub fn next_timeout(&self) -> Option<Duration> {
        (self.steps > 0).then_some(self.due)
    }

    /// Goes down if there is pressure for long enough. Says whether that changes anything, for tracks of which there are these
    /// layers and wished are those.
    pub fn press(&mut self, now: Now, pressure: Pressure, tracks: &[(Layers, Layers)]) -> bool {
        let now = now.since_start;
        self.acknowledge(now);
        let failed = self.trial.take();
        let settled = now >= self.changed + SETTLE_TIME;
        let before = self.steps;
        if let Some(trial) = failed {
            self.failed = Some(self.steps);
            let steps = match pressure {
                Pressure::Low => trial.steps_before,
                // What is needed does not pass: the steps right before were too much as well, but hardly those of a whole rendition.
                Pressure::High => trial.steps_first.min((self.steps / STEPS + 2) * STEPS - 1),
            };
            let is_rendition = steps / STEPS != self.steps / STEPS;
            self.steps = steps;
            let most = match is_rendition {
                false => PATIENCE_MAX,
                true if self.above(tracks) == self.failed => RENDITION_PATIENCE_MAX,
                // Those before it are to go well first.
                true => RENDITION_PATIENCE_MAX - TRIAL_TIME,
            };
            self.patience = (self.patience * 2).min(most.max(self.patience));
        } else if settled {
            self.steps = match pressure {
                Pressure::Low => self.next(tracks, |steps| steps + 1),
                Pressure::High => self.next(tracks, |steps| (steps / STEPS + 1) * STEPS),
            };
        }
        if self.steps != before {
            self.changed = now;
        }
        self.due = now + self.patience;
        self.steps != before
    }

    /// Goes up a step if it is time, and says whether it did.
    pub fn step_up(&mut self, now: Now, tracks: &[(Layers, Layers)]) -> bool {
        let now = now.since_start;
        if self.steps == 0 || now < self.due {
            return false;
        }
        self.acknowledge(now);
        let above = self.above(tracks);
        if let Some(trial) = self.trial.filter(|_| above.is_none() || above == self.failed) {
            self.due = trial.until;
            return false;
        }
        let Some(above) = above else {
            // All that is wished is sent.
            self.steps = 0;
            return false;
        };
        let steps_before = self.steps;
        let steps_first = self.trial.map_or(steps_before, |trial| trial.steps_first);
        self.trial = Some(Trial { steps_before, steps_first, until: now + TRIAL_TIME });
        (self.steps, self.changed, self.due) = (above, now, now + STEP_TIME);
        true
    }

    /// Steps up have gone well if there was no pressure for long enough.
    fn acknowledge(&mut self, now: Duration) {
        if self.trial.take_if(|trial| now >= trial.until).is_some() {
            self.patience = PATIENCE_MIN;
            self.failed = self.failed.filter(|failed| *failed < self.steps);
        }
    }

    /// The first step up that makes a difference, if one does.
    fn above(&self, tracks: &[(Layers, Layers)]) -> Option<u8> {
        (0..self.steps).rev().find(|steps| self.differs(*steps, tracks))
    }

    /// The first number of steps that makes a difference, if one does.
    fn next(&self, tracks: &[(Layers, Layers)], next: impl Fn(u8) -> u8) -> u8 {
        let numbers = std::iter::successors(Some(next(self.steps)), |steps| Some(next(*steps)));
        let mut numbers = numbers.take_while(|steps| *steps <= STEPS_MAX);
        numbers.find(|steps| self.differs(*steps, tracks)).unwrap_or(self.steps)
    }

    fn differs(&self, steps: u8, tracks: &[(Layers, Layers)]) -> bool {
        tracks.iter().any(|(highest, wished)| at(steps, *highest, *wished) != at(self.steps, *highest, *wished))
    }
}
