use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::queue::Queue;
use super::reception::Reception;
use crate::limits::{AUDIO_DEADLINE, Bucket, REPEAT_ASKS, VIDEO_DEADLINE};
use crate::media::{Arrival, Assembly, Decodability, Frame, Gaps};
use crate::now::Now;
use crate::wire::{Datagram, Layers, RepeatRequest, TrackId, TrackInfo, TrackReport};

/// How long a whole audio frame waits for the one before it: time to ask for it once on most paths.
const AUDIO_PATIENCE: Duration = Duration::from_millis(100);

/// How long a whole picture waits for one that it needs: without it, the picture stands still until a keyframe comes, which takes
/// longer than to ask twice for what is missing.
const VIDEO_PATIENCE: Duration = Duration::from_millis(300);

/// Time between two requests for a keyframe, until one comes.
const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(300);

/// How often a rendition that was chosen and does not come is asked for as often as that, and time between two requests after it: the path
/// may not carry it, and the relay knows; or the relay passed over what was asked too soon.
const RENDITION_WISHES_SOON: u32 = 3;
const RENDITION_WISH_INTERVAL: Duration = Duration::from_secs(4);

/// Time between two reports of how tracks arrive.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A temporal layer of which nothing came for so long is left out by the relay: many times as long as a loss in a row.
const TOP_LAYER_TIME: Duration = Duration::from_millis(300);

/// After a track was unpublished, its last datagrams may take this long one after the other.
const TAIL: Duration = Duration::from_millis(300);

/// Datagrams kept for tracks that have not been announced yet: the control stream may be slower than the media.
const EARLY_DATAGRAMS_MAX: usize = 256;

/// Frames of a track that wait to be taken: 10 s of video at 25 frames per second.
const FRAMES_MAX: usize = 256;

/// The same in bytes: one of the largest frames and many ordinary ones.
const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Frames of one track that wait to be taken.
pub(super) type Frames = Queue<Frame>;

/// Makes frames of the datagrams of all subscribed tracks. Pure but for the queues at its end.
#[derive(Debug, Default)]
pub(super) struct Receive {
    tracks: BTreeMap<TrackId, Incoming>,
    /// Tracks of others, subscribed or not.
    announced: BTreeSet<TrackId>,
    early: VecDeque<Datagram>,
    report_due: Option<Duration>,
    /// Requests for datagrams once more: whoever publishes decides what is missing, and must not decide what others send.
    asks: Bucket,
}

/// What to tell the relay now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Renditions of which a keyframe is wanted.
    pub keyframes: Vec<(TrackId, u8)>,
    /// What did not arrive and is wanted once more.
    pub repeats: Vec<RepeatRequest>,
    pub reports: Vec<TrackReport>,
}

#[derive(Debug)]
struct Incoming {
    assembly: Assembly,
    gaps: Gaps,
    frames: Arc<Frames>,
    is_video: bool,
    highest: Layers,
    /// What is wanted of it.
    layers: Layers,
    /// Whether the relay has not said yet that it knows that.
    layers_unanswered: bool,
    /// The rendition of the last keyframe that came out.
    rendition: Option<u8>,
    /// The rendition of which a keyframe came last, perhaps only in part.
    arriving: Option<u8>,
    /// How often the chosen rendition was asked for.
    rendition_wishes: u32,
    reception: Reception,
    /// Whether frames were dropped from the queue that the next ones need.
    broken: bool,
    keyframe_asked_at: Option<Duration>,
    /// Whether the relay sends it only if it is pinned.
    held: bool,
    pinned: bool,
    last_datagram_at: Duration,
    /// When something of the highest temporal layer came last.
    top_layer_at: Duration,
    unpublished: bool,
}

impl Receive {
    /// A track exists: what comes for it is not early any more.
    pub fn announce(&mut self, track: TrackId) {
        self.announced.insert(track);
    }

    /// Whether someone takes frames of a track.
    pub fn is_open(&self, track: TrackId) -> bool {
        self.tracks.get(&track).is_some_and(|incoming| !incoming.unpublished)
    }

    /// Begins to take frames of a track, those that came early first.
    pub fn open(&mut self, now: Now, track: TrackId, info: &TrackInfo) -> Arc<Frames> {
        let frames = Arc::new(Frames::new(FRAMES_MAX, FRAME_BYTES_MAX));
        self.announce(track);
        let mut incoming = Incoming::new(now, frames.clone(), info);
        if let Some(former) = self.tracks.remove(&track) {
            former.frames.close();
            if !former.unpublished {
                // To the relay it is the same subscription, with the choice that was made of it.
                (incoming.layers, incoming.layers_unanswered) = (former.layers, former.layers_unanswered);
                (incoming.held, incoming.pinned) = (former.held, former.pinned);
                incoming.keyframe_asked_at = None;
            }
        }
        self.tracks.insert(track, incoming);
        let (its, others) = self.early.drain(..).partition(|datagram| datagram.header.track == track);
        self.early = others;
        let its: VecDeque<Datagram> = its;
        for datagram in its {
            self.push(now, datagram);
        }
        frames
    }

    /// Wants other layers of a track, and says what was wanted before.
    pub fn set_layers(&mut self, now: Now, track: TrackId, layers: Layers) -> Option<Layers> {
        let incoming = self.tracks.get_mut(&track)?;
        // The relay asks for the first one.
        incoming.keyframe_asked_at = Some(now.since_start);
        incoming.layers_unanswered = true;
        incoming.rendition_wishes = 0;
        Some(std::mem::replace(&mut incoming.layers, layers))
    }

    /// The relay sends a track from now on only if it is pinned, or sends it in any case.
    pub fn set_held(&mut self, now: Now, track: TrackId, held: bool) {
        if let Some(incoming) = self.tracks.get_mut(&track).filter(|incoming| incoming.held != held) {
            incoming.held = held;
            // The relay asks for the first one.
            incoming.keyframe_asked_at = Some(now.since_start);
        }
    }

    /// Wants a track in any case, or does not, and says what was wanted before.
    pub fn set_pinned(&mut self, now: Now, track: TrackId, pinned: bool) -> Option<bool> {
        let incoming = self.tracks.get_mut(&track)?;
        incoming.keyframe_asked_at = Some(now.since_start);
        Some(std::mem::replace(&mut incoming.pinned, pinned))
    }

    /// What is wanted in any case.
    pub fn pinned(&self) -> Vec<TrackId> {
        self.tracks.iter().filter(|(_, incoming)| incoming.pinned && !incoming.unpublished).map(|(id, _)| *id).collect()
    }

    /// The relay sends these layers of a track from now on.
    pub fn layers_answered(&mut self, track: TrackId, layers: Layers) {
        if let Some(incoming) = self.tracks.get_mut(&track).filter(|incoming| incoming.layers == layers) {
            incoming.layers_unanswered = false;
        }
    }

    /// What is wanted of a track, if it is less than all there is, or if the relay may not know it.
    pub fn chosen_layers(&self, track: TrackId) -> Option<Layers> {
        let incoming = self.tracks.get(&track)?;
        (incoming.layers != incoming.highest || incoming.layers_unanswered).then_some(incoming.layers)
    }

    /// The tracks of which the relay may not know what is wanted.
    pub fn unanswered(&self) -> Vec<TrackId> {
        let unanswered = self.tracks.iter().filter(|(_, incoming)| incoming.layers_unanswered && !incoming.unpublished);
        unanswered.map(|(track, _)| *track).collect()
    }

    /// Takes no more frames of a track whose frames go into `frames`.
    pub fn close(&mut self, track: TrackId, frames: &Arc<Frames>) {
        if self.tracks.get(&track).is_some_and(|incoming| Arc::ptr_eq(&incoming.frames, frames)) {
            self.unsubscribe(track);
        }
    }

    /// Takes no more frames of a track.
    pub fn unsubscribe(&mut self, track: TrackId) {
        if let Some(incoming) = self.tracks.remove(&track) {
            incoming.frames.close();
        }
    }

    /// Takes what is still on its way, then ends the track.
    pub fn unpublish(&mut self, now: Now, track: TrackId) {
        self.announced.remove(&track);
        if let Some(incoming) = self.tracks.get_mut(&track) {
            incoming.unpublished = true;
            incoming.last_datagram_at = now.since_start;
        }
    }

    /// Ends all tracks: what has come can still be taken.
    pub fn end(&mut self) {
        for incoming in std::mem::take(&mut self.tracks).into_values() {
            incoming.frames.close();
        }
    }

    /// Takes a datagram.
    pub fn push(&mut self, now: Now, datagram: Datagram) {
        let track = datagram.header.track;
        if let Some(incoming) = self.tracks.get_mut(&track) {
            incoming.push(now, &datagram);
            self.report_due.get_or_insert(now.since_start + REPORT_INTERVAL);
        } else if !self.announced.contains(&track) {
            if self.early.len() == EARLY_DATAGRAMS_MAX {
                self.early.pop_front();
            }
            self.early.push_back(datagram);
        }
    }

    /// Does what is due. What is missing can come `round_trip` after it was asked for; `None`: nobody can be asked.
    pub fn timeout(&mut self, now: Now, round_trip: Option<Duration>) -> Due {
        let (mut keyframes, mut repeats) = (Vec::new(), Vec::new());
        self.tracks.retain(|track, incoming| {
            incoming.take_frames(now);
            if incoming.ended_at().is_some_and(|end| end <= now.since_start) {
                incoming.frames.close();
                return false;
            }
            if incoming.keyframe_due().is_some_and(|due| due <= now.since_start) {
                incoming.keyframe_asked_at = Some(now.since_start);
                keyframes.push((*track, incoming.take_keyframe_wish()));
            }
            match round_trip {
                Some(round_trip) => repeats.extend(incoming.gaps.timeout(now, *track, round_trip)),
                None => incoming.gaps.clear(),
            }
            true
        });
        repeats.retain(|_| self.asks.take(now, REPEAT_ASKS, 1));
        Due { keyframes, repeats, reports: self.take_reports(now) }
    }

    fn take_reports(&mut self, now: Now) -> Vec<TrackReport> {
        if self.report_due.is_none_or(|due| due > now.since_start) {
            return Vec::new();
        }
        let report = |(track, incoming): (&TrackId, &mut Incoming)| {
            let all_layers = incoming.gets_all_layers(now);
            incoming.reception.report(now, *track, all_layers)
        };
        let reports: Vec<_> = self.tracks.iter_mut().filter_map(report).collect();
        self.report_due = (!reports.is_empty()).then(|| now.since_start + REPORT_INTERVAL);
        reports
    }

    /// When [`Receive::timeout`] is due, as time since the start.
    pub fn next_timeout(&self) -> Option<Duration> {
        let due = |incoming: &Incoming| {
            let gaps = incoming.gaps.next_timeout();
            let all = [incoming.assembly.next_timeout(), gaps, incoming.ended_at(), incoming.keyframe_due()];
            all.into_iter().flatten().min()
        };
        let report_due = self.report_due.filter(|_| !self.tracks.is_empty());
        self.tracks.values().filter_map(due).chain(report_due).min()
    }
}

impl Incoming {
    fn new(now: Now, frames: Arc<Frames>, info: &TrackInfo) -> Self {
        let is_video = info.is_video();
        let (decodability, patience, deadline) = match is_video {
            true => (Decodability::Dependent, VIDEO_PATIENCE, VIDEO_DEADLINE),
            false => (Decodability::Independent, AUDIO_PATIENCE, AUDIO_DEADLINE),
        };
        Self {
            assembly: Assembly::new(decodability, patience),
            gaps: Gaps::new(deadline),
            frames,
            is_video,
            highest: info.highest_layers(),
            layers: info.highest_layers(),
            layers_unanswered: false,
            rendition: None,
            arriving: None,
            rendition_wishes: 0,
            reception: if is_video { Reception::default() } else { Reception::of_audio() },
            broken: is_video,
            // The relay sends a recent picture, or asks for the first keyframe.
            keyframe_asked_at: Some(now.since_start),
            held: false,
            pinned: false,
            last_datagram_at: now.since_start,
            top_layer_at: now.since_start,
            unpublished: false,
        }
    }

    /// Whether frames of all temporal layers are to come: the relay leaves out upper ones where the path carries no more, and says
    /// nothing of it.
    fn gets_all_layers(&self, now: Now) -> bool {
        let is_wished = self.layers.temporal >= self.highest.temporal;
        is_wished && (self.highest.temporal == 0 || now.since_start < self.top_layer_at + TOP_LAYER_TIME)
    }

    fn push(&mut self, now: Now, datagram: &Datagram) {
        self.last_datagram_at = now.since_start;
        if datagram.header.temporal_layer >= self.highest.temporal {
            self.top_layer_at = now.since_start;
        }
        let all_frames = self.gets_all_layers(now);
        // What had to be repaired is lost in a report: the publisher should know the path as it is.
        if self.gaps.push(now, &datagram.header, all_frames) == Arrival::Unasked {
            self.reception.push(now, &datagram.header);
        }
        let spatial_layer = datagram.header.spatial_layer;
        if datagram.header.keyframe {
            // The relay sends a smaller rendition than was chosen where the path carries no more.
            self.arriving = Some(spatial_layer);
            if datagram.header.on_stream {
                // It comes, whole if slowly: another one would be in its way.
                self.keyframe_asked_at = Some(now.since_start);
            }
        }
        let is_sent = [self.rendition, self.arriving, Some(self.layers.spatial)].contains(&Some(spatial_layer));
        if !is_sent && self.rendition.is_some() {
            return;
        }
        if self.assembly.push(now, datagram) {
            self.gaps.settle(spatial_layer, datagram.header.frame);
        }
        self.take_frames(now);
    }

    fn take_frames(&mut self, now: Now) {
        while let Some(frame) = self.assembly.pop(now) {
            self.gaps.settle_through(frame.spatial_layer, frame.number);
            if self.is_video && frame.keyframe {
                self.broken = false;
                self.rendition = Some(frame.spatial_layer);
                self.assembly.keep(frame.spatial_layer);
                self.gaps.keep(frame.spatial_layer);
            }
            if self.broken || self.is_video && self.rendition != Some(frame.spatial_layer) {
                continue;
            }
            let bytes = frame.data.len();
            let overflowed = self.frames.push(frame, bytes);
            if overflowed && self.is_video {
                self.broken = !self.frames.drop_until(|frame| frame.keyframe);
            }
        }
    }

    fn ended_at(&self) -> Option<Duration> {
        self.unpublished.then(|| self.last_datagram_at + TAIL)
    }

    /// The rendition of which a keyframe is wanted: the one that comes, if one does, and sometimes the one that was chosen.
    fn take_keyframe_wish(&mut self) -> u8 {
        if !self.broken && !self.assembly.needs_keyframe() {
            self.rendition_wishes += 1;
            return self.layers.spatial;
        }
        self.arriving.unwrap_or(self.layers.spatial)
    }

    fn keyframe_due(&self) -> Option<Duration> {
        let is_other = self.rendition != Some(self.layers.spatial);
        let is_needed = self.broken || self.assembly.needs_keyframe();
        let is_sent = !self.held || self.pinned;
        let is_soon = is_needed || self.rendition_wishes < RENDITION_WISHES_SOON;
        let interval = if is_soon { KEYFRAME_REQUEST_INTERVAL } else { RENDITION_WISH_INTERVAL };
        ((is_needed || is_other) && self.is_video && is_sent && !self.unpublished)
            .then(|| self.keyframe_asked_at.map_or(Duration::ZERO, |asked| asked + interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Rational, TrackMedia, TrackSource};

    const TRACK: TrackId = TrackId(3);

    fn info(media: TrackMedia) -> TrackInfo {
        TrackInfo { source: TrackSource::Other, codec: "any".into(), media, description: vec![] }
    }

    fn audio() -> TrackInfo {
        info(TrackMedia::Audio { sample_rate: 48_000, channels: 1 })
    }

    fn video() -> TrackInfo {
        in_renditions(1)
    }

    fn in_renditions(spatial_layers: u8) -> TrackInfo {
        let frame_rate = Rational { numerator: 30, denominator: 1 };
        info(TrackMedia::Video { width: 640, height: 360, frame_rate, temporal_layers: 1, spatial_layers })
    }

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    fn datagram(number: u32, depends_on_distance: u8) -> Datagram {
        let frame = Frame { number, depends_on_distance, keyframe: depends_on_distance == 0, ..Frame::default() };
        frame.datagrams(TRACK).unwrap().next().unwrap()
    }

    #[tokio::test]
    async fn what_came_before_the_announcement_is_not_lost() {
        let mut receive = Receive::default();
        receive.push(at(0), datagram(0, 0));
        receive.push(at(0), datagram(1, 1));
        let frames = receive.open(at(10), TRACK, &video());
        assert_eq!((frames.pop().await.unwrap().number, frames.pop().await.unwrap().number), (0, 1));
        assert!(receive.early.is_empty());
    }

    #[tokio::test]
    async fn what_came_early_is_bounded_and_what_nobody_wants_is_not_kept() {
        let mut receive = Receive::default();
        (0..1000).for_each(|number| receive.push(at(0), datagram(number, 0)));
        assert_eq!(receive.early.len(), EARLY_DATAGRAMS_MAX);
        receive.early.clear();
        receive.announce(TRACK);
        receive.push(at(0), datagram(0, 0));
        assert!(receive.early.is_empty());
    }

    #[tokio::test]
    async fn a_keyframe_is_asked_for_until_one_comes() {
        let mut receive = Receive::default();
        let frames = receive.open(at(0), TRACK, &video());
        assert_eq!(receive.timeout(at(0), None).keyframes, [], "the relay does that");
        assert_eq!(receive.next_timeout(), Some(Duration::from_millis(300)));
        receive.push(at(50), datagram(7, 1));
        assert_eq!(receive.timeout(at(299), None).keyframes, []);
        assert_eq!(receive.timeout(at(300), None).keyframes, [(TRACK, 0)]);
        receive.push(at(310), datagram(8, 0));
        assert_eq!(receive.timeout(at(700), None).keyframes, []);
        assert_eq!(frames.pop().await.unwrap().number, 8);
    }

    #[tokio::test]
    async fn a_track_ends_when_its_tail_has_come() {
        let mut receive = Receive::default();
        let frames = receive.open(at(0), TRACK, &audio());
        receive.push(at(0), datagram(0, 0));
        receive.unpublish(at(100), TRACK);
        receive.push(at(350), datagram(1, 0));
        receive.timeout(at(649), None);
        receive.push(at(649), datagram(2, 0));
        receive.timeout(at(949), None);
        let numbers = [frames.pop().await, frames.pop().await, frames.pop().await].map(|frame| frame.unwrap().number);
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(frames.pop().await, None);
        assert_eq!(receive.next_timeout(), None);
    }

    fn of_layer(number: u32, spatial_layer: u8, depends_on_distance: u8) -> Datagram {
        let keyframe = depends_on_distance == 0;
        let frame = Frame { number, spatial_layer, depends_on_distance, keyframe, ..Frame::default() };
        frame.datagrams(TRACK).unwrap().next().unwrap()
    }

    #[tokio::test]
    async fn another_rendition_is_asked_for_until_it_comes_and_nothing_of_the_old_one_follows_it() {
        let mut receive = Receive::default();
        let frames = receive.open(at(0), TRACK, &in_renditions(2));
        receive.push(at(0), of_layer(0, 1, 0));
        assert_eq!(receive.timeout(at(0), None), Due::default());
        let wish = Layers { spatial: 0, temporal: 0 };
        assert_eq!(receive.set_layers(at(0), TRACK, wish), Some(Layers { spatial: 1, temporal: 0 }));
        assert_eq!(receive.timeout(at(299), None).keyframes, []);
        assert_eq!(receive.timeout(at(300), None).keyframes, [(TRACK, 0)]);
        for datagram in [of_layer(1, 1, 1), of_layer(10, 0, 0), of_layer(2, 1, 1), of_layer(11, 0, 1)] {
            receive.push(at(310), datagram);
        }
        assert_eq!(receive.timeout(at(700), None).keyframes, []);
        receive.unsubscribe(TRACK);
        let mut came = Vec::new();
        while let Some(frame) = frames.pop().await {
            came.push((frame.spatial_layer, frame.number));
        }
        assert_eq!(came, [(1, 0), (1, 1), (0, 10), (0, 11)]);
    }

    #[tokio::test]
    async fn a_smaller_rendition_than_was_chosen_is_taken_and_the_chosen_one_asked_for_ever_more_seldom() {
        let mut receive = Receive::default();
        let frames = receive.open(at(0), TRACK, &in_renditions(2));
        for datagram in
            [of_layer(0, 1, 0), of_layer(5, 0, 1), of_layer(10, 0, 0), of_layer(11, 0, 1), of_layer(20, 1, 0)]
        {
            receive.push(at(10), datagram);
        }
        receive.push(at(11), of_layer(30, 0, 0));
        let asked: Vec<_> = (0..20).flat_map(|step| receive.timeout(at(100 + step * 300), None).keyframes).collect();
        assert_eq!(asked, [(TRACK, 1); 4], "three times within a second, and once in four");
        receive.push(at(7000), of_layer(32, 0, 1));
        assert_eq!(receive.timeout(at(7500), None).keyframes, [(TRACK, 0)], "what comes has to go on");
        receive.unsubscribe(TRACK);
        let mut came = Vec::new();
        while let Some(frame) = frames.pop().await {
            came.push((frame.spatial_layer, frame.number));
        }
        assert_eq!(came, [(1, 0), (0, 10), (0, 11), (1, 20), (0, 30)]);
    }

    #[tokio::test]
    async fn who_takes_a_track_again_has_chosen_already() {
        let mut receive = Receive::default();
        receive.open(at(0), TRACK, &in_renditions(2));
        let (all, some) = (Layers { spatial: 1, temporal: 0 }, Layers { spatial: 0, temporal: 0 });
        receive.set_layers(at(0), TRACK, some);
        receive.open(at(0), TRACK, &in_renditions(2));
        assert_eq!(
            (receive.chosen_layers(TRACK), receive.timeout(at(0), None).keyframes),
            (Some(some), vec![(TRACK, 0)])
        );
        receive.push(at(10), of_layer(0, 0, 0));
        assert_eq!(receive.timeout(at(1000), None).keyframes, [], "it gets what it asked for");
        receive.unpublish(at(1000), TRACK);
        receive.open(at(1000), TRACK, &in_renditions(2));
        assert_eq!(receive.set_layers(at(1000), TRACK, some), Some(all), "another track of that number");
    }

    #[test]
    fn a_keyframe_of_what_is_not_sent_is_not_asked_for() {
        let mut receive = Receive::default();
        receive.open(at(0), TRACK, &video());
        receive.set_held(at(100), TRACK, true);
        assert_eq!((receive.timeout(at(9000), None).keyframes, receive.next_timeout()), (vec![], None));
        receive.set_held(at(9000), TRACK, false);
        assert_eq!(receive.timeout(at(9299), None).keyframes, [], "the relay asks for the first one");
        assert_eq!(receive.timeout(at(9300), None).keyframes, [(TRACK, 0)]);
        receive.set_held(at(9400), TRACK, true);
        assert_eq!(receive.set_pinned(at(9500), TRACK, true), Some(false));
        assert_eq!(receive.timeout(at(9800), None).keyframes, [(TRACK, 0)], "it is sent in any case");
        assert_eq!(receive.pinned(), [TRACK]);
    }

    #[test]
    fn a_choice_is_said_again_until_it_is_answered() {
        let mut receive = Receive::default();
        receive.open(at(0), TRACK, &in_renditions(2));
        let (all, some) = (Layers { spatial: 1, temporal: 0 }, Layers { spatial: 0, temporal: 0 });
        receive.set_layers(at(0), TRACK, some);
        receive.layers_answered(TRACK, some);
        assert_eq!((receive.unanswered(), receive.chosen_layers(TRACK)), (vec![], Some(some)));
        receive.set_layers(at(0), TRACK, all);
        receive.layers_answered(TRACK, some);
        assert_eq!((receive.unanswered(), receive.chosen_layers(TRACK)), (vec![TRACK], Some(all)), "another choice");
        receive.layers_answered(TRACK, all);
        assert_eq!((receive.unanswered(), receive.chosen_layers(TRACK)), (vec![], None));
    }

    #[tokio::test]
    async fn reports_come_once_a_second_while_there_is_something_to_say() {
        let mut receive = Receive::default();
        receive.open(at(0), TRACK, &audio());
        assert_eq!(receive.next_timeout(), None);
        (0..100).for_each(|number| receive.push(at(u64::from(number) * 20), datagram(number, 0)));
        assert_eq!(receive.timeout(at(999), None).reports, []);
        let received = |due: Due| due.reports.iter().map(|report| report.received).collect::<Vec<_>>();
        assert_eq!(received(receive.timeout(at(2000), None)), [88]);
        assert_eq!(receive.next_timeout(), Some(Duration::from_secs(3)));
        assert_eq!(received(receive.timeout(at(3000), None)), [12]);
        assert_eq!(received(receive.timeout(at(4000), None)), [0]);
        assert_eq!(received(receive.timeout(at(5000), None)), [0; 0]);
        assert_eq!(receive.next_timeout(), None);
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_goes_on_at_a_keyframe() {
        let mut receive = Receive::default();
        let frames = receive.open(at(0), TRACK, &video());
        receive.timeout(at(0), None);
        (0..300).for_each(|number| receive.push(at(0), datagram(number, u8::from(number > 0))));
        assert_eq!(receive.timeout(at(300), None).keyframes, [(TRACK, 0)]);
        receive.push(at(310), datagram(300, 0));
        assert_eq!((frames.pop().await.unwrap().number, frames.dropped() > 0), (300, true));
    }
}
