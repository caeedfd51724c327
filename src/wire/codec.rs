use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};
use thiserror::Error;

use super::{ClientMessage, VERSION};
use crate::limits::MESSAGE_BYTES_MAX;

/// bincode's standard configuration (little-endian, variable-length integers), never without a byte limit: a length in a
/// ten-byte message would otherwise make it reserve a terabyte.
const CONFIGURATION: Configuration<LittleEndian, Varint, Limit<MESSAGE_BYTES_MAX>> =
    config::standard().with_limit::<MESSAGE_BYTES_MAX>();

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// bincode could not make a message of them.
    #[error("it cannot be decoded: {0}")]
    Malformed(String),
    /// A message was there, and more behind it.
    #[error("{extra} bytes follow the message")]
    TrailingBytes {
        /// How many bytes were left over.
        extra: usize,
    },
    /// The first message is of a protocol version that is not spoken here.
    #[error("it speaks protocol version {theirs}, this relay speaks {VERSION}")]
    Version {
        /// The version that the remote speaks.
        theirs: u16,
    },
}

/// Encodes a message.
///
/// # Panics
/// Never for the messages of this crate: they hold nothing that bincode cannot write.
pub fn encode<M: Encode>(message: &M) -> Vec<u8> {
    bincode::encode_to_vec(message, config::standard()).expect("messages hold only what bincode can write")
}

/// Decodes a message that takes up all of `bytes`, at most [`MESSAGE_BYTES_MAX`].
///
/// # Errors
/// [`DecodeError`] says what is wrong with it.
pub fn decode<M: Decode<()>>(bytes: &[u8]) -> Result<M, DecodeError> {
    let (message, used) =
        bincode::decode_from_slice(bytes, CONFIGURATION).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(message),
        extra => Err(DecodeError::TrailingBytes { extra }),
    }
}

/// Decodes the first message of a session, looking at its version before anything else: the layout of what follows may
/// differ in another version, the place of the version never does.
///
/// # Errors
/// [`DecodeError`] says what is wrong with it.
pub fn decode_first_message(bytes: &[u8]) -> Result<ClientMessage, DecodeError> {
    const JOIN: u32 = 0;
    if let Ok(((JOIN, theirs), _)) = bincode::decode_from_slice::<(u32, u16), _>(bytes, CONFIGURATION)
        && theirs != VERSION
    {
        return Err(DecodeError::Version { theirs });
    }
    decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_input_is_consumed() {
        let mut bytes = encode(&ClientMessage::Leave);
        assert_eq!(decode(&bytes), Ok(ClientMessage::Leave));
        bytes.push(0);
        assert_eq!(decode::<ClientMessage>(&bytes), Err(DecodeError::TrailingBytes { extra: 1 }));
    }

    #[test]
    fn a_length_bomb_is_refused_without_memory() {
        let bomb = [253, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        assert!(matches!(decode::<String>(&bomb), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<Vec<u8>>(&bomb), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn another_version_is_told_from_garbage() {
        assert_eq!(decode_first_message(&[0, 2, 0xff]), Err(DecodeError::Version { theirs: 2 }));
        assert!(matches!(decode_first_message(&[]), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode_first_message(&[0, 1, 0xff]), Err(DecodeError::Malformed(_))));
    }
}
