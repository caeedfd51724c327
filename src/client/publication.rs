use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::Notify;

use super::session::Session;
use crate::limits::{AUDIO_DEADLINE, VIDEO_DEADLINE};
use crate::media::{Delivery, Frame, Recent, Redundancy};
use crate::now::Now;
use crate::wire::{RefuseReason, TrackId, TrackInfo};

/// A track of one's own, whatever the relay calls it at the moment.
#[derive(Debug)]
pub(super) struct Publication {
    pub info: TrackInfo,
    /// Bit i stands for rendition i.
    keyframes_wanted: AtomicU8,
    keyframe_wanted: Notify,
    pub datagrams_dropped: Arc<AtomicU64>,
    /// What was sent lately: the relay may ask for it once more.
    recent: Mutex<Recent>,
    /// Whether some of it is lost.
    redundancy: Mutex<Redundancy>,
    /// How its frames are sent that do not say it themselves; `None`: as there is loss.
    delivery: Mutex<Option<Delivery>>,
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
        let recent = Recent::new(if info.is_video() { VIDEO_DEADLINE } else { AUDIO_DEADLINE });
        Arc::new(Self {
            info,
            keyframes_wanted: AtomicU8::new(0),
            keyframe_wanted: Notify::new(),
            datagrams_dropped: Arc::default(),
            recent: Mutex::new(recent),
            redundancy: Mutex::default(),
            delivery: Mutex::new(None),
            announcement: Mutex::new(announcement),
            muted: AtomicBool::new(false),
            mute_unconfirmed: AtomicBool::new(false),
        })
    }

    fn announcement(&self) -> MutexGuard<'_, Announcement> {
        self.announcement.lock().expect("nothing panics while it holds the announcement")
    }

    /// What was sent lately.
    pub fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().expect("nothing panics while it holds what was sent")
    }

    /// Whether some of it is lost on the way.
    pub fn redundancy(&self) -> MutexGuard<'_, Redundancy> {
        self.redundancy.lock().expect("nothing panics while it holds what is lost")
    }

    /// How a frame is to be sent now.
    pub fn delivery(&self, now: Now, frame: &Frame) -> Delivery {
        let chosen = *self.delivery.lock().expect("nothing panics while it holds the delivery");
        // Upper temporal layers are missed by nobody but themselves, and audio is sent twice.
        let is_needed = self.info.is_video() && frame.temporal_layer == 0;
        let usual = match is_needed && self.redundancy().is_due(now) {
            true => Delivery::DatagramsWithParity,
            false => Delivery::Datagrams,
        };
        frame.delivery.or(chosen).unwrap_or(usual)
    }

    /// Frames that do not say it themselves are sent so from now on.
    pub fn set_delivery(&self, delivery: Delivery) {
        *self.delivery.lock().expect("nothing panics while it holds the delivery") = Some(delivery);
    }

    /// The last id that the relay gave.
    pub fn track(&self) -> TrackId {
        self.announcement().track
    }

    /// Frames can be sent over this session from now on.
    pub fn announce(&self, session: &Arc<Session>, track: TrackId) {
        self.recent().clear();
        *self.announcement() = Announcement { track, session: Arc::downgrade(session), refused: None };
        if self.info.is_video() {
            // Whoever decodes it has missed something.
            (0..=self.info.highest_layers().spatial).for_each(|spatial_layer| self.want_keyframe(spatial_layer));
        }
    }

    /// A subscriber cannot go on without a keyframe of a rendition.
    pub fn want_keyframe(&self, spatial_layer: u8) {
        self.keyframes_wanted.fetch_or(1_u8.checked_shl(spatial_layer.into()).unwrap_or(0), Ordering::Relaxed);
        self.keyframe_wanted.notify_one();
    }

    /// The next rendition of which a keyframe is wanted; `None` when the room has ended.
    pub async fn next_keyframe(&self, is_open: impl Fn() -> bool) -> Option<u8> {
        while is_open() {
            let wanted = self.keyframes_wanted.load(Ordering::Relaxed);
            if wanted != 0 {
                let spatial_layer = wanted.trailing_zeros() as u8;
                self.keyframes_wanted.fetch_and(!(1 << spatial_layer), Ordering::Relaxed);
                return Some(spatial_layer);
            }
            self.keyframe_wanted.notified().await;
        }
        None
    }

    /// The room has ended: whoever waits for a wish should look.
    pub fn end(&self) {
        self.keyframe_wanted.notify_one();
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
