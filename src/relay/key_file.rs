use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;
use thiserror::Error;

use crate::auth::{Algorithm, KeyProblem, Keys, PublicKey, SecretKey};
use crate::config::{KeySources, line_of};
use crate::limits::KEY_FILE_BYTES_MAX;

/// Why there are no keys. Nothing of a secret is in it.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A file could not be read.
    #[error("cannot read {}: {error}; name a file that is there and that tertulia may read", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is too large to hold keys.
    #[error("{} is larger than {KEY_FILE_BYTES_MAX} bytes; give a file that holds keys alone", path.display())]
    TooLarge {
        /// Which one.
        path: PathBuf,
    },
    /// A keys file is not what it should be.
    #[error(
        "{}, line {line}, is not as it has to be: under [secrets] a line is my-application = \"the secret\", each \
         [[public]] has kid, algorithm and file, and nothing is there twice",
        path.display()
    )]
    Content {
        /// Which one.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A public key has an algorithm that is unknown or not its own.
    #[error("{}: the algorithm of the key {kid:?} is not right; it can be ES256, RS256 or EdDSA, as the key is", path.display())]
    Algorithm {
        /// The keys file.
        path: PathBuf,
        /// The key.
        kid: String,
    },
    /// A key cannot be taken.
    #[error("{}: {problem}", path.display())]
    Key {
        /// Where it is.
        path: PathBuf,
        /// Why.
        problem: KeyProblem,
    },
    /// There is no key in the files.
    #[error(
        "{} holds no key: add one (`tertulia token --help` says how; in a JSON Web Key Set one for ES256, RS256 or EdDSA that has \
         a `kid`), or leave the option out for an open relay",
        path.display()
    )]
    Empty {
        /// Which one.
        path: PathBuf,
    },
}

/// What a keys file says: secrets, and where public keys are.
#[derive(Debug)]
pub struct KeyFile {
    /// The secrets, in the order of their API keys.
    pub secrets: Vec<SecretKey>,
    public: Vec<Public>,
}

/// The file as TOML. It has no `Debug`: secrets are in it.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Content {
    secrets: BTreeMap<String, String>,
    public: Vec<Public>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Public {
    kid: String,
    algorithm: String,
    file: PathBuf,
}

impl KeyFile {
    /// Reads a keys file, but not the files that it names.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong and what to do.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::parse(path, &read(path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, KeyError> {
        // The parser's own message may quote what is in the line.
        let content: Content = toml::from_str(text)
            .map_err(|error| KeyError::Content { path: path.into(), line: line_of(text, &error) })?;
        let secrets = content.secrets.iter().map(|(api_key, secret)| SecretKey::new(api_key, secret));
        let secrets =
            secrets.collect::<Result<_, _>>().map_err(|problem| KeyError::Key { path: path.into(), problem })?;
        Ok(Self { secrets, public: content.public })
    }
}

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub keys: Keys,
    /// A file without a key in it: a mistake when the relay starts, and later the way to take the last key out.
    pub empty: Option<PathBuf>,
}

impl Loaded {
    /// What a relay can start with.
    pub fn with_a_key_in_each_file(self) -> Result<Keys, KeyError> {
        self.empty.map_or(Ok(self.keys), |path| Err(KeyError::Empty { path }))
    }
}

/// What was read of each file, to see later whether it changed.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(PathBuf, Option<Stamp>)>);

type Stamp = (SystemTime, u64);

impl Seen {
    /// Whether a file is another one now.
    pub fn has_changed(&self) -> bool {
        self.0.iter().any(|(path, seen)| stamp(path) != *seen)
    }

    fn read(&mut self, path: &Path) -> Result<String, KeyError> {
        // Before: what is written while it is read is a change.
        self.0.push((path.into(), stamp(path)));
        read(path)
    }
}

/// Reads all keys there are.
pub(super) fn load(sources: &KeySources, seen: &mut Seen) -> Result<Loaded, KeyError> {
    let Loaded { mut keys, mut empty } = Loaded::default();
    if let Some(path) = &sources.keys {
        let file = KeyFile::parse(path, &seen.read(path)?)?;
        keys = file.add_to(keys, path, seen)?;
        empty = Some(path.clone()).filter(|_| keys.is_empty());
    }
    if let Some(path) = &sources.jwks {
        let (before, problem) = (keys.len(), |problem| KeyError::Key { path: path.into(), problem });
        keys = keys.with_jwks(&seen.read(path)?).map_err(problem)?;
        empty = empty.or(Some(path.clone()).filter(|_| keys.len() == before));
    }
    Ok(Loaded { keys, empty })
}

impl KeyFile {
    fn add_to(self, mut keys: Keys, path: &Path, seen: &mut Seen) -> Result<Keys, KeyError> {
        let problem = |problem| KeyError::Key { path: path.into(), problem };
        for secret in self.secrets {
            keys = keys.with_secret(secret).map_err(problem)?;
        }
        for Public { kid, algorithm, file } in self.public {
            let file = path.parent().unwrap_or(Path::new("")).join(file);
            let key = PublicKey::from_pem(&seen.read(&file)?).map_err(|problem| KeyError::Key {
                path: file,
                problem: KeyProblem::Key { kid: kid.clone(), problem },
            })?;
            if Algorithm::from_name(&algorithm) != Some(key.algorithm()) {
                return Err(KeyError::Algorithm { path: path.into(), kid });
            }
            keys = keys.with_public(&kid, key).map_err(problem)?;
        }
        Ok(keys)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> Result<String, KeyError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(KEY_FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| KeyError::Read { path: path.into(), error })?;
    if text.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(KeyError::TooLarge { path: path.into() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "canary-canary-canary-canary-canary";

    #[test]
    fn a_mistake_is_named_with_its_line_and_never_with_its_value() {
        for (text, expected) in [
            (format!("[secrets]\na = '{SECRET}'\na = '{SECRET}'"), "line 3"),
            (format!("[secrets]\n\na = {SECRET}"), "line 3"),
            (format!("[secrets]\na = ['{SECRET}']"), "line 2"),
            (format!("secrets = '{SECRET}'"), "line 1"),
            (format!("public = '{SECRET}'"), "line 1"),
            (format!("[secret]\na = '{SECRET}'"), "line 1"),
            (format!("a = '{SECRET}'"), "line 1"),
            (format!("[secrets]\na = '{SECRET}"), "line 2"),
            ("[[public]]\nkid = 'a'".into(), "line 1"),
            (format!("[[public]]\nkid = 'a'\nalgorithm = 'ES256'\nfile = 'a'\nsecret = '{SECRET}'"), "line 5"),
            ("[secrets]\na = 'canary'".into(), "fewer than 32 bytes"),
            (format!("[secrets]\n'' = '{SECRET}'"), "an API key has to have"),
        ] {
            let error = KeyFile::parse(Path::new("keys.toml"), &text).unwrap_err();
            let (shown, debugged) = (error.to_string(), format!("{error:?}"));
            assert!(shown.starts_with("keys.toml") && shown.contains(expected), "{shown}");
            assert!(!shown.contains("canary") && !debugged.contains("canary"), "{shown} {debugged}");
            assert_eq!(shown.lines().count(), 1, "{shown}");
        }
    }

    #[test]
    fn secrets_and_public_keys_stand_in_one_file() {
        let text = format!(
            "[secrets]\n'my app' = '{SECRET}'\nb = '{SECRET}'\n[[public]]\nkid='a'\nalgorithm='ES256'\nfile='a.pem'"
        );
        let file = KeyFile::parse(Path::new("keys.toml"), &text).unwrap();
        assert_eq!(file.secrets.iter().map(SecretKey::api_key).collect::<Vec<_>>(), ["b", "my app"]);
        assert_eq!(file.public.len(), 1);
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        #[cfg(unix)]
        assert!(matches!(read(Path::new("/dev/zero")), Err(KeyError::TooLarge { .. })));
        let missing = read(Path::new("missing.toml")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read missing.toml") && missing.contains("name a file"), "{missing}");
    }
}
