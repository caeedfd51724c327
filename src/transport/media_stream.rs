use std::mem::take;

use bytes::Bytes;
use futures_util::FutureExt;
use quinn::{Connection, VarInt};
use thiserror::Error;

use super::Carrier;
use super::quic::{MessageReader, RecvStream, StreamError};
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::wire::{CloseReason, DropReason, MEDIA_STREAM, delimit_datagram};

/// What a unidirectional stream begins with on WebTransport: the type of such streams, and the number of the session, which is the
/// first of its connection (draft-ietf-webtrans-http3, section 4.2). Behind it stands what the stream carries.
const WEBTRANSPORT_PREFACE: [u8; 4] = [0x40, 0x54, 0x00, MEDIA_STREAM];

/// The same on QUIC.
const QUIC_PREFACE: [u8; 1] = [MEDIA_STREAM];

/// The first of the codes of HTTP/3 that stand for those of WebTransport (draft-ietf-webtrans-http3, section 4.3).
const WEBTRANSPORT_CODES: u64 = 0x52e4_a40f_a8db;

/// What stands in front of the datagrams on a unidirectional stream.
pub const fn media_preface(carrier: Carrier) -> &'static [u8] {
    match carrier {
        Carrier::WebTransport => &WEBTRANSPORT_PREFACE,
        Carrier::Quic | Carrier::WebSocket | Carrier::PlainWebSocket => &QUIC_PREFACE,
    }
}

/// What a stream with media is reset with.
pub fn reset_code(carrier: Carrier, reason: DropReason) -> VarInt {
    let code = u64::from(reason.code());
    let code = match carrier {
        Carrier::WebTransport => WEBTRANSPORT_CODES + code + code / 0x1e,
        Carrier::Quic | Carrier::WebSocket | Carrier::PlainWebSocket => code,
    };
    VarInt::from_u64(code).expect("the codes of WebTransport are far below the largest number of QUIC")
}

/// A stream on which one frame travels to the other side, and what of it quinn has not taken yet.
#[derive(Debug)]
pub struct FrameStream {
    stream: quinn::SendStream,
    carrier: Carrier,
    waiting: Vec<Bytes>,
    is_whole: bool,
}

/// The other side does not want the stream, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the stream was stopped")]
pub struct StreamStopped;

impl FrameStream {
    /// Opens one, if the other side allows one more at the moment. Streams of a higher priority go first; control and chat have 0.
    pub fn open(connection: &Connection, carrier: Carrier, priority: i32) -> Option<Self> {
        let stream = connection.open_uni().now_or_never()?.ok()?;
        // It is new: there is nothing that could have ended it.
        let _ = stream.set_priority(priority);
        let waiting = vec![Bytes::from_static(media_preface(carrier))];
        Some(Self { stream, carrier, waiting, is_whole: false })
    }

    /// Sends a datagram, as far as there is room for it.
    ///
    /// # Errors
    /// [`StreamStopped`]: nothing of it arrives any more.
    pub fn write(&mut self, datagram: Bytes) -> Result<(), StreamStopped> {
        self.waiting.extend(delimit_datagram(datagram));
        self.flush()
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn finish(&mut self) -> Result<(), StreamStopped> {
        self.is_whole = true;
        self.flush()
    }

    /// Goes on with what waits.
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub fn flush(&mut self) -> Result<(), StreamStopped> {
        while !self.waiting.is_empty() {
            match self.stream.write_chunks(&mut self.waiting).now_or_never() {
                Some(Ok(written)) => drop(self.waiting.drain(..written.chunks)),
                Some(Err(_)) => return Err(StreamStopped),
                None => return Ok(()),
            }
        }
        if take(&mut self.is_whole) {
            self.stream.finish().map_err(|_| StreamStopped)?;
        }
        Ok(())
    }

    /// Whether quinn has not taken everything yet.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the other side has all of it, or wants no more of it.
    pub fn is_over(&self) -> bool {
        self.stream.stopped().now_or_never().is_some()
    }

    /// Takes back what has not arrived.
    pub fn give_up(&mut self, reason: DropReason) {
        // It may have ended just now; then there is nothing to take back.
        let _ = self.stream.reset(reset_code(self.carrier, reason));
    }
}

/// A unidirectional stream that came, and has not said yet what it carries.
#[derive(Debug)]
pub struct MediaStream(pub(super) RecvStream);

impl MediaStream {
    /// Reads the first byte. A stream on which nothing comes is stopped.
    ///
    /// # Errors
    /// [`StreamError`]: [`StreamError::Ended`] if the stream was given up, [`StreamError::Silent`] if nothing came, or
    /// [`StreamError::Kind`] if it carries something else than media.
    pub async fn read(self) -> Result<MessageReader, StreamError> {
        let Self(mut stream) = self;
        let mut first = [0];
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, stream.quic().read_exact(&mut first)).await {
            Ok(Ok(())) if first[0] == MEDIA_STREAM => Ok(MessageReader::of_media(stream)),
            Ok(Ok(())) => Err(StreamError::Kind(first[0])),
            Ok(Err(_)) => Err(StreamError::Ended),
            Err(_) => {
                // It may have ended just now; then there is nothing to stop.
                let _ = stream.quic().stop(VarInt::from_u32(CloseReason::JoinTimeout.code().into()));
                Err(StreamError::Silent)
            }
        }
    }
}
