use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::admin::Admin;
use crate::auth::SecretKey;
use crate::client::address::Address;
use crate::client::{Certificates, ConnectError, Options};

/// The relay that is loaded, and how.
#[derive(Debug)]
pub struct Target {
    /// Like `https://localhost:4433`; the scheme says the carrier, as for [`Room::connect`](crate::client::Room::connect).
    pub url: String,
    /// The host of [`Self::url`] once more, if it may be another machine than this one.
    pub elsewhere: Option<String>,
    /// Where the relay serves HTTP without TLS, like `localhost:8000`: it says there what it counts, and on this machine which
    /// certificate it has. `None`: nobody is asked.
    pub admin: Option<String>,
    /// The SHA-256 hash of the relay's certificate. `None`: the one that the relay says, or else what the system trusts.
    pub certificate_sha256: Option<[u8; 32]>,
    /// What access tokens are made with, for relays with keys.
    pub key: Option<SecretKey>,
    /// Threads that the sessions are spread over, at least one.
    pub threads: usize,
}

/// Why a relay is not loaded.
#[derive(Debug, Error)]
pub enum TargetError {
    /// It is on another machine, and it was not said twice that this is meant.
    #[error(
        "{host} ({address}) is not this machine, and a load can bring a relay down that others use; if it is yours, say so with \
         --elsewhere {host}"
    )]
    Elsewhere {
        /// Its name.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// It cannot be found.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// A target that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub address: Address,
    pub remote: SocketAddr,
    pub options: Options,
    /// Present if it belongs to the same relay.
    pub admin: Option<Admin>,
}

impl Target {
    /// Finds the relay, without saying anything to it but to its HTTP port.
    pub(super) async fn find(&self) -> Result<Found, TargetError> {
        let address = Address::parse(&self.url, &Options::default())?;
        let remotes = address.resolve().await?;
        self.consent(&address.host, remotes.iter().map(SocketAddr::ip))?;
        let remote = remotes[0];
        let admin = match &self.admin {
            Some(at) => Admin::of(at, &address).await,
            None => None,
        };
        let said = admin.as_ref().filter(|_| remote.ip().is_loopback()).and_then(|admin| admin.certificate_sha256);
        let certificates = match self.certificate_sha256.or(said) {
            Some(sha256) => Certificates::Sha256(vec![sha256]),
            None => Certificates::System,
        };
        Ok(Found { address, remote, options: Options { certificates, ..Options::default() }, admin })
    }

    /// Whether a relay at these addresses may be loaded.
    fn consent(&self, host: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Result<(), TargetError> {
        match addresses.into_iter().find(|address| !address.is_loopback()) {
            Some(address) if self.elsewhere.as_deref() != Some(host) => {
                Err(TargetError::Elsewhere { host: host.to_owned(), address })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_loaded_if_it_is_named_twice() {
        let may = |elsewhere: Option<&str>, addresses: &[&str]| {
            let target = Target {
                url: String::new(),
                elsewhere: elsewhere.map(str::to_owned),
                admin: None,
                certificate_sha256: None,
                key: None,
                threads: 1,
            };
            target.consent("relay.example", addresses.iter().map(|address| address.parse().unwrap())).is_ok()
        };
        assert!(may(None, &["127.0.0.1", "::1", "127.1.2.3"]));
        assert!(!may(None, &["192.0.2.1"]));
        assert!(!may(None, &["127.0.0.1", "2001:db8::1"]), "all of them have to be this machine");
        assert!(!may(Some("other.example"), &["192.0.2.1"]));
        assert!(may(Some("relay.example"), &["192.0.2.1"]));
    }
}
