use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};
use x509_parser::extensions::GeneralName;

use crate::config::CertificateSource;
use crate::limits::CERTIFICATE_POLL_INTERVAL;
use crate::owner_only;

/// How long a development certificate is valid: browsers take a certificate by its hash only if it is valid for at most
/// 14 days in all (W3C WebTransport, section 6.10).
const DEVELOPMENT_VALIDITY: Duration = Duration::from_hours(13 * 24);

/// How far in the past it begins: clocks differ.
const DEVELOPMENT_HEAD_START: Duration = Duration::from_hours(1);

/// How long before its end it is replaced.
const DEVELOPMENT_RENEWAL: Duration = Duration::from_hours(3 * 24);

/// How often it is looked at.
const DEVELOPMENT_CHECK_INTERVAL: Duration = Duration::from_hours(6);

const CHAIN_FILE: &str = "development.pem";
const KEY_FILE: &str = "development.key";

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file could not be read.
    #[error("cannot read {}: {error}; name a file that is there and that tertulia may read", path.display())]
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

/// The certificate that UDP and TCP share, replaced while the relay runs: when its files change, or when it nears its end.
#[derive(Debug)]
pub struct CertificateStore {
    source: CertificateSource,
    current: RwLock<Current>,
    watched: Mutex<Watched>,
}

/// The certificate that new handshakes get.
#[derive(Debug, Clone)]
struct Current {
    key: Arc<CertifiedKey>,
    /// The hosts that it is for.
    names: Arc<[String]>,
}

#[derive(Debug)]
struct Watched {
    seen: [Option<Stamp>; 2],
    /// What is wrong with the files at the moment, as it was logged.
    problem: Option<String>,
}

/// When a file was changed, and how long it is.
type Stamp = (SystemTime, u64);

impl CertificateStore {
    /// Loads the certificate, or makes it.
    ///
    /// # Errors
    /// [`CertificateError`] names the file and the problem.
    pub fn open(source: CertificateSource) -> Result<Self, CertificateError> {
        // Before: what is written while it is read is a change.
        let seen = stamps(&source);
        let current = RwLock::new(load(&source)?.into());
        Ok(Self { source, current, watched: Mutex::new(Watched { seen, problem: None }) })
    }

    /// Looks at the certificate again and again, for as long as it is polled. It does not end.
    pub async fn watch(self: Arc<Self>) {
        let interval = match self.source {
            CertificateSource::Development { .. } => DEVELOPMENT_CHECK_INTERVAL,
            CertificateSource::Files { .. } => CERTIFICATE_POLL_INTERVAL,
        };
        loop {
            let store = self.clone();
            // A file may be on a disk that is slow to answer: media does not wait for it.
            if let Err(error) = spawn_blocking(move || store.reload_if_due()).await {
                warn!(%error, "looking at the certificate failed");
            }
            sleep(interval).await;
        }
    }

    /// Takes a certificate from files that have changed, and replaces a development certificate that nears its end. If that
    /// fails, the old one stays, and it is tried again.
    fn reload_if_due(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = stamps(&self.source);
        let is_development = matches!(self.source, CertificateSource::Development { .. });
        if !is_development && watched.problem.is_none() && watched.seen == seen {
            return;
        }
        match load(&self.source) {
            Ok(loaded) => {
                if loaded.cert != self.current().key.cert {
                    info!("new handshakes get another certificate");
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded.into();
                }
                *watched = Watched { seen, problem: None };
            }
            Err(error) => {
                let problem = error.to_string();
                if watched.problem.as_ref() != Some(&problem) {
                    warn!(problem, "the certificate stays as it was");
                }
                watched.problem = Some(problem);
            }
        }
    }

    /// The SHA-256 of a development certificate, which browsers need to be told. `None` for certificates of an authority:
    /// browsers refuse those by hash.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        let CertificateSource::Development { .. } = self.source else {
            return None;
        };
        let digest = ::ring::digest::digest(&::ring::digest::SHA256, self.current().key.end_entity_cert().ok()?);
        digest.as_ref().try_into().ok()
    }

    /// The hosts that the certificate is for, some with a `*`.
    pub fn names(&self) -> Arc<[String]> {
        self.current().names
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

    fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<CertifiedKey> for Current {
    fn from(key: CertifiedKey) -> Self {
        Self { names: names(&key).into(), key: Arc::new(key) }
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What is seen of the chain and the key without reading them.
fn stamps(source: &CertificateSource) -> [Option<Stamp>; 2] {
    files(source).map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

/// Where the chain and the key are.
fn files(source: &CertificateSource) -> [PathBuf; 2] {
    match source {
        CertificateSource::Files { chain, key } => [chain.clone(), key.clone()],
        CertificateSource::Development { directory } => [CHAIN_FILE, KEY_FILE].map(|file| directory.join(file)),
    }
}

fn load(source: &CertificateSource) -> Result<CertifiedKey, CertificateError> {
    let [chain, key] = files(source);
    match (source, load_files(&chain, &key)) {
        (CertificateSource::Files { .. }, loaded) => loaded,
        (CertificateSource::Development { .. }, Ok(certified)) if is_fresh(&certified) => Ok(certified),
        (CertificateSource::Development { .. }, _) => {
            make_development_certificate(&chain, &key)?;
            load_files(&chain, &key)
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

/// Bytes as hexadecimal digits, as hashes of certificates are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_certificate_is_kept_and_made_again_when_it_is_of_no_use() {
        let directory = std::env::temp_dir().join(format!("tertulia-tls-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let source = CertificateSource::Development { directory: directory.clone() };
        let store = CertificateStore::open(source.clone()).unwrap();
        let first = store.sha256();
        assert_eq!(&*store.names(), ["localhost"]);
        store.reload_if_due();
        assert_eq!(store.sha256(), first, "it is fresh");
        fs::write(directory.join(CHAIN_FILE), "gone").unwrap();
        store.reload_if_due();
        assert_ne!(store.sha256(), first);
        assert_eq!(CertificateStore::open(source).unwrap().sha256(), store.sha256(), "it is on the disk");
        fs::remove_dir_all(&directory).unwrap();
    }
}
