use std::cell::{Cell, OnceCell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::Metrics;
use super::tally::Tally;
use crate::limits::{EGRESS_BYTES_MAX, Limits};
use crate::media::{Class, Due, Egress, Medium, Routes, Space};
use crate::now::Now;
use crate::room::Pressure;
use crate::wire::{Datagram, DropReason, MediaHeader, TrackId};

/// How often it is looked whether there is room for a keyframe that is to be asked for.
const TROUBLE_POLL_TIME: Duration = Duration::from_millis(10);

/// How often the room is told that media has no time.
const PRESSURE_INTERVAL: Duration = Duration::from_millis(100);

/// Datagrams of one track that go to the same subscribers, in order.
pub(super) struct Burst<'a> {
    pub now: Now,
    pub datagrams: &'a [Bytes],
    /// How many they are together.
    pub bytes: usize,
    /// Whether any of them is of a frame that travels on a stream.
    pub is_on_stream: bool,
    /// Whether they were sent before, and are asked for once more.
    is_repeat: bool,
    routes: &'a Routes,
    medium: OnceCell<Medium>,
    /// Whether they are copies already.
    is_kept: bool,
    copies: OnceCell<Vec<Bytes>>,
}

impl<'a> Burst<'a> {
    pub fn new(now: Now, datagrams: &'a [Bytes], routes: &'a Routes) -> Self {
        let bytes = datagrams.iter().map(Bytes::len).sum();
        let is_on_stream = datagrams.iter().any(|datagram| MediaHeader::is_on_stream(datagram));
        let (medium, copies) = (OnceCell::new(), OnceCell::new());
        Self { now, datagrams, bytes, is_on_stream, is_repeat: false, routes, medium, is_kept: false, copies }
    }

    /// One of what is [kept](Routes::recent_pictures).
    pub fn of_kept(now: Now, datagrams: &'a [Bytes], routes: &'a Routes) -> Self {
        Self { is_kept: true, ..Self::new(now, datagrams, routes) }
    }

    /// What was sent before, is kept, and is asked for once more.
    pub fn repeat(now: Now, datagrams: &'a [Bytes], routes: &'a Routes) -> Self {
        Self { is_repeat: true, ..Self::of_kept(now, datagrams, routes) }
    }

    /// Copies of them, for those who let them wait, made once for all subscribers: a datagram as it was received may keep alive
    /// 64 KiB that arrived together with it.
    fn copies(&self) -> &[Bytes] {
        if self.is_kept {
            return self.datagrams;
        }
        self.copies.get_or_init(|| self.datagrams.iter().map(|datagram| Bytes::copy_from_slice(datagram)).collect())
    }

    /// Looked up only where something has to wait, and once for all subscribers. An echo belongs to no track.
    fn medium(&self) -> Medium {
        *self.medium.get_or_init(|| {
            let header = self.datagrams.first().and_then(|datagram| MediaHeader::decode(datagram).ok());
            let is_video = header.is_some_and(|header| self.routes.is_video(header.track));
            if is_video { Medium::Video } else { Medium::Audio }
        })
    }
}

/// Media that waits for one participant's path.
#[derive(Debug)]
pub(super) struct MediaOutbox {
    egress: RefCell<Egress>,
    tally: Tally,
    /// Whether datagrams may pass it by: [`Egress::is_idle`].
    is_idle: Cell<bool>,
    is_closed: Cell<bool>,
    offered: Notify,
    /// The most important class of which something had no time, since it was told.
    pressed: Cell<Option<Class>>,
    pressed_told: Cell<Duration>,
    /// Something had no time.
    troubled: Notify,
}

impl MediaOutbox {
    pub fn new(limits: &Limits) -> Self {
        Self {
            egress: RefCell::new(Egress::new(limits)),
            tally: Tally::default(),
            is_idle: Cell::new(true),
            is_closed: Cell::new(false),
            offered: Notify::new(),
            pressed: Cell::default(),
            pressed_told: Cell::default(),
            troubled: Notify::new(),
        }
    }

    /// What is counted of it.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether datagrams may pass it by.
    pub fn is_idle(&self) -> bool {
        self.is_idle.get() && !self.is_closed.get()
    }

    pub fn is_empty(&self) -> bool {
        self.egress.borrow().is_empty()
    }

    /// How long video has waited that is to leave next.
    pub fn video_waited(&self, now: Now) -> Duration {
        self.egress.borrow().video_waited(now)
    }

    /// Whether this datagram waits.
    pub fn holds(&self, datagram: &[u8]) -> bool {
        self.egress.borrow().holds(datagram)
    }

    /// How many bytes more may wait.
    pub fn space(&self) -> usize {
        EGRESS_BYTES_MAX.saturating_sub(self.egress.borrow().bytes())
    }

    /// Lets datagrams wait, or leaves them out.
    pub fn offer(&self, burst: &Burst<'_>, metrics: &Metrics) {
        if self.is_closed.get() {
            return self.tally.leave_out(metrics, DropReason::SubscriberGone, burst.datagrams.len() as u64);
        }
        let mut egress = self.egress.borrow_mut();
        for bytes in burst.copies() {
            // Whoever forwarded it has read it.
            match Datagram::decode(bytes.clone()) {
                Ok(datagram) if burst.is_repeat => egress.offer_repeat(burst.now, burst.medium(), datagram),
                Ok(datagram) => egress.offer(burst.now, burst.medium(), datagram),
                Err(error) => self.tally.leave_out(metrics, error.into(), 1),
            }
        }
        self.note(&mut egress, metrics);
        self.offered.notify_one();
    }

    /// Takes what is to be sent next, if there is space for it.
    pub fn take(&self, now: Now, space: Space, metrics: &Metrics) -> Option<Due> {
        let mut egress = self.egress.borrow_mut();
        let due = egress.take(now, space);
        self.note(&mut egress, metrics);
        due.inspect(|due| metrics.media_waited(due.class, due.waited))
    }

    /// How long a frame may take on its stream.
    pub fn stream_time(&self, header: &MediaHeader) -> Duration {
        self.egress.borrow().stream_time(header)
    }

    /// A frame did not arrive in time on its stream: what needs it is left out from now on.
    pub fn give_up(&self, now: Now, frame: &MediaHeader, metrics: &Metrics) {
        let mut egress = self.egress.borrow_mut();
        egress.give_up(now, frame);
        self.note(&mut egress, metrics);
    }

    fn note(&self, egress: &mut Egress, metrics: &Metrics) {
        self.is_idle.set(egress.is_idle());
        let left_out = egress.take_left_out();
        left_out.datagrams().for_each(|(reason, count)| self.tally.leave_out(metrics, reason, count));
        metrics.leave_out_frames(&left_out);
        if let Some(class) = egress.pressed(&left_out) {
            self.pressed.set(Some(self.pressed.get().map_or(class, |before| before.min(class))));
        }
        if self.pressed.get().is_some() || egress.next_wish().is_some() {
            self.troubled.notify_one();
        }
    }

    /// How short of time media is, if that is to be told now.
    pub fn take_pressure(&self, now: Now) -> Option<Pressure> {
        if now.since_start < self.pressed_told.get() + PRESSURE_INTERVAL {
            return None;
        }
        let class = self.pressed.take()?;
        self.pressed_told.set(now.since_start);
        Some(match class {
            Class::Audio | Class::Keyframe | Class::Base => Pressure::High,
            Class::Upper(_) => Pressure::Low,
        })
    }

    pub fn note_path_rate(&self, bytes_per_second: u64) {
        self.egress.borrow_mut().note_path_rate(bytes_per_second);
    }

    pub fn note_silence(&self, now: Now) {
        self.egress.borrow_mut().note_silence(now);
    }

    /// A track and its rendition of which a keyframe is to be asked for now.
    pub fn take_keyframe_wish(&self, now: Now) -> Option<(TrackId, u8)> {
        let mut egress = self.egress.borrow_mut();
        let wish = egress.take_keyframe_wish(now);
        self.is_idle.set(egress.is_idle());
        wish
    }

    /// How long it takes until a keyframe is to be asked for, or pressure is to be told, if either is.
    pub fn trouble_due(&self, now: Now) -> Option<Duration> {
        let wish = self.egress.borrow().next_wish();
        let pressure = self.pressed.get().map(|_| self.pressed_told.get() + PRESSURE_INTERVAL);
        let due = wish.into_iter().chain(pressure).min()?;
        Some(due.saturating_sub(now.since_start).max(TROUBLE_POLL_TIME))
    }

    /// Waits until something had no time.
    pub async fn troubled(&self) {
        self.troubled.notified().await;
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
    pub fn close(&self, metrics: &Metrics) {
        self.is_closed.set(true);
        let mut egress = self.egress.borrow_mut();
        egress.clear();
        self.note(&mut egress, metrics);
        self.offered.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;

    #[test]
    fn what_waits_keeps_nothing_of_what_it_arrived_with_and_is_copied_once_for_all() {
        let (now, metrics) = (Now::after(Duration::ZERO), Metrics::default());
        let sent = Frame::default().datagrams(TrackId(7)).unwrap().next().unwrap().bytes;
        let batch = Bytes::from([&sent[..], &[0; 60_000]].concat());
        let outboxes = [0, 1].map(|_| MediaOutbox::new(&Limits::default()));
        let (routes, datagrams) = (Routes::default(), [batch.slice(..sent.len())]);
        {
            let burst = Burst::new(now, &datagrams, &routes);
            outboxes.iter().for_each(|outbox| outbox.offer(&burst, &metrics));
        }
        drop(datagrams);
        assert!(batch.is_unique(), "nobody else holds it");
        let [one, other] = outboxes.map(|outbox| outbox.take(now, usize::MAX.into(), &metrics).unwrap().bytes);
        assert_eq!((&one, one.as_ptr()), (&sent, other.as_ptr()));
    }
}
