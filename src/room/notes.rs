use crate::limits::IDS_RESERVED;

/// What has to be known of a room after a restart, beside its chat. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomNotes {
    /// The ids that were given.
    pub ids: Ids,
    /// Whether newcomers are kept out.
    pub locked: bool,
    /// Who was removed and has to stay out.
    pub removed: Vec<RemovedIdentity>,
}

/// The last ids that a room gave: none of them up to these is given again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ids {
    /// The last participant's.
    pub participants: u32,
    /// The last track's.
    pub tracks: u32,
}

/// An identity that was removed from a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedIdentity {
    /// Who.
    pub identity: String,
    /// Until when it has to stay out, in milliseconds since 1970.
    pub until_unix_ms: u64,
}

impl Ids {
    /// The ids that are reserved when these were given.
    pub(super) fn ahead(self) -> Self {
        Self {
            participants: self.participants.saturating_add(IDS_RESERVED),
            tracks: self.tracks.saturating_add(IDS_RESERVED),
        }
    }

    /// The later of both, for each kind.
    pub fn or_later(self, other: Self) -> Self {
        Self { participants: self.participants.max(other.participants), tracks: self.tracks.max(other.tracks) }
    }
}
