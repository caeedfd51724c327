use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::Notify;

use super::session::Session;
use crate::wire::{RefuseReason, TrackId, TrackInfo};

/// A track of one's own, whatever the relay calls it at the moment.
#[derive(Debug)]
pub(super) struct Publication {
    pub info: TrackInfo,
    pub keyframe_wanted: Notify,
    pub datagrams_dropped: AtomicU64,
    announcement: Mutex<Announcement>,
    muted: AtomicBool,
    /// Whether the relay may not know yet that it is muted or not.
    mute_unconfirmed: AtomicBool,
}

/// What the relay was told last.
#[derive(Debug, Clone)]
struct Announcement {
    track: TrackId,
    /// The session on which frames can be sent; it may have ended.
    session: Weak<Session>,
    /// Why it was not announced again.
    refused: Option<(RefuseReason, String)>,
}

/// Where frames go.
pub(super) enum Way {
    /// Over this session, by this id.
    Open(Arc<Session>, TrackId),
    /// Nowhere at the moment.
    Away(TrackId),
    /// Nowhere any more.
    Refused(RefuseReason, String),
}

impl Publication {
    pub fn new(info: TrackInfo) -> Arc<Self> {
        let announcement = Announcement { track: TrackId(0), session: Weak::new(), refused: None };
        Arc::new(Self {
            info,
            keyframe_wanted: Notify::new(),
            datagrams_dropped: AtomicU64::new(0),
            announcement: Mutex::new(announcement),
            muted: AtomicBool::new(false),
            mute_unconfirmed: AtomicBool::new(false),
        })
    }

    fn announcement(&self) -> MutexGuard<'_, Announcement> {
        self.announcement.lock().expect("nothing panics while it holds the announcement")
    }

    /// The last id that the relay gave.
    pub fn track(&self) -> TrackId {
        self.announcement().track
    }

    /// Frames can be sent over this session from now on.
    pub fn announce(&self, session: &Arc<Session>, track: TrackId) {
        *self.announcement() = Announcement { track, session: Arc::downgrade(session), refused: None };
        if self.info.is_video() {
            // Whoever decodes it has missed something.
            self.keyframe_wanted.notify_one();
        }
    }

    /// The relay does not take it any more.
    pub fn refuse(&self, reason: RefuseReason, message: String) {
        self.announcement().refused = Some((reason, message));
    }

    pub fn way(&self) -> Way {
        let Announcement { track, session, refused } = self.announcement().clone();
        match (refused, session.upgrade().filter(|session| session.check_open().is_ok())) {
            (Some((reason, message)), _) => Way::Refused(reason, message),
            (None, Some(session)) => Way::Open(session, track),
            (None, None) => Way::Away(track),
        }
    }

    pub fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Wants it muted or not; to be repeated until it is confirmed.
    pub fn want_muted(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
        self.mute_unconfirmed.store(true, Ordering::Relaxed);
    }

    pub fn mute_confirmed(&self) {
        self.mute_unconfirmed.store(false, Ordering::Relaxed);
    }

    /// The relay says whether it is muted: an admin may have done it. Says whether that is news, or `None` if the relay has
    /// to be told first.
    pub fn relay_says_muted(&self, muted: bool) -> Option<bool> {
        if self.mute_unconfirmed.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.muted.swap(muted, Ordering::Relaxed) != muted)
    }
}

/// Tracks of one's own that someone has a handle of.
#[derive(Debug, Default)]
pub(super) struct Publications(Vec<Weak<Publication>>);

impl Publications {
    pub fn add(&mut self, publication: &Arc<Publication>) {
        self.0.push(Arc::downgrade(publication));
    }

    pub fn contains(&self, publication: &Arc<Publication>) -> bool {
        self.0.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(publication)))
    }

    /// It will not be published again.
    /// Takes one out, and says whether it was there.
    pub fn remove(&mut self, publication: &Arc<Publication>) -> bool {
        let before = self.0.len();
        self.0.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(publication)));
        self.0.len() < before
    }

    pub fn all(&self) -> Vec<Arc<Publication>> {
        self.0.iter().filter_map(Weak::upgrade).collect()
    }

    pub fn find(&self, track: TrackId) -> Option<Arc<Publication>> {
        self.0.iter().filter_map(Weak::upgrade).find(|publication| publication.track() == track)
    }
}
