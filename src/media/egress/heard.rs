use crate::limits::EGRESS_FLOWS_MAX;
use crate::wire::{MediaHeader, TrackId};

/// How many frames are remembered of a track: a copy follows the frame by no more than a few.
const FRAMES: u32 = 64;

/// Which of the last audio frames of each track came here, so that a second copy is known as one.
#[derive(Debug, Default)]
pub struct Heard(Vec<Track>);

#[derive(Debug)]
struct Track {
    track: TrackId,
    newest: u32,
    /// A bit for each frame, the newest lowest.
    seen: u64,
}

impl Heard {
    /// Notes a frame, and says whether it came before. One of several datagrams is not known by its number, and an echo comes as often as
    /// it was asked for.
    pub fn is_copy(&mut self, header: &MediaHeader) -> bool {
        let is_one = header.fragment_count == 1 && !header.parity && header.track != TrackId::ECHO;
        is_one && !self.note(header.track, header.frame)
    }

    /// Notes that a frame came. Says whether it was the first time.
    fn note(&mut self, track: TrackId, frame: u32) -> bool {
        let Some(known) = self.0.iter_mut().find(|known| known.track == track) else {
            if self.0.len() >= EGRESS_FLOWS_MAX {
                self.0.remove(0);
            }
            self.0.push(Track { track, newest: frame, seen: 1 });
            return true;
        };
        let (ahead, behind) = (frame.wrapping_sub(known.newest), known.newest.wrapping_sub(frame));
        if behind < FRAMES {
            let is_first = known.seen & 1 << behind == 0;
            known.seen |= 1 << behind;
            return is_first;
        }
        known.seen = known.seen.checked_shl(ahead).unwrap_or(0) | 1;
        known.newest = frame;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_known_for_as_long_as_it_may_follow() {
        for first in [0, u32::MAX - 2] {
            let mut heard = Heard::default();
            let mut note = |track, step: u32| heard.note(TrackId(track), first.wrapping_add(step));
            assert_eq!([0, 0, 2, 1, 1, 2].map(|step| note(1, step)), [true, false, true, true, false, false]);
            assert!(note(2, 1) && !note(2, 1), "each track counts for itself");
            assert!(note(1, 65) && !note(1, 2) && note(1, 3));
            assert!(note(1, 66) && note(1, 2), "it is forgotten, and taken for another count");
            assert!(note(1, 3));
        }
    }

    #[test]
    fn tracks_are_bounded() {
        let mut heard = Heard::default();
        (0..EGRESS_FLOWS_MAX as u32 + 9).for_each(|track| assert!(heard.note(TrackId(track), 7)));
        assert_eq!(heard.0.len(), EGRESS_FLOWS_MAX);
    }
}
