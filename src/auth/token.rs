use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::error::TokenError;
use crate::limits::TOKEN_BYTES_MAX;

/// Header parameters that bring or point to a key, or demand something of the reader (RFC 7515, section 4.1): whoever
/// makes a token does not choose the key that it is checked with.
const FORBIDDEN: [&str; 5] = ["jku", "jwk", "x5u", "x5c", "crit"];

/// A token in its parts (RFC 7515, section 7.1), of which nothing has been checked.
pub(super) struct SignedToken<'a> {
    algorithm: String,
    /// The name of the key, if the header has one.
    pub kid: Option<String>,
    /// The claims, as JSON.
    pub claims: Vec<u8>,
    /// What is signed.
    pub message: &'a [u8],
    pub signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

impl<'a> SignedToken<'a> {
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::NotAToken);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::NotAToken)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::NotAToken)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::NotAToken);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::NotAToken)?;
        if header.alg.eq_ignore_ascii_case("none") {
            return Err(TokenError::Unsigned);
        }
        if let Some(name) = FORBIDDEN.into_iter().find(|name| header.rest.contains_key(*name)) {
            return Err(TokenError::Header { name });
        }
        Ok(Self {
            algorithm: header.alg,
            kid: header.kid,
            claims: decode(claims)?,
            message: message.as_bytes(),
            signature: decode(signature)?,
        })
    }

    /// Compares what the token says of its algorithm with what its key says.
    pub fn requires(&self, algorithm: &str) -> Result<(), TokenError> {
        if self.algorithm == algorithm { Ok(()) } else { Err(TokenError::Algorithm) }
    }
}

/// A `kid` that is there has to be a text: `null` is none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}
