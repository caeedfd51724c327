use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;

use super::Metrics;
use crate::limits::FRAMES_ON_STREAMS_MAX;
use crate::media::Due;
use crate::now::Now;
use crate::transport::{Carrier, FrameStream};
use crate::wire::{DropReason, MediaHeader, TrackId};

/// Frames on their way to one participant, each on a stream of its own, until the participant has them or they are stale.
#[derive(Debug)]
pub(super) struct FrameStreams {
    carrier: Carrier,
    frames: Vec<OnStream>,
    /// Of the last stream. Each frame goes after those before it: if they shared the path, all of them would be late.
    priority: i32,
    /// The first datagram of a frame for which no stream could be opened yet.
    unopened: Option<Unopened>,
    /// What has left the connection, when that was looked at last, in bytes.
    left_bytes: u64,
    /// Frames that were given up because no stream was to be had for others.
    crowded_out: Vec<Stale>,
}

#[derive(Debug)]
struct OnStream {
    /// Of the first datagram that was written.
    header: MediaHeader,
    stream: FrameStream,
    /// Datagrams that were written.
    written: u64,
    /// What was written and has not left, in bytes.
    queued_bytes: usize,
    since: Duration,
    is_superseded: bool,
    /// The participant does not want it: what comes of it is passed over.
    is_refused: bool,
}

#[derive(Debug)]
struct Unopened {
    header: MediaHeader,
    bytes: Bytes,
    since: Duration,
}

/// A frame that was given up.
#[derive(Debug)]
pub(super) struct Stale {
    pub header: MediaHeader,
    pub reason: DropReason,
    /// Those that were written: they are of no use.
    pub datagrams: u64,
}

impl FrameStreams {
    pub fn new(carrier: Carrier) -> Self {
        Self { carrier, frames: Vec::new(), priority: 0, unopened: None, left_bytes: 0, crowded_out: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.unopened.is_none() && self.crowded_out.is_empty()
    }

    /// Whether the path or the participant takes nothing more on streams at the moment. At most one datagram of each frame waits
    /// here then.
    pub fn is_blocked(&self) -> bool {
        self.unopened.is_some() || self.frames.iter().any(|frame| !frame.is_refused && frame.stream.is_waiting())
    }

    /// What was written and has not left, in bytes. Nothing of a frame counts that was given up.
    pub fn queued_bytes(&self) -> usize {
        self.frames.iter().filter(|frame| !frame.is_refused).map(|frame| frame.queued_bytes).sum()
    }

    /// So many bytes have left since the connection began. quinn does not tell which: they count as those of frames, and frames that
    /// began first go first.
    pub fn note_left(&mut self, left_bytes: u64) {
        let mut left = left_bytes.saturating_sub(self.left_bytes) as usize;
        self.left_bytes = left_bytes;
        for frame in self.frames.iter_mut().filter(|frame| !frame.is_refused) {
            let of_frame = left.min(frame.queued_bytes);
            frame.queued_bytes -= of_frame;
            left -= of_frame;
        }
    }

    /// Sends a datagram on the stream of its frame, which begins with the first one.
    pub fn write(&mut self, connection: &Connection, now: Now, due: Due, metrics: &Metrics) {
        let Due { header, bytes, .. } = due;
        if let Some(frame) = self.frames.iter_mut().find(|frame| frame.is_of(&header)) {
            return frame.write(&header, bytes);
        }
        self.open(connection, Unopened { header, bytes, since: now.since_start }, metrics);
        if self.unopened.is_some() {
            self.crowd_out();
        }
    }

    fn open(&mut self, connection: &Connection, first: Unopened, metrics: &Metrics) {
        self.frames.retain(|frame| !frame.is_over());
        let has_place = self.frames.len() < FRAMES_ON_STREAMS_MAX;
        let priority = self.priority.saturating_sub(1);
        let stream = has_place.then(|| FrameStream::open(connection, self.carrier, priority)).flatten();
        let Some(stream) = stream else {
            self.unopened = Some(first);
            return;
        };
        metrics.media_streams_sent.inc();
        self.priority = priority;
        let Unopened { header, bytes, since } = first;
        if header.keyframe {
            let older = self.frames.iter_mut().filter(|frame| frame.is_before(&header));
            older.for_each(|frame| frame.is_superseded = true);
        }
        let mut frame =
            OnStream { header, stream, written: 0, queued_bytes: 0, since, is_superseded: false, is_refused: false };
        frame.write(&header, bytes);
        self.frames.push(frame);
    }

    /// Where no stream is to be had, the track with most frames that do not end gives up half of them, the oldest first: they are in
    /// nobody's way but its own.
    fn crowd_out(&mut self) {
        let unfinished = |frame: &OnStream| (!frame.is_whole()).then_some(frame.header.track);
        let count = |track: TrackId| self.frames.iter().filter(|frame| unfinished(frame) == Some(track)).count();
        let most = self.frames.iter().filter_map(unfinished).max_by_key(|track| count(*track));
        let mut left = most.map_or(0, count) / 2;
        let given_up = self.frames.extract_if(.., |frame| {
            let is_one = left > 0 && unfinished(frame) == most;
            left -= usize::from(is_one);
            is_one
        });
        let given_up = given_up.filter(|frame| !frame.is_refused);
        self.crowded_out.extend(given_up.map(|mut frame| frame.give_up(DropReason::SubscriberSlow)));
    }

    /// Goes on with what waits.
    pub fn flush(&mut self, connection: &Connection, metrics: &Metrics) {
        for frame in self.frames.iter_mut().filter(|frame| !frame.is_refused) {
            frame.is_refused = frame.stream.flush().is_err();
        }
        if let Some(first) = self.unopened.take() {
            self.open(connection, first, metrics);
        }
    }

    /// Gives up what has taken longer than it may, by header.
    pub fn take_stale(&mut self, now: Now, time: impl Fn(&MediaHeader) -> Duration) -> Vec<Stale> {
        let now = now.since_start;
        let mut stale = std::mem::take(&mut self.crowded_out);
        self.frames.retain_mut(|frame| {
            if frame.since + frame.time(&time) > now {
                return true;
            }
            if !frame.is_refused && !frame.is_over() {
                let reason = if frame.is_superseded { DropReason::Superseded } else { DropReason::Late };
                stale.push(frame.give_up(reason));
            }
            // What still comes of it must not begin another stream.
            frame.is_refused = true;
            std::mem::take(&mut frame.is_superseded)
        });
        if let Some(first) = self.unopened.take_if(|first| first.since + time(&first.header) <= now) {
            stale.push(Stale { header: first.header, reason: DropReason::Late, datagrams: 1 });
        }
        stale
    }

    /// How long it takes until one may be stale.
    pub fn due(&self, now: Now, time: impl Fn(&MediaHeader) -> Duration) -> Option<Duration> {
        let crowded_out = (!self.crowded_out.is_empty()).then_some(Duration::ZERO);
        let due = self.frames.iter().map(|frame| frame.since + frame.time(&time)).chain(crowded_out);
        due.min().map(|due| due.saturating_sub(now.since_start))
    }
}

impl OnStream {
    fn is_of(&self, header: &MediaHeader) -> bool {
        self.is_of_rendition(header) && self.header.frame == header.frame
    }

    fn is_of_rendition(&self, header: &MediaHeader) -> bool {
        (self.header.track, self.header.spatial_layer) == (header.track, header.spatial_layer)
    }

    fn is_before(&self, header: &MediaHeader) -> bool {
        self.is_of_rendition(header) && self.header.frame < header.frame
    }

    /// How long it may take: half as long as others if a keyframe has come after it.
    fn time(&self, time: impl Fn(&MediaHeader) -> Duration) -> Duration {
        time(&self.header) / if self.is_superseded { 2 } else { 1 }
    }

    fn is_whole(&self) -> bool {
        self.written == u64::from(self.header.fragment_count)
    }

    fn write(&mut self, header: &MediaHeader, bytes: Bytes) {
        // One that comes a second time finds its stream finished.
        if self.is_refused || self.is_whole() || header.fragment_count != self.header.fragment_count {
            return;
        }
        self.written += 1;
        self.queued_bytes += bytes.len();
        let mut sent = self.stream.write(bytes);
        if self.is_whole() {
            sent = sent.and_then(|()| self.stream.finish());
        }
        self.is_refused = sent.is_err();
    }

    /// Whether the participant has all of it.
    fn is_over(&self) -> bool {
        self.is_whole() && self.stream.is_over()
    }

    fn give_up(&mut self, reason: DropReason) -> Stale {
        self.stream.give_up(reason);
        Stale { header: self.header, reason, datagrams: self.written }
    }
}
