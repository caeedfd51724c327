/// How many frames are remembered: a frame says in eight bits how far back the one stands that it needs.
const FRAMES: u32 = 256;

/// Which of the last frames of a rendition were left out.
#[derive(Debug, Default)]
pub struct Missing {
    newest: Option<u32>,
    bits: [u64; FRAMES as usize / 64],
}

impl Missing {
    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.bits == [0; FRAMES as usize / 64]
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a frame comes after all that were noted, or is of another count.
    pub fn is_new(&self, frame: u32) -> bool {
        self.newest.is_none_or(|newest| frame != newest && newest.wrapping_sub(frame) >= FRAMES)
    }

    /// Notes that a frame came; those that are too far before it are forgotten.
    pub fn note(&mut self, frame: u32) {
        if !self.is_new(frame) {
            return;
        }
        let step = self.newest.map_or(FRAMES, |newest| frame.wrapping_sub(newest));
        if step >= FRAMES {
            self.bits = Default::default();
        } else {
            (0..step).for_each(|back| self.set(frame.wrapping_sub(back), false));
        }
        self.newest = Some(frame);
    }

    /// A frame was left out. Says whether that is news.
    pub fn insert(&mut self, frame: u32) -> bool {
        self.note(frame);
        let is_news = !self.contains(frame);
        self.set(frame, true);
        is_news
    }

    /// Whether a frame was left out.
    pub fn contains(&self, frame: u32) -> bool {
        let is_remembered = self.newest.is_some_and(|newest| newest.wrapping_sub(frame) < FRAMES);
        is_remembered && self.bits[index(frame)] & bit(frame) != 0
    }

    fn set(&mut self, frame: u32, is_missing: bool) {
        match is_missing {
            true => self.bits[index(frame)] |= bit(frame),
            false => self.bits[index(frame)] &= !bit(frame),
        }
    }
}

fn index(frame: u32) -> usize {
    (frame % FRAMES) as usize / 64
}

fn bit(frame: u32) -> u64 {
    1 << (frame % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_known_for_as_long_as_it_can_be_needed() {
        for first in [0, 70, u32::MAX - 100] {
            let at = |step: u32| first.wrapping_add(step);
            let mut missing = Missing::default();
            assert!(missing.insert(at(3)) && !missing.insert(at(3)));
            missing.note(at(258));
            assert!(missing.contains(at(3)) && !missing.contains(at(2)) && !missing.contains(at(258)));
            missing.note(at(200));
            assert!(!missing.is_new(at(3)) && !missing.is_empty());
            missing.note(at(259));
            assert!(!missing.contains(at(3)) && missing.is_empty());
        }
    }

    #[test]
    fn a_count_that_begins_anew_is_another_one() {
        let mut missing = Missing::default();
        assert!(missing.insert(1000) && missing.is_new(1001) && missing.is_new(0) && !missing.is_new(745));
        missing.note(0);
        assert!(missing.is_empty() && missing.is_new(1) && !missing.contains(1000));
    }
}
