use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, SendDatagramError};
use tokio::time::sleep;

use super::Metrics;
use super::frame_streams::FrameStreams;
use super::media_outbox::{Burst, MediaOutbox};
use super::path::{Path, QUEUE_BYTES_MIN};
use super::tally::Tally;
use crate::limits::{DATAGRAM_SEND_BYTES_MAX, Limits, SEND_WINDOW_BYTES};
use crate::media::{Due, LIMITED_BURST_TIME, Pace, Space};
use crate::now::Now;
use crate::room::Pressure;
use crate::transport::{Carrier, Estimate};
use crate::wire::{DropReason, MediaHeader, TrackId};

/// What quinn needs for a datagram that waits, in bytes beside its own.
const QUEUED_OVERHEAD_BYTES: usize = 32;

/// How old what is known of the path may be: it is asked under a lock. While nothing waits, it may be older.
const PATH_AGE_MAX: Duration = Duration::from_millis(5);
const IDLE_PATH_AGE_MAX: Duration = Duration::from_millis(100);

/// How often quinn's queue is looked at while something waits: it does not tell when there is space.
const POLL_TIME_MIN: Duration = Duration::from_millis(1);
const POLL_TIME_MAX: Duration = Duration::from_millis(10);

/// How long quinn's queue has to stand still until quinn is made to look at it, and again after that.
const STANDING_TIME: Duration = Duration::from_millis(50);

/// How long nothing has to be acknowledged, while something waits, until the path is taken to carry nothing; on long paths, two
/// round trips.
const SILENCE: Duration = Duration::from_millis(250);

/// A participant's QUIC connection, as media sees it: quinn's own queue is kept as short as the path allows, and what does not fit
/// waits above it.
#[derive(Debug)]
pub(super) struct Downlink {
    connection: Connection,
    media: MediaOutbox,
    path: Box<Cell<Path>>,
    pace: Cell<Pace>,
    waiting: Box<Waiting>,
}

/// What is known of what waits for the path: nothing for most sessions, most of the time.
#[derive(Debug)]
struct Waiting {
    /// Since when something waits above quinn's queue.
    since: Cell<Option<Duration>>,
    /// What quinn's queue had when it was looked at, in bytes, and since when.
    queue: Cell<(usize, Duration)>,
    /// Large frames, each on a stream of its own.
    frames: RefCell<FrameStreams>,
    /// What of them waits in quinn, in bytes, as it was when this was looked at.
    on_streams_bytes: Cell<usize>,
}

impl Downlink {
    pub fn new(connection: Connection, carrier: Carrier, limits: &Limits) -> Self {
        Self {
            connection,
            media: MediaOutbox::new(limits),
            path: Box::default(),
            pace: Cell::default(),
            waiting: Box::new(Waiting {
                since: Cell::default(),
                queue: Cell::default(),
                frames: RefCell::new(FrameStreams::new(carrier)),
                on_streams_bytes: Cell::default(),
            }),
        }
    }

    /// What QUIC itself knows of it.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether this datagram waits for it.
    pub fn holds(&self, datagram: &[u8]) -> bool {
        self.media.holds(datagram)
    }

    /// How many bytes more may wait for it.
    pub fn waiting_space(&self) -> usize {
        self.media.space()
    }

    /// What is counted of it.
    pub fn tally(&self) -> &Tally {
        self.media.tally()
    }

    /// Sends a burst at once if nothing is in its way; otherwise it waits for its turn.
    pub fn send(&self, burst: &Burst<'_>, metrics: &Metrics) {
        self.turn_streams(burst);
        let bytes = handed_bytes(burst);
        if self.media.is_idle() && !burst.is_on_stream && self.has_space(burst.now, bytes) {
            self.note_handed(bytes);
            return self.send_now(burst.datagrams, metrics);
        }
        self.media.offer(burst, metrics);
        self.send_waiting(burst.now, metrics);
    }

    /// Sends what has waited for each other, all of it at once if nothing is in the way: the path is looked at once.
    pub fn send_gathered<'a>(&self, now: Now, bursts: impl Iterator<Item = &'a Burst<'a>> + Clone, metrics: &Metrics) {
        let bytes = bursts.clone().map(handed_bytes).sum();
        let are_datagrams = bursts.clone().all(|burst| !burst.is_on_stream);
        let is_idle = self.media.is_idle() && self.waiting.frames.borrow().is_empty();
        if is_idle && are_datagrams && self.has_space(now, bytes) {
            self.note_handed(bytes);
            bursts.for_each(|burst| self.send_now(burst.datagrams, metrics));
        } else {
            bursts.for_each(|burst| self.send(burst, metrics));
        }
    }

    fn has_space(&self, now: Now, bytes: usize) -> bool {
        let queued = self.queued_bytes() + self.waiting.on_streams_bytes.get();
        // The path need not be asked about what always fits.
        if queued == 0 && bytes <= QUEUE_BYTES_MIN {
            return true;
        }
        let path = self.path(now, queued);
        queued + bytes <= path.queue_bytes_max() && self.credit_bytes(now, path) >= queued + bytes
    }

    /// How much video may leave at once: the pace allows it, and the window, so that none waits in quinn in front of audio.
    fn credit_bytes(&self, now: Now, path: Path) -> usize {
        let Some(estimate) = path.estimate else {
            return usize::MAX;
        };
        if !path.has_room() {
            return 0;
        }
        let mut pace = self.pace.get();
        let credit = pace.credit_bytes(now.since_start, estimate.bytes_per_second, LIMITED_BURST_TIME);
        self.pace.set(pace);
        credit
    }

    fn note_handed(&self, bytes: usize) {
        let (mut path, mut pace) = (self.path.get(), self.pace.get());
        if path.estimate.is_none() {
            return;
        }
        path.handed(bytes);
        pace.sent(bytes);
        self.path.set(path);
        self.pace.set(pace);
    }

    fn queued_bytes(&self) -> usize {
        let empty = DATAGRAM_SEND_BYTES_MAX - QUEUED_OVERHEAD_BYTES;
        empty.saturating_sub(self.connection.datagram_send_buffer_space())
    }

    fn path(&self, now: Now, queued: usize) -> Path {
        let path = self.path.get();
        let age_max = if queued == 0 && self.media.is_empty() { IDLE_PATH_AGE_MAX } else { PATH_AGE_MAX };
        if path.seen.is_some_and(|seen| now.since_start.saturating_sub(seen) < age_max) {
            return path;
        }
        let stats = self.connection.stats();
        let left_bytes = stats.udp_tx.bytes;
        let stats = stats.path;
        let mut estimate = Estimate::of(&self.connection);
        if let Some(estimate) = &mut estimate {
            estimate.room_bytes = estimate.room_bytes.saturating_sub(queued as u64);
        }
        let is_news = path.seen.is_none() || stats.rtt != path.round_trip;
        let rate = (stats.cwnd as f64 / stats.rtt.as_secs_f64().max(1e-4)) as u64;
        // Without an acknowledgement a window is larger by the probes alone that leave beyond it.
        let bytes_per_second = if is_news { rate } else { rate.min(path.bytes_per_second) };
        let (acknowledged, pause) = match is_news {
            true => (now.since_start, self.silence(now, path)),
            false => (path.acknowledged, path.pause),
        };
        let least_round_trip = path.seen.map_or(stats.rtt, |_| stats.rtt.min(path.least_round_trip));
        let path = Path {
            seen: Some(now.since_start),
            bytes_per_second,
            left_bytes,
            round_trip: stats.rtt,
            least_round_trip,
            acknowledged,
            pause,
            estimate,
            packet_bytes: stats.current_mtu.into(),
        };
        self.path.set(path);
        path
    }

    /// For how long nothing was acknowledged while something waited.
    fn silence(&self, now: Now, path: Path) -> Duration {
        let waiting_since = self.waiting.since.get().unwrap_or(now.since_start);
        now.since_start.saturating_sub(waiting_since.max(path.acknowledged))
    }

    /// Sends what is no media, and is small and seldom: it waits for nothing.
    pub fn send_now(&self, datagrams: &[Bytes], metrics: &Metrics) {
        let tally = self.tally();
        let mut sent = 0;
        for (index, datagram) in datagrams.iter().enumerate() {
            match self.connection.send_datagram(datagram.clone()) {
                Ok(()) => sent += 1,
                Err(SendDatagramError::ConnectionLost(_)) => {
                    tally.leave_out(metrics, DropReason::SubscriberGone, (datagrams.len() - index) as u64);
                    break;
                }
                Err(_) => tally.leave_out(metrics, DropReason::PathTooSmall, 1),
            }
        }
        tally.note_sent(metrics, sent);
    }

    /// Hands to quinn what waits, as much as may wait there.
    pub fn send_waiting(&self, now: Now, metrics: &Metrics) {
        self.tend_streams(now, metrics);
        let mut bytes = self.space(now);
        while let Some(due) = self.media.take(now, self.space_of(now, bytes), metrics) {
            let handed = due.bytes.len() + QUEUED_OVERHEAD_BYTES;
            let is_sent = match due.header.on_stream {
                true => self.send_on_stream(now, due, metrics),
                false => {
                    self.send_now(&[due.bytes], metrics);
                    true
                }
            };
            // The rest of a frame whose stream has ended takes nothing of the path.
            if is_sent {
                self.note_handed(handed);
                bytes = bytes.saturating_sub(handed);
            }
        }
        if self.media.is_empty() {
            self.waiting.since.set(None);
        }
    }

    /// Says whether it was taken.
    fn send_on_stream(&self, now: Now, due: Due, metrics: &Metrics) -> bool {
        let bytes = due.bytes.len();
        let written = self.waiting.frames.borrow_mut().write(&self.connection, now, due, metrics);
        match written {
            Ok(()) => {
                self.waiting.on_streams_bytes.update(|queued| queued + bytes);
                self.tally().note_sent(metrics, 1);
            }
            Err(reason) => self.tally().leave_out(metrics, reason, 1),
        }
        written.is_ok()
    }

    /// A rendition that begins does not wait behind large frames of the one before.
    fn turn_streams(&self, burst: &Burst<'_>) {
        let mut frames = self.waiting.frames.borrow_mut();
        if frames.is_empty() {
            return;
        }
        if let Some(Ok(header)) = burst.datagrams.last().map(|datagram| MediaHeader::decode(datagram)) {
            frames.turn_to(&header);
        }
    }

    /// Nothing is sent any more: the participant is gone.
    pub fn close(&self, metrics: &Metrics) {
        self.media.close(metrics);
        self.tally().leave_out(metrics, DropReason::SubscriberGone, self.waiting.frames.borrow_mut().close());
    }

    /// Goes on with what is on streams, and gives up what is stale there.
    fn tend_streams(&self, now: Now, metrics: &Metrics) {
        if self.waiting.frames.borrow().is_empty() {
            return;
        }
        let stale = {
            let mut streams = self.waiting.frames.borrow_mut();
            streams.flush(&self.connection, metrics);
            streams.take_stale(now, |header| self.media.stream_time(header))
        };
        for frame in stale {
            self.tally().leave_out(metrics, frame.reason, frame.datagrams);
            // Nobody needs what a keyframe has replaced, nor what comes a second time.
            if frame.reason != DropReason::Superseded && frame.header.fragment_index == 0 {
                self.media.give_up(now, &frame.header, metrics);
            }
        }
    }

    fn space_of(&self, now: Now, bytes: usize) -> Space {
        let path = self.path.get();
        let video_open = self.credit_bytes(now, path) > 0;
        let streams_open = !self.waiting.frames.borrow().is_blocked();
        let is_full = path.estimate.is_none_or(|estimate| estimate.is_full);
        Space { video_open, keyframes_open: video_open, streams_open, is_full, ..bytes.into() }
    }

    fn space(&self, now: Now) -> usize {
        let queued = self.queued_bytes();
        let path = self.path(now, queued + self.waiting.on_streams_bytes.get());
        let on_streams = {
            let mut streams = self.waiting.frames.borrow_mut();
            streams.note_left(path.left_bytes);
            streams.queued_bytes()
        };
        self.waiting.on_streams_bytes.set(on_streams);
        self.note_queue(now.since_start, queued + on_streams);
        self.waiting.since.set(self.waiting.since.get().or(Some(now.since_start)));
        // What leaves then are probes; whether the path takes them is not known. One that was heard of again may have been late.
        let silence = self.silence(now, path).max(path.pause);
        let is_silent = silence >= SILENCE.max(path.least_round_trip * 2);
        self.media.note_path_rate(if is_silent { 0 } else { path.bytes_per_second });
        if is_silent {
            // Video may be all there is to probe with.
            self.path.set(Path { estimate: None, ..path });
        }
        path.queue_bytes_max().saturating_sub(queued + on_streams)
    }

    /// While nothing is acknowledged, packets may leave once in a while beyond the window; but nothing tells quinn when.
    fn note_queue(&self, now: Duration, queued: usize) {
        let (before, since) = self.waiting.queue.get();
        let is_standing = queued > 0 && queued == before;
        if is_standing && now < since + STANDING_TIME {
            return;
        }
        if is_standing {
            // What it is already: quinn looks at everything then.
            self.connection.set_send_window(SEND_WINDOW_BYTES);
        }
        self.waiting.queue.set((queued, now));
    }

    /// How short of time media is, if that is to be told now.
    pub fn take_pressure(&self, now: Now) -> Option<Pressure> {
        self.media.take_pressure(now)
    }

    /// A track and its rendition of which a keyframe is to be asked for now: there is room for it.
    pub fn take_keyframe_wish(&self, now: Now) -> Option<(TrackId, u8)> {
        if self.media.is_idle() || self.space(now) == 0 {
            return None;
        }
        self.media.take_keyframe_wish(now)
    }

    /// Waits until there may be space for what waits, or until a keyframe is to be asked for.
    pub async fn due(&self, now: Now) {
        if !self.media.is_empty() || self.waiting.frames.borrow().is_blocked() {
            let path = self.path.get();
            let queued = self.queued_bytes() + self.waiting.on_streams_bytes.get();
            let over = queued.saturating_sub(path.queue_bytes_max() / 2);
            let time = Duration::from_secs_f64(over as f64 / path.bytes_per_second.max(1) as f64);
            let time = time.max(match path.estimate {
                Some(_) if !path.has_room() => PATH_AGE_MAX,
                Some(estimate) => self.pace.get().wait(estimate.bytes_per_second).unwrap_or_default(),
                None => Duration::ZERO,
            });
            return sleep(time.clamp(POLL_TIME_MIN, POLL_TIME_MAX)).await;
        }
        let stale = self.waiting.frames.borrow().due(now, |header| self.media.stream_time(header));
        match self.media.trouble_due(now).into_iter().chain(stale).min() {
            // What comes meanwhile waits, and may be sent sooner.
            Some(time) => tokio::select! {
                () = sleep(time) => {}
                () = self.media.offered() => {}
            },
            None => self.media.offered().await,
        }
    }
}

/// What a burst takes of quinn's queue.
fn handed_bytes(burst: &Burst<'_>) -> usize {
    burst.bytes + burst.datagrams.len() * QUEUED_OVERHEAD_BYTES
}
