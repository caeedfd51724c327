//! Tokens signed with keys of every kind, checked with keys from files that change while they are used.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use support::Directory;
use tertulia::auth::{Grant, Keys, SecretKey, TokenError};
use tertulia::config::KeySources;
use tertulia::now::Now;
use tertulia::relay::KeyStore;
use tertulia::wire::{DisplayName, Identity, RoomName, TrackSource};
use tokio::time::{sleep, timeout};

/// A key of 2048 bits that signs nothing but these tests: making one takes a second.
const RSA: &str = include_str!("support/rsa.pem");

/// A private key, and what a token says about it.
struct Signer {
    algorithm: &'static str,
    pair: KeyPair,
}

impl Signer {
    fn all() -> [Self; 3] {
        let pair = |kind| KeyPair::generate_for(kind).unwrap();
        [
            Self { algorithm: "ES256", pair: pair(&rcgen::PKCS_ECDSA_P256_SHA256) },
            Self { algorithm: "EdDSA", pair: pair(&rcgen::PKCS_ED25519) },
            Self { algorithm: "RS256", pair: KeyPair::from_pem(RSA).unwrap() },
        ]
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let der = self.pair.serialized_der();
        match self.algorithm {
            "ES256" => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, der, message),
            "EdDSA" => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).unwrap().sign(message).as_ref().into(),
            _ => {
                let pair = RsaKeyPair::from_pkcs8(der).unwrap();
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// The public key as JSON (RFC 7517).
    fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let raw = self.pair.der_bytes();
        match self.algorithm {
            "ES256" => {
                json!({ "kid": "ES256", "kty": "EC", "crv": "P-256", "x": encode(&raw[1..33]), "y": encode(&raw[33..]) })
            }
            "EdDSA" => json!({ "kid": "EdDSA", "kty": "OKP", "crv": "Ed25519", "x": encode(raw) }),
            _ => {
                let pair = RsaKeyPair::from_pkcs8(self.pair.serialized_der()).unwrap();
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({ "kid": "RS256", "kty": "RSA", "n": encode(&public.n), "e": encode(&public.e) })
            }
        }
    }
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, der: &[u8], message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(algorithm, der, &random).unwrap().sign(&random, message).unwrap().as_ref().into()
}

fn now() -> Now {
    Now::after(Duration::ZERO)
}

fn message(header: &Value) -> String {
    let claims = json!({
        "iss": "issuer",
        "sub": "ana",
        "exp": now().unix_ms / 1000 + 60,
        "video": { "room": "standup", "roomJoin": true },
    });
    [header, &claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
}

fn token(header: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = message(header);
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A keys file and its PEM files.
fn write_keys(directory: &Path, signers: &[Signer]) -> KeySources {
    let entries = signers.iter().map(|Signer { algorithm, pair }| {
        fs::write(directory.join(format!("{algorithm}.pem")), pair.public_key_pem()).unwrap();
        format!("[[public]]\nkid = '{algorithm}'\nalgorithm = '{algorithm}'\nfile = '{algorithm}.pem'\n")
    });
    let path = directory.join("keys.toml");
    fs::write(&path, entries.collect::<String>()).unwrap();
    KeySources { keys: Some(path), jwks: None }
}

fn write_jwks(directory: &Path, signers: &[Signer]) -> KeySources {
    let path = directory.join("jwks.json");
    let keys: Vec<_> = signers.iter().map(Signer::jwk).collect();
    fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    KeySources { keys: None, jwks: Some(path) }
}

#[test]
fn a_token_comes_in_by_its_own_key_and_algorithm_alone() {
    let directory = Directory::new();
    let signers = Signer::all();
    for sources in [write_keys(directory.path(), &signers), write_jwks(directory.path(), &signers)] {
        let keys = KeyStore::open(&sources).unwrap().current();
        for named in &signers {
            for said in &signers {
                for signing in &signers {
                    let header = json!({ "alg": said.algorithm, "kid": named.algorithm });
                    let verified = keys.verify(&token(&header, |message| signing.sign(message)), now());
                    let expected = match (said.algorithm == named.algorithm, signing.algorithm == named.algorithm) {
                        (true, true) => None,
                        (true, false) => Some(TokenError::Signature),
                        (false, _) => Some(TokenError::Algorithm),
                    };
                    assert_eq!(verified.err(), expected, "{header} signed by {}", signing.algorithm);
                }
            }
        }
    }
}

#[test]
fn a_public_key_cannot_be_used_as_a_secret() {
    let directory = Directory::new();
    let signers = Signer::all();
    let keys = KeyStore::open(&write_keys(directory.path(), &signers)).unwrap().current();
    for Signer { algorithm, pair } in &signers {
        for secret in [pair.public_key_pem().into_bytes(), pair.subject_public_key_info(), pair.der_bytes().to_vec()] {
            let forge = |message: &[u8]| {
                ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()
            };
            for (header, expected) in [
                (json!({ "alg": "HS256", "kid": algorithm }), TokenError::Algorithm),
                (json!({ "alg": algorithm, "kid": algorithm }), TokenError::Signature),
                (json!({ "alg": "HS256" }), TokenError::KeyUnknown),
            ] {
                assert_eq!(keys.verify(&token(&header, forge), now()), Err(expected), "{header}");
            }
        }
    }
}

#[test]
fn a_signature_in_another_form_is_refused() {
    let directory = Directory::new();
    let signers = Signer::all();
    let keys = KeyStore::open(&write_keys(directory.path(), &signers)).unwrap().current();
    let header = json!({ "alg": "ES256", "kid": "ES256" });
    let der = signers[0].pair.serialized_der();
    let asn1 = token(&header, |message| ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, der, message));
    assert_eq!(keys.verify(&asn1, now()), Err(TokenError::Signature));
    let zeros = token(&header, |_| vec![0; 64]);
    assert_eq!(keys.verify(&zeros, now()), Err(TokenError::Signature));
}

/// The tokens are from `tests/browser/token.test.js`.
#[test]
fn tokens_of_livekits_sdk_grant_what_they_say() {
    let golden: Value = serde_json::from_str(include_str!("golden/livekit.json")).unwrap();
    let secret = SecretKey::new("application", "a secret of LiveKit, 32 bytes or more").unwrap();
    let keys = Keys::default().with_secret(secret).unwrap();
    let sources = [
        ("microphone", TrackSource::Microphone),
        ("camera", TrackSource::Camera),
        ("screen", TrackSource::Screen),
        ("screen_audio", TrackSource::ScreenAudio),
        ("other", TrackSource::Other),
    ];
    let golden = golden.as_array().unwrap();
    assert!(golden.len() > 5);
    for entry in golden {
        let grant = keys.verify(entry["token"].as_str().unwrap(), now()).unwrap();
        let publish: Vec<_> =
            sources.iter().filter(|(_, source)| grant.publish.allows(*source)).map(|(name, _)| *name).collect();
        let granted = json!({
            "identity": grant.identity.as_ref().map(Identity::as_str),
            "name": grant.name.as_ref().map(DisplayName::as_str),
            "room": grant.room.as_str(),
            "publish": publish,
            "subscribe": grant.subscribe,
            "chat": grant.chat,
            "hidden": grant.hidden,
            "admin": grant.admin,
            "metadata": grant.metadata,
            "expiresAtMs": grant.expires_at_ms,
        });
        assert_eq!(granted, entry["grant"], "{}", entry["name"]);
    }
}

fn minted(key: &SecretKey) -> String {
    let grant = Grant::everyone(RoomName::parse("standup").unwrap());
    key.mint(&Identity::parse("ana").unwrap(), &grant, now(), Duration::from_secs(60))
}

/// Waits until the relay's keys are as they should be.
async fn until(store: &KeyStore, is_so: impl Fn(&Keys) -> bool) {
    let waiting = async {
        while !is_so(&store.current()) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.expect("the files are looked at twice a second");
}

#[tokio::test]
async fn keys_are_exchanged_while_the_relay_runs() {
    let directory = Directory::new();
    let path = directory.path().join("keys.toml");
    let jwks = directory.path().join("jwks.json");
    let [old, new] = ["the old secret of the application, long enough", "the new one is as long as it has to be"];
    let write = |secret: &str| {
        // As careful people do it: the file is whole at every moment.
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, format!("[secrets]\napplication = '{secret}'\n")).unwrap();
        fs::rename(&unfinished, &path).unwrap();
    };
    let [before, after] = [old, new].map(|secret| minted(&SecretKey::new("application", secret).unwrap()));
    let is_in = |token: &str| {
        let token = token.to_owned();
        move |keys: &Keys| keys.verify(&token, now()).is_ok()
    };

    write(old);
    let signers = Signer::all();
    write_jwks(directory.path(), &signers[..1]);
    let store = Arc::new(KeyStore::open(&KeySources { keys: Some(path.clone()), jwks: Some(jwks) }).unwrap());
    let watching = tokio::spawn(store.clone().watch());
    assert!(is_in(&before)(&store.current()));

    write(new);
    until(&store, is_in(&after)).await;
    assert_eq!(store.current().verify(&before, now()), Err(TokenError::Signature));

    let [es256, ed_dsa] = [0, 1].map(|at| {
        let header = json!({ "alg": signers[at].algorithm, "kid": signers[at].algorithm });
        token(&header, |message| signers[at].sign(message))
    });
    assert!(is_in(&es256)(&store.current()));
    write_jwks(directory.path(), &signers[1..2]);
    until(&store, is_in(&ed_dsa)).await;
    assert_eq!(store.current().verify(&es256, now()), Err(TokenError::KeyUnknown));
    assert!(is_in(&after)(&store.current()));
    watching.abort();
}
