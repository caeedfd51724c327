use tertulia::wire::{ClientChat, ServerChat, decode, encode};

/// Chat messages, in both directions.
pub fn try_out(bytes: &[u8]) {
    if let Ok(message) = decode::<ClientChat>(bytes) {
        assert_eq!(decode::<ClientChat>(&encode(&message)), Ok(message));
    }
    if let Ok(message) = decode::<ServerChat>(bytes) {
        if let ServerChat::Message(message) = &message {
            assert!(message.cost_bytes() >= message.body.len() + message.from_name.len());
        }
        assert_eq!(decode::<ServerChat>(&encode(&message)), Ok(message));
    }
}
