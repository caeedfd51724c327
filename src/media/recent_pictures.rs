use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::limits::{
    RECENT_FRAGMENT_TIME, RECENT_PICTURES_BYTES_ALL, RECENT_PICTURES_BYTES_MAX, RECENT_PICTURES_DATAGRAMS_MAX,
    RECENT_PICTURES_FRAMES_MAX, RECENT_PICTURES_TIME,
};
use crate::now::Now;
use crate::wire::MediaHeader;

/// All fragments of a frame are missing, and how many there are is not known.
const WHOLE: u16 = u16::MAX;

/// The last keyframe of a rendition and all that came after it, for as long as that is little: whoever begins to take the
/// rendition sees a picture at once.
#[derive(Debug)]
pub(super) struct RecentPictures {
    budget: PictureBudget,
    kept: KeptPictures,
}

#[derive(Debug, Clone)]
struct Recent {
    frame: u32,
    fragment: u16,
    temporal_layer: u8,
    datagram: Bytes,
}

#[derive(Debug, Clone)]
struct RecentFrame {
    number: u32,
    temporal_layer: u8,
    /// Fragments that have not come.
    missing: u16,
}

/// The recent pictures of a rendition, as another shard takes them over.
#[derive(Debug, Clone, Default)]
pub struct KeptPictures {
    /// The number of the last keyframe that began, kept or not.
    keyframe: Option<u32>,
    datagrams: Vec<Recent>,
    frames: Vec<RecentFrame>,
    bytes: usize,
    begun_at: Duration,
    last_at: Duration,
}

impl KeptPictures {
    /// How many bytes of datagrams they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The datagrams, in the order in which they were passed on.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &Bytes> {
        self.datagrams.iter().map(|recent| &recent.datagram)
    }
}

/// What the recent pictures of all rooms may hold together, on all shards.
#[derive(Debug, Clone, Default)]
pub struct PictureBudget {
    held: Arc<AtomicUsize>,
}

impl RecentPictures {
    pub fn new(budget: PictureBudget) -> Self {
        Self { budget, kept: KeptPictures::default() }
    }

    /// Takes note of a datagram that is passed on: a copy that keeps nothing else alive but its like.
    pub fn push(&mut self, now: Now, header: &MediaHeader, datagram: &Bytes) {
        // Most of the time no keyframe is recent, and this is all there is to do.
        if self.kept.frames.is_empty() && !header.keyframe || header.parity {
            return;
        }
        let is_newer = self.kept.keyframe.is_none_or(|keyframe| header.frame > keyframe);
        if header.keyframe && header.depends_on_distance == 0 && is_newer {
            self.forget();
            (self.kept.keyframe, self.kept.begun_at) = (Some(header.frame), now.since_start);
        } else if self.kept.frames.is_empty() || self.kept.keyframe.is_some_and(|keyframe| header.frame < keyframe) {
            return;
        }
        // One that comes a second time is no other one.
        if self
            .kept
            .datagrams
            .iter()
            .any(|recent| (recent.frame, recent.fragment) == (header.frame, header.fragment_index))
        {
            return;
        }
        if !self.note_fragment(header) || !self.keep(now, header, datagram) {
            self.forget();
        }
    }

    /// Counts a fragment of its frame. `false`: nothing that came before helps to decode it, or there are too many frames.
    fn note_fragment(&mut self, header: &MediaHeader) -> bool {
        if let Some(frame) = self.kept.frames.iter_mut().rev().find(|frame| frame.number == header.frame) {
            let awaited = if frame.missing == WHOLE { header.fragment_count } else { frame.missing };
            frame.missing = awaited.saturating_sub(1);
            return true;
        }
        let reference = header.frame.wrapping_sub(header.depends_on_distance.into());
        let is_first = self.kept.frames.is_empty();
        let is_base = header.temporal_layer == 0;
        if is_base && !is_first && !self.kept.frames.iter().any(|frame| frame.number == reference) {
            // A keyframe that is gone is not kept again; another frame may come yet, or once more.
            if self.kept.keyframe.is_some_and(|keyframe| reference <= keyframe) || header.depends_on_distance == 0 {
                return false;
            }
            self.kept.frames.push(RecentFrame { number: reference, temporal_layer: 0, missing: WHOLE });
        }
        let (number, temporal_layer, missing) = (header.frame, header.temporal_layer, header.fragment_count - 1);
        self.kept.frames.push(RecentFrame { number, temporal_layer, missing });
        self.kept.frames.len() <= RECENT_PICTURES_FRAMES_MAX
    }

    /// Keeps a datagram. `false`: that would be too much, or it is too late.
    fn keep(&mut self, now: Now, header: &MediaHeader, datagram: &Bytes) -> bool {
        let fits = self.kept.bytes + datagram.len() <= RECENT_PICTURES_BYTES_MAX
            && self.kept.datagrams.len() < RECENT_PICTURES_DATAGRAMS_MAX
            && self.is_recent(now)
            && self.budget.take(datagram.len());
        if !fits {
            return false;
        }
        self.kept.bytes += datagram.len();
        self.kept.last_at = now.since_start;
        self.kept.datagrams.push(Recent {
            frame: header.frame,
            fragment: header.fragment_index,
            temporal_layer: header.temporal_layer,
            datagram: datagram.clone(),
        });
        true
    }

    /// What shows a picture, and all that came after it, up to a temporal layer; `None` if that cannot be had.
    pub fn through(&self, now: Now, temporal_layer: u8) -> Option<Vec<Bytes>> {
        if self.kept.frames.is_empty() || !self.is_recent(now) || !self.is_whole(now) {
            return None;
        }
        let taken = self.kept.datagrams.iter().filter(|recent| recent.temporal_layer <= temporal_layer);
        Some(taken.map(|recent| recent.datagram.clone()).collect())
    }

    /// All that is kept, for another shard.
    pub fn kept(&self) -> KeptPictures {
        self.kept.clone()
    }

    /// Goes on from what another shard has kept; of what was kept here, nothing stays.
    pub fn take_over(&mut self, kept: &KeptPictures) {
        self.forget();
        if self.budget.take(kept.bytes) {
            self.kept = kept.clone();
        } else {
            let KeptPictures { keyframe, begun_at, last_at, .. } = *kept;
            self.kept = KeptPictures { keyframe, begun_at, last_at, ..KeptPictures::default() };
        }
    }

    /// Keeps nothing until a keyframe begins.
    pub fn forget(&mut self) {
        self.budget.give_back(std::mem::take(&mut self.kept.bytes));
        // Not only emptied: most renditions keep nothing most of the time.
        (self.kept.datagrams, self.kept.frames) = (Vec::new(), Vec::new());
    }

    /// Keeps nothing if the last keyframe is old.
    pub fn forget_old(&mut self, now: Now) {
        if !self.is_recent(now) {
            self.forget();
        }
    }

    /// When the last keyframe began, kept or not, as time since the relay started.
    pub fn keyframe_at(&self) -> Option<Duration> {
        self.kept.keyframe.map(|_| self.kept.begun_at)
    }

    fn is_recent(&self, now: Now) -> bool {
        self.kept.begun_at + RECENT_PICTURES_TIME > now.since_start
    }

    /// Whether nothing is missing that others need, but for a frame that is still coming.
    fn is_whole(&self, now: Now) -> bool {
        let is_coming = self.kept.last_at + RECENT_FRAGMENT_TIME > now.since_start;
        let mut base = self.kept.frames.iter().filter(|frame| frame.temporal_layer == 0).rev();
        let newest_is_whole = base.next().is_none_or(|newest| newest.missing == 0);
        (newest_is_whole || is_coming) && base.all(|frame| frame.missing == 0)
    }
}

impl Drop for RecentPictures {
    fn drop(&mut self) {
        self.forget();
    }
}

impl PictureBudget {
    fn take(&self, bytes: usize) -> bool {
        let fits = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= RECENT_PICTURES_BYTES_ALL;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    /// What is held, in bytes.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::wire::{Datagram, TrackId};

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_secs(60) + Duration::from_millis(ms))
    }

    fn frame(number: u32, distance: u8, bytes: usize) -> Frame {
        let data = vec![number as u8; bytes].into();
        Frame { number, depends_on_distance: distance, keyframe: distance == 0, data, ..Frame::default() }
    }

    fn datagrams(frame: &Frame) -> Vec<Datagram> {
        frame.datagrams(TrackId(7)).unwrap().collect()
    }

    fn push(pictures: &mut RecentPictures, now: Now, frame: &Frame) {
        datagrams(frame).iter().for_each(|datagram| pictures.push(now, &datagram.header, &datagram.bytes));
    }

    /// The numbers of the frames and the fragments of each.
    fn told(pictures: &RecentPictures, now: Now, temporal_layer: u8) -> Option<Vec<(u32, u16)>> {
        let datagrams = pictures.through(now, temporal_layer)?;
        let headers = datagrams.into_iter().map(|bytes| Datagram::decode(bytes).unwrap().header);
        Some(headers.map(|header| (header.frame, header.fragment_index)).collect())
    }

    fn pictures() -> RecentPictures {
        RecentPictures::new(PictureBudget::default())
    }

    #[test]
    fn the_last_keyframe_and_what_followed_it_come_in_order() {
        let mut pictures = pictures();
        push(&mut pictures, at(0), &frame(3, 1, 10));
        assert_eq!(told(&pictures, at(0), 0), None, "no keyframe yet");
        push(&mut pictures, at(0), &frame(4, 0, 1500));
        push(&mut pictures, at(33), &frame(5, 1, 10));
        assert_eq!(told(&pictures, at(40), 0), Some(vec![(4, 0), (4, 1), (5, 0)]));
        push(&mut pictures, at(66), &frame(6, 0, 10));
        push(&mut pictures, at(67), &frame(4, 0, 1500));
        push(&mut pictures, at(68), &frame(5, 1, 10));
        push(&mut pictures, at(99), &frame(7, 1, 10));
        assert_eq!(told(&pictures, at(99), 0), Some(vec![(6, 0), (7, 0)]), "and nothing of before");
        assert_eq!(pictures.through(at(99), 0).unwrap()[0], datagrams(&frame(6, 0, 10))[0].bytes);
    }

    #[test]
    fn temporal_layers_that_are_not_taken_are_left_out() {
        let mut pictures = pictures();
        push(&mut pictures, at(0), &frame(0, 0, 10));
        push(&mut pictures, at(0), &Frame { temporal_layer: 2, ..frame(1, 1, 10) });
        push(&mut pictures, at(0), &Frame { temporal_layer: 1, ..frame(2, 2, 10) });
        push(&mut pictures, at(0), &frame(4, 4, 10));
        let numbers =
            |layer| told(&pictures, at(0), layer).unwrap().iter().map(|(frame, _)| *frame).collect::<Vec<_>>();
        assert_eq!([numbers(0), numbers(1), numbers(7)], [vec![0, 4], vec![0, 2, 4], vec![0, 1, 2, 4]]);
    }

    #[test]
    fn a_picture_that_cannot_be_decoded_is_none() {
        let lost = |frame: &Frame, fragment: usize| {
            let mut datagrams = datagrams(frame);
            datagrams.remove(fragment);
            datagrams
        };
        let (key, delta, next) = (frame(0, 0, 1500), frame(1, 1, 1500), frame(2, 1, 10));
        let all = |frames: &[&Frame]| frames.iter().flat_map(|frame| datagrams(frame)).collect::<Vec<_>>();
        let upper = Frame { temporal_layer: 1, ..delta.clone() };
        let skipping = frame(2, 2, 10);
        for (what, came, served_at_once, served_later) in [
            ("all", all(&[&key, &delta, &next]), true, true),
            ("a keyframe that is still coming", lost(&key, 1), true, false),
            ("a frame that is still coming", [all(&[&key]), lost(&delta, 0)].concat(), true, false),
            ("a keyframe of which something is lost", [lost(&key, 1), all(&[&delta])].concat(), false, false),
            (
                "a frame of which something is lost",
                [all(&[&key]), lost(&delta, 1), all(&[&next])].concat(),
                false,
                false,
            ),
            ("a frame that is lost", all(&[&key, &next]), false, false),
            ("a frame that comes after the next one", all(&[&key, &next, &delta]), true, true),
            ("half of a keyframe that comes twice", [lost(&key, 1), lost(&key, 1)].concat(), true, false),
            (
                "an upper layer of which something is lost",
                [all(&[&key]), lost(&upper, 1), all(&[&skipping])].concat(),
                true,
                true,
            ),
        ] {
            let mut pictures = pictures();
            came.iter().for_each(|datagram| pictures.push(at(0), &datagram.header, &datagram.bytes));
            let is_served = |ms| pictures.through(at(ms), 7).is_some();
            assert_eq!((is_served(10), is_served(999)), (served_at_once, served_later), "{what}");
        }
    }

    #[test]
    fn what_is_not_little_is_forgotten_until_the_next_keyframe() {
        let many = RECENT_PICTURES_FRAMES_MAX as u32;
        let times = RECENT_PICTURES_TIME.as_millis() as u64;
        let tiny_fragments = RECENT_PICTURES_DATAGRAMS_MAX + 1;
        for (what, frames, bytes, ms) in [
            ("frames", many + 1, 10, 0),
            ("bytes", 3, RECENT_PICTURES_BYTES_MAX / 2, 0),
            ("bytes of a keyframe", 1, RECENT_PICTURES_BYTES_MAX, 0),
            ("time", 2, 10, times),
        ] {
            let mut pictures = pictures();
            for number in 0..frames {
                push(&mut pictures, at(u64::from(number) * ms), &frame(number, u8::from(number > 0), bytes));
            }
            let end = at(u64::from(frames - 1) * ms);
            assert_eq!(told(&pictures, end, 0), None, "{what}");
            assert_eq!((pictures.kept.bytes, pictures.budget.held_bytes()), (0, 0), "{what}");
            push(&mut pictures, end, &frame(frames, 0, 10));
            assert_eq!(told(&pictures, end, 0), Some(vec![(frames, 0)]), "{what}");
        }
        let mut pictures = pictures();
        let datagram = &datagrams(&frame(0, 0, 1))[0];
        (0..tiny_fragments).for_each(|_| pictures.push(at(0), &datagram.header, &datagram.bytes));
        assert!(pictures.kept.datagrams.len() <= RECENT_PICTURES_DATAGRAMS_MAX);
    }

    #[test]
    fn an_old_picture_is_no_picture() {
        let mut pictures = pictures();
        push(&mut pictures, at(0), &frame(0, 0, 10));
        let times = RECENT_PICTURES_TIME.as_millis() as u64;
        assert!(pictures.through(at(times - 1), 0).is_some() && pictures.through(at(times), 0).is_none());
    }

    #[test]
    fn all_renditions_share_one_budget() {
        let budget = PictureBudget::default();
        let shares = RECENT_PICTURES_BYTES_ALL / RECENT_PICTURES_BYTES_MAX;
        let mut all: Vec<_> = (0..=shares + shares / 4).map(|_| RecentPictures::new(budget.clone())).collect();
        all.iter_mut().for_each(|pictures| push(pictures, at(0), &frame(0, 0, RECENT_PICTURES_BYTES_MAX * 9 / 10)));
        let served = |all: &[RecentPictures]| all.iter().filter(|one| one.through(at(0), 0).is_some()).count();
        assert!(served(&all) < all.len() && budget.held_bytes() <= RECENT_PICTURES_BYTES_ALL);
        all.drain(..2);
        let last = all.last_mut().unwrap();
        push(last, at(0), &frame(1, 0, RECENT_PICTURES_BYTES_MAX * 9 / 10));
        assert!(last.through(at(0), 0).is_some(), "there is space again");
        drop(all);
        assert_eq!(budget.held_bytes(), 0);
    }
}
