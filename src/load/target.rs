use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::admin::Admin;
use crate::auth::SecretKey;
use crate::client::address::Address;
use crate::client::{Carrier, Certificates, ConnectError, Options};
use crate::config::Config;

/// The relay that is loaded, and how.
#[derive(Debug)]
pub struct Target {
    /// Like `https://localhost:4433`; the scheme says the carrier, as for [`Room::connect`](crate::client::Room::connect).
    pub url: String,
    /// The host of [`Self::url`] once more, if it may be another machine than this one.
    pub elsewhere: Option<String>,
    /// Where the relay is asked what it counts, and on this machine which certificate it has.
    pub admin: AdminAt,
    /// The SHA-256 hash of the relay's certificate. `None`: the one that the relay says, or else what the system trusts.
    pub certificate_sha256: Option<[u8; 32]>,
    /// What access tokens are made with, for relays with keys.
    pub key: Option<SecretKey>,
    /// Threads that the sessions are spread over, at least one.
    pub threads: usize,
}

/// Where a relay serves HTTP without TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAt {
    /// On WebSocket without TLS the relay itself. Otherwise port 8000 of this machine, for a relay that is on it; nobody is asked
    /// about another one, since this machine may have a relay as well.
    Usual,
    /// At this host and port, like `localhost:8000`.
    Given(String),
    /// Nobody is asked.
    Nowhere,
}

impl AdminAt {
    /// The host and port to ask about a relay that has this address.
    fn of(&self, relay: &Address, remote: SocketAddr) -> Option<String> {
        match self {
            Self::Usual if relay.carrier == Carrier::WebSocket && !relay.encrypted => Some(relay.authority()),
            Self::Usual => remote.ip().is_loopback().then(|| format!("localhost:{}", Config::HTTP_PORT)),
            Self::Given(at) => Some(at.clone()),
            Self::Nowhere => None,
        }
    }
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
        let admin = match self.admin.of(&address, remote) {
            Some(at) => Admin::of(&at, &address).await,
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
    fn a_relay_of_this_machine_is_not_asked_about_another_one() {
        let asked = |admin: AdminAt, url: &str, remote: &str| {
            let address = Address::parse(url, &Options::default()).unwrap();
            admin.of(&address, remote.parse().unwrap())
        };
        let given = || AdminAt::Given("relay.example:8000".to_owned());
        for (admin, url, remote, expected) in [
            (AdminAt::Usual, "https://relay.example:4433/", "192.0.2.1:4433", None),
            (AdminAt::Usual, "wss://relay.example:4433/", "[2001:db8::1]:4433", None),
            (AdminAt::Usual, "ws://relay.example:8000/", "192.0.2.1:8000", Some("relay.example:8000")),
            (AdminAt::Usual, "https://localhost:4433/", "127.0.0.1:4433", Some("localhost:8000")),
            (AdminAt::Usual, "quic://localhost:4433/", "[::1]:4433", Some("localhost:8000")),
            (AdminAt::Usual, "ws://localhost:8000/", "[::1]:8000", Some("localhost:8000")),
            (given(), "https://relay.example:4433/", "192.0.2.1:4433", Some("relay.example:8000")),
            (AdminAt::Nowhere, "ws://localhost:8000/", "127.0.0.1:8000", None),
        ] {
            assert_eq!(asked(admin.clone(), url, remote).as_deref(), expected, "{admin:?} {url}");
        }
    }

    #[test]
    fn another_machine_is_loaded_if_it_is_named_twice() {
        let may = |elsewhere: Option<&str>, addresses: &[&str]| {
            let target = Target {
                url: String::new(),
                elsewhere: elsewhere.map(str::to_owned),
                admin: AdminAt::Nowhere,
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
