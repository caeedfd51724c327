use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

use super::RoomKey;

/// So many bytes of media that count as waiting for a shard until this is dropped.
#[derive(Debug)]
pub(in crate::relay) struct Weight {
    bytes: usize,
    waiting: Arc<AtomicUsize>,
}

impl Weight {
    pub fn new(bytes: usize, waiting: Arc<AtomicUsize>) -> Self {
        let mut weight = Self { bytes: 0, waiting };
        weight.add(bytes);
        weight
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Media of a shard's rooms that crosses to another shard together.
#[derive(Debug)]
pub(in crate::relay) struct Bag {
    content: Bytes,
    /// Datagrams of one room in a row: which, and how many.
    runs: VecDeque<(RoomKey, usize)>,
    lengths: VecDeque<usize>,
    _weight: Weight,
}

impl Bag {
    /// Puts the next datagrams in a row into `run` that are of one room, and says of which.
    pub fn unpack(&mut self, run: &mut Vec<Bytes>) -> Option<RoomKey> {
        let (room, datagrams) = self.runs.pop_front()?;
        run.extend(self.lengths.drain(..datagrams).map(|length| self.content.split_to(length)));
        Some(room)
    }
}

/// Media that is still to be sent to a shard.
#[derive(Debug)]
pub(super) struct Packing {
    content: BytesMut,
    runs: VecDeque<(RoomKey, usize)>,
    lengths: VecDeque<usize>,
    weight: Weight,
}

impl Packing {
    pub fn new(waiting: Arc<AtomicUsize>) -> Self {
        let weight = Weight::new(0, waiting);
        Self { content: BytesMut::new(), runs: VecDeque::new(), lengths: VecDeque::new(), weight }
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.content.len()
    }

    /// Adds datagrams of a room.
    pub fn pack(&mut self, room: RoomKey, datagrams: &[Bytes]) {
        let before = self.bytes();
        datagrams.iter().for_each(|datagram| self.content.extend_from_slice(datagram));
        self.lengths.extend(datagrams.iter().map(Bytes::len));
        self.weight.add(self.bytes() - before);
        match self.runs.back_mut().filter(|(last, _)| *last == room) {
            Some((_, count)) => *count += datagrams.len(),
            None => self.runs.push_back((room, datagrams.len())),
        }
    }

    /// What is to be sent now; nothing is left.
    pub fn close(&mut self) -> Bag {
        let content = std::mem::take(&mut self.content).freeze();
        let (runs, lengths) = (std::mem::take(&mut self.runs), std::mem::take(&mut self.lengths));
        let next = Weight::new(0, self.weight.waiting.clone());
        Bag { content, runs, lengths, _weight: std::mem::replace(&mut self.weight, next) }
    }
}
