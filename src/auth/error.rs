use thiserror::Error;

use crate::limits::TOKEN_LEEWAY;
use crate::wire::CloseReason;

/// Why a token was refused. Nothing of the token is in it but names that are known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is no signed JSON Web Token, or longer than [`TOKEN_BYTES_MAX`](crate::limits::TOKEN_BYTES_MAX).
    #[error("it is not a token: three parts of base64url with dots between them, 4096 bytes at most")]
    NotAToken,
    /// Its algorithm is `none` (RFC 8725, section 3.2).
    #[error("it is not signed; sign it with a key that the relay has")]
    Unsigned,
    /// Its algorithm is not the one of its key (RFC 8725, section 3.1).
    #[error("its algorithm is not the one of its key")]
    Algorithm,
    /// Its header brings or points to a key, or demands something that the relay does not know.
    #[error("its header has `{name}`, which is not allowed; name the key by `kid`")]
    Header {
        /// The header parameter.
        name: &'static str,
    },
    /// The relay has no such key.
    #[error("the relay does not have its key: check `iss` (the API key) or the header's `kid`")]
    KeyUnknown,
    /// It was signed with another key, or changed afterwards.
    #[error("its signature is wrong: check the secret or the private key that it was signed with")]
    Signature,
    /// A claim is missing or holds something that it cannot hold.
    #[error("its claim `{name}` is missing or not valid")]
    Claim {
        /// The claim.
        name: &'static str,
    },
    /// It does not say `roomJoin`.
    #[error("it does not allow to join a room: set `video.roomJoin` to true")]
    RoomJoin,
    /// Its time is over.
    #[error("it has expired; get a new one")]
    Expired,
    /// Its time has not come yet: the clocks differ.
    #[error("it is not valid yet, {} s of leeway included; check the clocks", TOKEN_LEEWAY.as_secs())]
    NotYet,
}

impl TokenError {
    /// How the session ends for it.
    pub const fn close_reason(&self) -> CloseReason {
        match self {
            Self::Expired => CloseReason::TokenExpired,
            Self::NotYet => CloseReason::TokenClock,
            _ => CloseReason::TokenInvalid,
        }
    }
}
