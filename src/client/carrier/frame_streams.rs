use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use quinn::{Connection, VarInt, WriteError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Gone;
use super::quic::ReceiveStream;
use crate::client::session::{Session, Stage};
use crate::limits::{BURST_DATAGRAMS_MAX, VIDEO_DEADLINE};
use crate::media::Class;
use crate::transport::{Carrier, media_preface, reset_code};
use crate::wire::{
    CloseReason, DropReason, MEDIA_STREAM, MediaHeader, MessageBuffer, OversizedMessage, TrackId, delimit_datagram,
};

/// Frames under way at a time, each on a stream of its own: a few less than the relay lets a connection have.
const FRAMES_MAX: usize = 12;

/// A frame that travels on a stream of its own.
#[derive(Debug)]
pub(in crate::client) struct LargeFrame {
    /// Of its first datagram.
    pub header: MediaHeader,
    pub datagrams: Vec<Bytes>,
    /// Where its datagrams are counted if it is given up.
    pub dropped: Arc<AtomicU64>,
}

/// One that waits for its stream.
struct Queued {
    frame: LargeFrame,
    since: Instant,
    _place: OwnedSemaphorePermit,
}

/// The last keyframe of each rendition that was sent on a stream.
type Keyframes = BTreeMap<(TrackId, u8), u32>;

/// The way to the relay for large frames.
#[derive(Debug)]
pub(super) struct FrameStreams {
    queue: mpsc::UnboundedSender<Queued>,
    places: Arc<Semaphore>,
}

impl FrameStreams {
    /// The task that sends them belongs to `tasks`.
    pub fn start(quic: Connection, carrier: Carrier, tasks: &mut JoinSet<()>) -> Self {
        // What waits in it has a place.
        let (queue, frames) = mpsc::unbounded_channel();
        tasks.spawn(send(frames, quic, carrier));
        Self { queue, places: Arc::new(Semaphore::new(FRAMES_MAX)) }
    }

    /// Queues a frame; waits while there are as many as can be.
    pub async fn send(&self, frame: LargeFrame) -> Result<(), Gone> {
        let place = self.places.clone().acquire_owned().await.map_err(|_| Gone)?;
        self.queue.send(Queued { frame, since: Instant::now(), _place: place }).map_err(|_| Gone)
    }

    /// Waits until none is under way.
    pub async fn over(&self) {
        // It is never closed.
        let _ = self.places.acquire_many(FRAMES_MAX as u32).await;
    }
}

async fn send(mut frames: mpsc::UnboundedReceiver<Queued>, quic: Connection, carrier: Carrier) {
    let keyframes = watch::Sender::new(Keyframes::new());
    let mut sending = FuturesUnordered::new();
    // Control and chat have 0, and each frame goes after those before it: if they shared the path, all of them would be late.
    let mut priority: i32 = 0;
    loop {
        tokio::select! {
            queued = frames.recv() => {
                let Some(queued) = queued else {
                    return;
                };
                let header = queued.frame.header;
                if header.keyframe {
                    keyframes.send_modify(|last| _ = last.insert((header.track, header.spatial_layer), header.frame));
                }
                priority = priority.saturating_sub(1);
                sending.push(send_frame(queued, &quic, (carrier, priority), keyframes.subscribe()));
            }
            Some(()) = sending.next(), if !sending.is_empty() => {}
        }
    }
}

async fn send_frame(
    queued: Queued,
    quic: &Connection,
    (carrier, priority): (Carrier, i32),
    keyframes: watch::Receiver<Keyframes>,
) {
    let Queued { frame: LargeFrame { header, datagrams, dropped }, since, _place } = queued;
    let count = datagrams.len() as u64;
    let mut stale = std::pin::pin!(stale(header, since, keyframes));
    let stream = tokio::select! {
        Ok(stream) = quic.open_uni() => Some(stream),
        _ = &mut stale => None,
        else => None,
    };
    let Some(mut stream) = stream else {
        dropped.fetch_add(count, Ordering::Relaxed);
        return;
    };
    // It is new: there is nothing that could have ended it.
    let _ = stream.set_priority(priority);
    let given_up = tokio::select! {
        // Who does not want it gets no more of it.
        _ = send_whole(&mut stream, carrier, datagrams) => None,
        reason = &mut stale => Some(reason),
    };
    if let Some(reason) = given_up {
        dropped.fetch_add(count, Ordering::Relaxed);
        // It may have ended just now; then there is nothing to take back.
        let _ = stream.reset(reset_code(carrier, reason));
    }
}

/// Sends all of a frame, and waits until the relay has it.
async fn send_whole(stream: &mut quinn::SendStream, carrier: Carrier, datagrams: Vec<Bytes>) -> Result<(), WriteError> {
    let mut pieces = vec![Bytes::from_static(media_preface(carrier))];
    pieces.extend(datagrams.into_iter().flat_map(delimit_datagram));
    stream.write_all_chunks(&mut pieces).await?;
    if stream.finish().is_ok() {
        let _ = stream.stopped().await;
    }
    Ok(())
}

/// Resolves when nobody wants a frame any more that has been under way since then, and says why.
async fn stale(header: MediaHeader, since: Instant, mut keyframes: watch::Receiver<Keyframes>) -> DropReason {
    let time = Class::of(&header).stream_time(VIDEO_DEADLINE);
    let superseded = async {
        let rendition = (header.track, header.spatial_layer);
        let is_newer = |last: &Keyframes| last.get(&rendition).is_some_and(|frame| *frame > header.frame);
        if keyframes.wait_for(is_newer).await.is_err() {
            // The session is over.
            std::future::pending::<()>().await;
        }
        sleep_until(since + time / 2).await;
    };
    tokio::select! {
        () = sleep_until(since + time) => DropReason::Late,
        () = superseded => DropReason::Superseded,
    }
}

/// Reads the streams on which the relay sends frames, each by itself, until the connection ends.
pub(super) async fn read(session: Arc<Session>, quic: Connection, webtransport: Option<Arc<wtransport::Connection>>) {
    tokio::select! {
        // As for datagrams.
        () = session.reached(Stage::Seated) => {}
        _ = quic.closed() => {}
    }
    let mut reading = FuturesUnordered::new();
    loop {
        tokio::select! {
            stream = accept(&quic, webtransport.as_deref()) => match stream {
                Some(stream) => reading.push(read_stream(&session, stream)),
                None => return,
            },
            Some(()) = reading.next(), if !reading.is_empty() => {}
        }
    }
}

async fn accept(quic: &Connection, webtransport: Option<&wtransport::Connection>) -> Option<ReceiveStream> {
    match webtransport {
        Some(session) => session.accept_uni().await.ok().map(ReceiveStream::WebTransport),
        None => quic.accept_uni().await.ok().map(ReceiveStream::Quic),
    }
}

/// Reads one stream until it ends, or until something comes that is no media and not wanted.
async fn read_stream(session: &Session, mut stream: ReceiveStream) {
    let mut kind = [0];
    let is_read = stream.quic().read_exact(&mut kind).await.is_ok();
    if !is_read || kind == [MEDIA_STREAM] && read_media(session, &mut stream).await.is_ok() {
        return;
    }
    // It may have ended just now; then there is nothing to stop.
    let _ = stream.quic().stop(VarInt::from_u32(CloseReason::UnexpectedStream.code().into()));
}

/// Reads datagrams until the stream ends, as one does that was given up.
async fn read_media(session: &Session, stream: &mut ReceiveStream) -> Result<(), OversizedMessage> {
    let mut buffer = MessageBuffer::of_media();
    let mut burst = Vec::with_capacity(BURST_DATAGRAMS_MAX);
    while let Ok(Some(chunk)) = stream.quic().read_chunk(usize::MAX, true).await {
        buffer.push(&chunk.bytes);
        while let Some(datagram) = buffer.pop()? {
            burst.push(datagram);
        }
        session.receive_datagrams(burst.drain(..));
    }
    Ok(())
}
