use crate::wire::MediaHeader;

/// Whether a track is heard or seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// Each datagram counts by itself.
    Audio,
    /// Datagrams are parts of frames, and frames need others.
    Video,
}

/// How much a datagram matters: the first ones go before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What is heard.
    Audio,
    /// A frame that stands by itself.
    Keyframe,
    /// A frame that those after it need.
    Base,
    /// A frame of this temporal layer, above the base.
    Upper(u8),
}

impl Class {
    /// How many [numbers](Self::number) there are.
    pub const COUNT: usize = 4;

    /// Their names in metrics, by number.
    pub const LABELS: [&str; Self::COUNT] = ["audio", "keyframe", "base", "upper"];

    /// That of a fragment of a video frame.
    pub fn of(header: &MediaHeader) -> Self {
        match header.temporal_layer {
            0 if header.keyframe => Self::Keyframe,
            0 => Self::Base,
            layer => Self::Upper(layer),
        }
    }

    /// Where it is counted: all upper layers together.
    pub fn number(self) -> usize {
        match self {
            Self::Audio => 0,
            Self::Keyframe => 1,
            Self::Base => 2,
            Self::Upper(_) => 3,
        }
    }
}
