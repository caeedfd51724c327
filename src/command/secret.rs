use std::env;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::Args;
use tertulia::auth::SecretKey;
use tertulia::relay::KeyFile;

/// Where the secret may be instead of in a file. Arguments can be read by everyone on the machine, this cannot.
const SECRET_VARIABLE: &str = "TERTULIA_SECRET";

/// What access tokens are signed with.
#[derive(Debug, Args)]
pub struct SecretSource {
    /// The TOML file with the secrets that the relay runs with
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Which of the secrets to sign with; needed if there are several
    #[arg(long, value_name = "NAME")]
    api_key: Option<String>,
}

impl SecretSource {
    /// The secret; `None` if nothing says where it is.
    pub fn read(&self) -> anyhow::Result<Option<SecretKey>> {
        match (&self.keys, &self.api_key) {
            (Some(path), api_key) => choose(path, KeyFile::read(path)?.secrets, api_key.as_deref()).map(Some),
            (None, Some(api_key)) => {
                let secret = env::var(SECRET_VARIABLE)
                    .map_err(|_| anyhow!("give --keys FILE, or put the secret into {SECRET_VARIABLE}"))?;
                Ok(Some(SecretKey::new(api_key, &secret)?))
            }
            (None, None) => Ok(None),
        }
    }
}

fn choose(path: &Path, secrets: Vec<SecretKey>, api_key: Option<&str>) -> anyhow::Result<SecretKey> {
    let path = path.display();
    let names = secrets.iter().map(SecretKey::api_key).collect::<Vec<_>>().join(", ");
    let mut chosen = secrets.into_iter().filter(|key| api_key.is_none_or(|name| key.api_key() == name));
    match (chosen.next(), chosen.next(), api_key) {
        (Some(key), None, _) => Ok(key),
        (Some(_), Some(_), _) => bail!("{path} has several secrets; choose one with --api-key: {names}"),
        (None, _, Some(name)) if !names.is_empty() => bail!("{path} has no secret for {name:?}; it has: {names}"),
        (None, _, _) => bail!("{path} has no secret; `tertulia token --help` says how to make one"),
    }
}
