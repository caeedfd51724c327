use std::time::Duration;

/// Frames of one publisher that may arrive mixed with each other.
const FRAMES_OPEN: usize = 4;

/// What one participant has of one publisher.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    /// The numbers of the last frames, and how many datagrams of each are there.
    frames: [(u32, u32); FRAMES_OPEN],
    last_took: Option<Duration>,
    jitter: Option<Duration>,
}

impl Receiver {
    /// Notes a datagram of a frame; says whether the frame is whole with it.
    pub fn receive(&mut self, frame: u32, fragments: u32) -> bool {
        let slot = &mut self.frames[frame as usize % FRAMES_OPEN];
        if slot.0 != frame {
            *slot = (frame, 0);
        }
        slot.1 += 1;
        slot.1 == fragments
    }

    /// Notes how long a whole frame took.
    pub fn took(&mut self, took: Duration) {
        if let Some(last) = self.last_took.replace(took) {
            let difference = took.abs_diff(last);
            self.jitter = Some((15 * self.jitter.unwrap_or_default() + difference) / 16);
        }
    }

    /// How much the times vary (RFC 3550, section 6.4.1); `None` where less than two frames came.
    pub fn jitter(&self) -> Option<Duration> {
        self.jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_once_also_when_frames_mix() {
        let mut receiver = Receiver::default();
        let whole: Vec<_> = [0, 0, 1, 2, 0, 1, 2, 1, 2, 7].map(|frame| receiver.receive(frame, 3)).into();
        assert_eq!(whole, [false, false, false, false, true, false, false, true, true, false]);
        assert!(Receiver::default().receive(0, 1));
    }

    #[test]
    fn jitter_is_a_smoothed_difference() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.jitter(), None);
        for turn in 0..200 {
            receiver.took(Duration::from_millis(10 + turn % 2 * 16));
        }
        let jitter = receiver.jitter().unwrap();
        assert!(jitter > Duration::from_millis(15) && jitter <= Duration::from_millis(16), "{jitter:?}");
    }
}
