use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::now::Now;
use crate::wire::{CloseReason, DisplayName, Identity, RoomName, TrackSource};

const SECRET: &str = "the secret that the tests sign with";
/// The public key of RFC 8037, appendix A.2.
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn key() -> SecretKey {
    SecretKey::new("application", SECRET).unwrap()
}

fn keys() -> Keys {
    let keys = Keys::default().with_secret(key()).unwrap();
    keys.with_jwks(&format!(r#"{{"keys":[{ED25519}]}}"#)).unwrap()
}

fn now() -> Now {
    Now::after(Duration::ZERO)
}

fn now_s() -> u64 {
    now().unix_ms / 1000
}

/// A token of these parts, signed with `key` as HS256 is, whatever its header says.
fn signed(key: &SecretKey, header: &str, claims: &str) -> String {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = key.sign(message.as_bytes());
    format!("{message}.{signature}")
}

/// The claims that are enough to come in.
fn claims() -> Value {
    let video = json!({ "room": "standup", "roomJoin": true });
    json!({ "iss": "application", "sub": "ana", "exp": now_s() + 3600, "video": video })
}

/// The same, with `value` in the place of a claim: `exp`, `video.room`.
fn claims_with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    match claim.split_once('.') {
        Some((outer, inner)) => claims[outer][inner] = value,
        None => claims[claim] = value,
    }
    claims
}

fn verify(claims: &Value) -> Result<Grant, TokenError> {
    keys().verify(&signed(&key(), r#"{"alg":"HS256"}"#, &claims.to_string()), now())
}

#[test]
fn the_fewest_claims_grant_what_livekit_grants_by_default() {
    let granted = Grant {
        identity: Some(Identity::parse("ana").unwrap()),
        expires_at_ms: Some((now_s() + 3600) * 1000),
        ..Grant::everyone(RoomName::parse("standup").unwrap())
    };
    assert_eq!(verify(&claims()), Ok(granted));
}

#[test]
fn each_claim_changes_what_it_stands_for_and_nothing_else() {
    let camera = Sources::only(&[TrackSource::Camera]);
    type Change = fn(&mut Grant);
    let cases: [(&str, Value, Change); 23] = [
        ("sub", json!("bo_2"), |grant| grant.identity = Some(Identity::parse("bo_2").unwrap())),
        ("name", json!("Ana María"), |grant| grant.name = Some(DisplayName::parse("Ana María").unwrap())),
        ("name", json!(""), |_| {}),
        ("name", json!(null), |_| {}),
        ("metadata", json!("{\"team\":7}"), |grant| grant.metadata = "{\"team\":7}".into()),
        ("exp", json!(now_s() + 5), |grant| grant.expires_at_ms = Some((now_s() + 5) * 1000)),
        ("nbf", json!(0), |_| {}),
        ("iat", json!(now_s()), |_| {}),
        ("jti", json!("ana"), |_| {}),
        ("sip", json!({ "call": true }), |_| {}),
        ("video.room", json!("retro"), |grant| grant.room = RoomName::parse("retro").unwrap()),
        ("video.canPublish", json!(false), |grant| (grant.publish, grant.chat) = (Sources::NONE, false)),
        ("video.canPublish", json!(true), |_| {}),
        ("video.canPublishSources", json!([]), |_| {}),
        ("video.canPublishSources", json!(null), |_| {}),
        ("video.canPublishSources", json!(["hologram", "7"]), |grant| grant.publish = Sources::NONE),
        ("video.canPublishData", json!(false), |grant| grant.chat = false),
        ("video.canSubscribe", json!(false), |grant| grant.subscribe = false),
        ("video.hidden", json!(true), |grant| grant.hidden = true),
        ("video.roomAdmin", json!(true), |grant| grant.admin = true),
        ("video.roomAdmin", json!(null), |_| {}),
        ("video.recorder", json!(true), |_| {}),
        ("video.canUpdateOwnMetadata", json!(true), |_| {}),
    ];
    for (claim, value, change) in cases {
        let mut expected = verify(&claims()).unwrap();
        change(&mut expected);
        assert_eq!(verify(&claims_with(claim, value.clone())), Ok(expected), "{claim}: {value}");
    }

    let mut several = claims_with("video.canPublishSources", json!(["camera", "microphone"]));
    assert!(verify(&several).unwrap().publish.allows(TrackSource::Microphone));
    several["video"]["canPublishSources"] = json!(["camera"]);
    assert_eq!(verify(&several).unwrap().publish, camera);
    several["video"]["canPublish"] = json!(false);
    assert_eq!(verify(&several).unwrap().publish, Sources::NONE);
    several["video"]["canPublishData"] = json!(true);
    assert!(verify(&several).unwrap().chat);
}

#[test]
fn times_are_whole_seconds_or_nothing() {
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            json!(now_s().to_string()),
            json!(now_s() as f64 + 3600.0),
            json!(3600.5),
            json!(-1),
            json!(i64::MIN),
            json!(1_u64 << 63),
            json!(u64::MAX),
            json!((1_u64 << 53) + 1),
            json!(true),
            json!([now_s()]),
            json!({}),
        ] {
            let refused = verify(&claims_with(claim, value.clone()));
            assert_eq!(refused, Err(TokenError::Claim { name: claim }), "{claim}: {value}");
        }
    }
    for number in ["1e400", "00", "+1", "0x10", "NaN"] {
        let claims = format!(r#"{{"iss":"application","sub":"ana","exp":{number}}}"#);
        assert!(keys().verify(&signed(&key(), r#"{"alg":"HS256"}"#, &claims), now()).is_err(), "{number}");
    }
    assert_eq!(verify(&claims_with("exp", json!(null))), Err(TokenError::Claim { name: "exp" }));
    assert!(verify(&claims_with("exp", json!(1_u64 << 53))).is_ok());
}

#[test]
fn clocks_may_differ_by_a_minute() {
    for (claim, seconds, expected) in [
        ("exp", 30, None),
        ("exp", -30, None),
        ("exp", -60, None),
        ("exp", -61, Some(CloseReason::TokenExpired)),
        ("exp", -120, Some(CloseReason::TokenExpired)),
        ("nbf", -120, None),
        ("nbf", 30, None),
        ("nbf", 60, None),
        ("nbf", 61, Some(CloseReason::TokenClock)),
        ("nbf", 120, Some(CloseReason::TokenClock)),
        ("iat", 60, None),
        ("iat", 61, Some(CloseReason::TokenClock)),
    ] {
        let refused = verify(&claims_with(claim, json!(now_s() as i64 + seconds))).err();
        assert_eq!(refused.map(|error| error.close_reason()), expected, "{claim} {seconds:+}");
    }
}

#[test]
fn a_claim_that_cannot_hold_what_it_holds_is_named() {
    let long = |length| json!("x".repeat(length));
    for (claim, value) in [
        ("iss", json!(null)),
        ("iss", json!("")),
        ("iss", json!(7)),
        ("sub", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("../ana")),
        ("sub", json!("ana@example.org")),
        ("sub", json!("ana\n")),
        ("sub", json!("ana\u{0}")),
        ("sub", json!("a\u{301}na")),
        ("sub", long(129)),
        ("name", json!("Ana\u{202e}")),
        ("name", json!(" ")),
        ("name", json!(["Ana"])),
        ("name", long(129)),
        ("metadata", json!({ "team": 7 })),
        ("metadata", long(1025)),
        ("video", json!("all")),
        ("video", json!([true])),
        ("video.room", json!(null)),
        ("video.room", json!("")),
        ("video.room", json!("a/b")),
        ("video.room", json!("*")),
        ("video.room", long(129)),
        ("video.roomJoin", json!("true")),
        ("video.roomAdmin", json!("false")),
        ("video.canPublish", json!(0)),
        ("video.canPublishSources", json!("camera")),
        ("video.canPublishSources", json!(["camera", 7])),
        ("video.canPublishSources", json!([null])),
        ("video.canPublishData", json!("no")),
        ("video.canSubscribe", json!([])),
        ("video.hidden", json!({})),
    ] {
        let refused = verify(&claims_with(claim, value.clone())).unwrap_err();
        assert_eq!(refused, TokenError::Claim { name: claim }, "{claim}: {value}");
        assert_eq!(refused.close_reason(), CloseReason::TokenInvalid);
    }
    for value in [json!(false), json!(null)] {
        assert_eq!(verify(&claims_with("video.roomJoin", value)), Err(TokenError::RoomJoin));
    }
    assert_eq!(verify(&claims_with("video", json!(null))), Err(TokenError::RoomJoin));
}

#[test]
fn the_algorithm_belongs_to_the_key_and_the_header_brings_none() {
    use TokenError::{Algorithm, Header, KeyUnknown, NotAToken, Unsigned};
    for (header, expected) in [
        (r#"{"alg":"none"}"#, Unsigned),
        (r#"{"alg":"None"}"#, Unsigned),
        (r#"{"alg":"nOnE","kid":"ed"}"#, Unsigned),
        (r#"{"alg":"HS384"}"#, Algorithm),
        (r#"{"alg":"HS512"}"#, Algorithm),
        (r#"{"alg":"hs256"}"#, Algorithm),
        (r#"{"alg":"ES256"}"#, Algorithm),
        (r#"{"alg":""}"#, Algorithm),
        (r#"{"alg":"HS256","kid":"ed"}"#, Algorithm),
        (r#"{"alg":"ES256","kid":"ed"}"#, Algorithm),
        (r#"{"alg":"EdDSA","kid":"ed"}"#, TokenError::Signature),
        (r#"{"alg":"EdDSA","kid":"ED"}"#, KeyUnknown),
        (r#"{"alg":"EdDSA","kid":"ed "}"#, KeyUnknown),
        (r#"{"alg":"EdDSA","kid":"ed\u0000"}"#, KeyUnknown),
        (r#"{"alg":"HS256","kid":""}"#, KeyUnknown),
        (r#"{"alg":"HS256","kid":"application"}"#, KeyUnknown),
        (r#"{"alg":"HS256","kid":"../../dev/null"}"#, KeyUnknown),
        (r#"{"alg":"HS256","kid":"' OR 1=1 --"}"#, KeyUnknown),
        (r#"{"alg":"HS256","kid":null}"#, NotAToken),
        (r#"{"alg":"HS256","kid":7}"#, NotAToken),
        (r#"{"alg":"HS256","jku":"https://example.org/keys"}"#, Header { name: "jku" }),
        (r#"{"alg":"HS256","x5u":"https://example.org/chain"}"#, Header { name: "x5u" }),
        (r#"{"alg":"HS256","x5c":["MIIB"]}"#, Header { name: "x5c" }),
        (r#"{"alg":"HS256","jwk":null}"#, Header { name: "jwk" }),
        (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Header { name: "crit" }),
        (r#"{"alg":"HS256","alg":"none"}"#, NotAToken),
        (r#"{"alg":["HS256"]}"#, NotAToken),
        (r#"{"typ":"JWT"}"#, NotAToken),
        (r#"["HS256"]"#, NotAToken),
        ("HS256", NotAToken),
        ("", NotAToken),
    ] {
        let token = signed(&key(), header, &claims().to_string());
        assert_eq!(keys().verify(&token, now()), Err(expected), "{header}");
    }
    let token = signed(&key(), r#"{"alg":"HS256","typ":"JWT","cty":"x"}"#, &claims().to_string());
    assert!(keys().verify(&token, now()).is_ok());
    let unsigned = signed(&key(), r#"{"alg":"none"}"#, &claims().to_string());
    let (unsigned, _) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(keys().verify(&format!("{unsigned}."), now()), Err(Unsigned));
}

#[test]
fn a_public_key_is_no_secret() {
    let point = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    for material in [ED25519, point] {
        let forger = SecretKey::new("ed", material).unwrap();
        let claims = claims_with("iss", json!("ed")).to_string();
        for (header, expected) in [
            (r#"{"alg":"HS256","kid":"ed"}"#, TokenError::Algorithm),
            (r#"{"alg":"EdDSA","kid":"ed"}"#, TokenError::Signature),
            (r#"{"alg":"HS256"}"#, TokenError::KeyUnknown),
        ] {
            assert_eq!(keys().verify(&signed(&forger, header, &claims), now()), Err(expected), "{header}");
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let good = signed(&key(), r#"{"alg":"HS256"}"#, &claims().to_string());
    assert!(keys().verify(&good, now()).is_ok());
    let long = signed(&key(), r#"{"alg":"HS256"}"#, &claims_with("more", json!("x".repeat(4096))).to_string());
    let more_parts = format!("{good}.{good}");
    let padded = format!("{good}=");
    let spaced = format!(" {good}");
    let bearer = format!("Bearer {good}");
    for bad in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "\u{0}.\u{0}.\u{0}",
        "é.é.é",
        &long,
        &more_parts,
        &padded,
        &spaced,
        &bearer,
    ] {
        assert_eq!(keys().verify(bad, now()), Err(TokenError::NotAToken), "{bad}");
    }
    for claims in ["", "null", "[]", "7", "{", r#"{"exp":1,"exp":2}"#, &"[".repeat(2000)] {
        let token = signed(&key(), r#"{"alg":"HS256"}"#, claims);
        assert_eq!(keys().verify(&token, now()), Err(TokenError::NotAToken), "{claims}");
    }
    for cut in 0..good.len() {
        assert!(keys().verify(&good[..cut], now()).is_err(), "cut at {cut}");
    }
}

#[test]
fn one_character_more_or_less_is_another_token() {
    let good = signed(&key(), r#"{"alg":"HS256"}"#, &claims().to_string());
    for at in 0..good.len() {
        for other in ["A", "b", "9", "_", "-", "."] {
            let changed = [&good[..at], other, &good[at + 1..]].concat();
            assert!(changed == good || keys().verify(&changed, now()).is_err(), "{other} at {at}");
        }
    }
}

#[test]
fn only_the_secret_of_its_own_api_key_signs_a_token() {
    let other = SecretKey::new("other", "another secret of enough bytes for it").unwrap();
    let same_name = SecretKey::new("application", "another secret of enough bytes for it").unwrap();
    let both = keys().with_secret(other.clone()).unwrap();
    let token = |key: &SecretKey, issuer: &str| {
        signed(key, r#"{"alg":"HS256"}"#, &claims_with("iss", json!(issuer)).to_string())
    };
    assert!(both.verify(&token(&key(), "application"), now()).is_ok());
    assert!(both.verify(&token(&other, "other"), now()).is_ok());
    assert_eq!(both.verify(&token(&other, "application"), now()), Err(TokenError::Signature));
    assert_eq!(both.verify(&token(&same_name, "application"), now()), Err(TokenError::Signature));
    assert_eq!(keys().verify(&token(&other, "other"), now()), Err(TokenError::KeyUnknown));
    assert_eq!(Keys::default().verify(&token(&key(), "application"), now()), Err(TokenError::KeyUnknown));
}

#[test]
fn a_wrong_signature_comes_before_what_the_token_says() {
    let forger = SecretKey::new("application", "another secret of enough bytes for it").unwrap();
    let expired = claims_with("exp", json!(1)).to_string();
    let token = signed(&forger, r#"{"alg":"HS256"}"#, &expired);
    assert_eq!(keys().verify(&token, now()), Err(TokenError::Signature));
}

#[test]
fn what_is_minted_grants_the_same() {
    let room = RoomName::parse("standup").unwrap();
    let grants = [
        Grant::everyone(room.clone()),
        Grant { publish: Sources::NONE, ..Grant::everyone(room.clone()) },
        Grant { publish: Sources::only(&[TrackSource::Camera]), ..Grant::everyone(room.clone()) },
        Grant { subscribe: false, chat: false, hidden: true, admin: true, ..Grant::everyone(room.clone()) },
        Grant {
            name: Some(DisplayName::parse("Ana \"María\" 👋").unwrap()),
            metadata: "m".repeat(1024),
            ..Grant::everyone(room)
        },
    ];
    let identity = Identity::parse("ana").unwrap();
    for grant in grants {
        let token = key().mint(&identity, &grant, now(), Duration::from_secs(90));
        let expected = Grant { identity: Some(identity.clone()), expires_at_ms: Some((now_s() + 90) * 1000), ..grant };
        assert_eq!(keys().verify(&token, now()), Ok(expected));
        let later = Now::after(Duration::from_secs(151));
        assert_eq!(keys().verify(&token, later), Err(TokenError::Expired));
    }
}

#[test]
fn what_a_token_cannot_name_is_left_out_and_never_widened() {
    let room = RoomName::parse("standup").unwrap();
    for (publish, expected) in [
        (Sources::only(&[TrackSource::Other]), Sources::NONE),
        (Sources::only(&[]), Sources::NONE),
        (Sources::only(&[TrackSource::Other, TrackSource::Camera]), Sources::only(&[TrackSource::Camera])),
    ] {
        let grant = Grant { publish, ..Grant::everyone(room.clone()) };
        let token = key().mint(&Identity::parse("ana").unwrap(), &grant, now(), Duration::from_secs(90));
        assert_eq!(keys().verify(&token, now()).unwrap().publish, expected, "{publish:?}");
    }
}

#[test]
fn the_longest_token_that_can_be_minted_is_taken() {
    let long = "x".repeat(128);
    let grant = Grant {
        name: Some(DisplayName::parse(&"\"".repeat(128)).unwrap()),
        metadata: "\u{1f469}".repeat(256),
        ..Grant::everyone(RoomName::parse(&long).unwrap())
    };
    let key = SecretKey::new(&long, SECRET).unwrap();
    let token = key.mint(&Identity::parse(&long).unwrap(), &grant, now(), Duration::from_hours(1));
    assert!(Keys::default().with_secret(key).unwrap().verify(&token, now()).is_ok(), "{} bytes", token.len());
}

#[test]
fn keys_that_are_weak_or_there_twice_are_refused() {
    for (api_key, secret, expected) in [
        ("application", "x".repeat(31), KeyProblem::WeakSecret { api_key: "application".into() }),
        ("", "x".repeat(32), KeyProblem::ApiKey),
        ("a\nb", "x".repeat(32), KeyProblem::ApiKey),
        (&*"x".repeat(129), "x".repeat(32), KeyProblem::ApiKey),
    ] {
        assert_eq!(SecretKey::new(api_key, &secret).unwrap_err(), expected);
    }
    let twice = keys().with_secret(key()).unwrap_err();
    assert_eq!(twice, KeyProblem::ApiKeyTwice { api_key: "application".into() });
    let twice = keys().with_jwks(&format!(r#"{{"keys":[{ED25519}]}}"#)).unwrap_err();
    assert_eq!(twice, KeyProblem::KidTwice { kid: "ed".into() });
    let key = PublicKey::ed25519(&[0; 32]).unwrap();
    assert_eq!(Keys::default().with_public("", key).unwrap_err(), KeyProblem::KidEmpty);
}

#[test]
fn nothing_that_can_be_printed_holds_a_secret() {
    let shown = format!(
        "{:?} {:?} {:?}",
        keys(),
        key(),
        TicketKey::new(b"a key for tickets, of 32 bytes..."[..32].try_into().unwrap())
    );
    let bytes: Vec<_> = SECRET.bytes().take(4).map(|byte| byte.to_string()).collect();
    for secret in [SECRET, "for tickets", &bytes.join(", ")] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
