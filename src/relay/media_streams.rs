use std::future::pending;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::coop::consume_budget;

use super::Metrics;
use super::seat::Seat;
use crate::limits::BURST_DATAGRAMS_MAX;
use crate::transport::{MediaStream, QuicSession, StreamError};
use crate::wire::{CloseReason, DropReason};

/// Reads the streams on which a participant sends media, each by itself: one that stays silent or is slow holds up no other. What
/// comes is passed on datagram by datagram, before the rest of its frame has come.
pub(super) async fn read(session: &QuicSession, seat: &Seat, metrics: &Metrics) -> CloseReason {
    // Most participants send none: what is kept for them comes with the first.
    let first = accept(session).await;
    let mut reading = FuturesUnordered::from_iter([read_stream(first, seat, metrics)]);
    loop {
        tokio::select! {
            stream = accept(session) => reading.push(read_stream(stream, seat, metrics)),
            Some(read) = reading.next(), if !reading.is_empty() => {
                if let Err(reason) = read {
                    return reason;
                }
            }
        }
    }
}

/// The next stream. There is none any more once the connection has ended, of which its datagrams say why; those that are open are read
/// on until then.
async fn accept(session: &QuicSession) -> MediaStream {
    match session.accept_media().await {
        Ok(stream) => stream,
        Err(_) => pending().await,
    }
}

/// Reads one stream to its end. An error ends the session.
async fn read_stream(stream: MediaStream, seat: &Seat, metrics: &Metrics) -> Result<(), CloseReason> {
    match forward(stream, seat, metrics).await {
        // A frame that was given up ends so as well.
        StreamError::Ended => {}
        StreamError::Truncated => seat.leave_out(DropReason::Malformed),
        StreamError::Slow => metrics.stop_slow_stream(),
        StreamError::Silent => metrics.stop_silent_stream(),
        error @ (StreamError::Kind(_) | StreamError::Oversized(_)) => return Err(error.close_reason()),
    }
    Ok(())
}

/// Passes on what comes on a stream, until no more does; says why.
async fn forward(stream: MediaStream, seat: &Seat, metrics: &Metrics) -> StreamError {
    let mut reader = match stream.read().await {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    metrics.media_streams_received.inc();
    let mut burst = Vec::with_capacity(BURST_DATAGRAMS_MAX);
    loop {
        match reader.next_burst(&mut burst).await {
            Ok(()) => seat.forward(&mut burst),
            Err(StreamError::Slow) => {
                reader.stop(CloseReason::IdleTimeout);
                return StreamError::Slow;
            }
            Err(error) => return error,
        }
        consume_budget().await;
    }
}
