/// How many frames of a packet carry a piece of a stream, or of TLS, which comes in a stream as well (RFC 9000, section 19). What is
/// malformed ends the count: the connection ends over it.
pub(super) fn stream_frames(payload: &[u8]) -> u64 {
    let mut rest = Rest(payload);
    let mut count = 0;
    while let Some(is_of_stream) = rest.skip_frame() {
        count += u64::from(is_of_stream);
    }
    count
}

/// What is left of a packet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Goes behind the next frame, and says whether it is one of a stream.
    fn skip_frame(&mut self) -> Option<bool> {
        let kind = self.integer()?;
        match kind {
            // PADDING, which comes in long runs.
            0x00 => self.0 = &self.0[self.0.iter().take_while(|byte| **byte == 0).count()..],
            // PING, HANDSHAKE_DONE, IMMEDIATE_ACK.
            0x01 | 0x1e | 0x1f => {}
            // ACK, with counts of ECN marks or without.
            0x02 | 0x03 => {
                self.integers(2)?;
                let ranges = self.integer()?;
                self.integers(1 + 2 * ranges)?;
                self.integers(if kind == 0x03 { 3 } else { 0 })?;
            }
            // RESET_STREAM.
            0x04 => self.integers(3)?,
            // STOP_SENDING, MAX_STREAM_DATA, STREAM_DATA_BLOCKED.
            0x05 | 0x11 | 0x15 => self.integers(2)?,
            // CRYPTO.
            0x06 => {
                self.integers(1)?;
                self.sized()?;
            }
            // NEW_TOKEN, DATAGRAM with a length.
            0x07 | 0x31 => self.sized()?,
            // STREAM, with an offset, with a length.
            0x08..=0x0f => {
                self.integers(if kind & 0x04 == 0 { 1 } else { 2 })?;
                if kind & 0x02 == 0 { self.0 = &[] } else { self.sized()? }
            }
            // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID.
            0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => self.integers(1)?,
            // NEW_CONNECTION_ID: the id's length is a byte, and a token follows.
            0x18 => {
                self.integers(2)?;
                let id_bytes = *self.0.first()?;
                self.bytes(1 + u64::from(id_bytes) + 16)?;
            }
            // PATH_CHALLENGE, PATH_RESPONSE.
            0x1a | 0x1b => self.bytes(8)?,
            // CONNECTION_CLOSE of the transport, and of the application.
            0x1c | 0x1d => {
                self.integers(if kind == 0x1c { 2 } else { 1 })?;
                self.sized()?;
            }
            // DATAGRAM to the end (RFC 9221).
            0x30 => self.0 = &[],
            // ACK_FREQUENCY.
            0xaf => self.integers(4)?,
            _ => return None,
        }
        Some(matches!(kind, 0x06 | 0x08..=0x0f))
    }

    /// An integer of variable length (RFC 9000, section 16).
    fn integer(&mut self) -> Option<u64> {
        let length = 1 << (self.0.first()? >> 6);
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let first = u64::from(bytes[0] & 0x3f);
        Some(bytes[1..].iter().fold(first, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn integers(&mut self, count: u64) -> Option<()> {
        (0..count).try_for_each(|_| self.integer().map(drop))
    }

    /// A length, and so many bytes.
    fn sized(&mut self) -> Option<()> {
        let length = self.integer()?;
        self.bytes(length)
    }

    fn bytes(&mut self, length: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(length).ok()?..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_streams_are_counted_behind_whatever_stands_before_them() {
        // A byte at offset 1 of stream 2, with its length.
        let stream = [0x0e, 2, 1, 1, 0xaa];
        let others: [&[u8]; 21] = [
            &[],
            &[0; 40],
            &[0x01, 0x1e, 0x1f],
            // Two ranges.
            &[0x02, 9, 0, 2, 1, 0, 1, 0, 1],
            &[0x03, 9, 0, 0, 1, 1, 2, 3],
            &[0x04, 2, 0, 9],
            &[0x05, 2, 0],
            &[0x07, 2, 0xff, 0xff],
            &[0x10, 0x7f, 0xff],
            &[0x11, 2, 0x80, 0, 0, 1],
            &[0x12, 1, 0x13, 1, 0x14, 1],
            &[0x15, 2, 9],
            &[0x16, 1, 0x17, 1],
            &[&[0x18, 1, 0, 8][..], &[0xff; 24]].concat(),
            &[0x19, 1],
            &[0x1a, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1b, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1c, 1, 0x06, 2, b'n', b'o'],
            &[0x1d, 1, 2, b'n', b'o'],
            &[0x31, 3, 1, 2, 3],
            &[0x40, 0xaf, 1, 2, 3, 4],
        ];
        for other in others {
            let packet = [other, &stream, other, &stream].concat();
            assert_eq!(stream_frames(&packet), 2, "behind {other:02x?}");
        }
    }

    #[test]
    fn the_frames_of_a_packet_are_counted_as_far_as_they_can_be_read() {
        for (case, packet, expected) in [
            ("nothing", &[][..], 0),
            ("TLS", &[0x06, 0, 2, 1, 2], 1),
            ("each kind of stream", &[0x0a, 2, 1, 0, 0x0e, 2, 5, 1, 0, 0x0f, 2, 5, 0, 0x08, 2, 0x0e], 4),
            ("one to the end, at an offset", &[0x0c, 2, 5, 0x0e, 2, 5, 0], 1),
            ("a datagram to the end", &[0x30, 0x0e, 2, 5, 0], 0),
            ("an unknown frame", &[0x0e, 2, 5, 0, 0x20, 0x0e, 2, 5, 0], 1),
            ("a length beyond the end", &[0x0e, 2, 5, 9, 0], 0),
            ("a length beyond all memory", &[0x31, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0),
            ("ranges without end", &[0x02, 9, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1], 0),
            ("half an integer", &[0x10, 0x80, 0], 0),
        ] {
            assert_eq!(stream_frames(packet), expected, "{case}");
        }
    }
}
