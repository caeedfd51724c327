use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use super::carrier::LargeFrame;
use super::event::{Ending, RequestError};
use super::publication::{Publication, Way};
use super::receive::Frames;
use super::seat::Seat;
use super::session::Effect;
use crate::media::{Delivery, Frame, FrameTooLarge};
use crate::wire::{ClientMessage, CloseReason, ParticipantId, RefuseReason, TrackId, TrackInfo};

/// How long a frame may wait for room in the send buffer: later than this nobody wants it.
const SEND_DEADLINE: Duration = Duration::from_millis(200);

/// How long the last frames of a track may take to reach the relay before the track is taken back.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

/// A track of one's own. It outlives the connection: what is sent while there is none is left out and counted.
#[derive(Debug)]
pub struct LocalTrack {
    seat: Arc<Seat>,
    publication: Arc<Publication>,
}

/// A frame as it leaves.
enum Outgoing {
    Datagrams(Vec<Bytes>),
    OnStream(LargeFrame),
}

impl Outgoing {
    /// How many datagrams it is made of.
    fn datagrams(&self) -> usize {
        match self {
            Self::Datagrams(datagrams) | Self::OnStream(LargeFrame { datagrams, .. }) => datagrams.len(),
        }
    }
}

/// Why a frame was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SendFrameError {
    /// It is empty or too large to be described.
    #[error(transparent)]
    Size(#[from] FrameTooLarge),
    /// The relay did not take the track again after the connection broke.
    #[error("the relay refused the track: {message}")]
    Refused {
        /// Why, for programs.
        reason: RefuseReason,
        /// Why, for people.
        message: String,
    },
    /// The room was left, or is lost for good.
    #[error("the session has ended ({label}): {message}", label = .reason.label())]
    Closed {
        /// Why, for programs.
        reason: CloseReason,
        /// Why, for people, and what to do.
        message: String,
    },
}

impl From<Ending> for SendFrameError {
    fn from(Ending { reason, message }: Ending) -> Self {
        Self::Closed { reason, message }
    }
}

impl LocalTrack {
    pub(super) fn new(seat: Arc<Seat>, publication: Arc<Publication>) -> Self {
        seat.state().publications.add(&publication);
        Self { seat, publication }
    }

    pub(super) fn publication(&self) -> &Arc<Publication> {
        &self.publication
    }

    /// The id that the relay gave last. It changes when the connection broke for so long that the seat was lost.
    pub fn track(&self) -> TrackId {
        self.publication.track()
    }

    /// What the track carries.
    pub fn info(&self) -> &TrackInfo {
        &self.publication.info
    }

    /// Sends a frame as datagrams of equal size, or on a stream of its own, where it arrives whole or is given up when it is stale:
    /// after 800 ms, a keyframe after 2400 ms, and half as long if there is a newer keyframe. Waits while the send buffer is full, at
    /// most 200 ms: what it has not taken by then is left out and counted in [`LocalTrack::datagrams_dropped`]. So is everything
    /// while there is no connection.
    ///
    /// Frames are numbered by the caller, from 0 on in each spatial layer; see [`Frame`]. How it is sent is said by the frame, or
    /// else by [`LocalTrack::set_delivery`]. Audio is sent twice while there is loss.
    ///
    /// # Errors
    /// [`SendFrameError`] if the frame cannot be sent at all, or the room has ended.
    pub async fn send_frame(&self, frame: Frame) -> Result<(), SendFrameError> {
        self.seat.check_open()?;
        let (session, track) = match self.publication.way() {
            Way::Open(session, track) => (Some(session), track),
            Way::Away(track) => (None, track),
            Way::Refused(reason, message) => return Err(SendFrameError::Refused { reason, message }),
        };
        let outgoing = self.outgoing(&frame, track)?;
        let Some(session) = session else {
            self.leave_out(outgoing.datagrams());
            return Ok(());
        };
        let deadline = Instant::now() + SEND_DEADLINE;
        match outgoing {
            Outgoing::Datagrams(datagrams) => {
                let mut left = datagrams.into_iter();
                while let Some(datagram) = left.next() {
                    let sent = timeout_at(deadline, session.link.send_datagram(datagram)).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        self.leave_out(1 + left.len());
                        break;
                    }
                }
            }
            Outgoing::OnStream(frame) => {
                let datagrams = frame.datagrams.len();
                let sent = timeout_at(deadline, session.link.send_on_stream(frame)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    self.leave_out(datagrams);
                }
            }
        }
        Ok(())
    }

    fn leave_out(&self, datagrams: usize) {
        self.publication.datagrams_dropped.fetch_add(datagrams as u64, Ordering::Relaxed);
    }

    /// What to send of a frame, and beside it.
    fn outgoing(&self, frame: &Frame, track: TrackId) -> Result<Outgoing, FrameTooLarge> {
        let (publication, now) = (&self.publication, self.seat.now());
        let delivery = publication.delivery(now, frame);
        let frame = Frame { delivery: Some(delivery), ..frame.clone() };
        let datagrams: Vec<_> = match delivery {
            Delivery::Datagrams | Delivery::Stream => frame.datagrams(track)?.collect(),
            Delivery::DatagramsWithParity => frame.datagrams_with_parity(track)?.collect(),
        };
        let mut recent = publication.recent();
        datagrams.iter().for_each(|datagram| recent.push(now, &datagram.header, datagram.bytes.clone()));
        let header = datagrams[0].header;
        let mut datagrams: Vec<_> = datagrams.into_iter().map(|datagram| datagram.bytes).collect();
        if delivery == Delivery::Stream {
            let dropped = publication.datagrams_dropped.clone();
            return Ok(Outgoing::OnStream(LargeFrame { header, datagrams, dropped }));
        }
        if !publication.info.is_video() {
            datagrams.extend(publication.redundancy().beside(now, datagrams.clone()));
        }
        Ok(Outgoing::Datagrams(datagrams))
    }

    /// How frames are sent from now on that do not say it themselves. Until it is set, those of the base layer of a video are
    /// sent with parity while subscribers report loss, and all others without.
    pub fn set_delivery(&self, delivery: Delivery) {
        self.publication.set_delivery(delivery);
    }

    /// How many datagrams were left out because the path did not take them in time, or because there was none.
    pub fn datagrams_dropped(&self) -> u64 {
        self.publication.datagrams_dropped.load(Ordering::Relaxed)
    }

    /// Resolves when a subscriber cannot go on without a keyframe, and says of which rendition; requests for one that come
    /// together are one. Also after the connection broke, because frames are missing then. `None` when the room has ended.
    pub async fn next_keyframe_request(&self) -> Option<u8> {
        self.publication.next_keyframe(|| self.seat.check_open().is_ok()).await
    }

    /// Tells the others whether the track is silent or dark at the moment. Without a connection, they are told when there is
    /// one again.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it or the room ended.
    pub async fn set_muted(&self, muted: bool) -> Result<(), RequestError> {
        self.seat.check_open()?;
        self.publication.want_muted(muted);
        let Way::Open(session, track) = self.publication.way() else {
            return Ok(());
        };
        let told = session.request(Effect::None, |request| ClientMessage::SetMuted { request, track, muted }).await;
        match told {
            Ok(_) => self.publication.mute_confirmed(),
            Err(RequestError::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes the track back, after what was sent has reached the relay.
    ///
    /// # Errors
    /// [`RequestError`] if the relay refused it or the room ended.
    pub async fn unpublish(self) -> Result<(), RequestError> {
        self.seat.check_open()?;
        let way = self.publication.way();
        if let Way::Open(session, _) = &way {
            // Datagrams keep their order on an ordinary path: what was sent before has arrived when the echo comes back.
            let over = async { tokio::join!(session.echo(), session.link.streams_over()) };
            let _ = timeout(FLUSH_TIMEOUT, over).await;
        }
        // What the relay still has when the connection breaks now is taken back by the next session.
        self.seat.state().publications.remove(&self.publication);
        let Way::Open(session, track) = way else {
            return Ok(());
        };
        match session.request(Effect::None, |request| ClientMessage::Unpublish { request, track }).await {
            Ok(_) | Err(RequestError::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for LocalTrack {
    /// Takes the track back without waiting for anything. If the relay does not hear it, the next session takes it back.
    fn drop(&mut self) {
        let way = self.publication.way();
        if self.seat.state().publications.remove(&self.publication)
            && let Way::Open(session, track) = way
        {
            session.unpublish_unasked(track);
        }
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
    seat: Weak<Seat>,
    frames: Arc<Frames>,
}

impl RemoteTrack {
    pub(super) fn open(seat: &Arc<Seat>, participant: ParticipantId, track: TrackId, info: TrackInfo) -> Self {
        let frames = seat.receive_state().open(seat.now(), track, &info);
        seat.note_receive_changed();
        Self { participant, track, info, seat: Arc::downgrade(seat), frames }
    }

    /// The next whole frame that can be decoded after those before it. `None` when the track was unpublished or
    /// unsubscribed, or the room has ended. After it was unpublished, the track goes on until nothing came for 300 ms. When the
    /// connection breaks, the track goes on with the next one if it is still there.
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
        if let Some(seat) = self.seat.upgrade() {
            seat.receive_state().close(self.track, &self.frames);
        }
    }
}
