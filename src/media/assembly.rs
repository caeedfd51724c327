use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Frame;
use super::parity::Parity;
use crate::limits::FRAGMENTS_MAX;
use crate::now::Now;
use crate::wire::{Datagram, MediaHeader};

/// Whether frames of a track need each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decodability {
    /// Audio: every frame stands by itself, and they are wanted in their order.
    Independent,
    /// Video: a frame needs the one that its header names.
    Dependent,
}

/// Frames of one spatial layer that may be incomplete at a time. A frame this far behind the newest is late by any deadline.
const FRAMES_MAX: usize = 64;

/// What incomplete and waiting frames of one spatial layer may hold, in bytes: one of the largest frames and its fragments'
/// places, and as much again in others.
const BYTES_MAX: usize = 2 * (Frame::BYTES_MAX + FRAGMENTS_MAX as usize * SLOT_BYTES);

/// What the place of a fragment that has not arrived takes.
const SLOT_BYTES: usize = size_of::<Option<Bytes>>();

/// How far back a header can refer.
const REFERENCE_DISTANCE_MAX: u32 = 255;

/// Puts the datagrams of one track together again: frames come out whole, in order, each once, and only if the frame
/// that they need came out before.
#[derive(Debug)]
pub struct Assembly {
    decodability: Decodability,
    patience: Duration,
    layers: BTreeMap<u8, Layer>,
}

/// One spatial layer: its frames are counted by themselves.
#[derive(Debug, Default)]
struct Layer {
    frames: BTreeMap<u32, Partial>,
    bytes: usize,
    /// The frames among the last 255 that came out.
    delivered: BTreeSet<u32>,
    newest_delivered: Option<u32>,
    /// Whether a frame was given up since the last one that stands by itself came out.
    broken: bool,
}

#[derive(Debug)]
struct Partial {
    header: MediaHeader,
    fragments: Vec<Option<Bytes>>,
    missing: u16,
    /// By their groups. All are of the same number of groups.
    parities: BTreeMap<u16, Parity>,
    /// The fragments and parities that are here, and the places of all fragments.
    bytes: usize,
    last_at: Duration,
    complete_at: Option<Duration>,
}

impl Assembly {
    /// An empty one. A frame that is complete waits at most `patience` for one that it needs or that comes before it.
    pub fn new(decodability: Decodability, patience: Duration) -> Self {
        Self { decodability, patience, layers: BTreeMap::new() }
    }

    /// Takes a datagram, and says whether its frame is whole with it. Repeated, contradictory and late ones are passed over.
    pub fn push(&mut self, now: Now, datagram: &Datagram) -> bool {
        self.layers.entry(datagram.header.spatial_layer).or_default().push(now, datagram)
    }

    /// Takes the next frame that can come out.
    pub fn pop(&mut self, now: Now) -> Option<Frame> {
        let (decodability, patience) = (self.decodability, self.patience);
        self.layers.values_mut().find_map(|layer| layer.pop(now, decodability, patience))
    }

    /// Forgets all renditions but one: the others are not sent any more.
    pub fn keep(&mut self, spatial_layer: u8) {
        self.layers.retain(|layer, _| *layer == spatial_layer);
    }

    /// When [`Assembly::pop`] may have something although nothing arrives, as time since the start.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.layers.values().filter_map(|layer| layer.next_timeout(self.patience)).min()
    }

    /// Whether frames were given up that others need: ask for a keyframe.
    pub fn needs_keyframe(&self) -> bool {
        self.decodability == Decodability::Dependent && self.layers.values().any(|layer| layer.broken)
    }
}

impl Layer {
    fn push(&mut self, now: Now, datagram: &Datagram) -> bool {
        let header = &datagram.header;
        if self.newest_delivered.is_some_and(|newest| header.frame <= newest) {
            return false;
        }
        let frame = self.frames.entry(header.frame).or_insert_with(|| {
            let frame = Partial::new(header);
            self.bytes += frame.bytes;
            frame
        });
        self.bytes += frame.push(now, datagram);
        let is_whole = frame.missing == 0;
        while self.frames.len() > FRAMES_MAX || self.bytes > BYTES_MAX {
            self.give_up_oldest();
        }
        is_whole
    }

    fn pop(&mut self, now: Now, decodability: Decodability, patience: Duration) -> Option<Frame> {
        loop {
            let (&number, frame) = self.first_complete(decodability)?;
            let has_waited = self.waits_until(number, patience).is_some_and(|end| end <= now.since_start);
            let can_be_decoded = self.can_be_decoded(&frame.header);
            let is_next = self.newest_delivered.is_none_or(|newest| newest.checked_add(1) == Some(number));
            let is_due = match decodability {
                Decodability::Independent => is_next,
                Decodability::Dependent => can_be_decoded,
            };
            if !is_due && !has_waited {
                return None;
            }
            self.give_up_before(number);
            let frame = self.take(number)?;
            if can_be_decoded {
                self.note_delivered(&frame.header);
                return Some(frame.into_frame());
            }
            self.broken = true;
        }
    }

    /// How long a whole frame waits at most for those before it. While one of them still comes on a stream, it is worth waiting for.
    fn waits_until(&self, number: u32, patience: Duration) -> Option<Duration> {
        let complete_at = self.frames.get(&number)?.complete_at?;
        let coming = self.frames.range(..number).filter(|(_, frame)| frame.header.on_stream && frame.missing > 0);
        Some(coming.map(|(_, frame)| frame.last_at).fold(complete_at, Duration::max) + patience)
    }

    fn next_timeout(&self, patience: Duration) -> Option<Duration> {
        let complete = self.frames.iter().filter(|(_, frame)| frame.complete_at.is_some());
        complete.filter_map(|(number, _)| self.waits_until(*number, patience)).min()
    }

    /// The frame that may come out next. Whoever begins in the middle has no use for frames that need others of before.
    fn first_complete(&self, decodability: Decodability) -> Option<(&u32, &Partial)> {
        let mut complete = self.frames.iter().filter(|(_, frame)| frame.complete_at.is_some());
        let begins = self.newest_delivered.is_none() && decodability == Decodability::Dependent;
        let stands_alone = complete.clone().find(|(_, frame)| begins && frame.header.depends_on_distance == 0);
        stands_alone.or_else(|| complete.next())
    }

    fn can_be_decoded(&self, header: &MediaHeader) -> bool {
        let distance = u32::from(header.depends_on_distance);
        distance == 0 || header.frame.checked_sub(distance).is_some_and(|reference| self.delivered.contains(&reference))
    }

    fn note_delivered(&mut self, header: &MediaHeader) {
        if header.depends_on_distance == 0 {
            self.broken = false;
        }
        self.newest_delivered = Some(header.frame);
        self.delivered.insert(header.frame);
        let oldest_needed = header.frame.saturating_sub(REFERENCE_DISTANCE_MAX);
        self.delivered = self.delivered.split_off(&oldest_needed);
    }

    fn take(&mut self, number: u32) -> Option<Partial> {
        let frame = self.frames.remove(&number)?;
        self.bytes -= frame.bytes;
        Some(frame)
    }

    fn give_up_before(&mut self, number: u32) {
        while self.frames.first_key_value().is_some_and(|(first, _)| *first < number) {
            self.give_up_oldest();
        }
    }

    fn give_up_oldest(&mut self) {
        if let Some((number, _)) = self.frames.first_key_value() {
            let number = *number;
            self.take(number);
        }
    }
}

impl Partial {
    fn new(header: &MediaHeader) -> Self {
        let count = header.fragment_count;
        Self {
            header: *header,
            fragments: vec![None; usize::from(count)],
            missing: count,
            parities: BTreeMap::new(),
            bytes: usize::from(count) * SLOT_BYTES,
            last_at: Duration::ZERO,
            complete_at: None,
        }
    }

    /// Keeps a datagram and what can be made of it, and says how many bytes that took.
    fn push(&mut self, now: Now, datagram: &Datagram) -> usize {
        if datagram.header.fragment_count != self.header.fragment_count || self.missing == 0 {
            return 0;
        }
        self.last_at = now.since_start;
        let before = self.bytes;
        let index = datagram.header.fragment_index;
        match datagram.header.parity {
            true => self.put_parity(index, datagram),
            false => self.put(index, datagram.payload()),
        }
        self.recover(index);
        if self.missing == 0 {
            self.complete_at = Some(now.since_start);
        }
        self.bytes - before
    }

    fn put(&mut self, index: u16, payload: Bytes) {
        let fragment = &mut self.fragments[usize::from(index)];
        if fragment.is_none() {
            self.bytes += payload.len();
            self.missing -= 1;
            *fragment = Some(payload);
        }
    }

    fn put_parity(&mut self, group: u16, datagram: &Datagram) {
        let groups = self.parities.first_key_value().map(|(_, known)| known.groups);
        let parity = Parity::decode(datagram).filter(|parity| groups.is_none_or(|groups| groups == parity.groups));
        if let Some(parity) = parity.filter(|_| !self.parities.contains_key(&group)) {
            self.bytes += parity.bytes();
            self.parities.insert(group, parity);
        }
    }

    /// Makes the missing fragment of a group out of the others and the parity, if it is the only one.
    fn recover(&mut self, index_or_group: u16) {
        let Some(groups) = self.parities.first_key_value().map(|(_, parity)| parity.groups) else {
            return;
        };
        let group = index_or_group % groups;
        let members = || (group..self.header.fragment_count).step_by(groups.into());
        let is_missing = |index: &u16| self.fragments[usize::from(*index)].is_none();
        let mut missing = members().filter(is_missing);
        let (Some(index), None, Some(parity)) = (missing.next(), missing.next(), self.parities.get(&group)) else {
            return;
        };
        let others = members().filter_map(|member| self.fragments[usize::from(member)].as_ref());
        if let Some(payload) = parity.recover(others) {
            self.put(index, payload);
        }
    }

    fn into_frame(mut self) -> Frame {
        let data = match &mut *self.fragments {
            [Some(whole)] => std::mem::take(whole),
            fragments => {
                let mut data = BytesMut::with_capacity(self.bytes);
                for fragment in fragments.iter().flatten() {
                    data.extend_from_slice(fragment);
                }
                data.freeze()
            }
        };
        Frame::from_parts(&self.header, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Delivery;
    use crate::wire::TrackId;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    fn frame(number: u32, depends_on_distance: u8) -> Frame {
        let data = vec![number as u8; 2500].into();
        Frame { number, depends_on_distance, keyframe: depends_on_distance == 0, data, ..Frame::default() }
    }

    fn datagrams(frame: &Frame) -> Vec<Datagram> {
        frame.datagrams(TrackId(1)).unwrap().collect()
    }

    fn push(assembly: &mut Assembly, now: Now, frame: &Frame) {
        for datagram in datagrams(frame) {
            assembly.push(now, &datagram);
        }
    }

    fn popped(assembly: &mut Assembly, now: Now) -> Vec<u32> {
        std::iter::from_fn(|| assembly.pop(now)).map(|frame| frame.number).collect()
    }

    #[test]
    fn who_needs_a_frame_that_still_comes_on_a_stream_waits_for_it() {
        let whole = Frame { delivery: Some(Delivery::Stream), ..frame(0, 0) };
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        let mut fragments = datagrams(&whole).into_iter();
        assembly.push(at(0), &fragments.next().unwrap());
        push(&mut assembly, at(10), &frame(1, 1));
        assembly.push(at(90), &fragments.next().unwrap());
        assert_eq!((popped(&mut assembly, at(180)), assembly.next_timeout()), (vec![], Some(at(190).since_start)));
        assembly.push(at(180), &fragments.next().unwrap());
        assert_eq!(popped(&mut assembly, at(180)), [0, 1]);
        // When nothing of it comes any more, it is given up as any other.
        let whole = Frame { number: 2, ..whole };
        assembly.push(at(200), &datagrams(&whole)[0]);
        push(&mut assembly, at(210), &frame(3, 1));
        assert_eq!((popped(&mut assembly, at(310)), assembly.needs_keyframe()), (vec![], true));
    }

    #[test]
    fn a_frame_comes_out_as_it_was_cut_in_any_order_and_once() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        let whole = frame(5, 0);
        let mut fragments = datagrams(&whole);
        fragments.reverse();
        for datagram in fragments.iter().chain(&fragments) {
            assembly.push(at(0), datagram);
        }
        assert_eq!(assembly.pop(at(0)), Some(whole));
        assert_eq!(assembly.pop(at(0)), None);
    }

    #[test]
    fn a_frame_waits_for_the_one_it_needs() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        push(&mut assembly, at(0), &frame(0, 0));
        push(&mut assembly, at(0), &frame(2, 1));
        assert_eq!(popped(&mut assembly, at(0)), [0]);
        assert_eq!(assembly.next_timeout(), Some(Duration::from_millis(100)));
        push(&mut assembly, at(50), &frame(1, 1));
        assert_eq!(popped(&mut assembly, at(50)), [1, 2]);
    }

    #[test]
    fn whoever_begins_in_the_middle_begins_with_the_next_keyframe_at_once() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        (7..9).for_each(|number| push(&mut assembly, at(0), &frame(number, 1)));
        assert_eq!(popped(&mut assembly, at(0)), [0; 0]);
        push(&mut assembly, at(10), &frame(9, 0));
        push(&mut assembly, at(10), &frame(10, 1));
        assert_eq!(popped(&mut assembly, at(10)), [9, 10]);
    }

    #[test]
    fn a_frame_without_its_reference_never_comes_out() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        push(&mut assembly, at(0), &frame(0, 0));
        push(&mut assembly, at(0), &frame(2, 1));
        push(&mut assembly, at(0), &frame(3, 1));
        assert_eq!(popped(&mut assembly, at(99)), [0]);
        assert!(!assembly.needs_keyframe());
        assert_eq!(popped(&mut assembly, at(100)), [0; 0]);
        assert!(assembly.needs_keyframe());
        push(&mut assembly, at(110), &frame(4, 0));
        assert_eq!(popped(&mut assembly, at(110)), [4]);
        assert!(!assembly.needs_keyframe());
    }

    #[test]
    fn upper_layers_that_were_left_out_delay_nothing() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        for number in [0, 4, 8] {
            push(&mut assembly, at(0), &frame(number, if number == 0 { 0 } else { 4 }));
        }
        assert_eq!(popped(&mut assembly, at(0)), [0, 4, 8]);
    }

    #[test]
    fn audio_is_put_in_order_and_a_lost_frame_delays_it_only_so_long() {
        let mut assembly = Assembly::new(Decodability::Independent, PATIENCE);
        for number in [3, 5, 4, 7] {
            push(&mut assembly, at(0), &frame(number, 0));
        }
        assert_eq!(popped(&mut assembly, at(0)), [3, 4, 5]);
        assert_eq!(popped(&mut assembly, at(100)), [7]);
        push(&mut assembly, at(100), &frame(6, 0));
        assert_eq!(popped(&mut assembly, at(300)), [0; 0]);
        assert!(!assembly.needs_keyframe());
    }

    #[test]
    fn spatial_layers_are_counted_by_themselves() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        let upper = Frame { spatial_layer: 1, ..frame(0, 0) };
        push(&mut assembly, at(0), &frame(0, 0));
        push(&mut assembly, at(0), &upper);
        assert_eq!(assembly.pop(at(0)), Some(frame(0, 0)));
        assert_eq!(assembly.pop(at(0)), Some(upper));
    }

    #[test]
    fn incomplete_frames_are_bounded() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        for number in 0..1000 {
            assembly.push(at(0), &datagrams(&frame(number, 0))[0]);
        }
        let layer = &assembly.layers[&0];
        assert_eq!((layer.frames.len(), layer.bytes), (FRAMES_MAX, FRAMES_MAX * (834 + 3 * SLOT_BYTES)));
    }

    fn with_parity(frame: &Frame) -> Vec<Datagram> {
        frame.datagrams_with_parity(TrackId(1)).unwrap().collect()
    }

    #[test]
    fn parity_makes_up_for_one_fragment_of_each_group_wherever_it_comes() {
        let whole = Frame { data: (0..9000).map(|at| (at / 7) as u8).collect::<Vec<_>>().into(), ..Frame::default() };
        let all = with_parity(&whole);
        assert_eq!(all.len(), 10 + 3);
        for lost in [[0, 1, 2], [7, 8, 9], [9, 4, 2]] {
            let mut came: Vec<_> =
                all.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, its)| its).collect();
            for turn in 0..came.len() {
                let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
                let whole_at = came.iter().position(|datagram| assembly.push(at(0), datagram));
                assert_eq!(whole_at, Some(came.len() - 1), "turned by {turn}");
                assert_eq!(assembly.pop(at(0)), Some(whole.clone()));
                came.rotate_left(1);
            }
        }
    }

    #[test]
    fn two_of_a_group_are_too_many() {
        let whole = Frame { data: vec![1; 9000].into(), ..Frame::default() };
        let all = with_parity(&whole);
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        let came = all.iter().enumerate().filter(|(at, _)| ![0, 3].contains(at));
        assert!(!came.clone().any(|(_, datagram)| assembly.push(at(0), datagram)));
        assert!(assembly.push(at(0), &all[3]), "one of them was sent once more");
        assert_eq!(assembly.pop(at(0)), Some(whole));
    }

    #[test]
    fn parity_of_another_number_of_groups_is_passed_over_and_what_is_kept_of_it_is_counted() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        let all = with_parity(&Frame { data: vec![1; 9000].into(), ..Frame::default() });
        let other = Datagram::new(all[11].header, &[&[0, 2, 0, 0][..], &[1; 900]].concat());
        for datagram in [&all[10], &other, &all[10], &all[11]] {
            assert!(!assembly.push(at(0), datagram));
        }
        let Layer { frames, bytes, .. } = &assembly.layers[&0];
        assert_eq!((frames[&0].parities.len(), *bytes), (2, 2 * 900 + 10 * SLOT_BYTES));
    }

    #[test]
    fn a_fragment_that_contradicts_the_first_is_passed_over() {
        let mut assembly = Assembly::new(Decodability::Dependent, PATIENCE);
        let whole = frame(0, 0);
        let mut liar = datagrams(&whole).remove(1);
        liar.header.fragment_count = 2;
        let fragments = datagrams(&whole);
        for datagram in [&fragments[0], &liar, &fragments[1], &fragments[2]] {
            assembly.push(at(0), datagram);
        }
        assert_eq!(assembly.pop(at(0)), Some(whole));
    }
}
