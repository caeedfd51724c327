use std::time::Duration;

use crate::now::Now;
use crate::wire::MediaHeader;

/// A step of frame numbers that is larger is no gap: the publisher has begun anew.
const GAP_MAX: u32 = 256;

/// How long something may come after what should have come later: what comes after that was lost, and asked for once more.
const LATE_TIME: Duration = Duration::from_millis(10);

/// How much a new difference counts in the jitter is one in so many (RFC 3550, section 6.4.1).
const JITTER_DIVISOR: u64 = 16;

/// How the datagrams of a publisher arrive at the relay, of all its tracks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Datagrams that arrived.
    pub received: u64,
    /// Datagrams that should have arrived and did not, or only because they were asked for.
    pub missing: u64,
    /// In ticks of 1/90000 s, times 16.
    jitter_16: u64,
}

/// Where one rendition of a track stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    newest: Option<Newest>,
    /// Whether something of the frame before it is missing.
    before_is_incomplete: bool,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    frame: u32,
    /// Fragments of it, and those of them that have come.
    fragments: u16,
    arrived: u16,
    begun_at: Duration,
    /// Arrival less capture, in ticks of 1/90000 s.
    transit: u32,
}

impl Progress {
    /// Whether something of this frame, or of a later one, has come.
    pub fn has_reached(&self, frame: u32) -> bool {
        self.newest.is_some_and(|newest| newest.frame >= frame && newest.frame - frame <= GAP_MAX)
    }
}

impl Arrivals {
    /// How much the time that datagrams take varies, in milliseconds.
    pub fn jitter_ms(&self) -> u16 {
        u16::try_from(self.jitter_16 / JITTER_DIVISOR / 90).unwrap_or(u16::MAX)
    }

    /// Counts a datagram of a rendition.
    pub(super) fn note(&mut self, progress: &mut Progress, now: Now, header: &MediaHeader) {
        if header.parity {
            return;
        }
        self.received += 1;
        if header.on_stream {
            return self.note_on_stream(progress, now, header);
        }
        match &mut progress.newest {
            Some(newest) if newest.frame == header.frame => newest.arrived = newest.arrived.saturating_add(1),
            Some(newest) if newest.frame > header.frame && newest.frame - header.frame <= GAP_MAX => {
                let is_late = now.since_start <= newest.begun_at + LATE_TIME && newest.frame - header.frame == 1;
                self.note_late(progress, is_late, header);
            }
            _ => self.note_frame(progress, now, header),
        }
    }

    /// A frame on a stream counts as one datagram: nothing of it is lost.
    fn note_on_stream(&mut self, progress: &mut Progress, now: Now, header: &MediaHeader) {
        if !progress.has_reached(header.frame) {
            self.note_frame(progress, now, &MediaHeader { fragment_count: 1, ..*header });
        }
    }

    /// A frame begins: what is missing before it may still come, but most of it does not.
    fn note_frame(&mut self, progress: &mut Progress, now: Now, header: &MediaHeader) {
        let arrival = (now.since_start.as_micros() * 9 / 100) as u32;
        let transit = arrival.wrapping_sub(header.timestamp);
        let newest = Newest {
            frame: header.frame,
            fragments: header.fragment_count,
            arrived: 1,
            begun_at: now.since_start,
            transit,
        };
        let Some(before) = progress.newest.replace(newest) else {
            return;
        };
        let step = header.frame.wrapping_sub(before.frame);
        if step == 0 || step > GAP_MAX {
            progress.before_is_incomplete = false;
            return;
        }
        let rest = before.fragments.saturating_sub(before.arrived);
        self.missing += u64::from(rest) + u64::from(step - 1) * u64::from(before.fragments);
        progress.before_is_incomplete = rest > 0 || step > 1;
        let difference = transit.wrapping_sub(before.transit).cast_signed().unsigned_abs();
        self.jitter_16 = self.jitter_16 - self.jitter_16 / JITTER_DIVISOR + u64::from(difference);
    }

    /// Something of an earlier frame came: a little late, because it was asked for, or a second time.
    fn note_late(&mut self, progress: &mut Progress, is_late: bool, header: &MediaHeader) {
        if !is_late || !progress.before_is_incomplete {
            return;
        }
        self.missing = self.missing.saturating_sub(1);
        progress.before_is_incomplete = header.fragment_count > 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::wire::TrackId;

    /// A frame every 20 ms, cut into fragments of 980 bytes.
    fn header(number: u32, bytes: usize, fragment: usize) -> MediaHeader {
        let timestamp = number.wrapping_mul(1800);
        let frame = Frame { number, timestamp, data: vec![0; bytes].into(), ..Frame::default() };
        frame.datagrams(TrackId(1)).unwrap().nth(fragment).unwrap().header
    }

    /// Received and missing, after frames of these numbers and fragments, of two fragments each.
    fn counted(came: &[(u32, usize)]) -> (u64, u64) {
        let (mut arrivals, mut progress) = (Arrivals::default(), Progress::default());
        for ((number, fragment), ms) in came.iter().zip(0..) {
            let now = Now::after(Duration::from_millis(ms));
            arrivals.note(&mut progress, now, &header(*number, 1500, *fragment));
        }
        (arrivals.received, arrivals.missing)
    }

    #[test]
    fn what_does_not_come_is_missing_and_what_comes_late_is_not() {
        for (came, expected) in [
            (&[(5, 0), (5, 1), (6, 0), (6, 1)][..], (4, 0)),
            (&[(5, 0), (6, 0), (6, 1)], (3, 1)),
            (&[(5, 0), (5, 1), (8, 0), (8, 1)], (4, 4)),
            (&[(5, 0), (6, 0), (5, 1), (6, 1)], (4, 0)),
            (&[(5, 0), (5, 1), (7, 0), (6, 0), (6, 1), (7, 1)], (6, 0)),
            (&[(5, 0), (5, 1), (6, 0), (5, 0), (6, 1)], (5, 0)),
            (&[(5, 0), (6, 0), (7, 0)], (3, 2)),
            (&[(5, 0), (900, 0), (901, 0)], (3, 1)),
            (&[(900, 0), (900, 1), (0, 0), (0, 1), (1, 0)], (5, 0)),
        ] {
            assert_eq!(counted(came), expected, "{came:?}");
        }
    }

    #[test]
    fn what_came_because_it_was_asked_for_was_lost() {
        for (ms, missing) in [(10, 0), (11, 1)] {
            let (mut arrivals, mut progress) = (Arrivals::default(), Progress::default());
            let mut note = |ms, number| {
                arrivals.note(&mut progress, Now::after(Duration::from_millis(ms)), &header(number, 1, 0));
                arrivals.missing
            };
            assert_eq!([note(0, 0), note(40, 2), note(40 + ms, 1), note(60, 3)], [0, 1, missing, missing]);
        }
    }

    #[test]
    fn a_frame_that_was_sent_twice_hides_no_loss() {
        let (mut arrivals, mut progress) = (Arrivals::default(), Progress::default());
        for number in [0, 1, 0, 2, 1, 4, 3, 3, 4, 3, 6, 4] {
            arrivals.note(&mut progress, Now::after(Duration::ZERO), &header(number, 1, 0));
        }
        assert_eq!((arrivals.received, arrivals.missing), (12, 1));
    }

    #[test]
    fn an_uneven_path_has_jitter() {
        let jitter = |uneven_ms: u64| {
            let (mut arrivals, mut progress) = (Arrivals::default(), Progress::default());
            for number in 0..200_u32 {
                let at = u64::from(number) * 20 + u64::from(number % 2) * uneven_ms;
                arrivals.note(&mut progress, Now::after(Duration::from_millis(at)), &header(number, 1, 0));
            }
            arrivals.jitter_ms()
        };
        assert_eq!(jitter(0), 0);
        assert!((14..=16).contains(&jitter(16)), "{}", jitter(16));
    }
}
