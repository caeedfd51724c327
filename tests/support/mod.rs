//! A relay for one test: free ports, a certificate of its own, gone with the test.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "test support: each test uses a part of it, and a failure is a failed test"
)]

pub mod bystander;
pub mod child;
pub mod gapped;
pub mod http;
pub mod https;
pub mod impair;
pub mod quic;
pub mod rate;
pub mod scene;
pub mod session;
pub mod sources;
pub mod stand_in;
pub mod tokens;
pub mod witness;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tertulia::client::{Certificates, Event, Options, RemoteTrack, Room};
use tertulia::config::{CertificateSource, Config, HistoryPlace};
use tertulia::limits::Limits;
use tertulia::relay::{Callbacks, Relay};
use tokio::time::timeout;

/// A directory that is removed with the value.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        Self::under(&std::env::temp_dir())
    }

    /// One in memory where there is such a place: for tests of something else than the disk, which would be their noise.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::under(memory) } else { Self::new() }
    }

    fn under(place: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("tertulia-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = place.join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // A test that was killed left it, and its process id is ours now.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A relay and where it is reached.
pub struct TestRelay {
    pub relay: Relay,
    _certificates: Directory,
}

impl TestRelay {
    pub fn start(limits: Limits) -> Self {
        Self::start_with(limits, Callbacks::default())
    }

    pub fn start_with(limits: Limits, callbacks: Callbacks) -> Self {
        Self::start_config(Config { limits, ..Config::default() }, callbacks)
    }

    /// One with these settings, apart from ports and files.
    pub fn start_config(config: Config, callbacks: Callbacks) -> Self {
        let certificates = Directory::new();
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            http: vec!["127.0.0.1:0".parse().unwrap()],
            certificate: CertificateSource::Development { directory: certificates.path().into() },
            history: HistoryPlace::Memory,
            data_directory: None,
            ..config
        };
        Self { relay: Relay::start_with(config, callbacks).unwrap(), _certificates: certificates }
    }

    /// The relay's URL by scheme.
    pub fn url(&self, scheme: &str) -> String {
        let address = match scheme {
            "ws" | "http" => self.relay.http_address().unwrap(),
            _ => self.relay.address(),
        };
        format!("{scheme}://{address}/")
    }

    /// Options for someone who takes the relay by its certificate.
    pub fn options(&self, name: &str) -> Options {
        let sha256 = self.relay.certificate_sha256().unwrap();
        Options { name: name.into(), certificates: Certificates::Sha256(vec![sha256]), ..Options::default() }
    }

    pub async fn join(&self, scheme: &str, name: &str) -> Room {
        Room::connect(&self.url(scheme), self.options(name)).await.unwrap()
    }
}

/// The next track that a participant is subscribed to.
pub async fn subscribed(room: &Room) -> RemoteTrack {
    /// Long enough that only a hang reaches it.
    const DEADLINE: Duration = Duration::from_secs(40);
    let found = async {
        loop {
            if let Event::TrackSubscribed(track) = room.next_event().await.expect("the room is open") {
                return track;
            }
        }
    };
    timeout(DEADLINE, found).await.expect("who is in a room is subscribed to its tracks")
}
