use std::fmt;

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use x509_parser::oid_registry::{OID_EC_P256, OID_SIG_ED25519};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

/// How a token is signed for a public key (RFC 7518, section 3.1, and RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 to 8192 bits.
    Rs256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::Rs256, Self::EdDsa].into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Its name in a token's header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A public key. Its algorithm is its own: what a token says about it is only compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Material);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    /// An uncompressed point: 4, x, y.
    P256([u8; 65]),
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// Reads a PEM file's text: `BEGIN PUBLIC KEY` (RFC 7468, section 13).
    ///
    /// # Errors
    /// What is wrong with it and what to do, for a person.
    pub fn from_pem(pem: &str) -> Result<Self, &'static str> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| "it is not a PEM file")?;
        match &*pem.label {
            "PUBLIC KEY" => Self::from_der(&pem.contents),
            label if label.ends_with("PRIVATE KEY") => {
                Err("it is a private key; keep that, and give the relay what `openssl pkey -pubout` makes of it")
            }
            _ => Err("it does not begin with BEGIN PUBLIC KEY; `openssl pkey -pubout` makes such a file"),
        }
    }

    /// Reads a SubjectPublicKeyInfo (RFC 5280, section 4.1).
    fn from_der(der: &[u8]) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "it is neither an RSA, nor a P-256, nor an Ed25519 key";
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| "its content is damaged")?;
        let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        match info.parsed().map_err(|_| "its content is damaged")? {
            Parsed::RSA(key) => Self::rsa(key.modulus, key.exponent),
            Parsed::EC(point) if curve == Some(OID_EC_P256) => Self::p256(point.data()),
            _ if info.algorithm.algorithm == OID_SIG_ED25519 => Self::ed25519(&info.subject_public_key.data),
            _ => Err(UNKNOWN),
        }
    }

    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, &'static str> {
        let [modulus, exponent] = [modulus, exponent].map(without_leading_zeros);
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) || exponent.is_empty() {
            return Err("it is an RSA key of less than 2048 or more than 8192 bits");
        }
        Ok(Self(Material::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() }))
    }

    pub(super) fn p256(point: &[u8]) -> Result<Self, &'static str> {
        let point = point.try_into().ok().filter(|point: &[u8; 65]| point[0] == 4);
        point.map(|point| Self(Material::P256(point))).ok_or("its point is not an uncompressed one of P-256")
    }

    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, &'static str> {
        bytes.try_into().map(|bytes| Self(Material::Ed25519(bytes))).map_err(|_| "it does not have 32 bytes")
    }

    /// The only algorithm that it checks.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Material::P256(_) => Algorithm::Es256,
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.0 {
            Material::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Material::Ed25519(bytes) => UnparsedPublicKey::new(&signature::ED25519, bytes).verify(message, signature),
        };
        verified.is_ok()
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::auth::jwks;

    /// The tokens of RFC 7515, appendices A.2 and A.3, and RFC 8037, appendix A.4, each with its key.
    const TOKENS: [(&str, &str); 3] = [
        (
            r#"{"kid":"RS256","kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}"#,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            r#"{"kid":"ES256","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            r#"{"kid":"EdDSA","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];

    #[test]
    fn the_tokens_of_the_standards_are_verified() {
        for (key, token) in TOKENS {
            let (kid, key) = jwks::read(&format!(r#"{{"keys":[{key}]}}"#)).unwrap().remove(0);
            assert_eq!(key.algorithm().name(), kid);
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(key.verify(message.as_bytes(), &signature), "{kid}");
            assert!(!key.verify(&message.as_bytes()[1..], &signature), "{kid}");
            for at in 0..signature.len() {
                let mut changed = signature.clone();
                changed[at] ^= 1;
                assert!(!key.verify(message.as_bytes(), &changed), "{kid}, byte {at}");
            }
            for length in [0, 1, signature.len() - 1] {
                assert!(!key.verify(message.as_bytes(), &signature[..length]), "{kid}, {length} bytes");
            }
        }
    }

    #[test]
    fn keys_of_other_sizes_are_refused() {
        assert!(PublicKey::rsa(&[0xff; 255], &[1, 0, 1]).is_err());
        assert!(PublicKey::rsa(&[&[0x7f][..], &[0xff; 255]].concat(), &[1, 0, 1]).is_err());
        assert!(PublicKey::rsa(&[&[0, 0][..], &[0xff; 256]].concat(), &[1, 0, 1]).is_ok());
        assert!(PublicKey::rsa(&[0xff; 1025], &[1, 0, 1]).is_err());
        assert!(PublicKey::rsa(&[0xff; 256], &[0]).is_err());
        assert!(PublicKey::p256(&[4; 64]).is_err());
        assert!(PublicKey::p256(&[3; 65]).is_err());
        assert!(PublicKey::ed25519(&[0; 31]).is_err());
    }

    #[test]
    fn what_is_no_public_key_is_explained() {
        for (pem, expected) in [
            ("", "not a PEM file"),
            ("the key", "not a PEM file"),
            ("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", "it is a private key"),
            ("-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----\n", "openssl pkey -pubout"),
            ("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n", "damaged"),
            // X25519, which signs nothing.
            (
                "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n",
                "neither an RSA",
            ),
        ] {
            let problem = PublicKey::from_pem(pem).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
