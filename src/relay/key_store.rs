use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::key_file::{KeyError, Loaded, Seen, load};
use crate::auth::Keys;
use crate::config::KeySources;
use crate::limits::KEY_POLL_INTERVAL;
use crate::owner_only::is_open_to_everyone;

/// The keys that tokens are checked with, replaced while the relay runs when their files change.
#[derive(Debug)]
pub struct KeyStore {
    sources: KeySources,
    current: RwLock<Arc<Keys>>,
    watched: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    seen: Seen,
    /// What is wrong with the files at the moment, as it was logged.
    problem: Option<String>,
    /// Whether the files held fewer keys when they were looked at last: they may be in the middle of being written.
    are_fewer: bool,
}

impl KeyStore {
    /// Reads the keys. No files: no keys, the relay is open.
    ///
    /// # Errors
    /// [`KeyError`] names the file and says what to do.
    pub fn open(sources: &KeySources) -> Result<Self, KeyError> {
        let mut seen = Seen::default();
        let keys = load(sources, &mut seen)?.with_a_key_in_each_file()?;
        warn_if_readable(sources);
        let watched = Mutex::new(Watched { seen, problem: None, are_fewer: false });
        Ok(Self { sources: sources.clone(), current: RwLock::new(Arc::new(keys)), watched })
    }

    /// Whether no keys are configured. Files without a key in them are not the same: they let nobody in.
    pub fn is_open(&self) -> bool {
        self.sources.is_empty()
    }

    /// The keys as they are now.
    pub fn current(&self) -> Arc<Keys> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files every [`KEY_POLL_INTERVAL`], for as long as it is polled. It does not end.
    pub async fn watch(self: Arc<Self>) {
        if self.sources.is_empty() {
            return std::future::pending().await;
        }
        loop {
            sleep(KEY_POLL_INTERVAL).await;
            let store = self.clone();
            // A file may be on a disk that is slow to answer: media does not wait for it.
            if let Err(error) = spawn_blocking(move || store.reload_if_changed()).await {
                warn!(%error, "looking at the key files failed");
            }
        }
    }

    /// Takes the keys of changed files. Files that are not valid change nothing, and are tried again.
    fn reload_if_changed(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.problem.is_none() && !watched.seen.has_changed() {
            return;
        }
        let mut seen = Seen::default();
        match load(&self.sources, &mut seen) {
            Ok(Loaded { keys, .. }) if keys.len() < self.current().len() && !watched.are_fewer => {
                watched.are_fewer = true;
            }
            Ok(Loaded { keys, .. }) => {
                if keys.is_empty() {
                    warn!("the key files hold no key any more: nobody can come in");
                }
                info!(keys = keys.len(), "the keys were read again");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                *watched = Watched { seen, problem: None, are_fewer: false };
                warn_if_readable(&self.sources);
            }
            Err(error) => {
                let problem = error.to_string();
                if watched.problem.as_ref() != Some(&problem) {
                    warn!(problem, "the keys stay as they were");
                }
                watched.problem = Some(problem);
            }
        }
    }
}

fn warn_if_readable(sources: &KeySources) {
    if let Some(path) = sources.keys.as_deref().filter(|path| is_open_to_everyone(path)) {
        warn!(path = %path.display(), "everyone on this machine can read the secrets; run `chmod 600` on the file");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::logged::logged;

    const SECRET: &str = "canary-canary-canary-canary-canary";

    const JWKS: &str =
        r#"{"keys":[{"kid":"ed","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    /// A directory of one test, removed with the value.
    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tertulia-keys-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn secrets(count: usize) -> String {
        let lines = (0..count).map(|number| format!("key-{number} = '{SECRET}'\n"));
        format!("[secrets]\n{}", lines.collect::<String>())
    }

    fn sources(keys: &Path) -> KeySources {
        KeySources { keys: Some(keys.into()), jwks: None }
    }

    #[test]
    fn a_broken_file_changes_nothing_and_is_logged_once() {
        let directory = Directory::new("broken");
        let path = directory.write("keys.toml", &secrets(1));
        let store = KeyStore::open(&sources(&path)).unwrap();
        let weak = secrets(1).replace(SECRET, "short-canary");
        for broken in [&format!("[secrets]\nkey-0 = {SECRET}"), "secrets = 7", &weak] {
            directory.write("keys.toml", broken);
            let log = logged(|| (0..3).for_each(|_| store.reload_if_changed()));
            assert_eq!(log.matches("WARN").count(), 1, "{log}");
            assert!(log.contains("keys.toml") && !log.contains("canary"), "{log}");
            assert_eq!(store.current().len(), 1);
        }
        fs::remove_file(&path).unwrap();
        let log = logged(|| (0..3).for_each(|_| store.reload_if_changed()));
        assert_eq!((log.matches("WARN").count(), store.current().len()), (1, 1), "{log}");

        directory.write("keys.toml", &secrets(2));
        store.reload_if_changed();
        assert_eq!(store.current().len(), 2);
    }

    #[test]
    fn a_file_whose_keys_were_all_taken_out_lets_nobody_in() {
        let directory = Directory::new("emptied");
        for (name, keys, emptied) in [
            ("keys.toml", secrets(1), ""),
            ("keys.toml", secrets(1), "[secrets]\n"),
            ("jwks.json", JWKS.to_owned(), r#"{"keys":[]}"#),
            ("jwks.json", JWKS.to_owned(), &JWKS.replace("Ed25519", "X25519")),
        ] {
            let path = directory.write(name, &keys);
            let sources = match name {
                "keys.toml" => sources(&path),
                _ => KeySources { keys: None, jwks: Some(path) },
            };
            let store = KeyStore::open(&sources).unwrap();
            assert_eq!(store.current().len(), 1, "{name}");
            directory.write(name, emptied);
            let log = logged(|| (0..3).for_each(|_| store.reload_if_changed()));
            assert!(store.current().is_empty() && !store.is_open(), "{name}: {emptied}");
            assert_eq!(log.matches("nobody can come in").count(), 1, "{log}");
            assert!(matches!(KeyStore::open(&sources), Err(KeyError::Empty { .. })), "{name}: {emptied}");
        }
    }

    #[test]
    fn a_file_in_the_middle_of_being_written_takes_no_key_away() {
        let directory = Directory::new("halfway");
        let path = directory.write("keys.toml", &secrets(2));
        let store = KeyStore::open(&sources(&path)).unwrap();
        directory.write("keys.toml", "");
        store.reload_if_changed();
        assert_eq!(store.current().len(), 2);
        directory.write("keys.toml", &secrets(3));
        store.reload_if_changed();
        assert_eq!(store.current().len(), 3);
    }

    #[test]
    fn a_file_that_did_not_change_is_not_read_again() {
        let directory = Directory::new("unchanged");
        let path = directory.write("keys.toml", &secrets(1));
        let store = KeyStore::open(&sources(&path)).unwrap();
        let first = store.current();
        assert_eq!(logged(|| store.reload_if_changed()), "");
        assert!(Arc::ptr_eq(&first, &store.current()));

        // The same length at another time.
        let later = SystemTime::now() + Duration::from_secs(5);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        store.reload_if_changed();
        assert!(!Arc::ptr_eq(&first, &store.current()));
    }

    #[test]
    fn a_public_key_file_is_watched_too() {
        let key = |kind| rcgen::KeyPair::generate_for(kind).unwrap().public_key_pem();
        let directory = Directory::new("public");
        let entry = "[[public]]\nkid = 'a'\nalgorithm = 'EdDSA'\nfile = 'a.pem'\n";
        let path = directory.write("keys.toml", entry);
        directory.write("a.pem", &key(&rcgen::PKCS_ED25519));
        let store = KeyStore::open(&sources(&path)).unwrap();
        let first = store.current();
        directory.write("a.pem", &key(&rcgen::PKCS_ECDSA_P256_SHA256));
        let log = logged(|| store.reload_if_changed());
        assert!(log.contains("the algorithm of the key"), "{log}");
        assert!(Arc::ptr_eq(&first, &store.current()));
        directory.write("a.pem", &key(&rcgen::PKCS_ED25519));
        store.reload_if_changed();
        assert!(!Arc::ptr_eq(&first, &store.current()));
    }

    #[cfg(unix)]
    #[test]
    fn secrets_that_everyone_can_read_are_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let directory = Directory::new("readable");
        let path = directory.write("keys.toml", &secrets(1));
        for (mode, warnings) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let log = logged(|| drop(KeyStore::open(&sources(&path)).unwrap()));
            assert_eq!(log.matches("chmod 600").count(), warnings, "{mode:o}: {log}");
            assert!(!log.contains(SECRET));
        }
    }

    #[test]
    fn without_files_there_are_no_keys() {
        assert!(KeyStore::open(&KeySources::default()).unwrap().current().is_empty());
    }
}
