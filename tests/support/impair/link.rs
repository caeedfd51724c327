use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::conditions::{Bursts, Conditions};

/// Packets on their way at a time: 100 ms of a gigabit. What comes beyond that is lost, as in a full queue.
const PACKETS_MAX: usize = 16_384;

/// How late a TCP segment is, besides the round trip, that was lost and sent again: what a sender needs to notice.
const RETRANSMISSION: Duration = Duration::from_millis(10);

/// How a packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UDP: what is lost is lost.
    Packet,
    /// A piece of the TCP connection with this number: what is lost comes late, and what is behind it waits.
    Segment(u64),
}

/// What became of the packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub delivered: u64,
    pub delivered_bytes: u64,
    /// By chance, one by one or in bursts.
    pub lost: u64,
    /// The queue was full.
    pub overflowed: u64,
    pub blocked: u64,
    pub too_large: u64,
    pub reordered: u64,
    pub duplicated: u64,
    pub changed: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, delivered_bytes, lost, overflowed, blocked, too_large, .. } = self;
        let Self { reordered, duplicated, changed, .. } = self;
        write!(f, "{delivered} delivered ({delivered_bytes} bytes), {lost} lost, {overflowed} found the queue full, ")?;
        write!(f, "{blocked} blocked, {too_large} too large, {reordered} late, {duplicated} doubled, {changed} changed")
    }
}

/// One direction of a network: a queue, a bottleneck, chance, and time on the way, in this order. It reads no clock: `now`
/// counts from any beginning.
pub struct Link<T> {
    conditions: Conditions,
    random: StdRng,
    in_burst: bool,
    queue: VecDeque<Waiting<T>>,
    queued_bytes: usize,
    /// When the packet at the head of the queue has passed the bottleneck.
    head_passes: Duration,
    /// What has passed the bottleneck, by when it arrives and in which order it was sent.
    on_the_way: BTreeMap<(Duration, u64), Waiting<T>>,
    passed: u64,
    last_arrival: Duration,
    last_segments: BTreeMap<u64, Duration>,
    counts: Counts,
}

#[derive(Clone)]
struct Waiting<T> {
    kind: Kind,
    bytes: usize,
    load: T,
}

/// A packet whose bytes can become wrong.
pub trait Load: Clone {
    /// Makes a bit wrong.
    fn change(&mut self);
}

impl<T: Load> Link<T> {
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            random: StdRng::seed_from_u64(seed),
            in_burst: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            head_passes: Duration::ZERO,
            on_the_way: BTreeMap::new(),
            passed: 0,
            last_arrival: Duration::ZERO,
            last_segments: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What waits for the bottleneck, in bytes.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether a TCP segment of so many bytes would be taken at once: its sender slows down where a packet would be lost.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.packets() < PACKETS_MAX && self.queued_bytes + bytes <= self.conditions.queue_bytes().max(bytes)
    }

    /// Changes the network. What is on its way past the bottleneck arrives as it would have.
    pub fn set(&mut self, now: Duration, conditions: Conditions) {
        self.pass(now);
        if let Some(head) = self.queue.front() {
            let left = self.head_passes.saturating_sub(now).as_secs_f64();
            let whole = self.conditions.sending_time(head.bytes).as_secs_f64();
            let share = if whole > 0.0 { (left / whole).min(1.0) } else { 0.0 };
            self.head_passes = now + conditions.sending_time(head.bytes).mul_f64(share);
        }
        self.conditions = conditions;
    }

    /// Takes a packet, or loses it.
    pub fn push(&mut self, now: Duration, kind: Kind, bytes: usize, load: T) {
        self.pass(now);
        let conditions = &self.conditions;
        let is_packet = kind == Kind::Packet;
        if is_packet && conditions.blocks_udp {
            self.counts.blocked += 1;
            return;
        }
        if is_packet && bytes > conditions.bytes_max {
            self.counts.too_large += 1;
            return;
        }
        let is_full = self.queued_bytes + bytes > conditions.queue_bytes() && !self.queue.is_empty();
        if self.packets() >= PACKETS_MAX || is_packet && is_full {
            self.counts.overflowed += 1;
            return;
        }
        if self.queue.is_empty() {
            self.head_passes = now + conditions.sending_time(bytes);
        }
        self.queued_bytes += bytes;
        self.queue.push_back(Waiting { kind, bytes, load });
        self.pass(now);
    }

    /// The next packet that has arrived by now.
    pub fn pop(&mut self, now: Duration) -> Option<(Kind, T)> {
        self.pass(now);
        let first = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        let Waiting { kind, bytes, load } = first.remove();
        self.counts.delivered += 1;
        self.counts.delivered_bytes += bytes as u64;
        Some((kind, load))
    }

    /// When [`Link::pop`] is due.
    pub fn next_timeout(&self) -> Option<Duration> {
        let passes = self.queue.front().map(|_| self.head_passes);
        let arrives = self.on_the_way.keys().next().map(|(at, _)| *at);
        passes.into_iter().chain(arrives).min()
    }

    fn packets(&self) -> usize {
        self.queue.len() + self.on_the_way.len()
    }

    /// What has passed the bottleneck by now goes on its way.
    fn pass(&mut self, now: Duration) {
        while self.head_passes <= now
            && let Some(waiting) = self.queue.pop_front()
        {
            let at = self.head_passes;
            self.queued_bytes -= waiting.bytes;
            if let Some(next) = self.queue.front() {
                self.head_passes = at + self.conditions.sending_time(next.bytes);
            }
            match waiting.kind {
                Kind::Packet => self.depart(at, waiting),
                Kind::Segment(connection) => self.depart_segment(at, connection, waiting),
            }
        }
    }

    fn depart(&mut self, at: Duration, mut waiting: Waiting<T>) {
        let Conditions { reorder: (share, late), duplicate, change, .. } = self.conditions;
        if self.is_lost() {
            self.counts.lost += 1;
            return;
        }
        if self.happens(change) {
            self.counts.changed += 1;
            waiting.load.change();
        }
        let copies = if self.happens(duplicate) { 2 } else { 1 };
        self.counts.duplicated += copies - 1;
        for _ in 0..copies {
            let mut arrival = at + self.time_on_the_way();
            if self.happens(share) {
                self.counts.reordered += 1;
                arrival += late;
            } else {
                arrival = arrival.max(self.last_arrival);
                self.last_arrival = arrival;
            }
            self.arrive(arrival, waiting.clone());
        }
    }

    fn depart_segment(&mut self, at: Duration, connection: u64, waiting: Waiting<T>) {
        let mut arrival = at + self.time_on_the_way();
        while self.is_lost() && arrival < at + Duration::from_secs(60) {
            self.counts.lost += 1;
            arrival += self.conditions.delay * 2 + RETRANSMISSION;
        }
        self.last_segments.retain(|_, last| *last > at);
        let last = self.last_segments.entry(connection).or_default();
        arrival = arrival.max(*last);
        *last = arrival;
        self.arrive(arrival, waiting);
    }

    fn arrive(&mut self, at: Duration, waiting: Waiting<T>) {
        self.on_the_way.insert((at, self.passed), waiting);
        self.passed += 1;
    }

    fn time_on_the_way(&mut self) -> Duration {
        self.conditions.delay + self.conditions.jitter.mul_f64(self.random.random())
    }

    fn is_lost(&mut self) -> bool {
        let in_burst = self.conditions.bursts.is_some_and(|Bursts { share, length }| {
            let ends = 1.0 / length.max(1.0);
            // So that good and bad packets have their shares over time.
            let begins = if share < 1.0 { ends * share / (1.0 - share) } else { 1.0 };
            let changes = self.random.random::<f64>() < if self.in_burst { ends } else { begins };
            self.in_burst != changes
        });
        self.in_burst = in_burst;
        in_burst || self.happens(self.conditions.loss)
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.random::<f64>() < share
    }
}
