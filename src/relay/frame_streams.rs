use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;

use crate::limits::FRAMES_ON_STREAMS_MAX;
use crate::now::Now;
use crate::transport::{Carrier, FrameStream};
use crate::wire::{DropReason, MediaHeader};

/// Frames on their way to one participant, each on a stream of its own, until the participant has them or they are stale.
#[derive(Debug)]
pub(super) struct FrameStreams {
    carrier: Carrier,
    frames: Vec<OnStream>,
    /// Of the last stream. Each frame goes after those before it: if they shared the path, all of them would be late.
    priority: i32,
    /// The first datagram of a frame for which no stream could be opened yet.
    unopened: Option<Unopened>,
}

#[derive(Debug)]
struct OnStream {
    /// Of the first datagram that was written.
    header: MediaHeader,
    stream: FrameStream,
    /// Datagrams that were written.
    written: u64,
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
        Self { carrier, frames: Vec::new(), priority: 0, unopened: None }
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.unopened.is_none()
    }

    /// Whether the path or the participant takes nothing more on streams at the moment. At most one datagram of each frame waits
    /// here then.
    pub fn is_blocked(&self) -> bool {
        self.unopened.is_some() || self.frames.iter().any(|frame| !frame.is_refused && frame.stream.is_waiting())
    }

    /// Sends a datagram on the stream of its frame, which begins with the first one.
    pub fn write(&mut self, connection: &Connection, now: Now, header: &MediaHeader, bytes: Bytes) {
        match self.frames.iter_mut().find(|frame| frame.is_of(header)) {
            Some(frame) => frame.write(header, bytes),
            None => self.open(connection, Unopened { header: *header, bytes, since: now.since_start }),
        }
    }

    fn open(&mut self, connection: &Connection, first: Unopened) {
        self.frames.retain(|frame| !frame.is_over());
        let has_place = self.frames.len() < FRAMES_ON_STREAMS_MAX;
        let priority = self.priority.saturating_sub(1);
        let stream = has_place.then(|| FrameStream::open(connection, self.carrier, priority)).flatten();
        let Some(stream) = stream else {
            self.unopened = Some(first);
            return;
        };
        self.priority = priority;
        let Unopened { header, bytes, since } = first;
        if header.keyframe {
            let older = self.frames.iter_mut().filter(|frame| frame.is_before(&header));
            older.for_each(|frame| frame.is_superseded = true);
        }
        let mut frame = OnStream { header, stream, written: 0, since, is_superseded: false, is_refused: false };
        frame.write(&header, bytes);
        self.frames.push(frame);
    }

    /// Goes on with what waits.
    pub fn flush(&mut self, connection: &Connection) {
        for frame in self.frames.iter_mut().filter(|frame| !frame.is_refused) {
            frame.is_refused = frame.stream.flush().is_err();
        }
        if let Some(first) = self.unopened.take() {
            self.open(connection, first);
        }
    }

    /// Gives up what has taken longer than it may, by header.
    pub fn take_stale(&mut self, now: Now, time: impl Fn(&MediaHeader) -> Duration) -> Vec<Stale> {
        let now = now.since_start;
        let mut stale = Vec::new();
        self.frames.retain_mut(|frame| {
            if frame.since + frame.time(&time) > now {
                return true;
            }
            if !frame.is_refused && !frame.is_over() {
                stale.push(frame.give_up());
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
        let due = self.frames.iter().map(|frame| frame.since + frame.time(&time));
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

    fn give_up(&mut self) -> Stale {
        let reason = if self.is_superseded { DropReason::Superseded } else { DropReason::Late };
        self.stream.give_up(reason);
        Stale { header: self.header, reason, datagrams: self.written }
    }
}
