use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, SendDatagramError};
use tokio::time::sleep;

use super::Metrics;
use super::frame_streams::FrameStreams;
use super::media_outbox::{Burst, MediaOutbox};
use super::tally::Tally;
use crate::limits::{DATAGRAM_SEND_BYTES_MAX, Limits, SEND_WINDOW_BYTES};
use crate::media::{Due, Space};
use crate::now::Now;
use crate::room::Pressure;
use crate::transport::Carrier;
use crate::wire::{DropReason, TrackId};

/// What of the path's time may wait in quinn: there, nothing can be left out any more, and chat waits behind it. Less than what
/// passes between two looks at it would leave the path idle.
const QUEUE_TIME: Duration = Duration::from_millis(15);

/// What may wait in quinn however slow the path is, in bytes: a large datagram and some small ones.
const QUEUE_BYTES_MIN: usize = 1500;

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
    path: Cell<Path>,
    /// What quinn's queue had when it was looked at, in bytes, and since when.
    queue: Cell<(usize, Duration)>,
    /// Since when something waits above it.
    waiting_since: Cell<Option<Duration>>,
    /// Most sessions have none most of the time.
    streams: Box<Streams>,
}

/// Large frames, each on a stream of its own.
#[derive(Debug)]
struct Streams {
    frames: RefCell<FrameStreams>,
    /// What of them waits in quinn, in bytes, as it was when this was looked at.
    queued_bytes: Cell<usize>,
}

/// What is known of the path.
#[derive(Debug, Clone, Copy, Default)]
struct Path {
    seen: Option<Duration>,
    bytes_per_second: u64,
    /// What has left on it since the connection began.
    left_bytes: u64,
    round_trip: Duration,
    least_round_trip: Duration,
    /// When something was acknowledged, since that measures the round trip, and how long something had waited for it.
    acknowledged: Duration,
    pause: Duration,
}

impl Path {
    /// What may wait in quinn, in bytes.
    fn queue_bytes_max(self) -> usize {
        let bytes = self.bytes_per_second as f64 * QUEUE_TIME.as_secs_f64();
        (bytes as usize).clamp(QUEUE_BYTES_MIN, DATAGRAM_SEND_BYTES_MAX)
    }
}

impl Downlink {
    pub fn new(connection: Connection, carrier: Carrier, limits: &Limits) -> Self {
        Self {
            connection,
            media: MediaOutbox::new(limits),
            path: Cell::default(),
            queue: Cell::default(),
            waiting_since: Cell::default(),
            streams: Box::new(Streams {
                frames: RefCell::new(FrameStreams::new(carrier)),
                queued_bytes: Cell::default(),
            }),
        }
    }

    /// What QUIC itself knows of it.
    pub fn connection(&self) -> &Connection {
        &self.connection
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
        if self.media.is_idle() && !burst.is_on_stream && self.has_space(burst) {
            return self.send_now(burst.datagrams, metrics);
        }
        self.media.offer(burst, metrics);
        self.send_waiting(burst.now, metrics);
    }

    fn has_space(&self, burst: &Burst<'_>) -> bool {
        let queued = self.queued_bytes() + self.streams.queued_bytes.get();
        let bytes = queued + burst.bytes + burst.datagrams.len() * QUEUED_OVERHEAD_BYTES;
        // The path need not be asked about what always fits.
        bytes <= QUEUE_BYTES_MIN || bytes <= self.path(burst.now, queued).queue_bytes_max()
    }

    fn queued_bytes(&self) -> usize {
        let empty = DATAGRAM_SEND_BYTES_MAX - QUEUED_OVERHEAD_BYTES;
        empty.saturating_sub(self.connection.datagram_send_buffer_space())
    }

    fn path(&self, now: Now, queued: usize) -> Path {
        let path = self.path.get();
        let age_max = if queued == 0 { IDLE_PATH_AGE_MAX } else { PATH_AGE_MAX };
        if path.seen.is_some_and(|seen| now.since_start.saturating_sub(seen) < age_max) {
            return path;
        }
        let stats = self.connection.stats();
        let left_bytes = stats.udp_tx.bytes;
        let stats = stats.path;
        let is_news = path.seen.is_none() || stats.rtt != path.round_trip;
        let rate = (stats.cwnd as f64 / stats.rtt.as_secs_f64().max(1e-4)) as u64;
        // Without an acknowledgement a window is larger by the probes alone that leave beyond it.
        let bytes_per_second = if is_news { rate } else { rate.min(path.bytes_per_second) };
        let (acknowledged, pause) = match is_news {
            true => (now.since_start, self.silence(now, path)),
            false => (path.acknowledged, path.pause),
        };
        let least_round_trip = path.seen.map_or(stats.rtt, |_| stats.rtt.min(path.least_round_trip));
        let (seen, round_trip) = (Some(now.since_start), stats.rtt);
        let path = Path { seen, bytes_per_second, left_bytes, round_trip, least_round_trip, acknowledged, pause };
        self.path.set(path);
        path
    }

    /// For how long nothing was acknowledged while something waited.
    fn silence(&self, now: Now, path: Path) -> Duration {
        let waiting_since = self.waiting_since.get().unwrap_or(now.since_start);
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
        while let Some(due) = self.media.take(now, self.space_of(bytes), metrics) {
            bytes = bytes.saturating_sub(due.bytes.len() + QUEUED_OVERHEAD_BYTES);
            match due.header.on_stream {
                true => self.send_on_stream(now, due, metrics),
                false => self.send_now(&[due.bytes], metrics),
            }
        }
        if self.media.is_empty() {
            self.waiting_since.set(None);
        }
    }

    fn send_on_stream(&self, now: Now, due: Due, metrics: &Metrics) {
        self.streams.queued_bytes.update(|queued| queued + due.bytes.len());
        self.streams.frames.borrow_mut().write(&self.connection, now, due, metrics);
        self.tally().note_sent(metrics, 1);
    }

    /// Goes on with what is on streams, and gives up what is stale there.
    fn tend_streams(&self, now: Now, metrics: &Metrics) {
        if self.streams.frames.borrow().is_empty() {
            return;
        }
        let stale = {
            let mut streams = self.streams.frames.borrow_mut();
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

    fn space_of(&self, bytes: usize) -> Space {
        Space { bytes, streams_open: !self.streams.frames.borrow().is_blocked() }
    }

    fn space(&self, now: Now) -> usize {
        let queued = self.queued_bytes();
        let path = self.path(now, queued + self.streams.queued_bytes.get());
        let on_streams = {
            let mut streams = self.streams.frames.borrow_mut();
            streams.note_left(path.left_bytes);
            streams.queued_bytes()
        };
        self.streams.queued_bytes.set(on_streams);
        self.note_queue(now.since_start, queued + on_streams);
        self.waiting_since.set(self.waiting_since.get().or(Some(now.since_start)));
        // What leaves then are probes; whether the path takes them is not known. One that was heard of again may have been late.
        let silence = self.silence(now, path).max(path.pause);
        let is_silent = silence >= SILENCE.max(path.least_round_trip * 2);
        self.media.note_path_rate(if is_silent { 0 } else { path.bytes_per_second });
        path.queue_bytes_max().saturating_sub(queued + on_streams)
    }

    /// While nothing is acknowledged, packets may leave once in a while beyond the window; but nothing tells quinn when.
    fn note_queue(&self, now: Duration, queued: usize) {
        let (before, since) = self.queue.get();
        let is_standing = queued > 0 && queued == before;
        if is_standing && now < since + STANDING_TIME {
            return;
        }
        if is_standing {
            // What it is already: quinn looks at everything then.
            self.connection.set_send_window(SEND_WINDOW_BYTES);
        }
        self.queue.set((queued, now));
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
        if !self.media.is_empty() || self.streams.frames.borrow().is_blocked() {
            let path = self.path.get();
            let queued = self.queued_bytes() + self.streams.queued_bytes.get();
            let over = queued.saturating_sub(path.queue_bytes_max() / 2);
            let time = Duration::from_secs_f64(over as f64 / path.bytes_per_second.max(1) as f64);
            return sleep(time.clamp(POLL_TIME_MIN, POLL_TIME_MAX)).await;
        }
        let stale = self.streams.frames.borrow().due(now, |header| self.media.stream_time(header));
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
