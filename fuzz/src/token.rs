use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use tertulia::auth::{Keys, SecretKey, TicketKey};
use tertulia::limits::METADATA_BYTES_MAX;
use tertulia::now::Now;
use tertulia::wire::RoomName;

const API_KEY: &str = "application";
const SECRET: &str = "the secret that the tests sign with";
/// The public key of RFC 8037, appendix A.2.
const PUBLIC: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let secret = SecretKey::new(API_KEY, SECRET).expect("it is long enough");
    Keys::default().with_secret(secret).and_then(|keys| keys.with_jwks(PUBLIC)).expect("the keys are good")
});
static TICKETS: LazyLock<TicketKey> = LazyLock::new(|| TicketKey::new(&[7; 32]));

/// The first byte says what the rest is: a token; a header and claims, on two lines, that are signed here, so that the
/// claims are looked at; a ticket; or a set of keys.
pub fn try_out(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match kind {
        b't' => verify(&text),
        b's' => {
            let (header, claims) = text.split_once('\n').unwrap_or((r#"{"alg":"HS256"}"#, &text));
            let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
            let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
            verify(&format!("{message}.{signature}"));
        }
        b'k' => {
            // What is wrong with keys is explained, whatever it is.
            let _ = Keys::default().with_jwks(&text).map(|keys| assert!(!keys.is_empty()));
        }
        _ => {
            let room = RoomName::parse("standup").expect("it is a name");
            if let Some(claim) = TICKETS.open(&room, rest) {
                assert_eq!(TICKETS.seal(&room, claim), rest);
            }
        }
    }
}

fn verify(token: &str) {
    let now = Now::after(Duration::ZERO);
    match KEYS.verify(token, now) {
        Ok(grant) => {
            assert!(grant.identity.is_some() && grant.metadata.len() <= METADATA_BYTES_MAX);
            assert!(grant.expires_at_ms.is_some_and(|end| end + 60_000 >= now.unix_ms));
        }
        Err(problem) => assert!(!problem.to_string().contains(SECRET)),
    }
}
