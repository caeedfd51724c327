use std::time::Duration;

use super::class::Class;
use super::held::{Held, Waiting};
use super::left_out::LeftOut;
use super::missing::Missing;
use crate::limits::{EGRESS_FLOW_TIME, KEYFRAME_INTERVAL, KEYFRAME_QUIET_TIME, KEYFRAME_WAIT_MAX};
use crate::wire::{DropReason, MediaHeader, TrackId};

/// A video track on its way to one subscriber: what of it waits, and what of it was left out.
#[derive(Debug)]
pub struct Flow {
    pub track: TrackId,
    pub waiting: Waiting,
    spatial_layer: u8,
    missing: Missing,
    /// Why the last frame was left out.
    reason: DropReason,
    /// The frame of which a part has left, and perhaps all of it.
    under_way: Option<FrameId>,
    /// The last keyframe, and the last that [comes once](Self::comes_once).
    keyframe: Option<FrameId>,
    once: Option<FrameId>,
    /// When a keyframe last began to leave.
    keyframe_left: Option<Duration>,
    breach: Option<Breach>,
    /// How long to wait for a keyframe until one is asked for again.
    patience: Duration,
    recovered: Duration,
    asked: Option<Duration>,
    touched: Duration,
}

/// A frame of a track: its rendition, and its number, which renditions of the same picture may share.
type FrameId = (u8, u32);

fn id_of(header: &MediaHeader) -> FrameId {
    (header.spatial_layer, header.frame)
}

/// How long nothing of a track can be seen until less is to be tried, while nothing is late and at most.
const BROKEN_TIME: Duration = Duration::from_millis(500);
const BROKEN_TIME_MAX: Duration = Duration::from_secs(2);

/// A frame of the base layer was left out: nothing can be seen until there is one that stands by itself.
#[derive(Debug, Clone, Copy)]
struct Breach {
    since: Duration,
    /// Whether it was told that it [lasts](Flow::lasts).
    is_told: bool,
    /// When a keyframe is to be asked for.
    wish: Duration,
}

/// Which part of a frame a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The first that comes: the frame may still be left out as if it had never been.
    First,
    /// Another one.
    Further,
}

/// How long after a keyframe another one of the same track is no more urgent than any other frame.
const KEYFRAME_RIGHTS_TIME: Duration = Duration::from_secs(1);

impl Flow {
    /// One that begins with this frame, of which nothing waits yet, with room for what will.
    pub fn new(frame: &MediaHeader, now: Duration, waiting: Waiting) -> Self {
        Self {
            track: frame.track,
            waiting,
            spatial_layer: frame.spatial_layer,
            missing: Missing::default(),
            reason: DropReason::Late,
            under_way: None,
            keyframe: None,
            once: None,
            keyframe_left: None,
            breach: None,
            patience: KEYFRAME_INTERVAL,
            recovered: now,
            asked: None,
            touched: now,
        }
    }

    /// Whether it has to be remembered.
    pub fn matters(&self, now: Duration) -> bool {
        let is_impaired = self.breach.is_some() || !self.missing.is_empty();
        let was_impaired = self.asked.is_some() && now.saturating_sub(self.recovered) < KEYFRAME_QUIET_TIME;
        let is_current = now.saturating_sub(self.touched) < EGRESS_FLOW_TIME;
        !self.waiting.is_empty() || is_current && (is_impaired || was_impaired)
    }

    /// Forgets what does not matter: what comes from now on may pass it by. Says whether something of it is to be remembered all the same.
    pub fn rest(&mut self, now: Duration) -> bool {
        self.missing.clear();
        self.under_way = None;
        self.keyframe_left.is_some_and(|left| now.saturating_sub(left) < KEYFRAME_RIGHTS_TIME)
    }

    /// In which order tracks are served: what has begun is finished, then by the most important frame of each, then by age.
    pub fn rank(&self, now: Duration) -> (bool, Class, Duration) {
        let first = self.waiting.first();
        let is_new = !first.is_some_and(|first| self.is_under_way(&first.header));
        let best = self.waiting.iter().map(|held| Class::of(&held.header)).min().unwrap_or(Class::Upper(u8::MAX));
        (is_new, self.rights(best, now), first.map_or(Duration::MAX, |first| first.since))
    }

    /// The class that a frame of this one counts as beside those of other tracks. A keyframe goes before them, but one soon after another
    /// is no more than a frame: a track of keyframes alone must not hold up the others.
    pub fn rights(&self, class: Class, now: Duration) -> Class {
        let is_urgent = self.keyframe_left.is_none_or(|left| now.saturating_sub(left) >= KEYFRAME_RIGHTS_TIME);
        if class == Class::Keyframe && !is_urgent { Class::Base } else { class }
    }

    /// Whether a datagram is of a keyframe that is no part of what comes all the time: one with which a rendition begins, or that is
    /// [urgent](Self::rights).
    pub fn comes_once(&mut self, held: &Held) -> bool {
        let (header, class) = (&held.header, Class::of(&held.header));
        if class == Class::Keyframe && self.keyframe != Some(id_of(header)) {
            let is_once = !self.is_current(header) || self.rights(class, held.since) == class;
            self.keyframe = Some(id_of(header));
            self.once = self.keyframe.filter(|_| is_once);
        }
        self.once == Some(id_of(header))
    }

    /// Whether a part of a frame has left.
    pub fn is_under_way(&self, header: &MediaHeader) -> bool {
        self.under_way == Some(id_of(header))
    }

    /// Whether a keyframe waits, or only one that `is_under_way`.
    pub fn has_keyframe(&self, is_under_way: bool) -> bool {
        let counts = |held: &Held| !is_under_way || self.is_under_way(&held.header) && self.is_current(&held.header);
        self.waiting.iter().any(|held| Class::of(&held.header) == Class::Keyframe && counts(held))
    }

    /// Whether a datagram can be of use: not without the frames that its own needs, nor without the rest of its own.
    pub fn accept(&mut self, now: Duration, header: &MediaHeader, left_out: &mut LeftOut) -> Result<Part, DropReason> {
        self.touched = now;
        self.turn_to(header.spatial_layer, left_out);
        if self.missing.contains(header.frame) {
            return Err(self.reason);
        }
        if !self.missing.is_new(header.frame) {
            return Ok(Part::Further);
        }
        if header.depends_on_distance == 0 {
            self.recover(now);
        } else if self.breach.is_some() || self.needs_missing(header) {
            return Err(DropReason::ReferenceMissing);
        }
        self.missing.note(header.frame);
        if header.fragment_index > 0 || header.parity {
            // What came before it passed by when nothing was waiting, or is still to come.
            if self.waiting.iter().all(|held| held.is_repeat) {
                self.under_way = Some(id_of(header));
            }
            return Ok(Part::Further);
        }
        Ok(Part::First)
    }

    /// Whether a datagram that was sent before can be of use once more: not if its frame was left out since, or is of another rendition.
    pub fn accept_again(&mut self, now: Duration, header: &MediaHeader) -> Result<(), DropReason> {
        self.touched = now;
        if self.waiting.is_empty() && self.missing.is_empty() && self.breach.is_none() {
            // Nothing is known of it, so it is what was sent last.
            self.spatial_layer = header.spatial_layer;
        }
        match self.missing.contains(header.frame) {
            _ if header.spatial_layer != self.spatial_layer => Err(DropReason::Superseded),
            true => Err(self.reason),
            false => Ok(()),
        }
    }

    /// From now on it is of this rendition.
    pub fn turn_to(&mut self, spatial_layer: u8, left_out: &mut LeftOut) {
        if spatial_layer != self.spatial_layer {
            // Its stream is reset, so what waits of it would be in vain.
            if self.waiting.iter().any(|held| held.header.on_stream && self.is_under_way(&held.header)) {
                self.under_way = None;
            }
            self.supersede(left_out);
            self.missing.clear();
            (self.spatial_layer, self.breach) = (spatial_layer, None);
        }
    }

    /// Whether a datagram is of the rendition to which it turned last.
    pub fn is_current(&self, header: &MediaHeader) -> bool {
        header.spatial_layer == self.spatial_layer
    }

    /// Leaves out the first that waits if nothing needs it: parity, what is sent once more, and what is left of a frame from before it
    /// turned to its rendition, which is cut then. Says whether it was so.
    pub fn leave_out_alone(&mut self, reason: DropReason, left_out: &mut LeftOut) -> bool {
        let Some(first) = self.waiting.first() else {
            return false;
        };
        let (header, is_alone) = (first.header, first.header.parity || first.is_repeat);
        if !is_alone && self.is_current(&header) {
            return false;
        }
        if is_alone || !self.is_under_way(&header) {
            self.waiting.pop();
            left_out.count(reason, 1);
            return true;
        }
        let gone = self.waiting.retain(|held| id_of(&held.header) != id_of(&header));
        left_out.count(reason, gone);
        left_out.count_frame(Class::of(&header));
        left_out.count_cut();
        left_out.note_pressed(Class::of(&header));
        self.under_way = None;
        true
    }

    /// A frame that has left did not arrive. Nobody needs it where a later one stands by itself, or another rendition is sent.
    pub fn give_up(&mut self, now: Duration, frame: &MediaHeader, left_out: &mut LeftOut) {
        if self.is_current(frame) {
            self.touched = now;
            self.leave_out(now, frame, DropReason::Late, left_out);
        }
    }

    fn needs_missing(&self, header: &MediaHeader) -> bool {
        let needed = header.frame.wrapping_sub(header.depends_on_distance.into());
        header.depends_on_distance > 0 && self.missing.contains(needed)
    }

    fn recover(&mut self, now: Duration) {
        self.missing.clear();
        if self.breach.take().is_some() {
            self.recovered = now;
        }
    }

    pub fn push(&mut self, held: Held) {
        self.waiting.push(held);
    }

    pub fn pop(&mut self, now: Duration) -> Option<Held> {
        let held = self.waiting.pop()?;
        if held.is_repeat {
            return Some(held);
        }
        if Class::of(&held.header) == Class::Keyframe && !self.is_under_way(&held.header) {
            self.keyframe_left = Some(now);
        }
        let (layer, number) = id_of(&held.header);
        let is_later = |(other, begun): FrameId| other != layer || number.wrapping_sub(begun) < u32::MAX / 2;
        if self.under_way.is_none_or(is_later) {
            self.under_way = Some((layer, number));
        }
        Some(held)
    }

    /// The frame that matters least of those that can be left out, and the one that has waited longest of several.
    pub fn least(&self) -> Option<MediaHeader> {
        let waiting = self.waiting.iter().rev().filter(|held| self.can_be_left_out(held)).map(|held| held.header);
        waiting.max_by_key(Class::of)
    }

    /// Whether a datagram is of a frame that can be left out whole, and what needs it.
    pub fn can_be_left_out(&self, held: &Held) -> bool {
        !held.is_repeat && !self.is_under_way(&held.header) && self.is_current(&held.header)
    }

    /// Leaves out all that waits and of which nothing has left: something else takes its place.
    pub fn supersede(&mut self, left_out: &mut LeftOut) {
        let (under_way, mut last) = (self.under_way, None);
        let gone = self.waiting.retain(|Held { header, is_repeat, .. }| {
            let is_kept = under_way == Some(id_of(header));
            if !is_kept && !is_repeat && last.replace(id_of(header)) != Some(id_of(header)) {
                left_out.count_frame(Class::of(header));
            }
            is_kept
        });
        left_out.count(DropReason::Superseded, gone);
    }

    /// Leaves out a frame, whole as far as it waits, and what needs it.
    pub fn leave_out(&mut self, now: Duration, frame: &MediaHeader, reason: DropReason, left_out: &mut LeftOut) {
        self.mark(now, frame, reason, left_out);
        for held in self.waiting.take_all() {
            let header = &held.header;
            if !self.is_current(header) {
                self.waiting.push(held);
                continue;
            }
            if self.missing.contains(header.frame) {
                let is_it = header.frame == frame.frame;
                left_out.count(if is_it { reason } else { DropReason::ReferenceMissing }, 1);
                continue;
            }
            let is_later = header.frame.wrapping_sub(frame.frame) < u32::MAX / 2;
            if is_later && header.depends_on_distance == 0 {
                self.breach = None;
            }
            if self.needs_missing(header) || is_later && self.breach.is_some() {
                self.mark(now, header, DropReason::ReferenceMissing, left_out);
                left_out.count(DropReason::ReferenceMissing, 1);
                continue;
            }
            self.waiting.push(held);
        }
    }

    fn mark(&mut self, now: Duration, frame: &MediaHeader, reason: DropReason, left_out: &mut LeftOut) {
        self.reason = reason;
        if !self.missing.insert(frame.frame) {
            return;
        }
        left_out.count_frame(Class::of(frame));
        if self.is_under_way(frame) {
            left_out.count_cut();
        }
        if reason != DropReason::ReferenceMissing {
            left_out.note_pressed(Class::of(frame));
        }
        if frame.temporal_layer == 0 && self.breach.is_none() {
            if now.saturating_sub(self.recovered) > KEYFRAME_QUIET_TIME {
                self.patience = KEYFRAME_INTERVAL;
            }
            let wish = self.asked.map_or(now, |asked| now.max(asked + self.patience));
            self.breach = Some(Breach { since: now, wish, is_told: false });
        }
    }

    /// Whether nothing of it could be seen for long, to be told once. A keyframe is asked for when nothing waits any more, and comes a round
    /// trip later: until half a second after something was late at `late_at`, it may be on its way.
    pub fn lasts(&mut self, now: Duration, late_at: Duration) -> bool {
        let lasts = |breach: &&mut Breach| {
            let is_calm = breach.since.max(late_at) + BROKEN_TIME <= now || breach.since + BROKEN_TIME_MAX <= now;
            is_calm && !breach.is_told
        };
        self.breach.as_mut().filter(lasts).map(|breach| breach.is_told = true).is_some()
    }

    /// When a keyframe is to be asked for.
    pub fn next_wish(&self) -> Option<Duration> {
        self.breach.map(|breach| breach.wish)
    }

    /// Asks for a keyframe by then, if one is to be asked for at all, and soon again if it does not come.
    pub fn wish_by(&mut self, time: Duration) {
        if let Some(breach) = &mut self.breach {
            breach.wish = breach.wish.min(time);
            self.patience = KEYFRAME_INTERVAL;
        }
    }

    /// Asks for a keyframe as soon as one may be asked for again, if one is to be asked for at all.
    pub fn wish_soon(&mut self) {
        self.wish_by(self.asked.map_or(Duration::MAX, |asked| asked + KEYFRAME_INTERVAL));
    }

    /// The rendition of which a keyframe is to be asked for now.
    pub fn take_wish(&mut self, now: Duration) -> Option<(TrackId, u8)> {
        let breach = self.breach.as_mut().filter(|breach| breach.wish <= now)?;
        breach.wish = now + self.patience;
        self.asked = Some(now);
        self.patience = (self.patience * 2).min(KEYFRAME_WAIT_MAX);
        Some((self.track, self.spatial_layer))
    }
}
