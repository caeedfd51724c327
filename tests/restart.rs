//! A relay that is killed and started again: its clients learn it at once, because its keys outlive it.

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quinn::ConnectionError;
use support::Directory;
use support::quic::{QuicMember, join};
use tokio::time::timeout;

/// A relay in a process of its own, which is killed without a goodbye.
struct Killable {
    child: Child,
    address: SocketAddr,
}

impl Killable {
    fn start(address: &str, certificates: &Directory, data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
        command.args(["serve", "--http", "none", "--log", "warn", "--listen", address]);
        command.arg("--certificate-dir").arg(certificates.path()).arg("--data-dir").arg(data);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut printed = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !printed.contains("Ctrl-C") {
            assert!(lines.read_line(&mut printed).unwrap() > 0, "it ended early: {printed}");
        }
        let (_, after) = printed.split_once("https://127.0.0.1:").unwrap();
        let port = after.split('/').next().unwrap().parse().unwrap();
        Self { child, address: ([127, 0, 0, 1], port).into() }
    }

    /// The one that takes the place of this one.
    fn replaced(mut self, certificates: &Directory, data: &Path) -> Self {
        let address = self.address.to_string();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Self::start(&address, certificates, data)
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Far less than the idle timeout of ten seconds; the clients say something every 200 ms.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn d1_every_client_of_a_relay_that_was_killed_learns_it_at_once() {
    let (certificates, data) = (Directory::new(), Directory::new());
    let relay = Killable::start("127.0.0.1:0", &certificates, data.path());
    let address = relay.address;
    let mut members: Vec<QuicMember> = Vec::new();
    for _ in 0..20 {
        members.push(join(address, "house").await.unwrap());
    }
    let _again = relay.replaced(&certificates, data.path());
    let all = async {
        for member in &members {
            let ended = member.connection.closed().await;
            assert_eq!(ended, ConnectionError::Reset);
        }
    };
    timeout(AT_ONCE, all).await.expect("a stateless reset comes at once");
    join(address, "house").await.expect("the relay is there again");
}

#[tokio::test]
async fn with_other_keys_a_client_would_not_learn_it() {
    let (certificates, data, other) = (Directory::new(), Directory::new(), Directory::new());
    let relay = Killable::start("127.0.0.1:0", &certificates, data.path());
    let member = join(relay.address, "house").await.unwrap();
    let _again = relay.replaced(&certificates, other.path());
    assert!(timeout(AT_ONCE, member.connection.closed()).await.is_err(), "whose reset was that?");
}
