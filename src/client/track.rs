use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::event::RequestError;
use super::receive::Frames;
use super::session::Session;
use crate::media::{Frame, FrameTooLarge};
use crate::wire::{ClientMessage, CloseReason, ParticipantId, TrackId, TrackInfo};

/// How long a frame may wait for room in the send buffer: later than this nobody wants it.
const SEND_DEADLINE: Duration = Duration::from_millis(200);

/// How long the last frames of a track may take to reach the relay before the track is taken back.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

/// A track of one's own.
#[derive(Debug)]
pub struct LocalTrack {
    session: Arc<Session>,
    track: TrackId,
    info: TrackInfo,
    keyframe_wanted: Arc<Notify>,
    datagrams_dropped: AtomicU64,
}

/// Why a frame was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendFrameError {
    /// It is empty or too large to be described.
    #[error(transparent)]
    Size(#[from] FrameTooLarge),
    /// The session has ended.
    #[error("the session has ended ({label}): {message}", label = .reason.label())]
    Closed {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
}

impl LocalTrack {
    pub(super) fn new(session: Arc<Session>, track: TrackId, info: TrackInfo) -> Self {
        let keyframe_wanted = Arc::new(Notify::new());
        session.state().keyframe_wanted.insert(track, Arc::downgrade(&keyframe_wanted));
        Self { session, track, info, keyframe_wanted, datagrams_dropped: AtomicU64::new(0) }
    }

    /// The id that the relay gave.
    pub fn track(&self) -> TrackId {
        self.track
    }

    /// What the track carries.
    pub fn info(&self) -> &TrackInfo {
        &self.info
    }

    /// Sends a frame as datagrams of equal size. Waits while the send buffer is full, at most 200 ms: what it has not taken by
    /// then is left out and counted in [`LocalTrack::datagrams_dropped`].
    ///
    /// Frames are numbered by the caller, from 0 on in each spatial layer; see [`Frame`].
    ///
    /// # Errors
    /// [`SendFrameError`] if the frame cannot be sent at all, or the session has ended.
    pub async fn send_frame(&self, frame: Frame) -> Result<(), SendFrameError> {
        let closed =
            |ending: super::event::Ending| SendFrameError::Closed { reason: ending.reason, message: ending.message };
        self.session.check_open().map_err(closed)?;
        let deadline = Instant::now() + SEND_DEADLINE;
        let mut datagrams = frame.datagrams(self.track)?;
        while let Some(datagram) = datagrams.next() {
            match timeout_at(deadline, self.session.link.send_datagram(datagram.bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(closed(self.session.ending())),
                Err(_) => {
                    let left_out = 1 + datagrams.count() as u64;
                    self.datagrams_dropped.fetch_add(left_out, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// How many datagrams were left out because the path did not take them in time.
    pub fn datagrams_dropped(&self) -> u64 {
        self.datagrams_dropped.load(Ordering::Relaxed)
    }

    /// Resolves when a subscriber cannot go on without a keyframe; requests that come together are one. `None` when the
    /// session has ended.
    pub async fn next_keyframe_request(&self) -> Option<()> {
        self.session.check_open().ok()?;
        self.keyframe_wanted.notified().await;
        self.session.check_open().ok()
    }

    /// Tells the others whether the track is silent or dark at the moment.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it or the session ended.
    pub async fn set_muted(&self, muted: bool) -> Result<(), RequestError> {
        let track = self.track;
        self.session.request(|request| ClientMessage::SetMuted { request, track, muted }).await.map(drop)
    }

    /// Takes the track back, after what was sent has reached the relay.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it or the session ended.
    pub async fn unpublish(self) -> Result<(), RequestError> {
        // Datagrams keep their order on an ordinary path: what was sent before has arrived when the echo comes back.
        let _ = timeout(FLUSH_TIMEOUT, self.session.echo()).await;
        let track = self.track;
        self.session.request(|request| ClientMessage::Unpublish { request, track }).await.map(drop)
    }
}

impl Drop for LocalTrack {
    fn drop(&mut self) {
        self.session.state().keyframe_wanted.remove(&self.track);
    }
}

/// A track of someone else whose media is on its way.
///
/// Up to 256 frames and 8 MiB wait to be taken; when there are more, the oldest go, and a video goes on at the next keyframe.
/// While frames are missing that others need, keyframes are asked for, again every 300 ms.
#[derive(Debug)]
pub struct RemoteTrack {
    /// Whose it is.
    pub participant: ParticipantId,
    /// The id that the relay gave.
    pub track: TrackId,
    /// What it carries.
    pub info: TrackInfo,
    session: Weak<Session>,
    frames: Arc<Frames>,
}

impl RemoteTrack {
    pub(super) fn open(session: &Arc<Session>, participant: ParticipantId, track: TrackId, info: TrackInfo) -> Self {
        let frames = session.receive_state().open(session.now(), track, info.is_video());
        session.note_receive_changed();
        Self { participant, track, info, session: Arc::downgrade(session), frames }
    }

    /// The next whole frame that can be decoded after those before it. `None` when the track was unpublished or
    /// unsubscribed, or the session has ended. After it was unpublished, the track goes on until nothing came for 300 ms.
    pub async fn next_frame(&self) -> Option<Frame> {
        self.frames.pop().await
    }

    /// How many frames were lost because they were not taken in time.
    pub fn frames_dropped(&self) -> u64 {
        self.frames.dropped()
    }
}

impl Drop for RemoteTrack {
    fn drop(&mut self) {
        if let Some(session) = self.session.upgrade() {
            session.receive_state().close(self.track, &self.frames);
        }
    }
}
