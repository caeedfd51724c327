use super::Class;
use crate::wire::DropReason;

/// Why datagrams are left out for one subscriber.
const REASONS: [DropReason; 5] = [
    DropReason::SubscriberSlow,
    DropReason::Late,
    DropReason::ReferenceMissing,
    DropReason::Superseded,
    DropReason::SubscriberGone,
];

/// What was left out for one subscriber.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    datagrams: [u64; REASONS.len()],
    frames: [u64; Class::COUNT],
    cut: u64,
    pressed: Option<Class>,
}

impl LeftOut {
    /// Datagrams, by reason.
    pub fn datagrams(&self) -> impl Iterator<Item = (DropReason, u64)> {
        REASONS.into_iter().zip(self.datagrams).filter(|(_, count)| *count > 0)
    }

    /// Frames, by the [number](Class::number) of their class.
    pub fn frames(&self) -> [u64; Class::COUNT] {
        self.frames
    }

    /// Frames of which a part had left already.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// The most important class of which something had no time or no place, or waited for long on a full path.
    pub fn pressed(&self) -> Option<Class> {
        self.pressed
    }

    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn count(&mut self, reason: DropReason, datagrams: u64) {
        if let Some(index) = REASONS.iter().position(|other| *other == reason) {
            self.datagrams[index] += datagrams;
        }
    }

    pub(super) fn note_pressed(&mut self, class: Class) {
        self.pressed = Some(self.pressed.map_or(class, |before| before.min(class)));
    }

    pub(super) fn count_cut(&mut self) {
        self.cut += 1;
    }

    pub(super) fn count_frame(&mut self, class: Class) {
        self.frames[class.number()] += 1;
    }

    /// An audio frame has one datagram almost always, and each of several counts as one.
    pub(super) fn count_audio(&mut self, reason: DropReason) {
        self.count(reason, 1);
        self.count_frame(Class::Audio);
        self.note_pressed(Class::Audio);
    }
}
