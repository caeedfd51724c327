use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::profile::{NUMBER_DIGITS, Profile};

/// Offset of the frame number in a datagram, and of the payload, whose first byte is the publisher's number.
pub const FRAME_AT: usize = 7;
pub const PAYLOAD_AT: usize = 21;

/// Offset of the flags in a datagram, and the one of a request for others, which is no media.
const FLAGS_AT: usize = 1;
const REQUEST: u8 = 1 << 2;

/// What was sent and what arrived, frame by frame.
#[derive(Debug)]
pub struct Tally {
    profile: Profile,
    subscribers: usize,
    start: Instant,
    delivered: AtomicU64,
    /// By publisher, then by frame.
    frames: Mutex<Vec<Vec<Record>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Record {
    sent: Duration,
    /// When the first and when the last subscriber had the whole frame; `None` until one had.
    whole: Option<(Duration, Duration)>,
    datagrams: u64,
}

/// What one subscriber has so far of the newest frame of each publisher.
#[derive(Debug)]
pub struct Receiver {
    tally: Arc<Tally>,
    newest: Vec<(u32, usize)>,
}

/// What a cell of the table says about delivery.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    pub percent: f64,
    pub first_ms: Percentiles,
    pub last_ms: Percentiles,
}

#[derive(Debug, Clone, Copy)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
}

impl Tally {
    pub fn new(profile: Profile, subscribers: usize) -> Arc<Self> {
        Arc::new(Self {
            profile,
            subscribers,
            start: Instant::now(),
            delivered: AtomicU64::new(0),
            frames: Mutex::new(vec![Vec::new(); profile.publishers(subscribers)]),
        })
    }

    /// Time since the tally began.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Notes that the next frame of `publisher` is about to be sent, and returns its number.
    pub fn send(&self, publisher: usize) -> u32 {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let frames = &mut frames[publisher];
        frames.push(Record { sent: self.now(), ..Record::default() });
        frames.len() as u32 - 1
    }

    /// Datagrams that have arrived, at all subscribers together.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// What became of the frames sent between `from` and `to`.
    pub fn delivery(&self, from: Duration, to: Duration) -> Delivery {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let frames: Vec<_> = frames.iter().flatten().filter(|frame| (from..to).contains(&frame.sent)).collect();
        let expected = frames.len() * self.profile.fragments() * self.profile.receivers(self.subscribers);
        let datagrams: u64 = frames.iter().map(|frame| frame.datagrams).sum();
        let latencies = |which: fn((Duration, Duration)) -> Duration| {
            let arrived = frames.iter().filter_map(|frame| Some(which(frame.whole?) - frame.sent));
            Percentiles::of(arrived.map(|latency| latency.as_secs_f64() * 1e3).collect())
        };
        Delivery {
            percent: 100.0 * datagrams as f64 / expected as f64,
            first_ms: latencies(|(first, _)| first),
            last_ms: latencies(|(_, last)| last),
        }
    }
}

impl Receiver {
    pub fn new(tally: Arc<Tally>) -> Self {
        let newest = vec![(u32::MAX, 0); tally.profile.publishers(tally.subscribers)];
        Self { tally, newest }
    }

    /// Notes a datagram as a carrier delivered it.
    pub fn receive(&mut self, datagram: &[u8]) {
        if datagram[FLAGS_AT] & REQUEST != 0 {
            return;
        }
        let frame = datagram[FRAME_AT..].first_chunk().expect("the datagram is one of ours");
        self.note(usize::from(datagram[PAYLOAD_AT]), u32::from_be_bytes(*frame));
    }

    /// Notes a chat message.
    pub fn receive_text(&mut self, text: &str) {
        let number = text[..NUMBER_DIGITS].parse().expect("the text is one of ours");
        self.note(0, number);
    }

    /// Notes a datagram of a frame.
    pub fn note(&mut self, publisher: usize, frame: u32) {
        let newest = &mut self.newest[publisher];
        if newest.0 != frame {
            *newest = (frame, 0);
        }
        newest.1 += 1;
        let whole = newest.1 == self.tally.profile.fragments();
        self.tally.delivered.fetch_add(1, Ordering::Relaxed);
        let now = self.tally.now();
        let mut frames = self.tally.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let record = &mut frames[publisher][frame as usize];
        record.datagrams += 1;
        if whole {
            let first = record.whole.map_or(now, |(first, _)| first);
            record.whole = Some((first, now));
        }
    }
}

impl Percentiles {
    /// NaN if there are no values.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (values.len() as f64 * share).ceil() as usize;
            values.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Self { p50: at(0.5), p99: at(0.99) }
    }
}
