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
