//! A certificate that is exchanged while the relay runs: new handshakes get the new one, and meetings go on.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use support::quic::{join, soon};
use support::{Directory, https};
use tertulia::config::{CertificateSource, Config, HistoryPlace};
use tertulia::relay::Relay;
use tokio::time::{sleep, timeout};

/// A second, and something for a machine that is busy.
const SOON: Duration = Duration::from_secs(3);

/// Writes a new certificate for this name, and gives it back.
fn write_certificate(directory: &Path, name: &str) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(directory.join("chain.pem"), certificate.pem()).unwrap();
    certificate.der().to_vec()
}

async fn certificate_over_tls(address: SocketAddr) -> Vec<u8> {
    let stream = https::connect(address, &[&rustls::version::TLS13], &[b"http/1.1"]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn d5_new_handshakes_get_the_new_certificate_and_a_broken_one_is_passed_over() {
    let directory = Directory::new();
    let old = write_certificate(directory.path(), "old.example");
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    let relay = Relay::start(Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        http: Vec::new(),
        certificate: CertificateSource::Files { chain: chain.clone(), key },
        history: HistoryPlace::Memory,
        data_directory: None,
        ..Config::default()
    })
    .unwrap();
    let address = relay.address();
    let member = join(address, "house").await.unwrap();
    assert_eq!(certificate_over_tls(address).await, old);

    fs::write(&chain, "no certificate").unwrap();
    let changed = async {
        while certificate_over_tls(address).await == old {
            sleep(Duration::from_millis(100)).await;
        }
    };
    // Several looks at the file later.
    assert!(timeout(Duration::from_millis(1500), changed).await.is_err(), "a broken file changes nothing");

    let new = write_certificate(directory.path(), "new.example");
    let exchanged = async {
        while certificate_over_tls(address).await != new {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, exchanged).await.expect("the new certificate is in use");
    let newcomer = join(address, "house").await.unwrap();
    let identity = newcomer.connection.peer_identity().unwrap();
    let shown = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
    assert_eq!(shown[0].to_vec(), new, "over QUIC too");
    assert!(member.connection.close_reason().is_none(), "who was there notices nothing");
    soon("the end", relay.stop()).await;
}
