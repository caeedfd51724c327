use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Metrics;
use super::media_outbox::MediaOutbox;
use crate::limits::INITIAL_WINDOW_BYTES;
use crate::media::{LIMITED_BURST_TIME, Pace, Space};
use crate::now::Now;
use crate::transport::{VOICE_BYTES_MAX, VOICE_SHARE, Window};

/// How often what was sent is followed by a ping: the answer says when it arrived. A ping has 40 bytes with what is around it, and
/// its answer as many.
const MARK_INTERVAL: Duration = Duration::from_millis(25);

/// Pings on their way at a time: those of more than [`IDLE_TIMEOUT`](crate::limits::IDLE_TIMEOUT), after which who answers none has
/// been given up, unless it says something else.
const MARKS_MAX: usize = 512;

/// What video may leave at once, as time of the path, where no queue stood of late: most keyframes. Over QUIC it is not paced at all then;
/// here, answers come too seldom for that: they tell late of a path that is slower.
const FREE_BURST_TIME: Duration = Duration::from_millis(50);

/// The shortest time that the pace is waited for.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What the window counts as a packet, in bytes: a segment of TCP.
const SEGMENT_BYTES: u64 = 1400;

/// What is on its way to a participant over WebSocket, and how much may be.
///
/// TCP fills the bottleneck's queue and every buffer before it, and what is in there can no longer be left out. So media is held
/// back by the same [`Window`] that QUIC connections can have, which makes a small delay at most. In the place of acknowledgements
/// it has the answers to pings (RFC 6455, section 5.5.3), which come in order behind all that was sent before them.
#[derive(Debug)]
pub(super) struct Flight {
    inner: RefCell<Inner>,
    /// Whether media waits for what is on its way.
    is_blocked: Cell<bool>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    window: Window,
    pace: Pace,
    /// All that has not arrived yet, in bytes.
    bytes: u64,
    /// What of audio may be on its way beyond the window, in bytes.
    voice_bytes: i64,
    /// What was sent behind the last ping.
    unmarked_bytes: u64,
    /// Pings on their way, each with what was sent between the one before it and itself.
    marks: VecDeque<Mark>,
    marked: Duration,
    next: u64,
}

impl Inner {
    /// Whether what arrived last was late. With nothing on its way nothing tells that the queue is gone.
    fn is_late(&self) -> bool {
        self.window.is_late() && self.bytes > 0
    }

    /// What video may leave at once, as time of the path.
    fn burst_time(&self) -> Duration {
        if self.is_late() || self.window.is_limited() { LIMITED_BURST_TIME } else { FREE_BURST_TIME }
    }
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    number: u64,
    sent: Duration,
    bytes: u64,
}

impl Default for Flight {
    fn default() -> Self {
        let inner = Inner {
            window: Window::new(INITIAL_WINDOW_BYTES, SEGMENT_BYTES),
            pace: Pace::default(),
            bytes: 0,
            voice_bytes: 0,
            unmarked_bytes: 0,
            marks: VecDeque::new(),
            marked: Duration::ZERO,
            next: 0,
        };
        Self { inner: RefCell::new(inner), is_blocked: Cell::new(false), changed: Notify::new() }
    }
}

impl Flight {
    /// Waits until media may be sent. `false`: nothing will come any more.
    pub async fn wait(&self, media: &MediaOutbox) -> bool {
        if !self.is_blocked() {
            return media.wait().await;
        }
        tokio::select! {
            // What is late by now is left out.
            () = media.offered() => {}
            () = self.changed.notified() => {}
            () = self.paused() => {}
        }
        true
    }

    /// Takes what is to be sent next, if there is space for it.
    pub fn take(&self, media: &MediaOutbox, now: Now, metrics: &Metrics) -> Option<Bytes> {
        if let Some(rate) = self.rate() {
            media.note_path_rate(rate);
        }
        let due = media.take(now, self.space(now.since_start), metrics);
        self.is_blocked.set(due.is_none() && !media.is_empty());
        media.tally().note_sent(metrics, due.is_some().into());
        due.map(|due| due.bytes)
    }

    /// Bytes a second that the path carries by estimate; `None` while too little was sent to know it.
    pub fn rate(&self) -> Option<u64> {
        self.inner.borrow().window.rate()
    }

    /// What more may be sent. While nothing is on its way, anything; video as the pace allows it, which audio does not wait for. Nor
    /// does audio wait for a full window, as on QUIC: a part of what has arrived may leave beyond it.
    fn space(&self, now: Duration) -> Space {
        let inner = &mut *self.inner.borrow_mut();
        let window = inner.window.bytes();
        let video_open = inner.window.rate().is_none_or(|rate| {
            let burst_time = inner.burst_time();
            inner.pace.credit_bytes(now, rate, burst_time) > 0
        });
        let bytes = match inner.bytes {
            0 => usize::MAX,
            bytes => window.saturating_sub(bytes) as usize,
        };
        let audio_bytes = bytes.max(inner.voice_bytes.max(0) as usize);
        let is_full = inner.is_late() || inner.window.is_full();
        Space { audio_bytes, video_open, is_full, ..bytes.into() }
    }

    /// So much was sent.
    pub fn sent(&self, bytes: usize) {
        let inner = &mut *self.inner.borrow_mut();
        inner.bytes += bytes as u64;
        if inner.bytes > inner.window.bytes() {
            inner.voice_bytes = (inner.voice_bytes - bytes as i64).max(-VOICE_BYTES_MAX);
        }
        inner.unmarked_bytes += bytes as u64;
        inner.window.sent(bytes as u64);
        inner.pace.sent(bytes);
    }

    fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    /// Whether a ping is to be sent behind what was sent.
    pub fn is_mark_due(&self, now: Duration) -> bool {
        let inner = self.inner.borrow();
        let is_awaited = self.is_blocked() && inner.marks.is_empty();
        inner.unmarked_bytes > 0 && (is_awaited || now.saturating_sub(inner.marked) >= MARK_INTERVAL)
    }

    /// The payload of a ping that is sent now.
    pub fn mark(&self, now: Duration) -> [u8; 8] {
        let inner = &mut *self.inner.borrow_mut();
        let number = inner.next;
        let bytes = std::mem::take(&mut inner.unmarked_bytes);
        if inner.marks.len() >= MARKS_MAX
            && let Some(oldest) = inner.marks.pop_front()
            && let Some(next) = inner.marks.front_mut()
        {
            next.bytes += oldest.bytes;
        }
        inner.marks.push_back(Mark { number, sent: now, bytes });
        (inner.marked, inner.next) = (now, number + 1);
        number.to_be_bytes()
    }

    /// Takes the answer to a ping: how long that took. `None`: it answers none. Who gets several pings may answer the last one alone.
    pub fn answered(&self, now: Duration, payload: &[u8]) -> Option<Duration> {
        let number = u64::from_be_bytes(payload.try_into().ok()?);
        let inner = &mut *self.inner.borrow_mut();
        if !inner.marks.iter().any(|mark| mark.number == number) {
            return None;
        }
        let mut round_trip = Duration::ZERO;
        while let Some(mark) = inner.marks.pop_front_if(|mark| mark.number <= number) {
            inner.bytes -= mark.bytes;
            inner.voice_bytes = (inner.voice_bytes + (mark.bytes / VOICE_SHARE) as i64).min(VOICE_BYTES_MAX);
            inner.window.acked(mark.sent, mark.bytes);
            round_trip = now.saturating_sub(mark.sent);
        }
        inner.window.acked_all(now, inner.bytes);
        if self.is_blocked() {
            self.changed.notify_one();
        }
        Some(round_trip)
    }

    /// Waits until the pace allows more; for ever if it is not what media waits for.
    async fn paused(&self) {
        let pause = {
            let inner = self.inner.borrow();
            inner.window.rate().map_or(Duration::ZERO, |rate| inner.pace.wait(rate))
        };
        match pause {
            Duration::ZERO => pending().await,
            pause => sleep(pause.max(PAUSE_MIN)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn what_is_on_its_way_is_what_no_answer_has_come_for() {
        let flight = Flight::default();
        assert_eq!((flight.space(ms(0)).bytes, flight.is_mark_due(ms(100))), (usize::MAX, false));
        flight.sent(1000);
        let first = flight.mark(ms(100));
        flight.sent(2000);
        assert_eq!([124, 125].map(|now| flight.is_mark_due(ms(now))), [false, true]);
        let second = flight.mark(ms(125));
        flight.sent(500);
        assert_eq!(flight.space(ms(130)).bytes, INITIAL_WINDOW_BYTES as usize - 3500);
        assert_eq!(flight.answered(ms(160), &first), Some(ms(60)));
        assert_eq!(flight.inner.borrow().bytes, 2500);
        assert_eq!([flight.answered(ms(170), &first), flight.answered(ms(170), b"another")], [None; 2]);
        assert_eq!(flight.answered(ms(185), &second), Some(ms(60)));
        assert_eq!(flight.inner.borrow().bytes, 500);
    }

    #[test]
    fn the_answer_to_the_last_ping_is_one_to_those_before_it() {
        let flight = Flight::default();
        let marks = [0, 25, 50].map(|now| {
            flight.sent(1000);
            flight.mark(ms(now))
        });
        assert_eq!(flight.answered(ms(110), &marks[2]), Some(ms(60)));
        assert_eq!(flight.inner.borrow().bytes, 0);
    }

    #[test]
    fn media_that_waits_for_an_answer_has_a_ping_on_its_way() {
        let flight = Flight::default();
        flight.sent(1000);
        flight.mark(ms(100));
        flight.sent(1000);
        flight.is_blocked.set(true);
        assert!(!flight.is_mark_due(ms(101)));
        flight.answered(ms(101), &0_u64.to_be_bytes());
        assert!(flight.is_mark_due(ms(102)));
    }

    /// What video may be sent.
    fn space(flight: &Flight, now: Duration) -> usize {
        let space = flight.space(now);
        if space.video_open { space.bytes } else { 0 }
    }

    #[test]
    fn a_part_of_what_has_arrived_may_leave_as_audio_beyond_a_full_window() {
        let flight = Flight::default();
        let spaces = |now| [flight.space(ms(now)).bytes, flight.space(ms(now)).audio_bytes];
        flight.sent(4000);
        let first = flight.mark(ms(0));
        flight.sent(INITIAL_WINDOW_BYTES as usize - 4000);
        assert_eq!(spaces(0), [0, 0]);
        flight.answered(ms(60), &first);
        // What fits into the window costs nothing.
        flight.sent(flight.space(ms(60)).bytes);
        assert_eq!(spaces(60), [0, 1000]);
        flight.sent(141);
        assert_eq!(spaces(60), [0, 859]);
        flight.sent(100_000);
        assert_eq!(spaces(60), [0, 0]);
    }

    #[test]
    fn where_no_queue_stood_a_keyframe_leaves_at_once() {
        let flight = Flight::default();
        flight.sent(1000);
        flight.answered(ms(60), &flight.mark(ms(0)));
        assert!(flight.rate().is_some(), "the path is known");
        assert!(space(&flight, ms(60)) > 0);
        flight.sent(12_000);
        assert!(space(&flight, ms(60)) > 0);
        flight.sent(10_000);
        assert_eq!(space(&flight, ms(60)), 0, "the pace holds back what would fill a window at once");
    }

    #[test]
    fn a_path_that_is_slower_than_what_is_sent_gets_less_than_would_fill_its_queue() {
        let flight = Flight::default();
        // The roster goes before all media.
        flight.sent(300);
        flight.answered(ms(60), &flight.mark(ms(0)));
        // 75 kB/s and 60 ms there and back; something waits all the time.
        let mut answers: VecDeque<(Duration, [u8; 8])> = VecDeque::new();
        let (mut passes, mut longest) = (Duration::ZERO, Duration::ZERO);
        for now in (60..10_000).map(ms) {
            while answers.front().is_some_and(|(at, _)| *at <= now) {
                let (_, payload) = answers.pop_front().unwrap();
                flight.answered(now, &payload);
            }
            while space(&flight, now) >= 1000 {
                flight.sent(1000);
                passes = passes.max(now) + Duration::from_secs_f64(1000.0 / 75_000.0);
            }
            flight.is_blocked.set(true);
            if flight.is_mark_due(now) {
                answers.push_back((passes.max(now) + ms(60), flight.mark(now)));
            }
            if now > ms(3000) {
                longest = longest.max(passes.saturating_sub(now));
                assert!(passes + ms(30) > now, "the path is idle at {now:?}");
            }
        }
        assert!(longest < ms(100), "{longest:?} of queue");
    }
}
