use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use thiserror::Error;

use super::claims::Claims;
use super::error::TokenError;
use super::grant::Grant;
use super::jwks;
use super::public_key::PublicKey;
use super::secret_key::SecretKey;
use super::token::SignedToken;
use crate::limits::IDENTITY_BYTES_MAX;
use crate::now::Now;

/// Why a key cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyProblem {
    /// The name of a secret is no name.
    #[error("an API key has to have 1 to {IDENTITY_BYTES_MAX} characters, none of them a control character")]
    ApiKey,
    /// A secret is too short.
    #[error("the secret of {api_key:?} has fewer than 32 bytes; `tertulia token --help` says how to make a good one")]
    WeakSecret {
        /// Its name.
        api_key: String,
    },
    /// Two secrets have one name.
    #[error("the API key {api_key:?} is there twice; remove one of them")]
    ApiKeyTwice {
        /// The name.
        api_key: String,
    },
    /// A public key has no name.
    #[error("a public key has an empty `kid`; give it a name")]
    KidEmpty,
    /// Two public keys have one name.
    #[error("the kid {kid:?} is there twice; remove one of them")]
    KidTwice {
        /// The name.
        kid: String,
    },
    /// A public key is none.
    #[error("the key {kid:?} is not valid: {problem}")]
    Key {
        /// Its name.
        kid: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A JSON Web Key Set is none.
    #[error("it is not a JSON Web Key Set (RFC 7517)")]
    Jwks,
}

/// The keys that tokens are checked with. It does not change: a relay that reads its files again makes another one.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    secrets: BTreeMap<String, SecretKey>,
    public: BTreeMap<String, PublicKey>,
}

impl Keys {
    /// These keys and a secret.
    ///
    /// # Errors
    /// [`KeyProblem::ApiKeyTwice`].
    pub fn with_secret(mut self, key: SecretKey) -> Result<Self, KeyProblem> {
        match self.secrets.entry(key.api_key().to_owned()) {
            Entry::Occupied(entry) => return Err(KeyProblem::ApiKeyTwice { api_key: entry.key().clone() }),
            Entry::Vacant(entry) => entry.insert(key),
        };
        Ok(self)
    }

    /// These keys and a public one, which tokens name by `kid`.
    ///
    /// # Errors
    /// [`KeyProblem::KidEmpty`] and [`KeyProblem::KidTwice`].
    pub fn with_public(mut self, kid: &str, key: PublicKey) -> Result<Self, KeyProblem> {
        if kid.is_empty() {
            return Err(KeyProblem::KidEmpty);
        }
        match self.public.entry(kid.to_owned()) {
            Entry::Occupied(entry) => return Err(KeyProblem::KidTwice { kid: entry.key().clone() }),
            Entry::Vacant(entry) => entry.insert(key),
        };
        Ok(self)
    }

    /// These keys and those of a JSON Web Key Set (RFC 7517, section 5). Keys of other kinds in it, for other uses or
    /// without a `kid` are passed over.
    ///
    /// # Errors
    /// [`KeyProblem`] of a key that is damaged, or of what is no set. One of which no key is left is no error: see
    /// [`Keys::is_empty`].
    pub fn with_jwks(self, json: &str) -> Result<Self, KeyProblem> {
        jwks::read(json)?.into_iter().try_fold(self, |keys, (kid, key)| keys.with_public(&kid, key))
    }

    /// Whether there is no key: no token is good then.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.secrets.len() + self.public.len()
    }

    /// Checks a token, and says what it grants.
    ///
    /// # Errors
    /// [`TokenError`] says why it is refused.
    pub fn verify(&self, token: &str, now: Now) -> Result<Grant, TokenError> {
        let token = SignedToken::parse(token)?;
        let claims = Claims::parse(&token.claims)?;
        let is_signed = match &token.kid {
            Some(kid) => {
                let key = self.public.get(kid).ok_or(TokenError::KeyUnknown)?;
                token.requires(key.algorithm().name())?;
                key.verify(token.message, &token.signature)
            }
            None => {
                let key = self.secrets.get(claims.issuer()?).ok_or(TokenError::KeyUnknown)?;
                token.requires("HS256")?;
                key.verify(token.message, &token.signature)
            }
        };
        if is_signed { claims.grant(now) } else { Err(TokenError::Signature) }
    }
}
