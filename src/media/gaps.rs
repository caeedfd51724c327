mod rhythm;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::{GAP_DATAGRAMS_MAX, GAP_FRAMES_MAX, REPEAT_ASKS_MAX};
use crate::now::Now;
use crate::wire::{MediaHeader, RepeatRequest, TrackId, Wanted};
use rhythm::{AHEAD_FRAMES_MAX, Rhythm};

/// How long a datagram may be behind those after it before it counts as lost: networks change the order of what is sent
/// together, by little.
const REORDERING: Duration = Duration::from_millis(10);

/// How long nothing more of a frame has to come before the rest of it counts as lost, unless its fragments come more slowly.
const TAIL: Duration = Duration::from_millis(15);

/// How many times the usual time between two fragments has to pass for the same.
const TAIL_SPACINGS: u32 = 4;

/// Where no more datagrams are missing at a time, they are asked for so many times in a round trip: a request or its answer can be lost
/// as well, and losses come in rows. Where more are, the path may be full, and each answer would make it fuller.
const FEW: usize = 8;
const ASKS_TOGETHER: u8 = 3;

/// In the place of a fragment: all of a frame, of which none came.
const WHOLE: u16 = u16::MAX;

/// What is missing of a track, when to ask for it, and when no more.
///
/// A datagram is missing when a later one of its spatial layer came; the last ones of a frame when nothing of it comes any
/// more. It is asked for after a moment, again after about a round trip, three times each if few are missing, and given up when it could
/// not come in time. Where frames of one datagram come regularly, as audio has them, they are asked for as soon as they are overdue, by
/// more than their intervals differ: after a burst of losses it may be too late.
#[derive(Debug)]
pub struct Gaps {
    deadline: Duration,
    layers: BTreeMap<u8, Layer>,
}

/// What a datagram was. Of one that was asked for because it was overdue, and before a later one came, this is a guess: it may have been
/// late. If it comes within a round trip after that, it is taken to have come by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It came by itself.
    Unasked,
    /// It had been asked for: the path lost it before.
    Asked,
    /// It had come already: of several answers each can come.
    Double,
}

/// One spatial layer: its frames are counted by themselves.
#[derive(Debug)]
struct Layer {
    newest: Newest,
    missing: BTreeMap<(u32, u16), Wish>,
    /// How long one fragment of a frame comes after the other, on average.
    spacing: Duration,
    rhythm: Rhythm,
}

/// How far the newest frame has come.
#[derive(Debug, Clone, Copy)]
struct Newest {
    frame: u32,
    count: u16,
    /// The fragments below it have come, or are missing.
    next: u16,
    /// When the last of them came; for an answer, when it should have come.
    at: Duration,
}

/// A datagram that should come.
#[derive(Debug, Clone, Copy)]
struct Wish {
    due_at: Duration,
    ask_at: Duration,
    asks: u8,
    /// It has come, or is of no use any more: what comes now is another answer.
    is_over: bool,
    /// It was overdue, and no later frame has come: it may only be late.
    may_be_late: bool,
    /// When it was first asked for, and how long the round trip took then.
    asked_at: Duration,
    round_trip: Duration,
}

impl Gaps {
    /// None yet. What is missing is worth asking for if it can come within `deadline` of when it should have come.
    pub fn new(deadline: Duration) -> Self {
        Self { deadline, layers: BTreeMap::new() }
    }

    /// Takes note of a datagram. `all_frames` says whether a frame whose number is missing should have come; if not, only
    /// one that another needs.
    pub fn push(&mut self, now: Now, header: &MediaHeader, all_frames: bool) -> Arrival {
        if header.parity {
            return Arrival::Unasked;
        }
        let Some(layer) = self.layers.get_mut(&header.spatial_layer) else {
            self.layers.insert(header.spatial_layer, Layer::beginning_with(now, header));
            return Arrival::Unasked;
        };
        // Whoever counts from the beginning again means other frames.
        if layer.newest.frame.saturating_sub(header.frame) as usize > GAP_FRAMES_MAX {
            *layer = Layer::beginning_with(now, header);
            return Arrival::Unasked;
        }
        layer.forget_old(now, self.deadline);
        if header.on_stream {
            layer.comes_on_stream(now, header, all_frames);
            return Arrival::Unasked;
        }
        match header.frame.cmp(&layer.newest.frame) {
            std::cmp::Ordering::Less => layer.late(now, header),
            std::cmp::Ordering::Equal => layer.more(now, header),
            std::cmp::Ordering::Greater => layer.begin(now, header, all_frames),
        }
    }

    /// Nothing up to this frame is wanted any more.
    pub fn settle_through(&mut self, spatial_layer: u8, frame: u32) {
        if let Some(layer) = self.layers.get_mut(&spatial_layer) {
            layer.settle(|number| number <= frame);
        }
    }

    /// Nothing of this frame is wanted any more.
    pub fn settle(&mut self, spatial_layer: u8, frame: u32) {
        let Some(layer) = self.layers.get_mut(&spatial_layer) else {
            return;
        };
        layer.settle(|number| number == frame);
        if layer.newest.frame == frame {
            layer.newest.next = layer.newest.count;
        }
    }

    /// Forgets all renditions but one.
    pub fn keep(&mut self, spatial_layer: u8) {
        self.layers.retain(|layer, _| *layer == spatial_layer);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.layers.clear();
    }

    /// What to ask for now, if something sent once more comes after `round_trip`.
    pub fn timeout(&mut self, now: Now, track: TrackId, round_trip: Duration) -> Vec<RepeatRequest> {
        let deadline = self.deadline;
        let asked = self.layers.iter_mut().map(|(spatial_layer, layer)| {
            let wanted = layer.ask(now, round_trip, deadline);
            RepeatRequest { track, spatial_layer: *spatial_layer, wanted }
        });
        asked.filter(|request| !request.wanted.is_empty()).collect()
    }

    /// When [`Gaps::timeout`] is due, as time since the start.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.layers.values().filter_map(Layer::next_timeout).min()
    }
}

impl Layer {
    /// What stands before it was not for us to get, but for the rest of a frame from which one can begin.
    fn beginning_with(now: Now, header: &MediaHeader) -> Self {
        let mut layer = Self {
            newest: Newest::of(now, header),
            missing: BTreeMap::new(),
            spacing: Duration::ZERO,
            rhythm: Rhythm::default(),
        };
        if header.keyframe && !header.on_stream {
            layer.miss(now.since_start, header.frame, 0..header.fragment_index);
        }
        layer
    }

    /// A fragment of the newest frame.
    fn more(&mut self, now: Now, header: &MediaHeader) -> Arrival {
        let Newest { next, at, count, .. } = self.newest;
        if header.fragment_index < next || header.fragment_count != count {
            return self.found(now, header.frame, header.fragment_index);
        }
        self.newest.at = now.since_start;
        self.newest.next = header.fragment_index + 1;
        if header.fragment_index > next {
            self.miss(now.since_start, header.frame, next..header.fragment_index);
        } else {
            let spacing = now.since_start.saturating_sub(at).min(TAIL * TAIL_SPACINGS);
            self.spacing = (self.spacing * 7 + spacing) / 8;
        }
        Arrival::Unasked
    }

    /// A fragment of a frame that is newer than all before it.
    fn begin(&mut self, now: Now, header: &MediaHeader, all_frames: bool) -> Arrival {
        let Newest { frame, count, next, at } = self.newest;
        self.newest = Newest::of(now, header);
        self.rhythm.begin();
        let skipped = frame + 1..header.frame;
        if skipped.len() > GAP_FRAMES_MAX {
            self.missing.clear();
            self.rhythm = Rhythm::default();
            return Arrival::Unasked;
        }
        let wish = self.missing.remove(&(header.frame, WHOLE));
        if let Some(wish) = wish.filter(|wish| wish.asks > 0) {
            self.missing.insert((header.frame, header.fragment_index), Wish { is_over: true, ..wish });
        }
        let answered = wish.filter(|wish| wish.arrival(now) == Arrival::Asked);
        // Where some are left out on purpose, none is overdue.
        let is_regular = all_frames && count == 1 && header.fragment_count == 1 && !header.on_stream;
        if let Some(wish) = answered.filter(|_| is_regular) {
            // When an answer comes says nothing of when the next frame does.
            self.newest.at = wish.due_at;
        }
        // It should have come between the frames around it: audio is not waited for any longer.
        let pause = self.newest.at.saturating_sub(at) / (skipped.len() as u32 + 1);
        if !is_regular {
            self.rhythm = Rhythm::default();
        } else if answered.is_none() {
            self.rhythm.note(pause);
        }
        self.miss(at, frame, next..count);
        let needed = header.frame.wrapping_sub(header.depends_on_distance.into());
        for number in skipped.filter(|number| all_frames || *number == needed) {
            self.miss(at + pause * (number - frame), number, WHOLE..=WHOLE);
        }
        self.miss(now.since_start, header.frame, 0..header.fragment_index);
        answered.map_or(Arrival::Unasked, |_| Arrival::Asked)
    }

    /// A fragment of a frame that comes on a stream: nothing of it is lost. Frames may overtake it.
    fn comes_on_stream(&mut self, now: Now, header: &MediaHeader, all_frames: bool) {
        if header.frame > self.newest.frame {
            self.begin(now, header, all_frames);
        }
        self.settle(|frame| frame == header.frame);
    }

    /// A fragment of an earlier frame.
    fn late(&mut self, now: Now, header: &MediaHeader) -> Arrival {
        let whole = (header.frame, WHOLE);
        let Some(wish) = self.missing.get(&whole).copied().filter(|wish| !wish.is_over) else {
            let fragment = if self.missing.contains_key(&whole) { WHOLE } else { header.fragment_index };
            return self.found(now, header.frame, fragment);
        };
        self.missing.remove(&whole);
        // Now it is known how many there are; those that were asked for come together.
        if !self.has_room_for(header.fragment_count.into()) {
            return wish.arrival(now);
        }
        self.missing.extend((0..header.fragment_count).map(|fragment| ((header.frame, fragment), wish)));
        self.found(now, header.frame, header.fragment_index)
    }

    fn found(&mut self, now: Now, frame: u32, fragment: u16) -> Arrival {
        let Some(wish) = self.missing.get_mut(&(frame, fragment)) else {
            return Arrival::Unasked;
        };
        let arrival = wish.arrival(now);
        wish.is_over = true;
        if wish.asks == 0 {
            self.missing.remove(&(frame, fragment));
        }
        arrival
    }

    /// Nothing of these frames is wanted any more; what was asked for may come all the same.
    fn settle(&mut self, is_it: impl Fn(u32) -> bool) {
        self.missing.retain(|(frame, _), wish| {
            wish.is_over |= is_it(*frame);
            !wish.is_over || wish.asks > 0
        });
    }

    /// What should have come so long ago is given up, and further answers do not come any more.
    fn forget_old(&mut self, now: Now, deadline: Duration) {
        while let Some(first) = self.missing.first_entry()
            && first.get().due_at + deadline <= now.since_start
        {
            first.remove();
        }
    }

    /// Fragments did not come that should have come at this time.
    fn miss(
        &mut self,
        due_at: Duration,
        frame: u32,
        fragments: impl IntoIterator<Item = u16, IntoIter: ExactSizeIterator>,
    ) {
        let (wish, fragments) = (Wish::new(due_at, due_at + REORDERING), fragments.into_iter());
        if !self.has_room_for(fragments.len()) {
            return;
        }
        for fragment in fragments {
            // It may have been overdue before.
            self.missing.entry((frame, fragment)).and_modify(Wish::note_later).or_insert(wish);
        }
    }

    /// Whether so many more may be missing. If not, the path has failed, and repeating everything would not help it: all is
    /// forgotten.
    fn has_room_for(&mut self, more: usize) -> bool {
        let has_room = self.missing.len() + more <= GAP_DATAGRAMS_MAX;
        if !has_room {
            self.missing.clear();
        }
        has_room
    }

    /// A frame of which none came is taken to have as many as the newest one.
    fn missing_datagrams(&self) -> usize {
        let missing = self.missing.iter().filter(|(_, wish)| !wish.is_over);
        missing.map(|((_, fragment), _)| if *fragment == WHOLE { self.newest.count.into() } else { 1 }).sum()
    }

    fn tail_due(&self) -> Option<Duration> {
        let Newest { count, next, at, .. } = self.newest;
        (next < count).then(|| at + TAIL.max(self.spacing * TAIL_SPACINGS))
    }

    /// When the next frame of one datagram is overdue, if they come regularly.
    fn overdue_at(&self) -> Option<Duration> {
        let has_next = self.newest.frame < u32::MAX - AHEAD_FRAMES_MAX;
        self.rhythm.overdue_at(self.newest.at).filter(|_| has_next)
    }

    fn miss_overdue(&mut self, now: Now) {
        while self.overdue_at().is_some_and(|due| due <= now.since_start) {
            let (ahead, due_at) = self.rhythm.miss(self.newest.at);
            if self.has_room_for(1) {
                let wish = Wish { may_be_late: true, ..Wish::new(due_at, now.since_start) };
                self.missing.entry((self.newest.frame + ahead, WHOLE)).or_insert(wish);
            }
        }
    }

    fn ask(&mut self, now: Now, round_trip: Duration, deadline: Duration) -> Vec<Wanted> {
        self.miss_overdue(now);
        if self.tail_due().is_some_and(|due| due <= now.since_start) {
            let Newest { frame, count, next, at } = self.newest;
            self.newest.next = count;
            let wish = Wish::new(at, now.since_start);
            if self.has_room_for((count - next).into()) {
                self.missing.extend((next..count).map(|fragment| ((frame, fragment), wish)));
            }
        }
        self.missing.retain(|_, wish| now.since_start < wish.due_at + deadline);
        let step = if self.missing_datagrams() <= FEW { 1 } else { ASKS_TOGETHER };
        let mut wanted: Vec<Wanted> = Vec::new();
        for ((frame, fragment), wish) in self.missing.iter_mut().filter(|(_, wish)| wish.is_due(now)) {
            let end = wish.due_at + deadline;
            if now.since_start + round_trip > end || wish.asks == REPEAT_ASKS_MAX {
                // Kept until then, so that it is known for what it is when it comes all the same.
                wish.ask_at = end;
                continue;
            }
            let is_added = wanted.last_mut().is_some_and(|last| last.add(*frame, *fragment));
            if !is_added && wanted.len() == RepeatRequest::WANTED_MAX {
                break;
            }
            if !is_added {
                wanted.push(if *fragment == WHOLE {
                    Wanted::whole(*frame)
                } else {
                    Wanted::fragment(*frame, *fragment)
                });
            }
            if wish.asks == 0 {
                (wish.asked_at, wish.round_trip) = (now.since_start, round_trip);
            }
            // Where it is asked for once, that stands for all of the round.
            wish.asks = (wish.asks / step + 1) * step;
            let is_soon = !wish.asks.is_multiple_of(ASKS_TOGETHER);
            wish.ask_at = now.since_start + REORDERING + if is_soon { Duration::ZERO } else { round_trip };
        }
        wanted
    }

    fn next_timeout(&self) -> Option<Duration> {
        let wishes = self.missing.values().filter(|wish| !wish.is_over);
        wishes.map(|wish| wish.ask_at).chain(self.tail_due()).chain(self.overdue_at()).min()
    }
}

impl Newest {
    fn of(now: Now, header: &MediaHeader) -> Self {
        let (frame, count) = (header.frame, header.fragment_count);
        let next = if header.on_stream { count } else { header.fragment_index + 1 };
        Self { frame, count, next, at: now.since_start }
    }
}

impl Wish {
    fn new(due_at: Duration, ask_at: Duration) -> Self {
        let (asked_at, round_trip) = (Duration::ZERO, Duration::ZERO);
        Self { due_at, ask_at, asks: 0, is_over: false, may_be_late: false, asked_at, round_trip }
    }

    /// A later frame has come: it is lost.
    fn note_later(&mut self) {
        self.may_be_late = false;
    }

    fn is_due(&self, now: Now) -> bool {
        !self.is_over && self.ask_at <= now.since_start
    }

    fn arrival(self, now: Now) -> Arrival {
        if self.is_over {
            return Arrival::Double;
        }
        // The round trip is a mean: an answer may be quicker.
        let answer_time = if self.may_be_late { self.round_trip } else { self.round_trip / 2 };
        let is_answer = self.asks > 0 && now.since_start >= self.asked_at + answer_time;
        if is_answer { Arrival::Asked } else { Arrival::Unasked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;

    const TRACK: TrackId = TrackId(1);
    pub(super) const DEADLINE: Duration = Duration::from_millis(400);
    const ROUND_TRIP: Duration = Duration::from_millis(60);

    pub(super) fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    /// Fragment `index` of `count` of a frame that needs the one before it.
    pub(super) fn header(frame: u32, index: u16, count: u16) -> MediaHeader {
        let depends_on_distance = u8::from(frame > 0);
        let whole = Frame { number: frame, depends_on_distance, keyframe: frame == 0, ..Frame::default() };
        let header = whole.datagrams(TRACK).unwrap().next().unwrap().header;
        MediaHeader { fragment_index: index, fragment_count: count, ..header }
    }

    /// All frames of three fragments that are named as `(frame, fragment)`, at one moment.
    fn push(gaps: &mut Gaps, ms: u64, fragments: &[(u32, u16)]) {
        fragments.iter().for_each(|(frame, index)| _ = gaps.push(at(ms), &header(*frame, *index, 3), true));
    }

    fn whole(frame: u32) -> [(u32, u16); 3] {
        [(frame, 0), (frame, 1), (frame, 2)]
    }

    pub(super) fn asked(gaps: &mut Gaps, ms: u64) -> Vec<Wanted> {
        gaps.timeout(at(ms), TRACK, ROUND_TRIP).into_iter().flat_map(|request| request.wanted).collect()
    }

    #[test]
    fn nothing_is_asked_for_of_a_frame_that_comes_on_a_stream() {
        let mut gaps = Gaps::new(DEADLINE);
        let on_stream = |frame, index| MediaHeader { on_stream: true, ..header(frame, index, 3) };
        push(&mut gaps, 0, &whole(0));
        gaps.push(at(10), &on_stream(1, 0), true);
        push(&mut gaps, 20, &whole(2));
        assert_eq!((asked(&mut gaps, 100), due_ms(&gaps)), (vec![], None), "its rest is on its way");
        // The next one is overtaken, before it is known that it comes on a stream.
        push(&mut gaps, 110, &whole(4));
        assert_eq!(asked(&mut gaps, 125), [Wanted::whole(3)]);
        gaps.push(at(130), &on_stream(3, 0), true);
        assert_eq!((asked(&mut gaps, 300), due_ms(&gaps)), (vec![], None));
    }

    pub(super) fn due_ms(gaps: &Gaps) -> Option<u128> {
        gaps.next_timeout().map(|due| due.as_millis())
    }

    #[test]
    fn what_is_missing_is_asked_for_after_a_moment_and_again_after_a_round_trip() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &[(0, 0), (0, 2)]);
        assert_eq!((due_ms(&gaps), asked(&mut gaps, 9)), (Some(10), vec![]));
        assert_eq!([10, 20, 30].map(|ms| asked(&mut gaps, ms)), [(); 3].map(|()| vec![Wanted::fragment(0, 1)]));
        assert_eq!((due_ms(&gaps), asked(&mut gaps, 99)), (Some(100), vec![]));
        assert_eq!(asked(&mut gaps, 100), [Wanted::fragment(0, 1)]);
        assert_eq!(gaps.push(at(101), &header(0, 1, 3), true), Arrival::Asked);
        assert_eq!(due_ms(&gaps), None);
    }

    #[test]
    fn where_much_is_missing_it_is_asked_for_once_in_a_round_trip() {
        for (missing, expected) in [(FEW, vec![10, 20, 30, 100, 110, 120, 190, 200, 210]), (FEW + 1, vec![10, 80, 150])]
        {
            let mut gaps = Gaps::new(DEADLINE);
            let last = missing as u16 + 1;
            [0, last].iter().for_each(|index| _ = gaps.push(at(0), &header(0, *index, last + 1), true));
            let asks: Vec<_> = (0..240).filter(|ms| !asked(&mut gaps, *ms).is_empty()).collect();
            assert_eq!(asks, expected, "{missing}");
        }
    }

    #[test]
    fn of_several_answers_all_but_the_first_are_known_as_doubles() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &[(0, 0), (0, 2), (1, 1)]);
        push(&mut gaps, 66, &whole(3));
        (0..110).for_each(|ms| drop(asked(&mut gaps, ms)));
        gaps.settle_through(0, 0);
        let come: [(u64, u32, u16); 6] = [(115, 0, 1), (116, 1, 0), (117, 1, 0), (118, 2, 1), (119, 2, 1), (120, 2, 0)];
        let arrivals = come.map(|(ms, frame, index)| gaps.push(at(ms), &header(frame, index, 3), true));
        let [asked, double] = [Arrival::Asked, Arrival::Double];
        assert_eq!(arrivals, [double, asked, double, asked, double, asked], "the first was settled before it came");
        assert_eq!(gaps.push(at(121), &header(4, 0, 3), true), Arrival::Unasked);
        gaps.push(at(600), &header(4, 1, 3), true);
        assert!(gaps.layers[&0].missing.keys().all(|(frame, _)| *frame > 1), "it is not remembered for ever");
    }

    #[test]
    fn what_only_changed_places_is_not_asked_for() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &[(0, 0), (0, 2)]);
        assert_eq!(gaps.push(at(5), &header(0, 1, 3), true), Arrival::Unasked);
        assert_eq!((due_ms(&gaps), asked(&mut gaps, 100)), (None, vec![]));
    }

    #[test]
    fn the_end_of_a_frame_is_missed_when_nothing_more_comes_or_the_next_one_begins() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &[(0, 0), (0, 1)]);
        assert_eq!((due_ms(&gaps), asked(&mut gaps, 14)), (Some(15), vec![]));
        assert_eq!(asked(&mut gaps, 15), [Wanted::fragment(0, 2)]);
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &[(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]);
        assert_eq!(asked(&mut gaps, 10), [Wanted::fragment(0, 2)]);
    }

    #[test]
    fn fragments_that_come_slowly_are_waited_for() {
        let mut gaps = Gaps::new(DEADLINE);
        (0..20).for_each(|index| _ = gaps.push(at(u64::from(index) * 13), &header(0, index, 40), true));
        assert_eq!(asked(&mut gaps, 19 * 13 + 44), []);
        assert_eq!(asked(&mut gaps, 19 * 13 + 52).len(), 2, "20 fragments");
    }

    #[test]
    fn a_frame_of_which_nothing_came_is_asked_for_as_a_whole() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &whole(0));
        push(&mut gaps, 66, &whole(2));
        assert_eq!(due_ms(&gaps), Some(43), "it should have come half way between the others");
        assert_eq!(asked(&mut gaps, 66), [Wanted::whole(1)]);
        assert_eq!(gaps.push(at(130), &header(1, 0, 3), true), Arrival::Asked);
        assert_eq!(gaps.push(at(130), &header(1, 2, 3), true), Arrival::Asked);
        assert_eq!(asked(&mut gaps, 136), [Wanted::fragment(1, 1)]);
    }

    #[test]
    fn layers_that_are_left_out_are_not_missed_unless_something_needs_them() {
        let mut gaps = Gaps::new(DEADLINE);
        let with = |frame, depends_on_distance| MediaHeader { depends_on_distance, ..header(frame, 0, 1) };
        for (frame, distance) in [(0, 0), (4, 4), (8, 4), (10, 1)] {
            gaps.push(at(0), &with(frame, distance), false);
        }
        assert_eq!(asked(&mut gaps, 10), [Wanted::whole(9)]);
    }

    #[test]
    fn what_cannot_come_in_time_is_given_up() {
        let mut gaps = Gaps::new(Duration::from_millis(200));
        push(&mut gaps, 0, &[(0, 0), (0, 2)]);
        let asks: Vec<_> = (0..400).filter(|ms| !asked(&mut gaps, *ms).is_empty()).collect();
        assert_eq!(asks, [10, 20, 30, 100, 110, 120]);
        assert_eq!(due_ms(&gaps), None);
        push(&mut gaps, 400, &[(1, 0), (1, 2)]);
        let far = gaps.timeout(at(410), TRACK, Duration::from_millis(191));
        assert_eq!((far, due_ms(&gaps)), (vec![], Some(600)), "the path is too long");
    }

    #[test]
    fn what_was_asked_for_in_vain_is_known_when_it_comes_all_the_same() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &[(0, 0), (0, 2)]);
        (0..399).for_each(|ms| drop(gaps.timeout(at(ms), TRACK, Duration::ZERO)));
        assert_eq!(gaps.push(at(399), &header(0, 1, 3), true), Arrival::Asked);
    }

    #[test]
    fn a_frame_of_one_datagram_is_asked_for_as_often() {
        let mut gaps = Gaps::new(DEADLINE);
        [0, 2].iter().for_each(|frame| _ = gaps.push(at(u64::from(*frame) * 20), &header(*frame, 0, 1), true));
        let asks: Vec<_> = (40..400).filter(|ms| asked(&mut gaps, *ms) == [Wanted::whole(1)]).collect();
        assert_eq!(asks, [40, 50, 60, 130, 140, 150, 220, 230, 240]);
    }

    #[test]
    fn on_a_short_path_it_is_asked_for_a_few_times() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &[(0, 0), (0, 2)]);
        let asks = (0..400).filter(|ms| !gaps.timeout(at(*ms), TRACK, Duration::ZERO).is_empty()).count();
        assert_eq!(asks, usize::from(REPEAT_ASKS_MAX));
    }

    #[test]
    fn what_is_settled_is_not_asked_for() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &[(0, 0), (0, 2), (1, 0), (1, 2), (2, 0), (2, 2), (3, 1)]);
        gaps.settle_through(0, 0);
        gaps.settle(0, 1);
        gaps.settle(0, 3);
        assert_eq!(asked(&mut gaps, 100), [Wanted::fragment(2, 1)]);
        gaps.keep(1);
        assert_eq!(due_ms(&gaps), None);
    }

    #[test]
    fn a_failure_of_the_path_is_not_repaired() {
        let mut gaps = Gaps::new(DEADLINE);
        push(&mut gaps, 0, &whole(0));
        push(&mut gaps, 0, &whole(1000));
        assert_eq!(asked(&mut gaps, 10), []);
        push(&mut gaps, 20, &[(1001, 0), (1001, 2)]);
        assert_eq!(asked(&mut gaps, 30), [Wanted::fragment(1001, 1)]);
        push(&mut gaps, 40, &[(3, 0), (3, 2)]);
        assert_eq!(asked(&mut gaps, 50), [Wanted::fragment(3, 1)], "it counts from the beginning again");
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut gaps = Gaps::new(DEADLINE);
        let missing = |gaps: &Gaps| gaps.layers[&0].missing.len();
        for frame in 0..58 {
            gaps.push(at(0), &header(frame, 99, 100), true);
            assert!(missing(&gaps) <= GAP_DATAGRAMS_MAX, "{frame}");
        }
        assert!(missing(&gaps) >= 99);
        gaps.push(at(0), &header(58, 1999, 2000), true);
        assert_eq!(missing(&gaps), 0, "a path that lost so much has failed");
        gaps.push(at(0), &header(u32::MAX, 1, 2), true);
        assert_eq!(asked(&mut gaps, 10), [], "and nothing overflows");
    }
}
