use std::time::Duration;

use crate::wire::MediaHeader;

/// A keyframe may wait so many times as long as other frames: on a slow path it would never arrive otherwise, and nothing can be
/// seen without it.
pub const KEYFRAME_DEADLINES: u32 = 3;

/// A frame of which a part has left may wait so many times as long: that part would be in vain.
pub const BEGUN_DEADLINES: u32 = 2;

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

    /// How long a frame may take on a stream, from its first datagram until the other side has all of it, where frames may wait for
    /// `deadline`.
    pub fn stream_time(self, deadline: Duration) -> Duration {
        match self {
            Self::Keyframe => deadline * KEYFRAME_DEADLINES * BEGUN_DEADLINES,
            Self::Audio | Self::Base | Self::Upper(_) => deadline * BEGUN_DEADLINES,
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
