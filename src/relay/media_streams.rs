use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::coop::consume_budget;

use super::seat::Seat;
use crate::limits::BURST_DATAGRAMS_MAX;
use crate::transport::{MediaStream, QuicSession, StreamError};
use crate::wire::{CloseReason, DropReason};

/// Reads the streams on which a participant sends media, each by itself: one that stays silent or is slow holds up no other. What
/// comes is passed on datagram by datagram, before the rest of its frame has come.
pub(super) async fn read(session: &QuicSession, seat: &Seat) -> CloseReason {
    let mut reading = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = session.accept_media() => match accepted {
                Ok(stream) => reading.push(read_stream(stream, seat)),
                // Why the connection ended is said by its datagrams.
                Err(_) => std::future::pending().await,
            },
            Some(read) = reading.next(), if !reading.is_empty() => {
                if let Err(reason) = read {
                    return reason;
                }
            }
        }
    }
}

/// Reads one stream to its end. An error ends the session.
async fn read_stream(stream: MediaStream, seat: &Seat) -> Result<(), CloseReason> {
    let reader = stream.read().await.map_err(|error| error.close_reason())?;
    let Some(mut reader) = reader else {
        return Ok(());
    };
    let mut burst = Vec::with_capacity(BURST_DATAGRAMS_MAX);
    loop {
        match reader.next_burst(&mut burst).await {
            Ok(()) => seat.forward(&mut burst),
            // A frame that was given up ends so as well.
            Err(StreamError::Ended) => return Ok(()),
            Err(StreamError::Truncated) => {
                seat.leave_out(DropReason::Malformed);
                return Ok(());
            }
            Err(StreamError::Slow) => {
                reader.stop(CloseReason::IdleTimeout);
                return Ok(());
            }
            Err(error) => return Err(error.close_reason()),
        }
        consume_budget().await;
    }
}
