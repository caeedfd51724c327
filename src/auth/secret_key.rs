use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::keys::KeyProblem;
use crate::limits::{IDENTITY_BYTES_MAX, SECRET_BYTES_MIN};

/// A secret that tokens are signed and checked with: HMAC-SHA256, `HS256` (RFC 7518, section 3.2).
#[derive(Debug, Clone)]
pub struct SecretKey {
    api_key: String,
    // Its own Debug shows the algorithm alone.
    key: hmac::Key,
}

impl SecretKey {
    /// The secret that belongs to an API key, taken as text, byte for byte. At least
    /// [`SECRET_BYTES_MIN`] bytes.
    ///
    /// # Errors
    /// [`KeyProblem::ApiKey`] and [`KeyProblem::WeakSecret`].
    pub fn new(api_key: &str, secret: &str) -> Result<Self, KeyProblem> {
        if !(1..=IDENTITY_BYTES_MAX).contains(&api_key.len()) || api_key.chars().any(char::is_control) {
            return Err(KeyProblem::ApiKey);
        }
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyProblem::WeakSecret { api_key: api_key.to_owned() });
        }
        Ok(Self { api_key: api_key.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()) })
    }

    /// The name of the secret, which its tokens carry as `iss`.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// In constant time.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.key, message, signature).is_ok()
    }

    /// The signature, as the last part of a token.
    pub(super) fn sign(&self, message: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, message))
    }
}
