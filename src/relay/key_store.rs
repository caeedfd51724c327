use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::key_file::{KeyError, Seen, is_open_to_everyone, load};
use crate::auth::Keys;
use crate::config::KeySources;
use crate::limits::KEY_POLL_INTERVAL;

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
}

impl KeyStore {
    /// Reads the keys. No files: no keys, the relay is open.
    ///
    /// # Errors
    /// [`KeyError`] names the file and says what to do.
    pub fn open(sources: &KeySources) -> Result<Self, KeyError> {
        let mut seen = Seen::default();
        let keys = load(sources, &mut seen)?;
        warn_if_readable(sources);
        let watched = Mutex::new(Watched { seen, problem: None });
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
            Ok(keys) => {
                info!(keys = keys.len(), "the keys were read again");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                *watched = Watched { seen, problem: None };
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
