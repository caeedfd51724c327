//! The `tertulia` command, as a person uses it.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::Directory;

fn tertulia(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    tertulia(arguments).output().unwrap()
}

/// A relay that has printed where it is reached.
fn serve(directory: &Directory) -> (Child, String) {
    let certificates = directory.path().to_str().unwrap();
    let anywhere = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let kept = ["--certificate-dir", certificates, "--data-dir", certificates];
    started(tertulia(&[&anywhere[..], &kept[..]].concat()).spawn().unwrap())
}

fn started(mut child: Child) -> (Child, String) {
    let mut printed = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    while !printed.contains("Ctrl-C") {
        assert!(lines.read_line(&mut printed).unwrap() > 0, "it ended early: {printed}");
    }
    child.stdout = Some(lines.into_inner());
    (child, printed)
}

fn stop(mut child: Child, signal: &str) {
    let begin = Instant::now();
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
}

#[test]
fn it_serves_until_it_is_told_to_stop_and_keeps_its_certificate() {
    let directory = Directory::new();
    let (first, printed) = serve(&directory);
    stop(first, "-INT");
    let (second, again) = serve(&directory);
    stop(second, "-TERM");
    let hash = |text: &str| text.lines().find(|line| line.contains("SHA-256")).map(str::to_owned);
    assert!(hash(&printed).is_some_and(|hash| hash.len() > 64));
    assert_eq!(hash(&printed), hash(&again));
}

#[cfg(unix)]
#[test]
fn who_tells_it_twice_does_not_wait() {
    let directory = Directory::new();
    let (mut child, printed) = serve(&directory);
    let (_, page) = printed.split_once("http://127.0.0.1:").unwrap();
    let mut silent = TcpStream::connect(format!("127.0.0.1:{}", page.split('/').next().unwrap())).unwrap();
    silent.write_all(UPGRADE).unwrap();
    let mut answer = [0; 12];
    silent.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    // It says no goodbye, and is waited for.
    let twice = format!("kill -INT {0}; kill -TERM {0}", child.id());
    assert!(Command::new("sh").args(["-c", &twice]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("Stopped at once"), "{said}");
}

/// What a plain WebSocket client says first (RFC 6455, section 1.3).
#[cfg(unix)]
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[cfg(unix)]
#[test]
fn private_keys_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    stop(serve(&directory).0, "-TERM");
    for name in ["development.key", "endpoint.keys"] {
        let key = std::fs::metadata(directory.path().join(name)).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_damaged_or_old_certificate_is_replaced() {
    let directory = Directory::new();
    std::fs::write(directory.path().join("development.pem"), "nonsense").unwrap();
    let (child, printed) = serve(&directory);
    assert!(printed.contains("SHA-256"));
    stop(child, "-TERM");
}

#[test]
fn mistakes_are_explained_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let directory = Directory::new();
    let file = directory.path().join("tertulia.toml");
    std::fs::write(&file, "listen = '127.0.0.1:0'\nlitsen = 'x'\n").unwrap();
    let file = file.to_str().unwrap();
    let certificates = directory.path().to_str().unwrap();
    let free = ["--listen", "127.0.0.1:0", "--certificate-dir", certificates, "--data-dir", certificates, "--http"];
    let origin = [&free[..], &["127.0.0.1:0", "--origin", "app.example"]].concat();
    for (arguments, code, expected) in [
        (vec!["--no-such-option"], 2, "unexpected argument '--no-such-option'"),
        (vec!["--rooms", "many"], 2, "invalid value 'many'"),
        ([&free[..], &[&*taken]].concat(), 78, "another program uses port"),
        (origin, 78, "--origin app.example is not an origin"),
        (vec!["--http", "nonsense"], 78, "is not an address and a port"),
        (vec!["--certificate", "missing.pem"], 78, "--certificate needs --private-key"),
        (vec!["--certificate", "missing.pem", "--private-key", "missing.key"], 78, "cannot read missing.pem"),
        (vec!["--config", "missing.toml"], 78, "cannot read missing.toml"),
        (vec!["--config", file], 78, "line 2: unknown field `litsen`"),
        (vec!["--log", "x=y=z"], 78, "is not a filter"),
    ] {
        let output = run(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(code == 2 || error.trim_end().lines().count() == 1, "{arguments:?}: {error}");
    }
}

#[test]
fn nothing_invites_others_to_a_relay_that_they_cannot_reach() {
    let directory = Directory::new();
    let kept = directory.path().to_str().unwrap();
    let anywhere = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--qr", "always"];
    let kept = ["--certificate-dir", kept, "--data-dir", kept];
    let (child, printed) = started(tertulia(&[&anywhere[..], &kept[..]].concat()).spawn().unwrap());
    assert!(printed.contains("Page:  http://127.0.0.1:"), "{printed}");
    assert!(!printed.contains("others on this network") && !printed.contains('█'), "{printed}");
    stop(child, "-TERM");
}

#[test]
fn help_names_every_default() {
    let output = run(&["serve", "--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    for part in
        ["--listen", "[default: [::]:4433]", "--http", "localhost:8000", "--certificate", "--config", "--log", "--qr"]
    {
        assert!(help.contains(part), "{part} is missing in {help}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn m14_without_file_descriptors_it_waits_until_there_are_some() {
    let directory = Directory::new();
    let kept = directory.path().to_str().unwrap();
    let script = format!(
        "ulimit -n 48; exec {} serve --listen 127.0.0.1:0 --http 127.0.0.1:0 --certificate-dir {kept} --data-dir {kept}",
        env!("CARGO_BIN_EXE_tertulia")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (child, printed) = started(command.spawn().unwrap());
    let (_, page) = printed.split_once("http://127.0.0.1:").unwrap();
    let address = format!("127.0.0.1:{}", page.split('/').next().unwrap());
    let health = |mut stream: TcpStream, patience_s| {
        stream.set_read_timeout(Some(Duration::from_secs(patience_s))).unwrap();
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    let first = TcpStream::connect(&address).unwrap();
    let many: Vec<_> = (0..100).map(|_| TcpStream::connect(&address).unwrap()).collect();
    // The kernel has taken it, and the relay cannot, until it gives up those that say nothing.
    assert!(health(TcpStream::connect(&address).unwrap(), 4).is_err());
    drop(many);
    assert!(health(TcpStream::connect(&address).unwrap(), 20).unwrap().ends_with("ok\n"));
    drop(first);
    stop(child, "-TERM");
}

#[test]
fn a_closed_standard_output_does_not_end_it() {
    let directory = Directory::new();
    let (mut child, _) = serve(&directory);
    drop(child.stdout.take());
    let mut log = child.stderr.take().unwrap();
    stop(child, "-TERM");
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(!text.contains("panicked"), "{text}");
}
