use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;

use crate::config::CertificateSource;
use crate::owner_only;

/// How long a development certificate is valid: browsers take a certificate by its hash only if it is valid for at most
/// 14 days in all (W3C WebTransport, section 6.10).
const DEVELOPMENT_VALIDITY: Duration = Duration::from_hours(13 * 24);

/// How far in the past it begins: clocks differ.
const DEVELOPMENT_HEAD_START: Duration = Duration::from_hours(1);

/// How long before its end it is replaced.
const DEVELOPMENT_RENEWAL: Duration = Duration::from_hours(3 * 24);

const CHAIN_FILE: &str = "development.pem";
const KEY_FILE: &str = "development.key";

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file could not be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {error}; choose another directory with --certificate-dir", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} does not hold what it should: {problem}", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The development certificate could not be made.
    #[error("the development certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// The certificate that UDP and TCP share, replaceable while the relay runs.
#[derive(Debug)]
pub struct CertificateStore {
    source: CertificateSource,
    current: RwLock<Arc<CertifiedKey>>,
}

impl CertificateStore {
    /// Loads the certificate, or makes it.
    ///
    /// # Errors
    /// [`CertificateError`] names the file and the problem.
    pub fn open(source: CertificateSource) -> Result<Self, CertificateError> {
        let current = load(&source)?;
        Ok(Self { source, current: RwLock::new(Arc::new(current)) })
    }

    /// Replaces a development certificate that nears its end.
    ///
    /// # Errors
    /// [`CertificateError`]; the old certificate stays.
    pub fn renew_if_due(&self) -> Result<(), CertificateError> {
        if let CertificateSource::Development { .. } = self.source {
            let renewed = load(&self.source)?;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        }
        Ok(())
    }

    /// The SHA-256 of a development certificate, which browsers need to be told. `None` for certificates of an authority:
    /// browsers refuse those by hash.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        let CertificateSource::Development { .. } = self.source else {
            return None;
        };
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, self.current().end_entity_cert().ok()?);
        digest.as_ref().try_into().ok()
    }

    /// The hosts that the certificate is for, some with a `*`.
    pub fn names(&self) -> Vec<String> {
        names(&self.current())
    }

    /// The TLS settings of one side of the relay.
    pub fn server_config(self: &Arc<Self>, protocols: &[&[u8]]) -> rustls::ServerConfig {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the default protocol versions")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn load(source: &CertificateSource) -> Result<CertifiedKey, CertificateError> {
    match source {
        CertificateSource::Files { chain, key } => load_files(chain, key),
        CertificateSource::Development { directory } => {
            let (chain, key) = (directory.join(CHAIN_FILE), directory.join(KEY_FILE));
            match load_files(&chain, &key) {
                Ok(certified) if is_fresh(&certified) => Ok(certified),
                _ => {
                    make_development_certificate(&chain, &key)?;
                    load_files(&chain, &key)
                }
            }
        }
    }
}

fn load_files(chain_path: &Path, key_path: &Path) -> Result<CertifiedKey, CertificateError> {
    let read = |path: &Path| fs::read(path).map_err(|error| CertificateError::Read { path: path.into(), error });
    let content = |path: &Path, problem: String| CertificateError::Content { path: path.into(), problem };

    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(chain_path)?).collect();
    let chain = chain.map_err(|error| content(chain_path, error.to_string()))?;
    if chain.is_empty() {
        return Err(content(chain_path, "there is no PEM certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key_path)?).map_err(|error| content(key_path, error.to_string()))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| content(key_path, error.to_string()))
}

fn is_fresh(certified: &CertifiedKey) -> bool {
    let end = certified.end_entity_cert().ok().and_then(|der| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(certificate.validity().not_after.to_datetime())
    });
    end.is_some_and(|end| OffsetDateTime::now_utc() + DEVELOPMENT_RENEWAL < end)
}

fn make_development_certificate(chain: &Path, key: &Path) -> Result<(), CertificateError> {
    let mut parameters = rcgen::CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(String::from).to_vec())?;
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "Tertulia development certificate");
    parameters.not_before = OffsetDateTime::now_utc() - DEVELOPMENT_HEAD_START;
    parameters.not_after = parameters.not_before + DEVELOPMENT_VALIDITY;
    let key_pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = parameters.self_signed(&key_pair)?;

    let write = |path: &Path, content: &str| {
        owner_only::write(path, content.as_bytes())
            .map_err(|error| CertificateError::Write { path: path.into(), error })
    };
    write(key, &key_pair.serialize_pem())?;
    write(chain, &certificate.pem())
}

/// The subject alternative names (RFC 5280, section 4.2.1.6) that are names of hosts.
fn names(certified: &CertifiedKey) -> Vec<String> {
    let Some((_, certificate)) =
        certified.end_entity_cert().ok().and_then(|der| x509_parser::parse_x509_certificate(der).ok())
    else {
        return Vec::new();
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}
