use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::EndpointConfig;
use quinn_proto::HashedConnectionIdGenerator;
use ring::{hkdf, hmac};
use thiserror::Error;
use tracing::warn;

use super::steering::{Share, SteeredIds};
use crate::limits::STATELESS_RESET_INTERVAL;
use crate::owner_only::{self, is_open_to_everyone};

const FILE: &str = "endpoint.keys";

/// The secret in the file, in bytes. All keys are derived from it.
const SECRET_BYTES: usize = 32;

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The file could not be read.
    #[error(
        "cannot read {}: {error}; let tertulia read it, or remove it, and the relay makes new keys",
        path.display()
    )]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write {}: {error}; choose another directory with --data-dir", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file does not hold what it should.
    #[error("{} does not hold the relay's keys; remove it, and the relay makes new ones", .0.display())]
    Content(PathBuf),
}

/// The keys by which a relay that was started again recognises what the one before it gave out.
#[derive(Clone)]
pub struct EndpointKeys {
    /// Of stateless resets (RFC 9000, section 10.3): with it, clients of before learn at once that their connection is
    /// gone.
    reset: hmac::Key,
    /// Of connection ids: only its own are answered with a reset.
    connection_id: u64,
    /// Of Retry and validation tokens.
    token: [u8; 32],
    /// Of whatever the relay signs for its clients, such as tickets.
    pub ticket: [u8; 32],
}

impl EndpointKeys {
    /// The keys that are kept in this directory, made when there are none. `None`: new ones that are not kept.
    ///
    /// # Errors
    /// [`KeysError`] names the file.
    pub fn open(directory: Option<&Path>) -> Result<Self, KeysError> {
        let Some(directory) = directory else {
            return Ok(Self::derive(&rand::random()));
        };
        let path = directory.join(FILE);
        let secret = match fs::read(&path) {
            Ok(content) => {
                warn_if_readable(&path);
                content.try_into().map_err(|_| KeysError::Content(path))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secret: [u8; SECRET_BYTES] = rand::random();
                owner_only::write(&path, &secret).map_err(|error| KeysError::Write { path, error })?;
                secret
            }
            Err(error) => return Err(KeysError::Read { path, error }),
        };
        Ok(Self::derive(&secret))
    }

    fn derive(secret: &[u8; SECRET_BYTES]) -> Self {
        Self {
            reset: hmac::Key::new(hmac::HMAC_SHA256, &derived::<32>(secret, "stateless reset")),
            connection_id: u64::from_be_bytes(derived(secret, "connection id")),
            token: derived(secret, "address token"),
            ticket: derived(secret, "ticket"),
        }
    }

    pub(super) fn endpoint_config(&self, share: Share) -> EndpointConfig {
        let connection_id = self.connection_id;
        let mut config = EndpointConfig::new(Arc::new(self.reset.clone()));
        config.cid_generator(move || {
            Box::new(SteeredIds { ids: HashedConnectionIdGenerator::from_key(connection_id), share })
        });
        config.min_reset_interval(STATELESS_RESET_INTERVAL);
        config
    }

    pub(super) fn token_key(&self) -> Arc<hkdf::Prk> {
        Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&self.token))
    }
}

fn warn_if_readable(path: &Path) {
    if is_open_to_everyone(path) {
        let path = path.display();
        warn!(%path, "everyone on this machine can read the relay's keys; run `chmod 600` on the file, or remove it");
    }
}

impl fmt::Debug for EndpointKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointKeys").finish_non_exhaustive()
    }
}

/// How many bytes are derived.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A key for one purpose (RFC 5869).
fn derived<const N: usize>(secret: &[u8; SECRET_BYTES], purpose: &str) -> [u8; N] {
    let mut key = [0; N];
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tertulia endpoint keys").extract(secret);
    let info = [purpose.as_bytes()];
    let output = secret.expand(&info, Length(N)).and_then(|output| output.fill(&mut key));
    output.expect("a key is shorter than what HKDF can give");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logged::logged;

    /// What tells keys apart.
    fn fingerprint(keys: &EndpointKeys) -> (Vec<u8>, u64, [u8; 32], [u8; 32]) {
        (hmac::sign(&keys.reset, b"").as_ref().to_vec(), keys.connection_id, keys.token, keys.ticket)
    }

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tertulia-keys-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn keys_are_kept_and_their_owners_alone() {
        let directory = directory("kept");
        let made = EndpointKeys::open(Some(&directory)).unwrap();
        let kept = EndpointKeys::open(Some(&directory)).unwrap();
        assert_eq!(fingerprint(&made), fingerprint(&kept));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(directory.join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::remove_dir_all(&directory).unwrap();
        assert_ne!(fingerprint(&EndpointKeys::open(Some(&directory)).unwrap()), fingerprint(&made));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn keys_that_everyone_can_read_are_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let directory = directory("readable");
        assert_eq!(logged(|| _ = EndpointKeys::open(Some(&directory)).unwrap()), "", "its own are not readable");
        for (mode, warnings) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
            fs::set_permissions(directory.join(FILE), fs::Permissions::from_mode(mode)).unwrap();
            let log = logged(|| _ = EndpointKeys::open(Some(&directory)).unwrap());
            assert_eq!(log.matches("chmod 600").count(), warnings, "{mode:o}: {log}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn without_a_directory_keys_are_new_every_time() {
        let [one, other] = [(); 2].map(|()| fingerprint(&EndpointKeys::open(None).unwrap()));
        assert_ne!(one, other);
    }

    #[test]
    fn every_purpose_has_a_key_of_its_own() {
        let (reset, _, token, ticket) = fingerprint(&EndpointKeys::derive(&[7; 32]));
        assert!(reset != token && token != ticket);
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let directory = directory("wrong");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(FILE), "too short").unwrap();
        assert!(EndpointKeys::open(Some(&directory)).unwrap_err().to_string().contains("remove it"));
        let file = directory.join(FILE);
        let unreadable = EndpointKeys::open(Some(&file)).unwrap_err().to_string();
        assert!(unreadable.starts_with("cannot read") && unreadable.contains("let tertulia read it"), "{unreadable}");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", EndpointKeys::derive(&[7; 32])), "EndpointKeys { .. }");
    }
}
