//! Who may come in, and what they may do there: token + keys + now -> [`Grant`].
//!
//! An access token is a JSON Web Token (RFC 7519) with the claims that LiveKit's server SDKs give it. `PROTOCOL.md` goes
//! through them one by one. Everything here is pure: files with keys are read in [`crate::relay`].
//!
//! ```
//! use std::time::Duration;
//! use tertulia::auth::{Grant, Keys, SecretKey};
//! use tertulia::now::Now;
//! use tertulia::wire::{Identity, RoomName};
//!
//! let key = SecretKey::new("my-application", "a secret of thirty-two bytes or more")?;
//! let now = Now::after(Duration::ZERO);
//! let everything = Grant::everyone(RoomName::parse("standup")?);
//! let token = key.mint(&Identity::parse("ana")?, &everything, now, Duration::from_hours(6));
//!
//! let keys = Keys::default().with_secret(key)?;
//! let grant = keys.verify(&token, now)?;
//! assert_eq!(grant.identity.unwrap().as_str(), "ana");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claims;
mod error;
mod grant;
mod jwks;
mod keys;
mod mint;
mod public_key;
mod secret_key;
mod ticket;
mod token;

pub use error::TokenError;
pub use grant::{Grant, Sources};
pub use keys::{KeyProblem, Keys};
pub use public_key::{Algorithm, PublicKey};
pub use secret_key::SecretKey;
pub use ticket::{SeatClaim, TicketKey};

#[cfg(test)]
mod tests;
