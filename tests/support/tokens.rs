//! Access tokens, right and wrong ones, and the keys file that they are checked with.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tertulia::auth::{Grant, SecretKey};
use tertulia::now::Now;
use tertulia::wire::{Identity, RoomName};

pub const API_KEY: &str = "application";
pub const SECRET: &str = "the secret of the application, long enough";

pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Writes a keys file, whole at every moment.
pub fn write_keys(path: &Path, secrets: &[(&str, &str)]) {
    let lines: String = secrets.iter().map(|(api_key, secret)| format!("{api_key} = '{secret}'\n")).collect();
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, format!("[secrets]\n{lines}")).unwrap();
    fs::rename(&unfinished, path).unwrap();
}

/// What everyone has, in this room.
pub fn grant(room: &str) -> Grant {
    Grant::everyone(RoomName::parse(room).unwrap())
}

/// A token that is good for an hour.
pub fn minted(identity: &str, grant: &Grant) -> String {
    minted_for(identity, grant, Duration::from_hours(1))
}

pub fn minted_for(identity: &str, grant: &Grant, valid_for: Duration) -> String {
    let key = SecretKey::new(API_KEY, SECRET).unwrap();
    let now = Now { since_start: Duration::ZERO, unix_ms: unix_s() * 1000 };
    key.mint(&Identity::parse(identity).unwrap(), grant, now, valid_for)
}

/// The claims of a good token for the room `team`.
pub fn claims() -> Value {
    json!({
        "iss": API_KEY,
        "sub": "mallory",
        "exp": unix_s() + 600,
        "video": { "room": "team", "roomJoin": true },
    })
}

/// The same with some of them replaced; `null` takes one out.
pub fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// A token of any header and claims, signed by HMAC-SHA256 with that secret.
pub fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A token with these claims and a good signature.
pub fn token_with(claims: &Value) -> String {
    signed(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET.as_bytes())
}
