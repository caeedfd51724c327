use std::collections::BTreeMap;
use std::time::Duration;

use super::{Arrival, Arrivals, Gaps, Slot};
use crate::limits::{
    Bucket, Limits, MEDIA_BYTES_MAX, REPEAT_REQUESTS_PER_SECOND, REPEATS_PER_SECOND, Rate, TRACKS_PER_PARTICIPANT_MAX,
};
use crate::now::Now;
use crate::wire::{MediaHeader, RepeatRequest, TrackId};

/// A sender of media: how much it may still send, and have sent to it once more; and what of its own is missing.
#[derive(Debug)]
pub struct Publisher {
    slot: Slot,
    datagrams: Bucket,
    bytes: Bucket,
    requests: Bucket,
    repeats: Bucket,
    pub(super) arrivals: Arrivals,
    /// What was lost on the way from it, by track; `None` if its path loses nothing.
    gaps: Option<BTreeMap<TrackId, Gaps>>,
}

impl Publisher {
    /// One that has sent nothing yet, over a path that loses nothing.
    pub fn new(slot: Slot) -> Self {
        Self {
            slot,
            datagrams: Bucket::default(),
            bytes: Bucket::default(),
            requests: Bucket::default(),
            repeats: Bucket::default(),
            arrivals: Arrivals::default(),
            gaps: None,
        }
    }

    /// One over a path that loses datagrams.
    pub fn on_lossy_path(slot: Slot) -> Self {
        Self { gaps: Some(BTreeMap::new()), ..Self::new(slot) }
    }

    /// Where the sender's own connection is found.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// How its media arrives.
    pub fn arrivals(&self) -> Arrivals {
        self.arrivals
    }

    /// Whether one more datagram is within the budget. A second's worth may come at once: a keyframe is many times as
    /// large as what follows it.
    pub(super) fn may_send(&mut self, now: Now, limits: &Limits, bytes: usize) -> bool {
        let datagrams =
            Rate { per_second: limits.media_datagrams_per_second, burst: limits.media_datagrams_per_second };
        let bytes_per_second = limits.media_bits_per_second / 8;
        // A budget below one datagram would be a mute, not a limit.
        let burst = bytes_per_second.max(MEDIA_BYTES_MAX as u32 + 1);
        self.datagrams.take(now, datagrams, 1)
            && self.bytes.take(now, Rate { per_second: bytes_per_second, burst }, bytes as u32)
    }

    /// Whether it may ask for datagrams once more.
    pub(super) fn may_ask(&mut self, now: Now) -> bool {
        let rate = Rate { per_second: REPEAT_REQUESTS_PER_SECOND, burst: REPEAT_REQUESTS_PER_SECOND };
        self.requests.take(now, rate, 1)
    }

    /// Whether it may get one more datagram once more.
    pub(super) fn may_get_again(&mut self, now: Now) -> bool {
        self.repeats.take(now, Rate { per_second: REPEATS_PER_SECOND, burst: REPEATS_PER_SECOND }, 1)
    }

    /// Takes note of a datagram that came from it, of a track of which nothing is of use that is later than `deadline`.
    pub(super) fn note(&mut self, now: Now, header: &MediaHeader, deadline: Duration) -> Arrival {
        let Some(gaps) = &mut self.gaps else {
            return Arrival::Unasked;
        };
        // Whoever publishes track after track has few at a time, and the newest have the highest ids.
        if gaps.len() == TRACKS_PER_PARTICIPANT_MAX as usize && !gaps.contains_key(&header.track) {
            gaps.pop_first();
        }
        gaps.entry(header.track).or_insert_with(|| Gaps::new(deadline)).push(now, header, true)
    }

    /// What to ask it for once more now, if that comes after `round_trip`.
    pub fn missing(&mut self, now: Now, round_trip: Duration) -> Vec<RepeatRequest> {
        let gaps = self.gaps.iter_mut().flatten();
        gaps.flat_map(|(track, gaps)| gaps.timeout(now, *track, round_trip)).collect()
    }

    /// When [`Publisher::missing`] may have something, as time since the start.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.gaps.iter().flatten().filter_map(|(_, gaps)| gaps.next_timeout()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::wire::Wanted;

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    fn note(publisher: &mut Publisher, track: u32, number: u32) {
        let frame = Frame { number, ..Frame::default() };
        let datagram = frame.datagrams(TrackId(track)).unwrap().next().unwrap();
        publisher.note(at(0), &datagram.header, Duration::from_millis(400));
    }

    #[test]
    fn what_is_missing_of_all_tracks_is_asked_for() {
        let mut publisher = Publisher::on_lossy_path(Slot(0));
        [(1, 0), (1, 2), (2, 5), (2, 7)].iter().for_each(|(track, number)| note(&mut publisher, *track, *number));
        let due = publisher.next_timeout().unwrap();
        let missing = publisher.missing(Now::after(due), Duration::ZERO);
        let expected = [(1, 1), (2, 6)].map(|(track, frame)| RepeatRequest {
            track: TrackId(track),
            spatial_layer: 0,
            wanted: vec![Wanted::whole(frame)],
        });
        assert_eq!(missing, expected);
    }

    #[test]
    fn nothing_is_missing_where_nothing_is_lost() {
        let mut publisher = Publisher::new(Slot(0));
        [0, 2].iter().for_each(|number| note(&mut publisher, 1, *number));
        assert_eq!((publisher.next_timeout(), publisher.missing(at(100), Duration::ZERO)), (None, vec![]));
    }

    #[test]
    fn tracks_that_are_gone_are_forgotten() {
        let mut publisher = Publisher::on_lossy_path(Slot(0));
        (0..1000).for_each(|track| note(&mut publisher, track, 0));
        assert_eq!(publisher.gaps.map(|gaps| gaps.len()), Some(TRACKS_PER_PARTICIPANT_MAX as usize));
    }
}
