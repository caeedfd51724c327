use serde::Deserialize;
use serde_json::Value;

use super::error::TokenError;
use super::grant::{Grant, Sources};
use crate::limits::{METADATA_BYTES_MAX, TOKEN_LEEWAY};
use crate::now::Now;
use crate::wire::{DisplayName, Identity, RoomName};

/// The last second that every JSON reader takes as the same number (RFC 8259, section 6).
const SECONDS_MAX: u64 = 1 << 53;

/// What a token says, as it came. A claim that is missing is `null`, and the other way round.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    iss: Value,
    sub: Value,
    exp: Value,
    nbf: Value,
    iat: Value,
    name: Value,
    metadata: Value,
    video: Value,
}

/// LiveKit's `VideoGrant`, as far as it means something here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Video {
    room: Value,
    room_join: Value,
    room_admin: Value,
    can_publish: Value,
    can_publish_sources: Value,
    can_publish_data: Value,
    can_subscribe: Value,
    hidden: Value,
}

impl Claims {
    pub fn parse(json: &[u8]) -> Result<Self, TokenError> {
        // serde takes an array for a struct too.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(TokenError::NotAToken);
        }
        serde_json::from_slice(json).map_err(|_| TokenError::NotAToken)
    }

    /// The API key whose secret the token says it was signed with.
    pub fn issuer(&self) -> Result<&str, TokenError> {
        required(text(&self.iss, "iss")?.filter(|issuer| !issuer.is_empty()), "iss")
    }

    /// What they grant now. The signature has to be checked before.
    pub fn grant(&self, now: Now) -> Result<Grant, TokenError> {
        self.issuer()?;
        let expires_at_s = self.check_time(now)?;
        let video = Video::parse(&self.video)?;
        if !flag(&video.room_join, "video.roomJoin", false)? {
            return Err(TokenError::RoomJoin);
        }
        let identity = required(text(&self.sub, "sub")?, "sub")?;
        let room = required(text(&video.room, "video.room")?, "video.room")?;
        let name = text(&self.name, "name")?.filter(|name| !name.is_empty());
        let metadata = text(&self.metadata, "metadata")?.unwrap_or_default();
        if metadata.len() > METADATA_BYTES_MAX {
            return Err(TokenError::Claim { name: "metadata" });
        }
        let can_publish = flag(&video.can_publish, "video.canPublish", true)?;
        let sources = sources(&video.can_publish_sources)?;
        Ok(Grant {
            identity: Some(valid(Identity::parse(identity), "sub")?),
            name: name.map(|name| valid(DisplayName::parse(name), "name")).transpose()?,
            room: valid(RoomName::parse(room), "video.room")?,
            publish: if can_publish { sources } else { Sources::NONE },
            subscribe: flag(&video.can_subscribe, "video.canSubscribe", true)?,
            chat: flag(&video.can_publish_data, "video.canPublishData", can_publish)?,
            hidden: flag(&video.hidden, "video.hidden", false)?,
            admin: flag(&video.room_admin, "video.roomAdmin", false)?,
            metadata: metadata.to_owned(),
            expires_at_ms: Some(expires_at_s * 1000),
        })
    }

    /// When the token ends, in seconds since 1970, if its time is now.
    fn check_time(&self, now: Now) -> Result<u64, TokenError> {
        let expires_at = required(seconds(&self.exp, "exp")?, "exp")?;
        let begins = [seconds(&self.nbf, "nbf")?, seconds(&self.iat, "iat")?];
        let (now, leeway) = (now.unix_ms / 1000, TOKEN_LEEWAY.as_secs());
        if now > expires_at + leeway {
            return Err(TokenError::Expired);
        }
        if begins.into_iter().flatten().any(|begin| begin > now.saturating_add(leeway)) {
            return Err(TokenError::NotYet);
        }
        Ok(expires_at)
    }
}

impl Video {
    fn parse(claim: &Value) -> Result<Self, TokenError> {
        match claim {
            Value::Null => Ok(Self::default()),
            Value::Object(_) => valid(Self::deserialize(claim), "video"),
            _ => Err(TokenError::Claim { name: "video" }),
        }
    }
}

fn required<T>(value: Option<T>, name: &'static str) -> Result<T, TokenError> {
    value.ok_or(TokenError::Claim { name })
}

fn valid<T, E>(parsed: Result<T, E>, name: &'static str) -> Result<T, TokenError> {
    parsed.map_err(|_| TokenError::Claim { name })
}

fn text<'a>(value: &'a Value, name: &'static str) -> Result<Option<&'a str>, TokenError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(TokenError::Claim { name }),
    }
}

fn flag(value: &Value, name: &'static str, default: bool) -> Result<bool, TokenError> {
    match value {
        Value::Null => Ok(default),
        Value::Bool(flag) => Ok(*flag),
        _ => Err(TokenError::Claim { name }),
    }
}

/// A time (RFC 7519, section 2, `NumericDate`), whole seconds only.
fn seconds(value: &Value, name: &'static str) -> Result<Option<u64>, TokenError> {
    match value {
        Value::Null => Ok(None),
        value => value.as_u64().filter(|seconds| *seconds <= SECONDS_MAX).map(Some).ok_or(TokenError::Claim { name }),
    }
}

/// An empty list is as good as none, as in LiveKit; one that names only what nobody knows allows nothing.
fn sources(value: &Value) -> Result<Sources, TokenError> {
    let invalid = TokenError::Claim { name: "video.canPublishSources" };
    match value {
        Value::Null => Ok(Sources::ALL),
        Value::Array(names) if names.is_empty() => Ok(Sources::ALL),
        Value::Array(names) => {
            let names: Option<Vec<_>> = names.iter().map(Value::as_str).collect();
            names.map(|names| Sources::named(names.into_iter())).ok_or(invalid)
        }
        _ => Err(invalid),
    }
}
