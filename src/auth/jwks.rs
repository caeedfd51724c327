use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::keys::KeyProblem;
use super::public_key::{Algorithm, PublicKey};

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// One key (RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2).
#[derive(Deserialize)]
struct Key {
    kid: String,
    kty: String,
    #[serde(default)]
    crv: String,
    alg: Option<String>,
    r#use: Option<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

/// The keys of a set that can check a token, by `kid`. The others are passed over (RFC 7517, section 5).
pub(super) fn read(json: &str) -> Result<Vec<(String, PublicKey)>, KeyProblem> {
    let set: KeySet = serde_json::from_str(json).map_err(|_| KeyProblem::Jwks)?;
    let keys = set.keys.into_iter().filter_map(|value| Key::deserialize(value).ok());
    let keys = keys.filter_map(|key| Some((key.algorithm()?, key)));
    let read = |(algorithm, key): (Algorithm, Key)| match key.read(algorithm) {
        Ok(public) => Ok((key.kid, public)),
        Err(problem) => Err(KeyProblem::Key { kid: key.kid, problem }),
    };
    keys.map(read).collect()
}

impl Key {
    /// What it checks, if it is one of ours and meant for signatures.
    fn algorithm(&self) -> Option<Algorithm> {
        let algorithm = match (&*self.kty, &*self.crv) {
            ("EC", "P-256") => Algorithm::Es256,
            ("RSA", _) => Algorithm::Rs256,
            ("OKP", "Ed25519") => Algorithm::EdDsa,
            _ => return None,
        };
        let is_named = self.alg.as_deref().is_none_or(|name| name == algorithm.name());
        let is_for_signatures = self.r#use.as_deref().is_none_or(|purpose| purpose == "sig");
        (is_named && is_for_signatures).then_some(algorithm)
    }

    fn read(&self, algorithm: Algorithm) -> Result<PublicKey, &'static str> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member is not base64url");
        match algorithm {
            Algorithm::Es256 => {
                let (x, y) = (decode(&self.x)?, decode(&self.y)?);
                PublicKey::p256(&[&[4], &*x, &*y].concat())
            }
            Algorithm::Rs256 => PublicKey::rsa(&decode(&self.n)?, &decode(&self.e)?),
            Algorithm::EdDsa => PublicKey::ed25519(&decode(&self.x)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        r#"{"kid":"ed","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn read_all(keys: &[&str]) -> Result<Vec<String>, KeyProblem> {
        let keys = read(&format!(r#"{{"keys":[{}]}}"#, keys.join(",")))?;
        Ok(keys.into_iter().map(|(kid, key)| format!("{kid} {}", key.algorithm())).collect())
    }

    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        for other in [
            r#"{"kid":"a","kty":"oct","k":"c2VjcmV0"}"#,
            r#"{"kid":"a","kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#,
            r#"{"kid":"a","kty":"EC","crv":"P-256","alg":"ECDH-ES","x":"AA","y":"AA"}"#,
            r#"{"kid":"a","kty":"RSA","alg":"RS512","n":"AA","e":"AQAB"}"#,
            r#"{"kid":"a","kty":"RSA","use":"enc","n":"AA","e":"AQAB"}"#,
            r#"{"kid":"a","kty":"OKP","crv":"X25519","x":"AA"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            r#"{"kid":7,"kty":"RSA"}"#,
            r#""a key""#,
        ] {
            assert_eq!(read_all(&[other, ED25519]), Ok(vec!["ed EdDSA".into()]), "{other}");
            assert_eq!(read_all(&[other]), Ok(vec![]), "{other}");
        }
        let full = ED25519.replace('}', r#","alg":"EdDSA","use":"sig","key_ops":["verify"],"x5t":"AA"}"#);
        assert_eq!(read_all(&[&full]), Ok(vec!["ed EdDSA".into()]));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for json in ["", "{}", "[]", r#"{"keys":{}}"#, ED25519] {
            assert_eq!(read(json), Err(KeyProblem::Jwks), "{json}");
        }
    }

    #[test]
    fn a_damaged_key_is_named() {
        for damaged in [
            r#"{"kid":"a","kty":"OKP","crv":"Ed25519","x":"AA"}"#,
            r#"{"kid":"a","kty":"OKP","crv":"Ed25519"}"#,
            r#"{"kid":"a","kty":"OKP","crv":"Ed25519","x":"???"}"#,
            r#"{"kid":"a","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}"#,
            r#"{"kid":"a","kty":"RSA","n":"AQAB","e":"AQAB"}"#,
        ] {
            let problem = read_all(&[ED25519, damaged]).unwrap_err();
            assert!(matches!(&problem, KeyProblem::Key { kid, .. } if kid == "a"), "{problem}");
        }
    }
}
