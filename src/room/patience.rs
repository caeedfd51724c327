use std::time::Duration;

use crate::limits::{KEYFRAME_INTERVAL, KEYFRAME_QUIET_TIME, KEYFRAME_WAIT_MAX};
use crate::now::Now;

/// How often keyframes are asked for because of one subscriber: at once, and then ever more seldom as long as it goes on asking.
///
/// A keyframe is sent to everyone who takes the rendition, so one path that loses more than can be made good must not cost the
/// others one twice a second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Patience {
    served_at: Option<Duration>,
    asked_at: Option<Duration>,
    pause: Duration,
}

impl Patience {
    /// Whether what is asked for now is to be had now. What is not, is asked for again as long as it is needed.
    pub fn take(&mut self, now: Now) -> bool {
        let now = now.since_start;
        if self.asked_at.replace(now).is_none_or(|asked| asked + KEYFRAME_QUIET_TIME <= now) {
            self.pause = Duration::ZERO;
        }
        let is_due = self.served_at.is_none_or(|served| served + self.pause <= now);
        if is_due {
            self.served_at = Some(now);
            self.pause = (self.pause * 2).clamp(KEYFRAME_INTERVAL, KEYFRAME_WAIT_MAX);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it is served of these times, in milliseconds.
    fn served(patience: &mut Patience, asked: impl IntoIterator<Item = u64>) -> Vec<u64> {
        asked.into_iter().filter(|ms| patience.take(Now::after(Duration::from_millis(*ms)))).collect()
    }

    #[test]
    fn whoever_goes_on_asking_is_served_ever_more_seldom() {
        let asked = (0..20_000).step_by(100);
        let expected = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500];
        assert_eq!(served(&mut Patience::default(), asked), expected);
    }

    #[test]
    fn whoever_has_asked_for_nothing_for_a_while_is_served_at_once() {
        let mut patience = Patience::default();
        served(&mut patience, (0..4000).step_by(100));
        let mut restless = patience;
        assert_eq!(served(&mut restless, [8899, 9500]), [8899], "the second one is too early");
        assert_eq!(served(&mut patience, [8900, 9399, 9400]), [8900, 9400]);
        assert_eq!(served(&mut patience, [14_400, 14_500, 14_900, 15_000, 15_900]), [14_400, 14_900, 15_900]);
        assert_eq!(
            served(&mut patience, (21_000..60_000).step_by(6000)),
            [21_000, 27_000, 33_000, 39_000, 45_000, 51_000, 57_000]
        );
    }
}
