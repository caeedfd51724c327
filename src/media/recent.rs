use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::limits::{RECENT_BYTES_MAX, RECENT_DATAGRAMS_MAX};
use crate::now::Now;
use crate::wire::{MediaHeader, RepeatRequest};

/// The datagrams of a track that were sent lately, so that they can be sent once more.
#[derive(Debug)]
pub struct Recent {
    lifetime: Duration,
    kept: VecDeque<Kept>,
    bytes: usize,
}

/// A datagram, and what it is asked for by.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its temporal layer.
    pub temporal_layer: u8,
    /// All of it, as every carrier sends it.
    pub bytes: Bytes,
    spatial_layer: u8,
    frame: u32,
    fragment: u16,
    at: Duration,
}

impl Recent {
    /// An empty one, which keeps each datagram for `lifetime` if there is room for it.
    pub fn new(lifetime: Duration) -> Self {
        Self { lifetime, kept: VecDeque::new(), bytes: 0 }
    }

    /// Keeps a datagram, prefix and header included, and forgets what is too old or too much. It should keep nothing else alive: one
    /// that was received may be a part of 64 KiB.
    pub fn push(&mut self, now: Now, header: &MediaHeader, datagram: Bytes) {
        // Whoever misses parity has missed what it could be made good from, and streams lose nothing.
        if header.parity || header.on_stream {
            return;
        }
        self.bytes += datagram.len();
        self.kept.push_back(Kept {
            temporal_layer: header.temporal_layer,
            bytes: datagram,
            spatial_layer: header.spatial_layer,
            frame: header.frame,
            fragment: header.fragment_index,
            at: now.since_start,
        });
        self.forget(now);
    }

    /// What a request asks for and is still worth sending.
    pub fn find<'a>(&'a self, now: Now, request: &'a RepeatRequest) -> impl Iterator<Item = &'a Kept> {
        let is_asked = move |kept: &&Kept| {
            kept.at + self.lifetime > now.since_start
                && kept.spatial_layer == request.spatial_layer
                && request.contains(kept.frame, kept.fragment)
        };
        self.kept.iter().filter(is_asked)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.lifetime);
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Forgets what is too old, and what is too much.
    pub fn forget(&mut self, now: Now) {
        while let Some(first) = self.kept.front() {
            let is_old = first.at + self.lifetime <= now.since_start;
            if !is_old && self.kept.len() <= RECENT_DATAGRAMS_MAX && self.bytes <= RECENT_BYTES_MAX {
                return;
            }
            self.bytes -= first.bytes.len();
            self.kept.pop_front();
        }
        // Nothing is left, so this is the end of it for a while.
        self.kept = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Frame;
    use crate::wire::{Datagram, TrackId, Wanted};

    const TRACK: TrackId = TrackId(1);
    const LIFETIME: Duration = Duration::from_millis(400);

    fn at(ms: u64) -> Now {
        Now::after(Duration::from_millis(ms))
    }

    fn push(recent: &mut Recent, now: Now, number: u32, bytes: usize) -> Vec<Datagram> {
        let frame = Frame { number, data: vec![number as u8; bytes].into(), ..Frame::default() };
        let datagrams: Vec<_> = frame.datagrams(TRACK).unwrap().collect();
        datagrams.iter().for_each(|datagram| recent.push(now, &datagram.header, datagram.bytes.clone()));
        datagrams
    }

    fn found(recent: &Recent, now: Now, wanted: Wanted) -> Vec<Bytes> {
        let request = RepeatRequest { track: TRACK, spatial_layer: 0, wanted: vec![wanted] };
        recent.find(now, &request).map(|kept| kept.bytes.clone()).collect()
    }

    #[test]
    fn what_was_sent_lately_is_found_as_it_was() {
        let mut recent = Recent::new(LIFETIME);
        push(&mut recent, at(0), 6, 100);
        let sent = push(&mut recent, at(0), 7, 2500);
        let bytes =
            |datagrams: &[Datagram]| datagrams.iter().map(|datagram| datagram.bytes.clone()).collect::<Vec<_>>();
        assert_eq!(found(&recent, at(399), Wanted::whole(7)), bytes(&sent));
        assert_eq!(found(&recent, at(399), Wanted::fragment(7, 1)), bytes(&sent[1..2]));
        assert_eq!(found(&recent, at(399), Wanted::whole(8)), bytes(&[]));
        assert_eq!(found(&recent, at(400), Wanted::whole(7)), bytes(&[]), "too old, though nothing came after it");
        let upper = RepeatRequest { track: TRACK, spatial_layer: 1, wanted: vec![Wanted::whole(7)] };
        assert_eq!(recent.find(at(0), &upper).count(), 0);
    }

    #[test]
    fn age_count_and_bytes_are_bounded() {
        let mut recent = Recent::new(LIFETIME);
        (0..2000).for_each(|number| drop(push(&mut recent, at(0), number, 10)));
        assert_eq!(recent.kept.len(), RECENT_DATAGRAMS_MAX);
        (0..2000).for_each(|number| drop(push(&mut recent, at(0), number, 980)));
        assert!(recent.bytes <= RECENT_BYTES_MAX && recent.bytes > RECENT_BYTES_MAX - 1001, "{}", recent.bytes);
        push(&mut recent, at(400), 0, 10);
        assert_eq!((recent.kept.len(), recent.bytes), (1, 31));
        recent.clear();
        assert_eq!((recent.kept.len(), recent.bytes), (0, 0));
    }

    #[test]
    fn parity_is_not_kept() {
        let mut recent = Recent::new(LIFETIME);
        let datagram = Frame::default().datagrams(TRACK).unwrap().next().unwrap();
        recent.push(at(0), &MediaHeader { parity: true, ..datagram.header }, datagram.bytes);
        assert_eq!(found(&recent, at(0), Wanted::whole(0)), Vec::<Bytes>::new());
    }
}
