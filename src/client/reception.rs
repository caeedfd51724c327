use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::GAP_FRAMES_MAX;
use crate::now::Now;
use crate::wire::{MediaHeader, TrackId, TrackReport};

/// How long the fragments of a frame may take one after the other; what is missing then is lost.
const SETTLING: Duration = Duration::from_millis(250);

/// Frames that may still be incomplete: more than a second of anything.
const FRAMES_MAX: usize = 256;

/// Half of the time for which the least delay is remembered.
const LEAST_DELAY_WINDOW: Duration = Duration::from_secs(5);

/// How the datagrams of one track arrive: what a report about it says. Pure.
#[derive(Debug, Default)]
pub(super) struct Reception {
    spatial_layer: Option<u8>,
    frames: BTreeMap<u32, Arrival>,
    /// The last frame that was counted.
    counted: Option<u32>,
    received: u32,
    lost: u32,
    /// How many frames may be missing at once: a larger step is a new beginning.
    gap_frames_max: Option<u32>,
    transit: Transit,
    /// Whether the last report said that something arrived.
    was_heard: bool,
}

/// A frame of which fragments have arrived.
#[derive(Debug)]
struct Arrival {
    first_at: Duration,
    fragments: u16,
    arrived: u16,
}

impl Reception {
    /// Of audio: of a microphone that others were louder than, the relay passes on nothing for a while.
    pub fn of_audio() -> Self {
        Self { gap_frames_max: Some(GAP_FRAMES_MAX as u32), ..Self::default() }
    }

    /// Takes note of a datagram.
    pub fn push(&mut self, now: Now, header: &MediaHeader) {
        if header.parity || !self.is_of_rendition(header) {
            return;
        }
        // It counts as lost already, or it is the second of its kind.
        if self.counted.is_some_and(|counted| header.frame <= counted) {
            return;
        }
        let frame = self.frames.entry(header.frame).or_insert_with(|| {
            self.transit.note(now, header.timestamp);
            // Nothing is lost of what comes on a stream.
            let fragments = if header.on_stream { 0 } else { header.fragment_count };
            Arrival { first_at: now.since_start, fragments, arrived: 0 }
        });
        frame.arrived = frame.arrived.saturating_add(1);
        while self.frames.len() > FRAMES_MAX {
            self.count_first(false);
        }
    }

    /// Whether it is of the rendition that is sent. Another one begins with a keyframe, and where it begins says nothing
    /// about losses.
    fn is_of_rendition(&mut self, header: &MediaHeader) -> bool {
        if self.spatial_layer != Some(header.spatial_layer) && (header.keyframe || self.spatial_layer.is_none()) {
            self.spatial_layer = Some(header.spatial_layer);
            self.frames.clear();
            self.counted = None;
        }
        self.spatial_layer == Some(header.spatial_layer)
    }

    /// Counts the first frame, and with `has_gaps` those that are missing before it.
    fn count_first(&mut self, has_gaps: bool) {
        let Some((number, frame)) = self.frames.pop_first() else {
            return;
        };
        let skipped = self.counted.map_or(0, |counted| number - counted - 1);
        let has_gaps = has_gaps && self.gap_frames_max.is_none_or(|max| skipped <= max);
        let arrived = frame.arrived.min(frame.fragments);
        let missing = u32::from(frame.fragments - arrived).saturating_add(if has_gaps { skipped } else { 0 });
        self.received = self.received.saturating_add(arrived.into());
        self.lost = self.lost.saturating_add(missing);
        self.counted = Some(number);
    }

    /// What to say now, if there is something. `all_layers` says whether frames whose numbers are missing should have come;
    /// each of them counts as one datagram.
    pub fn report(&mut self, now: Now, track: TrackId, all_layers: bool) -> Option<TrackReport> {
        while self.frames.first_key_value().is_some_and(|(_, frame)| frame.first_at + SETTLING <= now.since_start) {
            self.count_first(all_layers);
        }
        let (received, lost) = (std::mem::take(&mut self.received), std::mem::take(&mut self.lost));
        let is_heard = received > 0 || lost > 0;
        // That nothing comes any more is worth saying once.
        let is_news = std::mem::replace(&mut self.was_heard, is_heard) || is_heard;
        let (jitter_ms, delay_ms) = self.transit.take();
        is_news.then_some(TrackReport { track, received, lost, jitter_ms, delay_ms })
    }
}

/// How long datagrams take, as far as one clock of each side can tell: in ticks of 1/90000 s, compared with the first one.
#[derive(Debug, Default)]
struct Transit {
    /// When the frame before arrived and was captured, until what comes is live.
    catching_up: Option<(u32, u32)>,
    is_live: bool,
    first: Option<u32>,
    last: i32,
    /// Times 16, as in RFC 3550, section 6.4.1.
    jitter_16: u32,
    window_began: Duration,
    least: Option<i32>,
    /// Of the window before.
    least_before: Option<i32>,
    /// Since the last report.
    least_since: Option<i32>,
}

impl Transit {
    fn note(&mut self, now: Now, timestamp: u32) {
        let arrival = (now.since_start.as_micros() * 9 / 100) as u32;
        if !self.is_live_now(arrival, timestamp) {
            return;
        }
        let transit = arrival.wrapping_sub(timestamp);
        let is_first = self.first.is_none();
        let transit = transit.wrapping_sub(*self.first.get_or_insert(transit)).cast_signed();
        let difference = if is_first { 0 } else { transit.wrapping_sub(self.last).unsigned_abs() };
        self.last = transit;
        self.jitter_16 = (self.jitter_16 - self.jitter_16 / 16).saturating_add(difference);
        if self.window_began + LEAST_DELAY_WINDOW <= now.since_start {
            (self.least_before, self.least, self.window_began) = (self.least, None, now.since_start);
        }
        self.least = Some(self.least.map_or(transit, |least| least.min(transit)));
        self.least_since = Some(self.least_since.map_or(transit, |least| least.min(transit)));
    }

    /// A subscription begins with what the relay has kept, which is late already and comes faster than it was captured: it says
    /// nothing about the path.
    fn is_live_now(&mut self, arrival: u32, captured: u32) -> bool {
        if !self.is_live
            && let Some((arrival_before, captured_before)) = self.catching_up.replace((arrival, captured))
        {
            let passed = u64::from(arrival.wrapping_sub(arrival_before));
            let shown = u64::from(captured.wrapping_sub(captured_before));
            self.is_live = shown * 4 <= passed * 5;
        }
        self.is_live
    }

    /// Jitter, and the least delay since the last time, in milliseconds: a queue that stands delays everything, and what comes
    /// late by itself says nothing about the path (RFC 8289, section 3.2).
    fn take(&mut self) -> (u16, u16) {
        let least = self.least.into_iter().chain(self.least_before).min();
        let delay = self.least_since.take().zip(least).map_or(0, |(since, least)| since.saturating_sub(least));
        let ms = |ticks: u32| u16::try_from(ticks / 90).unwrap_or(u16::MAX);
        (ms(self.jitter_16 / 16), ms(delay.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;

    const TRACK: TrackId = TrackId(3);

    /// A frame every 20 ms.
    fn header(number: u32, fragment_index: u16) -> MediaHeader {
        let frame =
            Frame { number, timestamp: number.wrapping_mul(1800), data: vec![0; 2500].into(), ..Frame::default() };
        frame.datagrams(TRACK).unwrap().nth(fragment_index.into()).unwrap().header
    }

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    fn push(reception: &mut Reception, ms: u64, number: u32, fragments: &[u16]) {
        fragments.iter().for_each(|fragment| reception.push(at(ms), &header(number, *fragment)));
    }

    /// Received, lost, jitter and delay.
    fn told(reception: &mut Reception, ms: u64, all_layers: bool) -> Option<(u32, u32, u16, u16)> {
        let report = reception.report(at(ms), TRACK, all_layers)?;
        Some((report.received, report.lost, report.jitter_ms, report.delay_ms))
    }

    #[test]
    fn what_is_missing_is_lost_when_its_time_is_over() {
        for (all_layers, lost) in [(true, 1 + 2), (false, 1)] {
            let mut reception = Reception::default();
            push(&mut reception, 0, 0, &[0, 1, 2]);
            push(&mut reception, 60, 3, &[2, 0]);
            assert_eq!(told(&mut reception, 249, all_layers), None, "too early");
            assert_eq!(told(&mut reception, 310, all_layers), Some((5, lost, 0, 0)));
            push(&mut reception, 320, 3, &[1]);
            assert_eq!(told(&mut reception, 1000, all_layers), Some((0, 0, 0, 0)), "too late, and nothing else came");
            assert_eq!(told(&mut reception, 2000, all_layers), None, "that was said");
        }
    }

    #[test]
    fn audio_that_was_not_passed_on_for_a_while_is_not_lost() {
        for (missing, lost) in [(32, 32), (33, 0)] {
            let mut reception = Reception::of_audio();
            push(&mut reception, 0, 0, &[0, 1, 2]);
            push(&mut reception, 20, 1 + missing, &[0, 1, 2]);
            assert_eq!(told(&mut reception, 1000, true).map(|(received, lost, ..)| (received, lost)), Some((6, lost)));
        }
    }

    #[test]
    fn doubles_hide_no_loss_of_other_frames() {
        let mut reception = Reception::default();
        push(&mut reception, 0, 0, &[0, 0, 1, 2]);
        push(&mut reception, 20, 1, &[0]);
        push(&mut reception, 20, 0, &[1]);
        assert_eq!(told(&mut reception, 1000, true), Some((4, 2, 0, 0)));
    }

    #[test]
    fn a_late_path_has_delay_and_an_uneven_one_jitter() {
        let mut reception = Reception::default();
        (0..50).for_each(|number| push(&mut reception, u64::from(number) * 20, number, &[0, 1, 2]));
        assert_eq!(told(&mut reception, 1000, true), Some((38 * 3, 0, 0, 0)));
        (50..100).for_each(|number| push(&mut reception, u64::from(number) * 20 + 100, number, &[0, 1, 2]));
        let (.., jitter, delay) = told(&mut reception, 2100, true).unwrap();
        assert_eq!((jitter, delay), (0, 100));
        let uneven = |number: u32| u64::from(number) * 20 + u64::from(number % 2) * 16;
        (110..200).for_each(|number| push(&mut reception, uneven(number), number, &[0, 1, 2]));
        let (.., jitter, delay) = told(&mut reception, 4000, true).unwrap();
        assert!((14..=16).contains(&jitter) && delay == 0, "{jitter} {delay}");
    }

    #[test]
    fn the_least_delay_is_forgotten_after_a_while() {
        let mut reception = Reception::default();
        (0..25).for_each(|number| push(&mut reception, u64::from(number) * 20, number, &[0, 1, 2]));
        (25..1000).for_each(|number| push(&mut reception, u64::from(number) * 20 + 50, number, &[0, 1, 2]));
        told(&mut reception, 20_000, true);
        push(&mut reception, 20_050, 1000, &[0]);
        assert_eq!(told(&mut reception, 21_000, true).map(|(.., delay)| delay), Some(0));
    }

    #[test]
    fn what_was_kept_for_a_new_subscriber_is_not_late() {
        let mut reception = Reception::default();
        (0..20).for_each(|number| push(&mut reception, 400 + u64::from(number), number, &[0, 1, 2]));
        (20..50).for_each(|number| push(&mut reception, 20 + u64::from(number) * 20, number, &[0, 1, 2]));
        assert_eq!(told(&mut reception, 1400, true), Some((150, 0, 0, 0)));
    }

    #[test]
    fn another_rendition_begins_with_a_keyframe_and_loses_nothing() {
        let mut reception = Reception::default();
        push(&mut reception, 0, 7, &[0, 1, 2]);
        push(&mut reception, 20, 8, &[0]);
        let other = |keyframe, number| MediaHeader { spatial_layer: 1, keyframe, ..header(number, 0) };
        reception.push(at(30), &other(false, 99));
        reception.push(at(40), &other(true, 300));
        reception.push(at(40), &other(false, 301));
        push(&mut reception, 50, 400, &[]);
        assert_eq!(told(&mut reception, 1000, true).map(|(received, lost, ..)| (received, lost)), Some((2, 4)));
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut reception = Reception::default();
        (0..10_000).for_each(|number| push(&mut reception, 0, number, &[0]));
        assert_eq!(reception.frames.len(), FRAMES_MAX);
        push(&mut reception, 0, u32::MAX, &[0]);
        push(&mut reception, 0, u32::MAX - 1, &[0]);
        let lost = told(&mut reception, 1000, true).map(|(_, lost, ..)| lost);
        assert_eq!(lost, Some(u32::MAX), "and no sum overflows");
    }
}
