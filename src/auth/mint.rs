use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::grant::{Grant, Sources};
use super::secret_key::SecretKey;
use crate::now::Now;
use crate::wire::{DisplayName, Identity};

impl SecretKey {
    /// Makes a token that grants `identity` what `grant` says, from now on and for that long. The grant's own identity and
    /// end are not looked at. A token has no name for [`TrackSource::Other`](crate::wire::TrackSource::Other): who may publish
    /// from there and not from everywhere, may not with the token.
    pub fn mint(&self, identity: &Identity, grant: &Grant, now: Now, valid_for: Duration) -> String {
        let now = now.unix_ms / 1000;
        // An empty list would allow everything.
        let sources = if grant.publish == Sources::ALL { Vec::new() } else { grant.publish.names() };
        let claims = json!({
            "iss": self.api_key(),
            "sub": identity.as_str(),
            "nbf": now,
            "exp": now.saturating_add(valid_for.as_secs()),
            "name": grant.name.as_ref().map(DisplayName::as_str).unwrap_or_default(),
            "metadata": grant.metadata,
            "video": {
                "room": grant.room.as_str(),
                "roomJoin": true,
                "roomAdmin": grant.admin,
                "canPublish": grant.publish == Sources::ALL || !sources.is_empty(),
                "canPublishSources": sources,
                "canPublishData": grant.chat,
                "canSubscribe": grant.subscribe,
                "hidden": grant.hidden,
            },
        });
        let [header, claims] =
            [r#"{"alg":"HS256","typ":"JWT"}"#.to_owned(), claims.to_string()].map(|json| URL_SAFE_NO_PAD.encode(json));
        let message = format!("{header}.{claims}");
        let signature = self.sign(message.as_bytes());
        format!("{message}.{signature}")
    }
}
