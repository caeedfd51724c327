use std::cell::{Cell, OnceCell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::Metrics;
use crate::limits::Limits;
use crate::media::{Due, Egress, Medium};
use crate::now::Now;
use crate::room::Room;
use crate::wire::{Datagram, MediaHeader, TrackId};

/// How often it is looked whether there is room for a keyframe that is to be asked for.
const WISH_POLL_TIME: Duration = Duration::from_millis(10);

/// Datagrams of one track that go to the same subscribers, in order.
pub(super) struct Burst<'a> {
    pub now: Now,
    pub datagrams: &'a [Bytes],
    /// How many they are together.
    pub bytes: usize,
    room: &'a Room,
    medium: OnceCell<Medium>,
}

impl<'a> Burst<'a> {
    pub fn new(now: Now, datagrams: &'a [Bytes], room: &'a Room) -> Self {
        let bytes = datagrams.iter().map(Bytes::len).sum();
        Self { now, datagrams, bytes, room, medium: OnceCell::new() }
    }

    /// Looked up only where something has to wait, and once for all subscribers. An echo belongs to no track.
    fn medium(&self) -> Medium {
        *self.medium.get_or_init(|| {
            let header = self.datagrams.first().and_then(|datagram| MediaHeader::decode(datagram).ok());
            let is_video = header.is_some_and(|header| self.room.is_video(header.track));
            if is_video { Medium::Video } else { Medium::Audio }
        })
    }
}

/// Media that waits for one participant's path.
#[derive(Debug)]
pub(super) struct MediaOutbox {
    egress: RefCell<Egress>,
    /// Whether datagrams may pass it by: [`Egress::is_idle`].
    is_idle: Cell<bool>,
    is_closed: Cell<bool>,
    offered: Notify,
    /// Frames were left out that others need.
    breached: Notify,
}

impl MediaOutbox {
    pub fn new(limits: &Limits) -> Self {
        Self {
            egress: RefCell::new(Egress::new(limits)),
            is_idle: Cell::new(true),
            is_closed: Cell::new(false),
            offered: Notify::new(),
            breached: Notify::new(),
        }
    }

    /// Whether datagrams may pass it by.
    pub fn is_idle(&self) -> bool {
        self.is_idle.get()
    }

    pub fn is_empty(&self) -> bool {
        self.egress.borrow().is_empty()
    }

    /// Lets datagrams wait, or leaves them out.
    pub fn offer(&self, burst: &Burst<'_>, metrics: &Metrics) {
        if self.is_closed.get() {
            return;
        }
        let mut egress = self.egress.borrow_mut();
        for bytes in burst.datagrams {
            // Whoever forwarded it has read it.
            if let Ok(datagram) = Datagram::decode(bytes.clone()) {
                egress.offer(burst.now, burst.medium(), datagram);
            }
        }
        self.note(&mut egress, metrics);
        self.offered.notify_one();
    }

    /// Takes what is to be sent next, if it has at most so many bytes.
    pub fn take(&self, now: Now, space_bytes: usize, metrics: &Metrics) -> Option<Bytes> {
        let mut egress = self.egress.borrow_mut();
        let due = egress.take(now, space_bytes);
        self.note(&mut egress, metrics);
        due.map(|Due { bytes, waited }| {
            metrics.media_waited(waited);
            bytes
        })
    }

    fn note(&self, egress: &mut Egress, metrics: &Metrics) {
        self.is_idle.set(egress.is_idle());
        if egress.next_wish().is_some() {
            self.breached.notify_one();
        }
        metrics.leave_out(&egress.take_left_out());
    }

    pub fn note_path_rate(&self, bytes_per_second: u64) {
        self.egress.borrow_mut().note_path_rate(bytes_per_second);
    }

    /// A track and its rendition of which a keyframe is to be asked for now.
    pub fn take_keyframe_wish(&self, now: Now) -> Option<(TrackId, u8)> {
        self.egress.borrow_mut().take_keyframe_wish(now)
    }

    /// How long it takes until a keyframe is to be asked for, if one is.
    pub fn wish_due(&self, now: Now) -> Option<Duration> {
        let wish = self.egress.borrow().next_wish();
        wish.map(|wish| wish.saturating_sub(now.since_start).max(WISH_POLL_TIME))
    }

    /// Waits until a keyframe may have to be asked for.
    pub async fn breached(&self) {
        self.breached.notified().await;
    }

    /// Waits until more is offered.
    pub async fn offered(&self) {
        self.offered.notified().await;
    }

    /// Waits until something waits to be sent. `false`: nothing will any more.
    pub async fn wait(&self) -> bool {
        while self.is_empty() {
            if self.is_closed.get() {
                return false;
            }
            self.offered().await;
        }
        true
    }

    /// Nothing is sent any more: what waits is not worth a goodbye that comes later.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.egress.borrow_mut().clear();
        self.offered.notify_one();
    }
}
