use tertulia::limits::MESSAGE_BYTES_MAX;
use tertulia::wire::{MessageBuffer, OversizedMessage, StreamKind};

/// What arrives on a stream, cut as the first bytes say: a count of cuts, and where the next one is each time.
pub fn try_out(bytes: &[u8]) {
    let Some((count, rest)) = bytes.split_first() else {
        return;
    };
    let (cuts, stream) = rest.split_at(rest.len().min(usize::from(*count)));
    let mut parts = Vec::new();
    let mut left = stream;
    for cut in cuts {
        let (part, after) = left.split_at(left.len().min(usize::from(*cut)));
        parts.push(part);
        left = after;
    }
    parts.push(left);
    assert_eq!(read(&parts), read(&[stream]), "however it is cut");
    for byte in stream {
        assert!(StreamKind::from_byte(*byte).is_none_or(|kind| kind.byte() == *byte));
    }
}

fn read(parts: &[&[u8]]) -> (Vec<Vec<u8>>, Option<OversizedMessage>, bool) {
    let mut buffer = MessageBuffer::default();
    let mut messages = Vec::new();
    for part in parts {
        buffer.push(part);
        loop {
            match buffer.pop() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(problem) => return (messages, Some(problem), true),
            }
        }
    }
    assert!(messages.iter().all(|message| message.len() <= MESSAGE_BYTES_MAX));
    (messages, None, buffer.is_mid_message())
}
