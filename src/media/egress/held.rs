use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::wire::MediaHeader;

/// Datagrams for which room is kept when none waits any more: those of a frame as it is usual.
const SPARE_DATAGRAMS: usize = 32;

/// A datagram that waits.
#[derive(Debug, Clone)]
pub struct Held {
    pub header: MediaHeader,
    pub bytes: Bytes,
    pub since: Duration,
    /// Whether it was sent before, and is asked for once more.
    pub is_repeat: bool,
}

/// Datagrams that wait, in order.
#[derive(Debug, Default)]
pub struct Waiting {
    all: VecDeque<Held>,
    bytes: usize,
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn first(&self) -> Option<&Held> {
        self.all.front()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Held> {
        self.all.iter()
    }

    pub fn push(&mut self, held: Held) {
        self.bytes += held.bytes.len();
        self.all.push_back(held);
    }

    pub fn pop(&mut self) -> Option<Held> {
        let held = self.all.pop_front()?;
        self.bytes -= held.bytes.len();
        Some(held)
    }

    /// Gives back the room of an unusually long queue.
    pub fn shrink(&mut self) {
        self.all.shrink_to(SPARE_DATAGRAMS);
    }

    /// Takes out all of them.
    pub fn take_all(&mut self) -> impl Iterator<Item = Held> + use<> {
        std::mem::take(self).all.into_iter()
    }

    /// Takes out those that `keep` does not want, and says how many they were.
    pub fn retain(&mut self, mut keep: impl FnMut(&Held) -> bool) -> u64 {
        let before = self.all.len();
        let bytes = &mut self.bytes;
        self.all.retain(|held| {
            let is_kept = keep(held);
            if !is_kept {
                *bytes -= held.bytes.len();
            }
            is_kept
        });
        (before - self.all.len()) as u64
    }
}
