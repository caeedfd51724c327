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
    /// Frames that were given up because no stream was to be had for others, or because the participant gets another rendition.
    given_up: Vec<Stale>,
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
    /// Why nothing more of it is sent: it was given up, or the participant does not want it.
    refused: Option<DropReason>,
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
        Self { carrier, frames: Vec::new(), priority: 0, unopened: None, left_bytes: 0, given_up: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.unopened.is_none() && self.given_up.is_empty()
    }

    /// Whether the path or the participant takes nothing more on streams at the moment. At most one datagram of each frame waits
    /// here then.
    pub fn is_blocked(&self) -> bool {
        self.unopened.is_some() || self.frames.iter().any(|frame| frame.refused.is_none() && frame.stream.is_waiting())
    }

    /// What was written and has not left, in bytes. Nothing of a frame counts that was given up.
    pub fn queued_bytes(&self) -> usize {
        self.frames.iter().filter(|frame| frame.refused.is_none()).map(|frame| frame.queued_bytes).sum()
    }

    /// So many bytes have left since the connection began. quinn does not tell which: they count as those of frames, and frames that
    /// began first go first.
    pub fn note_left(&mut self, left_bytes: u64) {
        let mut left = left_bytes.saturating_sub(self.left_bytes) as usize;
        self.left_bytes = left_bytes;
        for frame in self.frames.iter_mut().filter(|frame| frame.refused.is_none()) {
            let of_frame = left.min(frame.queued_bytes);
            frame.queued_bytes -= of_frame;
            left -= of_frame;
        }
    }

    /// Sends a datagram on the stream of its frame, which begins with the first one.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn write(&mut self, connection: &Connection, now: Now, due: Due, metrics: &Metrics) -> Result<(), DropReason> {
        let Due { header, bytes, .. } = due;
        if let Some(frame) = self.frames.iter_mut().find(|frame| frame.is_of(&header)) {
            return frame.write(&header, bytes);
        }
        let opened = self.open(connection, Unopened { header, bytes, since: now.since_start }, metrics);
        if self.unopened.is_some() {
            self.crowd_out();
        }
        opened
    }

    /// The participant gets this rendition of a track now: frames of others are of no use, and in its way.
    pub fn turn_to(&mut self, header: &MediaHeader) {
        let others = self.frames.iter_mut().filter(|frame| is_of_other_rendition(&frame.header, header));
        let others = others.filter(|frame| frame.refused.is_none() && !frame.is_over());
        self.given_up.extend(others.map(|frame| frame.give_up(DropReason::Superseded)));
        let unopened = self.unopened.take_if(|first| is_of_other_rendition(&first.header, header));
        self.given_up.extend(unopened.map(|first| first.give_up(DropReason::Superseded)));
    }

    /// Nothing more is sent. How many datagrams were taken for sent that were not.
    pub fn close(&mut self) -> u64 {
        self.unopened.take().is_some().into()
    }

    fn open(&mut self, connection: &Connection, first: Unopened, metrics: &Metrics) -> Result<(), DropReason> {
        self.frames.retain(|frame| !frame.is_over());
        let has_place = self.frames.len() < FRAMES_ON_STREAMS_MAX;
        let priority = self.priority.saturating_sub(1);
        let stream = has_place.then(|| FrameStream::open(connection, self.carrier, priority)).flatten();
        let Some(stream) = stream else {
            self.unopened = Some(first);
            return Ok(());
        };
        metrics.media_streams_sent.inc();
        self.priority = priority;
        let Unopened { header, bytes, since } = first;
        if header.keyframe {
            let older = self.frames.iter_mut().filter(|frame| frame.is_before(&header));
            older.for_each(|frame| frame.is_superseded = true);
        }
        let mut frame =
            OnStream { header, stream, written: 0, queued_bytes: 0, since, is_superseded: false, refused: None };
        let written = frame.write(&header, bytes);
        self.frames.push(frame);
        written
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
        let given_up = given_up.filter(|frame| frame.refused.is_none());
        self.given_up.extend(given_up.map(|mut frame| frame.give_up(DropReason::SubscriberSlow)));
    }

    /// Goes on with what waits.
    pub fn flush(&mut self, connection: &Connection, metrics: &Metrics) {
        for frame in self.frames.iter_mut().filter(|frame| frame.refused.is_none()) {
            frame.refused = frame.stream.flush().err().map(|_| DropReason::StreamStopped);
        }
        if let Some(first) = self.unopened.take() {
            let header = first.header;
            let stopped = self.open(connection, first, metrics).err();
            self.given_up.extend(stopped.map(|reason| Stale { header, reason, datagrams: 1 }));
        }
    }

    /// Gives up what has taken longer than it may, by header.
    pub fn take_stale(&mut self, now: Now, time: impl Fn(&MediaHeader) -> Duration) -> Vec<Stale> {
        let now = now.since_start;
        let mut stale = std::mem::take(&mut self.given_up);
        self.frames.retain_mut(|frame| {
            if frame.since + frame.time(&time) > now {
                return true;
            }
            let reason = if frame.is_superseded { DropReason::Superseded } else { DropReason::Late };
            if frame.refused.is_none() && !frame.is_over() {
                stale.push(frame.give_up(reason));
            }
            // What still comes of it must not begin another stream.
            frame.refused.get_or_insert(reason);
            std::mem::take(&mut frame.is_superseded)
        });
        if let Some(first) = self.unopened.take_if(|first| first.since + time(&first.header) <= now) {
            stale.push(first.give_up(DropReason::Late));
        }
        stale
    }

    /// How long it takes until one may be stale.
    pub fn due(&self, now: Now, time: impl Fn(&MediaHeader) -> Duration) -> Option<Duration> {
        let given_up = (!self.given_up.is_empty()).then_some(Duration::ZERO);
        let due = self.frames.iter().map(|frame| frame.since + frame.time(&time)).chain(given_up);
        due.min().map(|due| due.saturating_sub(now.since_start))
    }
}

impl Unopened {
    fn give_up(self, reason: DropReason) -> Stale {
        Stale { header: self.header, reason, datagrams: 1 }
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

    fn write(&mut self, header: &MediaHeader, bytes: Bytes) -> Result<(), DropReason> {
        if let Some(reason) = self.refused {
            return Err(reason);
        }
        if header.fragment_count != self.header.fragment_count {
            return Err(DropReason::Malformed);
        }
        // One that comes a second time finds its stream finished.
        if self.is_whole() {
            return Err(DropReason::Doubled);
        }
        self.written += 1;
        self.queued_bytes += bytes.len();
        let mut sent = self.stream.write(bytes);
        if self.is_whole() {
            sent = sent.and_then(|()| self.stream.finish());
        }
        self.refused = sent.err().map(|_| DropReason::StreamStopped);
        self.refused.map_or(Ok(()), Err)
    }

    /// Whether the participant has all of it.
    fn is_over(&self) -> bool {
        self.is_whole() && self.stream.is_over()
    }

    fn give_up(&mut self, reason: DropReason) -> Stale {
        self.stream.give_up(reason);
        self.refused = Some(reason);
        Stale { header: self.header, reason, datagrams: self.written }
    }
}

fn is_of_other_rendition(header: &MediaHeader, other: &MediaHeader) -> bool {
    header.track == other.track && header.spatial_layer != other.spatial_layer
}
