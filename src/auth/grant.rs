use crate::wire::{DisplayName, Identity, RoomName, TrackSource};

/// What somebody may do in one room.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Who it is. `None` in an open relay, where nobody has to say.
    pub identity: Option<Identity>,
    /// What the others see; `None` if the participant may choose.
    pub name: Option<DisplayName>,
    /// The only room it is good for.
    pub room: RoomName,
    /// What may be published.
    pub publish: Sources,
    /// Whether tracks may be subscribed to.
    pub subscribe: bool,
    /// Whether chat may be sent.
    pub chat: bool,
    /// Whether the others are not told of this participant.
    pub hidden: bool,
    /// Whether this participant may remove, mute and lock.
    pub admin: bool,
    /// What the token says for other programs. At most [`METADATA_BYTES_MAX`](crate::limits::METADATA_BYTES_MAX).
    pub metadata: String,
    /// When it ends, in milliseconds since 1970, without any leeway. Every token has one; `None` in an open relay.
    pub expires_at_ms: Option<u64>,
}

impl Grant {
    /// What everyone has in an open relay: everything but moderation.
    pub fn everyone(room: RoomName) -> Self {
        Self {
            identity: None,
            name: None,
            room,
            publish: Sources::ALL,
            subscribe: true,
            chat: true,
            hidden: false,
            admin: false,
            metadata: String::new(),
            expires_at_ms: None,
        }
    }
}

/// The sources from which tracks may be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sources(u8);

impl Sources {
    /// Everything, [`TrackSource::Other`] too.
    pub const ALL: Self = Self(u8::MAX);

    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The sources that a token can name, and how.
    const NAMES: [(TrackSource, &str); 4] = [
        (TrackSource::Microphone, "microphone"),
        (TrackSource::Camera, "camera"),
        (TrackSource::Screen, "screen_share"),
        (TrackSource::ScreenAudio, "screen_share_audio"),
    ];

    /// Those sources and no others.
    pub fn only(sources: &[TrackSource]) -> Self {
        Self(sources.iter().fold(0, |bits, source| bits | bit(*source)))
    }

    /// Whether a track from there may be published.
    pub const fn allows(self, source: TrackSource) -> bool {
        self.0 & bit(source) != 0
    }

    /// The sources that a token names. One that nobody knows allows nothing.
    pub(super) fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let known = |given| Self::NAMES.iter().find(|(_, name)| *name == given).map(|(source, _)| *source);
        Self::only(&names.filter_map(known).collect::<Vec<_>>())
    }

    /// The names of those that are allowed, but for [`TrackSource::Other`], which has none.
    pub(super) fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(source, _)| self.allows(*source)).map(|(_, name)| *name).collect()
    }
}

const fn bit(source: TrackSource) -> u8 {
    1 << source as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_allow_their_sources_and_nothing_else() {
        use TrackSource::{Camera, Microphone, Other, Screen, ScreenAudio};
        let allowed = |sources: Sources| {
            let all = [Microphone, Camera, Screen, ScreenAudio, Other];
            all.into_iter().filter(|source| sources.allows(*source)).collect::<Vec<_>>()
        };
        let named = |names: &[&str]| allowed(Sources::named(names.iter().copied()));
        assert_eq!(allowed(Sources::ALL), [Microphone, Camera, Screen, ScreenAudio, Other]);
        assert_eq!(allowed(Sources::NONE), []);
        assert_eq!(named(&["camera", "screen_share_audio"]), [Camera, ScreenAudio]);
        assert_eq!(named(&["screen_share", "microphone", "camera", "microphone"]), [Microphone, Camera, Screen]);
        assert_eq!(named(&["hologram", "Camera", "other", ""]), []);
        assert_eq!(allowed(Sources::only(&[Other, Camera])), [Camera, Other]);
        assert_eq!(Sources::only(&[Camera]).names(), ["camera"]);
    }
}
