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
use crate::media::{Class, LIMITED_BURST_TIME, Pace, Space};
use crate::now::Now;
use crate::transport::{VOICE_BYTES_MAX, VOICE_SHARE, Window};

/// How often what was sent is followed by a ping: the answer says when it arrived. A ping has 40 bytes with what is around it, and
/// its answer as many.
const MARK_INTERVAL: Duration = Duration::from_millis(25);

/// Pings on their way at a time: those of more than [`IDLE_TIMEOUT`](crate::limits::IDLE_TIMEOUT), after which who answers none has
/// been given up, unless it says something else.
const MARKS_MAX: usize = 512;

/// What of a keyframe may leave at once, as time of the path, where no queue stood of late: most are no larger. Over QUIC video is not
/// paced at all then; here, answers come too seldom for that: they tell late of a path that is slower. Other frames are many, and behind
/// a large one audio would stand each time a path falls.
const FREE_BURST_TIME: Duration = Duration::from_millis(50);

/// The same in bytes, since the first window says too much of a short path: what 600 kbit/s carry in 190 ms.
const FREE_BURST_BYTES: f64 = 14_000.0;

/// How long it is between two frames of most cameras. What has waited for as long is in the way of the next frame.
const FRAME_TIME: Duration = Duration::from_millis(33);

/// The share of what the path is taken to carry that frames leave by which are in nobody's way: while they are, they show what it carries.
const EASY_SHARE: f64 = 2.0 / 3.0;

/// How long no ping has to be answered until the path is taken to carry nothing; on long paths, two round trips. Twice as long as on QUIC:
/// answers come behind all that was sent, a large frame takes its time, and what TCP lost holds up the rest for 200 ms and a round trip.
const SILENCE: Duration = Duration::from_millis(500);

/// The shortest time that the pace is waited for.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// What the window counts as a packet, in bytes: a segment of TCP.
const SEGMENT_BYTES: u64 = 1400;

/// What is on its way to a participant over WebSocket, and how much may be.
///
/// TCP fills the bottleneck's queue and every buffer before it, and what is in there can no longer be left out. So media is held
/// back by the same [`Window`] that QUIC connections can have, which makes a small delay at most; audio, which takes little, passes it
/// as it does there. In the place of acknowledgements it has the answers to pings (RFC 6455, section 5.5.3), which come in order behind
/// all that was sent before them.
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
    /// That of keyframes, for which everything counts that leaves.
    keyframe_pace: Pace,
    /// What other video leaves by at present, in bytes a second.
    video_rate: u64,
    /// All that has not arrived yet, in bytes.
    bytes: u64,
    /// What may leave as audio beyond the window, in bytes; less than nothing after a datagram that was larger. It begins with the most:
    /// the first window may fill a slow path for half a second, in which nothing arrives.
    voice_bytes: i64,
    /// What was sent behind the last ping.
    unmarked_bytes: u64,
    /// Pings on their way, each with what was sent between the one before it and itself.
    marks: VecDeque<Mark>,
    marked: Duration,
    next: u64,
    /// When the last answer came, and after what silence.
    answered: Duration,
    pause: Duration,
}

impl Inner {
    /// Whether what arrived last was late. With nothing on its way nothing tells that the queue is gone.
    fn is_late(&self) -> bool {
        self.window.is_late() && self.bytes > 0
    }

    /// What of a keyframe may leave at once on a path that carries so many bytes a second, as time of the path.
    fn keyframe_burst_time(&self, rate: u64) -> Duration {
        if self.is_late() || self.window.is_limited() {
            return LIMITED_BURST_TIME;
        }
        FREE_BURST_TIME.min(Duration::from_secs_f64(FREE_BURST_BYTES / rate.max(1) as f64)).max(LIMITED_BURST_TIME)
    }

    /// What video leaves by that is no keyframe, in bytes a second, on a path that is taken to carry so many. The window may be far ahead of
    /// what was ever sent, and behind a large frame that leaves too fast, audio stands long when the path falls. A queue tells what the path
    /// carries, and so does a window that is full.
    fn video_rate(&self, rate: u64, waited: Duration) -> u64 {
        let is_known = self.is_late() || self.window.is_limited() || waited >= FRAME_TIME;
        if is_known { rate } else { (rate as f64 * EASY_SHARE) as u64 }
    }

    /// For how long nothing was answered of what is on its way.
    fn silence(&self, now: Duration) -> Duration {
        self.marks.front().map_or(Duration::ZERO, |oldest| now.saturating_sub(oldest.sent.max(self.answered)))
    }

    /// Audio of so many bytes leaves.
    fn spoke(&mut self, bytes: usize) {
        if self.bytes + bytes as u64 > self.window.bytes() {
            self.voice_bytes = (self.voice_bytes - bytes as i64).max(-VOICE_BYTES_MAX);
        }
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
            keyframe_pace: Pace::default(),
            video_rate: 0,
            bytes: 0,
            voice_bytes: VOICE_BYTES_MAX,
            unmarked_bytes: 0,
            marks: VecDeque::new(),
            marked: Duration::ZERO,
            next: 0,
            answered: Duration::ZERO,
            pause: Duration::ZERO,
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
        if self.is_silent(now.since_start) {
            media.note_silence(now);
        }
        let due = media.take(now, self.space(now.since_start, media.video_waited(now)), metrics);
        self.is_blocked.set(due.is_none() && !media.is_empty());
        if let Some(due) = due.as_ref().filter(|due| due.class == Class::Audio) {
            self.inner.borrow_mut().spoke(due.bytes.len());
        }
        media.tally().note_sent(metrics, due.is_some().into());
        due.map(|due| due.bytes)
    }

    /// Bytes a second that the path carries by estimate; `None` while too little was sent to know it.
    pub fn rate(&self) -> Option<u64> {
        self.inner.borrow().window.rate()
    }

    /// Whether nothing has been answered for so long that the path takes nothing, as it seems. Who was silent for so long, and answered once,
    /// may have been late.
    fn is_silent(&self, now: Duration) -> bool {
        let inner = self.inner.borrow();
        inner.silence(now).max(inner.pause) >= SILENCE.max(inner.window.least_round_trip() * 2)
    }

    /// What more may be sent, where video has waited for so long. While nothing is on its way, anything; video as the pace allows it,
    /// which audio does not wait for. Nor does audio wait for a full window, as on QUIC: a part of what has arrived may leave beyond it.
    fn space(&self, now: Duration, video_waited: Duration) -> Space {
        let inner = &mut *self.inner.borrow_mut();
        let window = inner.window.bytes();
        let (video_open, keyframes_open) = match inner.window.rate() {
            Some(rate) => {
                inner.video_rate = inner.video_rate(rate, video_waited);
                let burst_time = inner.keyframe_burst_time(rate);
                let credit_bytes = inner.pace.credit_bytes(now, inner.video_rate, LIMITED_BURST_TIME);
                (credit_bytes > 0, inner.keyframe_pace.credit_bytes(now, rate, burst_time) > 0)
            }
            // The ping with which the connection began is on its way: with video behind it, the least round trip would not be known.
            None => (false, false),
        };
        let bytes = match inner.bytes {
            0 => usize::MAX,
            bytes => window.saturating_sub(bytes) as usize,
        };
        let audio_bytes = if inner.voice_bytes > 0 { usize::MAX } else { bytes };
        let is_full = inner.is_late() || inner.window.is_full();
        Space { audio_bytes, video_open, keyframes_open, is_full, ..bytes.into() }
    }

    /// So much was sent.
    pub fn sent(&self, bytes: usize) {
        let inner = &mut *self.inner.borrow_mut();
        inner.bytes += bytes as u64;
        inner.unmarked_bytes += bytes as u64;
        inner.window.sent(bytes as u64);
        inner.pace.sent(bytes);
        inner.keyframe_pace.sent(bytes);
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
        inner.pause = inner.silence(now);
        inner.answered = now;
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
        match self.pause() {
            Some(pause) => sleep(pause.max(PAUSE_MIN)).await,
            None => pending().await,
        }
    }

    /// Until keyframes may go on or, where they may, other video.
    fn pause(&self) -> Option<Duration> {
        let inner = self.inner.borrow();
        inner.keyframe_pace.wait(inner.window.rate()?).or(inner.pace.wait(inner.video_rate))
    }
}

#[cfg(test)]
mod tests {
    use super::super::media_outbox::Burst;
    use super::*;
    use crate::limits::Limits;
    use crate::media::{Frame, Routes};
    use crate::room::Pressure;
    use crate::wire::TrackId;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// What may be sent where nothing has waited.
    fn space_of(flight: &Flight, now_ms: u64) -> Space {
        flight.space(ms(now_ms), Duration::ZERO)
    }

    #[test]
    fn what_is_on_its_way_is_what_no_answer_has_come_for() {
        let flight = Flight::default();
        assert_eq!((space_of(&flight, 0).bytes, flight.is_mark_due(ms(100))), (usize::MAX, false));
        flight.sent(1000);
        let first = flight.mark(ms(100));
        flight.sent(2000);
        assert_eq!([124, 125].map(|now| flight.is_mark_due(ms(now))), [false, true]);
        let second = flight.mark(ms(125));
        flight.sent(500);
        assert_eq!(space_of(&flight, 130).bytes, INITIAL_WINDOW_BYTES as usize - 3500);
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
    fn a_path_that_answers_nothing_for_long_is_silent_and_one_that_answers_late_has_been() {
        let flight = Flight::default();
        let begin = flight.mark(ms(0));
        flight.answered(ms(60), &begin);
        assert!(!flight.is_silent(ms(5000)), "nothing is on its way");
        flight.sent(1000);
        let first = flight.mark(ms(5000));
        flight.sent(1000);
        let second = flight.mark(ms(5025));
        assert_eq!([5499, 5500, 9000].map(|now| flight.is_silent(ms(now))), [false, true, true]);
        flight.answered(ms(9000), &first);
        assert!(flight.is_silent(ms(9000)), "it was");
        flight.answered(ms(9001), &second);
        assert!(!flight.is_silent(ms(9001)));
    }

    #[test]
    fn what_is_late_while_nothing_is_answered_is_no_pressure() {
        for (is_answered, expected) in [(true, Some(Pressure::High)), (false, None)] {
            let (flight, media, metrics) =
                (Flight::default(), MediaOutbox::new(&Limits::default()), Metrics::default());
            let begin = flight.mark(ms(0));
            flight.answered(ms(60), &begin);
            flight.sent(1_000_000);
            let mark = flight.mark(ms(1000));
            let audio =
                Frame::default().datagrams(TrackId(7)).unwrap().map(|datagram| datagram.bytes).collect::<Vec<_>>();
            media.offer(&Burst::new(Now::after(ms(1400)), &audio, &Routes::default()), &metrics);
            if is_answered {
                flight.answered(ms(1450), &mark);
                flight.sent(1_000_000);
                flight.mark(ms(1480));
            }
            flight.inner.borrow_mut().voice_bytes = 0;
            assert_eq!(flight.take(&media, Now::after(ms(1700)), &metrics), None, "it is late");
            assert_eq!(media.take_pressure(Now::after(ms(1700))), expected);
        }
    }

    #[test]
    fn on_a_long_path_silence_is_longer() {
        let flight = Flight::default();
        let begin = flight.mark(ms(0));
        flight.answered(ms(600), &begin);
        flight.sent(1000);
        flight.mark(ms(1000));
        assert_eq!([2199, 2200].map(|now| flight.is_silent(ms(now))), [false, true]);
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
        let space = flight.space(now, FRAME_TIME);
        if space.video_open { space.bytes } else { 0 }
    }

    #[test]
    fn a_part_of_what_has_arrived_may_leave_as_audio_beyond_a_full_window() {
        let flight = Flight::default();
        let audio_fits = || space_of(&flight, 60).audio_bytes > 0;
        let speak = |bytes| {
            flight.inner.borrow_mut().spoke(bytes);
            flight.sent(bytes);
        };
        // What fits into the window costs nothing.
        speak(4000);
        let first = flight.mark(ms(0));
        flight.sent(INITIAL_WINDOW_BYTES as usize - 4000);
        assert_eq!(flight.inner.borrow().voice_bytes, VOICE_BYTES_MAX);
        // Before anything has arrived, a quarter of a second of a voice.
        let fits_after = |bytes| {
            speak(bytes);
            audio_fits()
        };
        assert_eq!([2399, 1].map(fits_after), [true, false]);
        flight.answered(ms(60), &first);
        flight.sent(space_of(&flight, 60).bytes);
        assert_eq!(space_of(&flight, 60).bytes, 0);
        // A quarter of 4000 bytes. Messages, which wait for no window, take nothing of it.
        flight.sent(50_000);
        assert_eq!([900, 150].map(fits_after), [true, false]);
        assert_eq!(flight.inner.borrow().voice_bytes, -50);
        // However much was said, a few kilobytes that arrive are enough, and however much arrives, it is no more.
        speak(100_000);
        let answered = |bytes| {
            flight.inner.borrow_mut().unmarked_bytes = bytes;
            let mark = flight.mark(ms(60));
            flight.answered(ms(120), &mark);
            flight.inner.borrow().voice_bytes
        };
        assert_eq!([answered(9600), answered(4), answered(80_000)], [0, 1, VOICE_BYTES_MAX]);
    }

    /// How many bytes of a keyframe and of another frame leave at once where answers took `round_trip` at first, and longer by what
    /// `stood` in a queue since.
    fn at_once(round_trip: Duration, stood: Duration) -> [usize; 2] {
        let is_open: [fn(Space) -> bool; 2] = [|space| space.keyframes_open, |space| space.video_open];
        is_open.map(|is_open| {
            let flight = flight_since(round_trip, stood);
            (0..).step_by(100).take_while(|_| is_open(space_of(&flight, 8000))).inspect(|_| flight.sent(100)).count()
                * 100
        })
    }

    fn flight_since(round_trip: Duration, stood: Duration) -> Flight {
        let flight = Flight::default();
        for at in [ms(0), ms(1000)] {
            flight.sent(1000);
            let mark = flight.mark(at);
            flight.answered(at + round_trip, &mark);
        }
        for time in 0..4 {
            flight.sent(20_000);
            let at = ms(2000 + time * 50);
            let mark = flight.mark(at);
            flight.answered(at + round_trip + stood, &mark);
        }
        flight
    }

    #[test]
    fn where_no_queue_stood_a_keyframe_leaves_at_once() {
        for (round_trip, stood, keyframe, other) in [
            (ms(60), ms(0), 12_000..15_000, 2400..3500),
            (ms(10), ms(0), 13_000..15_000, 2400..12_000),
            (ms(60), ms(50), 2400..3500, 2400..3500),
        ] {
            let bytes = at_once(round_trip, stood);
            let fits = keyframe.contains(&bytes[0]) && other.contains(&bytes[1]);
            assert!(fits, "{bytes:?} bytes, {round_trip:?} and {stood:?} of queue");
        }
    }

    /// A path that carries so many bytes a second, with so much of a round trip, and what stood in its queue.
    struct Path {
        rate: f64,
        round_trip: Duration,
        flight: Flight,
        answers: VecDeque<(Duration, [u8; 8])>,
        /// When all has passed that was sent.
        passes: Duration,
    }

    impl Path {
        fn new(rate: f64, round_trip: Duration) -> Self {
            let flight = Flight::default();
            let begin = flight.mark(ms(0));
            assert_eq!(space(&flight, round_trip - ms(1)), 0, "video waits until the round trip is known");
            flight.answered(round_trip, &begin);
            Self { rate, round_trip, flight, answers: VecDeque::new(), passes: Duration::ZERO }
        }

        /// Sends of so many packets what may leave, of which the first has waited for so long. Says how many are left.
        fn send(&mut self, now: Duration, mut packets: usize, waited: Duration) -> usize {
            while self.answers.front().is_some_and(|(at, _)| *at <= now) {
                let (_, payload) = self.answers.pop_front().unwrap();
                self.flight.answered(now, &payload);
            }
            while packets > 0 {
                let space = self.flight.space(now, waited);
                if !space.video_open || space.bytes < 1000 {
                    break;
                }
                self.flight.sent(1000);
                self.passes = self.passes.max(now) + Duration::from_secs_f64(1000.0 / self.rate);
                packets -= 1;
            }
            self.flight.is_blocked.set(packets > 0);
            if self.flight.is_mark_due(now) {
                self.answers.push_back((self.passes.max(now) + self.round_trip, self.flight.mark(now)));
            }
            packets
        }
    }

    #[test]
    fn a_path_that_is_slower_than_what_is_sent_gets_less_than_would_fill_its_queue() {
        let mut path = Path::new(75_000.0, ms(60));
        let (mut longest, mut idle) = (Duration::ZERO, Duration::ZERO);
        for now in (60..10_000).map(ms) {
            path.send(now, usize::MAX, FRAME_TIME);
            if now > ms(3000) {
                longest = longest.max(path.passes.saturating_sub(now));
                idle = idle.max(now.saturating_sub(path.passes));
            }
        }
        assert!(longest < ms(60) && idle < ms(40), "{longest:?} of queue, {idle:?} idle");
    }

    /// How long frames of so many packets of 1000 bytes, 30 a second, take to leave in the fifth second, in the mean, on a path of which
    /// they take a part only.
    fn frames_wait(packets: usize, round_trip: Duration) -> Duration {
        let mut path = Path::new(30.0 * 1000.0 * packets as f64 * 2.0, round_trip);
        let mut waiting: VecDeque<(Duration, usize)> = VecDeque::new();
        let mut waits = Vec::new();
        for now in (round_trip.as_millis() as u64..5000).map(ms) {
            if now.as_millis() % 33 == 0 {
                waiting.push_back((now, packets));
            }
            while let Some((since, packets)) = waiting.front_mut() {
                *packets = path.send(now, *packets, now - *since);
                if *packets > 0 {
                    break;
                }
                waits.push((now, now - *since));
                waiting.pop_front();
            }
        }
        let last: Vec<_> = waits.iter().filter(|(now, _)| *now > ms(4000)).map(|(_, wait)| *wait).collect();
        assert!(last.len() > 25, "{} frames left in the last second", last.len());
        last.iter().sum::<Duration>() / last.len() as u32
    }

    #[test]
    fn frames_leave_before_the_next_ones_on_a_path_that_carries_twice_as_much() {
        let paths = [(6, 20), (6, 60), (6, 100), (12, 20), (12, 60), (12, 100), (60, 20), (60, 60)];
        for (packets, round_trip) in paths {
            let wait = frames_wait(packets, ms(round_trip));
            assert!(wait < FRAME_TIME, "{packets} packets wait for {wait:?} with a round trip of {round_trip} ms");
        }
    }
}
