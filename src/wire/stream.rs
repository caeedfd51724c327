use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use crate::limits::{DATAGRAM_BYTES_MAX, MESSAGE_BYTES_MAX};

/// What a bidirectional stream carries, said by its first byte; on WebSocket, by the first byte of each binary message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// [`ClientMessage`](super::ClientMessage) up, [`ServerMessage`](super::ServerMessage) down.
    Control,
    /// [`ClientChat`](super::ClientChat) up, [`ServerChat`](super::ServerChat) down.
    Chat,
}

impl StreamKind {
    /// The byte that stands for this kind. `0x00` is taken: on WebSocket it marks a media datagram.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Control => 0x01,
            Self::Chat => 0x02,
        }
    }

    /// The kind that `byte` stands for, if any.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Control),
            0x02 => Some(Self::Chat),
            _ => None,
        }
    }
}

/// The first byte of a unidirectional stream, which carries media: datagrams, prefix included, each behind its length. On
/// WebSocket, the first byte of each datagram.
pub const MEDIA_STREAM: u8 = 0x00;

/// Length of the big-endian length in front of each message on a stream.
const LENGTH_BYTES: usize = 4;

/// A message whose announced length is over what its stream may carry at a time; the stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a message of {announced} bytes was announced, which is more than is allowed")]
pub struct OversizedMessage {
    /// The length that the remote announced, in bytes.
    pub announced: u32,
}

/// Puts the length in front of `message`, as it travels on a stream.
pub fn delimit(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a message is far below 4 GiB");
    let mut bytes = BytesMut::with_capacity(LENGTH_BYTES + message.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.freeze()
}

/// Every length that stands in front of a datagram: those who get it on a stream share them.
static DATAGRAM_LENGTHS: [[u8; LENGTH_BYTES]; DATAGRAM_BYTES_MAX + 1] = {
    let mut lengths = [[0; LENGTH_BYTES]; DATAGRAM_BYTES_MAX + 1];
    let mut length = 0;
    while length < lengths.len() {
        lengths[length] = (length as u32).to_be_bytes();
        length += 1;
    }
    lengths
};

/// A datagram as it travels on a stream, without copying it: its length, and all of its bytes.
///
/// # Panics
/// If it is longer than a datagram can be: the caller has read it.
pub fn delimit_datagram(datagram: Bytes) -> [Bytes; 2] {
    [Bytes::from_static(&DATAGRAM_LENGTHS[datagram.len()]), datagram]
}

/// Cuts what arrives on a stream back into messages.
///
/// Holds at most one message and what arrived with it, never more than what the caller pushed.
#[derive(Debug)]
pub struct MessageBuffer {
    bytes: BytesMut,
    message_bytes_max: usize,
}

impl Default for MessageBuffer {
    /// That of a control or chat stream.
    fn default() -> Self {
        Self { bytes: BytesMut::new(), message_bytes_max: MESSAGE_BYTES_MAX }
    }
}

impl MessageBuffer {
    /// That of a stream with media: its messages are datagrams.
    pub fn of_media() -> Self {
        Self { bytes: BytesMut::new(), message_bytes_max: DATAGRAM_BYTES_MAX }
    }

    /// Appends what arrived.
    pub fn push(&mut self, received: &[u8]) {
        self.bytes.extend_from_slice(received);
    }

    /// Takes the next whole message, if it has arrived.
    ///
    /// # Errors
    /// [`OversizedMessage`] as soon as the length is known, before any of the message is kept.
    pub fn pop(&mut self) -> Result<Option<Bytes>, OversizedMessage> {
        let Some(length) = self.bytes.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let announced = u32::from_be_bytes(*length);
        let length = announced as usize;
        if length > self.message_bytes_max {
            return Err(OversizedMessage { announced });
        }
        if self.bytes.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        self.bytes.advance(LENGTH_BYTES);
        Ok(Some(self.bytes.split_to(length).freeze()))
    }

    /// Whether the beginning of a message is waiting for its rest.
    pub fn is_mid_message(&self) -> bool {
        !self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let wire = [delimit(b"one"), delimit(b""), delimit(b"three")].concat();
        for cut in 0..=wire.len() {
            let mut buffer = MessageBuffer::default();
            let mut messages = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                buffer.push(part);
                while let Some(message) = buffer.pop().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [&b"one"[..], b"", b"three"]);
            assert!(!buffer.is_mid_message());
        }
    }

    #[test]
    fn an_oversized_message_is_refused_by_its_length_alone() {
        let mut buffer = MessageBuffer::default();
        buffer.push(&u32::MAX.to_be_bytes());
        assert_eq!(buffer.pop(), Err(OversizedMessage { announced: u32::MAX }));
    }

    #[test]
    fn a_datagram_is_delimited_as_any_message() {
        for bytes in [1, 255, 256, DATAGRAM_BYTES_MAX] {
            let datagram = Bytes::from(vec![7; bytes]);
            let wire = delimit_datagram(datagram.clone()).concat();
            assert_eq!(wire, delimit(&datagram));
            let mut buffer = MessageBuffer::of_media();
            buffer.push(&wire);
            assert_eq!(buffer.pop(), Ok(Some(datagram)));
        }
        let mut buffer = MessageBuffer::of_media();
        buffer.push(&(DATAGRAM_BYTES_MAX as u32 + 1).to_be_bytes());
        assert!(buffer.pop().is_err());
    }

    #[test]
    fn a_truncated_message_waits_for_its_rest() {
        let mut buffer = MessageBuffer::default();
        buffer.push(&delimit(b"hello")[..6]);
        assert_eq!(buffer.pop(), Ok(None));
        assert!(buffer.is_mid_message());
    }

    #[test]
    fn kinds_and_bytes_agree() {
        for byte in 0..=u8::MAX {
            if let Some(kind) = StreamKind::from_byte(byte) {
                assert_eq!(kind.byte(), byte);
            }
        }
        assert_eq!(StreamKind::from_byte(0), None);
    }
}
