use std::collections::BTreeMap;

use crate::limits::{Bucket, Limits, MEDIA_BYTES_MAX, Rate};
use crate::now::Now;
use crate::wire::{DropReason, HeaderError, MediaHeader, TrackId};

/// Where the shell finds a participant's connection: an index into its own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// Who gets which track of one room.
#[derive(Debug, Default)]
pub struct Routes {
    routes: BTreeMap<TrackId, Route>,
}

#[derive(Debug)]
struct Route {
    publisher: Slot,
    subscribers: Vec<Slot>,
    muted: bool,
}

/// A sender of media, and how much it may still send.
#[derive(Debug)]
pub struct Publisher {
    slot: Slot,
    datagrams: Bucket,
    bytes: Bucket,
}

/// What to do with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward<'a> {
    /// Send it to these.
    To(&'a [Slot]),
    /// Send it back: its sender asks whether datagrams pass.
    Echo,
}

impl Publisher {
    /// One that has sent nothing yet.
    pub fn new(slot: Slot) -> Self {
        Self { slot, datagrams: Bucket::default(), bytes: Bucket::default() }
    }

    /// Where the sender's own connection is found.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether one more datagram is within the budget. A second's worth may come at once: a keyframe is many times as
    /// large as what follows it.
    fn may_send(&mut self, now: Now, limits: &Limits, bytes: usize) -> bool {
        let datagrams =
            Rate { per_second: limits.media_datagrams_per_second, burst: limits.media_datagrams_per_second };
        let bytes_per_second = limits.media_bits_per_second / 8;
        // A budget below one datagram would be a mute, not a limit.
        let burst = bytes_per_second.max(MEDIA_BYTES_MAX as u32 + 1);
        self.datagrams.take(now, datagrams, 1)
            && self.bytes.take(now, Rate { per_second: bytes_per_second, burst }, bytes as u32)
    }
}

impl Routes {
    /// Media of `track` may come from `publisher` now.
    pub fn open(&mut self, track: TrackId, publisher: Slot) {
        self.routes.insert(track, Route { publisher, subscribers: Vec::new(), muted: false });
    }

    /// Media of `track` goes nowhere from now on.
    pub fn close(&mut self, track: TrackId) {
        self.routes.remove(&track);
    }

    /// Media of `track` is left out from now on, or passed on again.
    pub fn set_muted(&mut self, track: TrackId, muted: bool) {
        if let Some(route) = self.routes.get_mut(&track) {
            route.muted = muted;
        }
    }

    /// `subscriber` gets `track` from now on.
    pub fn subscribe(&mut self, track: TrackId, subscriber: Slot) {
        if let Some(route) = self.routes.get_mut(&track) {
            route.subscribers.push(subscriber);
        }
    }

    /// `subscriber` gets `track` no longer.
    pub fn unsubscribe(&mut self, track: TrackId, subscriber: Slot) {
        if let Some(route) = self.routes.get_mut(&track) {
            route.subscribers.retain(|slot| *slot != subscriber);
        }
    }

    /// Decides what happens to a datagram of `publisher`: no allocation, no copy, one look-up for all subscribers.
    ///
    /// # Errors
    /// The [`DropReason`] of a datagram that goes nowhere.
    pub fn forward(
        &self,
        now: Now,
        limits: &Limits,
        publisher: &mut Publisher,
        datagram: &[u8],
    ) -> Result<Forward<'_>, DropReason> {
        if !publisher.may_send(now, limits, datagram.len()) {
            return Err(DropReason::OverBudget);
        }
        let header = MediaHeader::decode(datagram)?;
        if header.track == TrackId::ECHO {
            return Ok(Forward::Echo);
        }
        let route = self.routes.get(&header.track).ok_or(DropReason::TrackUnknown)?;
        if route.publisher != publisher.slot {
            return Err(DropReason::TrackNotOwned);
        }
        if route.muted {
            return Err(DropReason::TrackMuted);
        }
        Ok(Forward::To(&route.subscribers))
    }
}

impl From<HeaderError> for DropReason {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Short | HeaderError::Long | HeaderError::Fragment { .. } => Self::Malformed,
            HeaderError::Session => Self::ForeignSession,
            HeaderError::Version(_) => Self::VersionUnknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::Frame;

    const NOW: Now = Now::after(Duration::from_secs(1));
    const TRACK: TrackId = TrackId(7);
    const PUBLISHER: Slot = Slot(0);

    fn datagram(track: TrackId) -> Vec<u8> {
        Frame::default().datagrams(track).unwrap().next().unwrap().bytes.to_vec()
    }

    fn routes() -> Routes {
        let mut routes = Routes::default();
        routes.open(TRACK, PUBLISHER);
        routes.subscribe(TRACK, Slot(1));
        routes.subscribe(TRACK, Slot(2));
        routes
    }

    fn forward<'a>(routes: &'a Routes, from: Slot, datagram: &[u8]) -> Result<Forward<'a>, DropReason> {
        routes.forward(NOW, &Limits::default(), &mut Publisher::new(from), datagram)
    }

    #[test]
    fn a_datagram_goes_to_the_subscribers_of_its_track() {
        let mut routes = routes();
        assert_eq!(forward(&routes, PUBLISHER, &datagram(TRACK)), Ok(Forward::To(&[Slot(1), Slot(2)])));
        routes.unsubscribe(TRACK, Slot(1));
        assert_eq!(forward(&routes, PUBLISHER, &datagram(TRACK)), Ok(Forward::To(&[Slot(2)])));
    }

    #[test]
    fn a_datagram_for_no_track_comes_back() {
        assert_eq!(forward(&routes(), Slot(9), &datagram(TrackId::ECHO)), Ok(Forward::Echo));
    }

    #[test]
    fn everything_else_is_dropped_for_a_reason() {
        let mut routes = routes();
        let good = datagram(TRACK);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        for (from, bytes, reason) in [
            (Slot(1), good.clone(), DropReason::TrackNotOwned),
            (PUBLISHER, datagram(TrackId(8)), DropReason::TrackUnknown),
            (PUBLISHER, vec![], DropReason::Malformed),
            (PUBLISHER, good[..20].to_vec(), DropReason::Malformed),
            (PUBLISHER, vec![0; 2000], DropReason::Malformed),
            (PUBLISHER, with(0, 1), DropReason::ForeignSession),
            (PUBLISHER, with(1, 0), DropReason::VersionUnknown),
            (PUBLISHER, with(14, 1), DropReason::Malformed),
        ] {
            assert_eq!(forward(&routes, from, &bytes), Err(reason), "{bytes:?}");
        }
        routes.set_muted(TRACK, true);
        assert_eq!(forward(&routes, PUBLISHER, &good), Err(DropReason::TrackMuted));
        routes.set_muted(TRACK, false);
        assert!(forward(&routes, PUBLISHER, &good).is_ok());
        routes.close(TRACK);
        assert_eq!(forward(&routes, PUBLISHER, &good), Err(DropReason::TrackUnknown));
    }

    #[test]
    fn the_budget_counts_datagrams_and_bytes() {
        let routes = routes();
        let passed = |limits: Limits, size: usize| {
            let mut publisher = Publisher::new(PUBLISHER);
            let mut bytes = datagram(TRACK);
            bytes.resize(size, 0);
            (0..100).filter(|_| routes.forward(NOW, &limits, &mut publisher, &bytes).is_ok()).count()
        };
        let limits = Limits { media_datagrams_per_second: 30, media_bits_per_second: 80_000, ..Limits::default() };
        assert_eq!(passed(limits, 100), 30);
        assert_eq!(passed(limits, 1000), 10);
    }
}
