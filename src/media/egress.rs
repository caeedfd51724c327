use std::time::Duration;

use bytes::Bytes;

mod class;
mod drain;
mod flow;
mod heard;
mod held;
mod left_out;
mod missing;
#[cfg(test)]
mod tests;

pub use class::{Class, Medium};
pub use left_out::LeftOut;

use crate::limits::{EGRESS_BYTES_MAX, EGRESS_DATAGRAMS_MAX, EGRESS_FLOWS_MAX, Limits};
use crate::now::Now;
use crate::wire::{Datagram, DropReason, MediaHeader, TrackId};
use class::{BEGUN_DEADLINES, KEYFRAME_DEADLINES};
use drain::Drain;
use flow::{Flow, Part};
use heard::Heard;
use held::{Held, Waiting};

/// Audio that has waited for less passes as it comes.
const PROMPT_TIME: Duration = Duration::from_millis(50);

/// For how long it has to pass as it comes until a path that took none is taken to be back.
const RETURN_TIME: Duration = Duration::from_millis(250);

/// For how long after that keyframes are asked for without growing pauses: round trips of seconds, of before, still slow it down.
const RETURNED_TIME: Duration = Duration::from_secs(3);

/// Bytes a second, below which a path takes nothing: less than a voice has.
const STALLED_RATE: u64 = 2000;

/// For how long it is remembered that nothing was acknowledged: what is left out in that time says nothing about the path.
const STALL_MEMORY: Duration = Duration::from_secs(1);

/// What waits to be sent to one subscriber, and what of it is left out because it could not arrive in time.
///
/// Audio goes before video, keyframes before base layers, those before upper layers; the frames of one track keep their order. A
/// video frame is left out whole, and with it what needs it. Whoever owns the connection [offers](Self::offer) datagrams and
/// [takes](Self::take) them when there is space below. While it [is idle](Self::is_idle), they may pass it by.
#[derive(Debug)]
pub struct Egress {
    audio_deadline: Duration,
    video_deadline: Duration,
    audio: Waiting,
    heard: Heard,
    /// Video tracks of which something waits, or of which something was left out that matters to what comes.
    flows: Vec<Flow>,
    /// Room for what waits of a track, of one of which nothing does any more: frames come and go.
    spare: Waiting,
    is_idle: bool,
    drain: Drain,
    /// When something had waited for more than a moment.
    late_at: Duration,
    /// Since when everything has passed as it came, after audio had been left out.
    returning: Option<Duration>,
    /// When a path that had taken no audio was last taken to be back.
    returned: Option<Duration>,
    /// When it was last said that the path takes nothing, as long as that is remembered.
    stalled: Option<Duration>,
    left_out: LeftOut,
}

/// What the path takes now.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// How many bytes.
    pub bytes: usize,
    /// How many bytes of audio, which may be more.
    pub audio_bytes: usize,
    /// Whether video may go on: audio, which takes little, waits for no pace.
    pub video_open: bool,
    /// Whether keyframes may where other video may not: more of one may leave at once.
    pub keyframes_open: bool,
    /// Whether frames that travel on streams can go on; others pass them by if they cannot.
    pub streams_open: bool,
    /// Whether the path takes no more, as far as is known. Otherwise video is paced by what was used of it, which may be far less than it
    /// carries: a keyframe of a larger rendition then waits for long where there is room for it.
    pub is_full: bool,
}

impl From<usize> for Space {
    /// So many bytes of anything.
    fn from(bytes: usize) -> Self {
        Self { bytes, audio_bytes: bytes, video_open: true, keyframes_open: true, streams_open: true, is_full: true }
    }
}

/// A datagram to send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its header.
    pub header: MediaHeader,
    /// All of it.
    pub bytes: Bytes,
    /// Its class.
    pub class: Class,
    /// How long it has waited.
    pub waited: Duration,
}

impl Egress {
    /// One in which nothing waits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            audio_deadline: limits.audio_deadline(),
            video_deadline: limits.video_deadline(),
            audio: Waiting::default(),
            heard: Heard::default(),
            flows: Vec::new(),
            spare: Waiting::default(),
            is_idle: true,
            drain: Drain::default(),
            late_at: Duration::ZERO,
            returning: None,
            returned: None,
            stalled: None,
            left_out: LeftOut::default(),
        }
    }

    /// Whether the path takes nothing at all, as it seems, or as was said a moment ago.
    pub fn is_stalled(&self) -> bool {
        self.stalled.is_some()
            || [self.drain.measured(), self.drain.said()].into_iter().flatten().any(|rate| rate < STALLED_RATE)
    }

    /// The most important class of what was left out here, or waited for long, if less would help: not where nothing passes at all, nor
    /// where what waits becomes less by itself, behind a keyframe or since other layers were chosen.
    pub fn pressed(&self, left_out: &LeftOut) -> Option<Class> {
        let is_short = |class: &Class| match class {
            Class::Audio => true,
            // It had begun, and had three times as long as other frames.
            Class::Keyframe if left_out.cut() > 0 => true,
            _ => self.drain.is_short(),
        };
        left_out.pressed().filter(is_short).filter(|_| !self.is_stalled())
    }

    /// Whether nothing waits, and nothing was left out that matters to what comes.
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.audio.is_empty() && self.flows.iter().all(|flow| flow.waiting.is_empty())
    }

    /// How long video has waited that is to leave next.
    pub fn video_waited(&self, now: Now) -> Duration {
        let since = self.flows.iter().filter_map(|flow| flow.waiting.first()).map(|first| first.since).min();
        since.map_or(Duration::ZERO, |since| now.since_start.saturating_sub(since))
    }

    /// Whether this datagram waits: it will come, or is left out because it could not come in time.
    pub fn holds(&self, datagram: &[u8]) -> bool {
        let waiting = std::iter::once(&self.audio).chain(self.flows.iter().map(|flow| &flow.waiting));
        waiting.flat_map(Waiting::iter).any(|held| held.bytes == datagram)
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.audio.bytes() + self.flows.iter().map(|flow| flow.waiting.bytes()).sum::<usize>()
    }

    /// Bytes a second that the path carries: those that were taken of late while others waited, or what it was [said to
    /// carry](Self::note_path_rate) if that is more. `None`: nothing is known.
    pub fn rate(&self) -> Option<u64> {
        self.drain.rate()
    }

    /// Notes what the connection takes the path to carry, in bytes a second.
    pub fn note_path_rate(&mut self, bytes_per_second: u64) {
        self.drain.note_said(bytes_per_second);
    }

    /// Notes that nothing was heard of what was sent for so long that the path takes nothing, as it seems.
    pub fn note_silence(&mut self, now: Now) {
        self.stalled = Some(now.since_start);
    }

    /// What was left out since this was asked last.
    pub fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }

    /// Leaves out all that waits: nobody is there to get it.
    pub fn clear(&mut self) {
        self.left_out.count(DropReason::SubscriberGone, self.datagrams() as u64);
        self.audio = Waiting::default();
        self.flows.clear();
        self.is_idle = true;
    }

    /// Lets a datagram wait, or leaves it out, or something less important. A second copy of an audio frame that came here already is
    /// left out: it would take the place of others.
    pub fn offer(&mut self, now: Now, medium: Medium, datagram: Datagram) {
        self.offer_held(now, |egress, now| {
            let held = Held { header: datagram.header, bytes: datagram.bytes, since: now, is_repeat: false };
            match medium {
                Medium::Audio if egress.heard.is_copy(&held.header) => {
                    egress.left_out.count(DropReason::Superseded, 1);
                }
                Medium::Audio => {
                    egress.drain.note_come(held.bytes.len());
                    egress.offer_audio(held);
                }
                Medium::Video => egress.offer_video(now, held),
            }
        });
    }

    /// Lets a datagram wait that was sent before and is asked for once more. Where there is no time or place, it alone is left out: its
    /// frame may be whole without it.
    pub fn offer_repeat(&mut self, now: Now, medium: Medium, datagram: Datagram) {
        self.offer_held(now, |egress, now| {
            let held = Held { header: datagram.header, bytes: datagram.bytes, since: now, is_repeat: true };
            match medium {
                Medium::Audio => egress.offer_audio(held),
                Medium::Video => egress.offer_again(now, held),
            }
        });
    }

    fn offer_held(&mut self, now: Now, offer: impl FnOnce(&mut Self, Duration)) {
        let now = now.since_start;
        self.remember_stall(now);
        offer(self, now);
        self.rest(now);
        self.note_waiting(now);
    }

    fn note_waiting(&mut self, now: Duration) {
        let first = self.flows.iter().map(|flow| &flow.waiting).chain([&self.audio]).filter_map(Waiting::first);
        if first.map(|held| held.since).min().is_some_and(|since| now > since + PROMPT_TIME) {
            self.late_at = now;
        }
        self.drain.note_waiting(now, !self.is_empty());
    }

    /// Takes what is to be sent next, if there is space for it.
    pub fn take(&mut self, now: Now, space: Space) -> Option<Due> {
        let now = now.since_start;
        self.remember_stall(now);
        self.leave_out_late(now);
        let fits = |held: &Held| held.bytes.len() <= space.bytes;
        let can_leave = |held: &&Held| space.streams_open || !held.header.on_stream;
        let held = match self.audio.first().filter(can_leave) {
            Some(first) if first.bytes.len() <= space.audio_bytes => self.audio.pop().map(|held| (Class::Audio, held)),
            // Nothing overtakes it.
            Some(_) => None,
            None if !space.video_open && !space.keyframes_open => None,
            None => {
                let is_open = |held: &Held| match Class::of(&held.header) {
                    Class::Keyframe => space.keyframes_open,
                    _ => space.video_open,
                };
                let flows = self.flows.iter_mut().filter(|flow| flow.waiting.first().filter(can_leave).is_some());
                flows
                    .min_by_key(|flow| flow.rank(now))
                    .filter(|flow| flow.waiting.first().is_some_and(|first| fits(first) && is_open(first)))
                    .and_then(|flow| flow.pop(now))
                    .map(|held| (Class::of(&held.header), held))
            }
        };
        self.rest(now);
        if let Some((_, held)) = &held {
            self.drain.note_taken(held.bytes.len());
            // A large frame takes its time on any path; what is too much for this one is given up.
            let waited = if held.header.on_stream { Duration::ZERO } else { now.saturating_sub(held.since) };
            if waited > PROMPT_TIME {
                self.returning = self.returning.map(|_| now);
            }
            if waited > self.video_deadline / 2 && space.is_full {
                self.left_out.note_pressed(Class::Upper(0));
            }
        }
        self.note_waiting(now);
        held.map(|(class, held)| Due { class, waited: now - held.since, header: held.header, bytes: held.bytes })
    }

    /// How long a frame may take on a stream, from its first datagram until the other side has all of it.
    pub fn stream_time(&self, header: &MediaHeader) -> Duration {
        Class::of(header).stream_time(self.video_deadline)
    }

    /// A frame that was taken has not arrived in time on its stream and never will: what needs it is left out.
    pub fn give_up(&mut self, now: Now, frame: &MediaHeader) {
        let now = now.since_start;
        let Some(index) = self.flow_of(now, frame) else {
            return;
        };
        let flow = &mut self.flows[index];
        flow.give_up(now, frame, &mut self.left_out);
        self.rest(now);
    }

    /// A track of which nothing can be seen until there is a keyframe of this rendition, to be asked for now. Each is given again
    /// after a while, ever more seldom, and at once when the path is back. While something waits there is none: the keyframe would
    /// wait too.
    pub fn take_keyframe_wish(&mut self, now: Now) -> Option<(TrackId, u8)> {
        if !self.is_empty() {
            return None;
        }
        let now = now.since_start;
        if self.returning.take_if(|since| *since + RETURN_TIME <= now).is_some() {
            self.returned = Some(now);
            self.flows.iter_mut().for_each(|flow| flow.wish_by(now));
        }
        if self.returned.is_some_and(|at| now < at + RETURNED_TIME) {
            self.flows.iter_mut().for_each(Flow::wish_soon);
        }
        self.rest(now);
        self.flows.iter_mut().find_map(|flow| flow.take_wish(now))
    }

    /// When the next keyframe is to be asked for, as time since the relay started.
    pub fn next_wish(&self) -> Option<Duration> {
        let wish = self.flows.iter().filter_map(Flow::next_wish).min()?;
        Some(self.returning.map_or(wish, |since| wish.min(since + RETURN_TIME)))
    }

    /// Forgets what does not matter any more.
    fn rest(&mut self, now: Duration) {
        let spare = &mut self.spare;
        let mut matters = false;
        self.flows.retain_mut(|flow| {
            let flow_matters = flow.matters(now);
            matters |= flow_matters;
            let is_kept = flow_matters || flow.rest(now);
            if !is_kept {
                std::mem::swap(spare, &mut flow.waiting);
                spare.shrink();
            }
            is_kept
        });
        self.is_idle = self.audio.is_empty() && !matters;
    }

    fn remember_stall(&mut self, now: Duration) {
        let is_stalled = self.drain.said().is_some_and(|rate| rate < STALLED_RATE);
        self.stalled = if is_stalled { Some(now) } else { self.stalled.filter(|at| now < *at + STALL_MEMORY) };
    }

    fn offer_audio(&mut self, held: Held) {
        match self.make_place(Class::Audio, held.since, held.bytes.len()) {
            Ok(()) => self.audio.push(held),
            Err(reason) => {
                self.returning = Some(held.since);
                self.left_out.count_audio(reason);
            }
        }
    }

    fn offer_video(&mut self, now: Duration, held: Held) {
        let Some(index) = self.flow_of(now, &held.header) else {
            return self.left_out.count(DropReason::SubscriberSlow, 1);
        };
        if !self.flows[index].is_current(&held.header) {
            self.drain.note_change(now);
        }
        if !self.flows[index].comes_once(&held) {
            self.drain.note_come(held.bytes.len());
        }
        let placed = self.place(index, &held);
        let flow = &mut self.flows[index];
        match placed {
            Ok(()) => flow.push(held),
            Err(reason) => {
                self.left_out.count(reason, 1);
                // That nothing waits then is no sign of a path that carries more.
                if flow.lasts(now, self.late_at) {
                    self.left_out.note_pressed(Class::Base);
                }
                // Without its parity, a frame is still whole.
                if !held.header.parity {
                    flow.leave_out(now, &held.header, reason, &mut self.left_out);
                }
            }
        }
    }

    fn offer_again(&mut self, now: Duration, held: Held) {
        let index = self.flow_of(now, &held.header).ok_or(DropReason::SubscriberSlow);
        let accepted = index.and_then(|index| self.flows[index].accept_again(now, &held.header).map(|()| index));
        let placed =
            accepted.and_then(|index| self.make_place(Class::of(&held.header), now, held.bytes.len()).map(|()| index));
        match placed {
            Ok(index) => self.flows[index].push(held),
            Err(reason) => self.left_out.count(reason, 1),
        }
    }

    /// Sees to it that there is time and place for a datagram.
    fn place(&mut self, index: usize, held: &Held) -> Result<(), DropReason> {
        let class = Class::of(&held.header);
        if self.flows[index].accept(held.since, &held.header, &mut self.left_out)? == Part::First {
            self.make_time(index, class, held)?;
        }
        self.make_place(class, held.since, held.bytes.len())
    }

    /// The flow of a track, which begins with a frame if there is none. `None`: there are too many.
    fn flow_of(&mut self, now: Duration, frame: &MediaHeader) -> Option<usize> {
        if let Some(index) = self.flows.iter().position(|flow| flow.track == frame.track) {
            return Some(index);
        }
        if self.flows.len() >= EGRESS_FLOWS_MAX {
            self.flows.retain(|flow| !flow.waiting.is_empty());
        }
        let is_place = self.flows.len() < EGRESS_FLOWS_MAX;
        is_place.then(|| {
            self.flows.push(Flow::new(frame, now, std::mem::take(&mut self.spare)));
            self.flows.len() - 1
        })
    }

    /// Sees to it that a frame which begins with this datagram can be complete in time. Where that cannot be had, nothing is left out
    /// in vain: how large a frame will be is only what its sender says.
    fn make_time(&mut self, index: usize, class: Class, held: &Held) -> Result<(), DropReason> {
        let bytes = held.bytes.len() * usize::from(held.header.fragment_count);
        let rights = self.flows[index].rights(class, held.since);
        if self.is_in_time(rights, self.bytes() + bytes) {
            return Ok(());
        }
        let spare = self.spare_bytes(index, class, rights);
        let is_enough = self.is_in_time(rights, (self.bytes() + bytes).saturating_sub(spare));
        // Late is better than never: nothing else can be seen before it.
        let is_first = class == Class::Keyframe && !self.waits_for_keyframe(index);
        if !is_enough && !is_first {
            return Err(DropReason::Late);
        }
        if class == Class::Keyframe {
            // What waits before it will not be missed.
            self.flows[index].supersede(&mut self.left_out);
        }
        while is_enough && !self.is_in_time(rights, self.bytes() + bytes) && self.leave_out_below(rights, held.since) {}
        Ok(())
    }

    /// How many bytes can be left out for a frame of this class and with these rights.
    fn spare_bytes(&self, index: usize, class: Class, rights: Class) -> usize {
        let of_flow = |(other, flow): (usize, &Flow)| {
            let is_replaced = class == Class::Keyframe && other == index;
            let spare = |held: &&Held| {
                let is_below = flow.can_be_left_out(held) && Class::of(&held.header) > rights;
                is_below || is_replaced && !flow.is_under_way(&held.header)
            };
            flow.waiting.iter().filter(spare).map(|held| held.bytes.len()).sum::<usize>()
        };
        self.flows.iter().enumerate().map(of_flow).sum()
    }

    /// Whether a keyframe of any track goes before one of this track, which replaces what its own track has waiting.
    fn waits_for_keyframe(&self, index: usize) -> bool {
        let has_one = |(other, flow): (usize, &Flow)| flow.has_keyframe(other == index);
        self.flows.iter().enumerate().any(has_one)
    }

    fn is_in_time(&self, class: Class, bytes: usize) -> bool {
        let time = self.deadline(class).as_secs_f64();
        self.rate().is_none_or(|rate| bytes as f64 <= rate as f64 * time)
    }

    /// Sees to it that so many bytes more can wait.
    fn make_place(&mut self, class: Class, now: Duration, bytes: usize) -> Result<(), DropReason> {
        while self.bytes() + bytes > EGRESS_BYTES_MAX || self.datagrams() >= EGRESS_DATAGRAMS_MAX {
            if !self.leave_out_below(class, now) {
                return Err(DropReason::SubscriberSlow);
            }
        }
        Ok(())
    }

    fn datagrams(&self) -> usize {
        self.audio.len() + self.flows.iter().map(|flow| flow.waiting.len()).sum::<usize>()
    }

    /// Leaves out the frame that matters least, and less than this class. Says whether there was one.
    fn leave_out_below(&mut self, class: Class, now: Duration) -> bool {
        let worst = self.flows.iter_mut().filter_map(|flow| Some((flow.least()?, flow)));
        let Some((header, flow)) = worst.max_by_key(|(header, _)| Class::of(header)) else {
            return false;
        };
        let waiting = flow.waiting.len();
        if Class::of(&header) > class {
            flow.leave_out(now, &header, DropReason::Late, &mut self.left_out);
        }
        flow.waiting.len() < waiting
    }

    fn leave_out_late(&mut self, now: Duration) {
        while self.audio.first().is_some_and(|first| now.saturating_sub(first.since) > self.audio_deadline) {
            self.audio.pop();
            self.returning = Some(now);
            self.left_out.count_audio(DropReason::Late);
        }
        for index in 0..self.flows.len() {
            while let Some(first) = self.flows[index].waiting.first()
                && now.saturating_sub(first.since) > self.deadline_of(&self.flows[index], first)
            {
                let header = first.header;
                let flow = &mut self.flows[index];
                if !flow.leave_out_alone(DropReason::Late, &mut self.left_out) {
                    flow.leave_out(now, &header, DropReason::Late, &mut self.left_out);
                }
            }
        }
    }

    fn deadline_of(&self, flow: &Flow, held: &Held) -> Duration {
        let times = if flow.is_under_way(&held.header) { BEGUN_DEADLINES } else { 1 };
        self.deadline(Class::of(&held.header)) * times
    }

    fn deadline(&self, class: Class) -> Duration {
        match class {
            Class::Audio => self.audio_deadline,
            Class::Keyframe => self.video_deadline * KEYFRAME_DEADLINES,
            Class::Base | Class::Upper(_) => self.video_deadline,
        }
    }
}
