use tertulia::limits::MESSAGE_BYTES_MAX;
use tertulia::wire::{ClientMessage, DecodeError, ServerMessage, VERSION, decode, decode_first_message, encode};

/// Control messages, in both directions.
pub fn try_out(bytes: &[u8]) {
    let message = decode::<ClientMessage>(bytes);
    if let Ok(message) = &message {
        assert!(bytes.len() <= MESSAGE_BYTES_MAX);
        assert_eq!(decode::<ClientMessage>(&encode(message)).as_ref(), Ok(message));
    }
    match decode_first_message(bytes) {
        Ok(first) => assert_eq!(message, Ok(first)),
        Err(DecodeError::Version { theirs }) => assert_ne!(theirs, VERSION),
        Err(_) => assert!(message.is_err()),
    }
    if let Ok(message) = decode::<ServerMessage>(bytes) {
        assert_eq!(decode::<ServerMessage>(&encode(&message)), Ok(message));
    }
}
