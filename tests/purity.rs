//! The core names no socket, runtime, clock, random source, file or environment: the same input gives the same output.

use std::fs;
use std::path::{Path, PathBuf};

/// What is pure, relative to `src`.
const CORE: [&str; 28] = [
    "now.rs",
    "wire",
    "wire.rs",
    "room",
    "room.rs",
    "media",
    "media.rs",
    "auth",
    "auth.rs",
    "limits",
    "limits.rs",
    "load/advice.rs",
    "load/counts.rs",
    "load/finding.rs",
    "load/flow.rs",
    "load/obstacle.rs",
    "load/outcome.rs",
    "load/pace.rs",
    "load/plan.rs",
    "load/profile.rs",
    "load/receiver.rs",
    "load/report.rs",
    "load/search.rs",
    "load/report",
    "transport/origin.rs",
    "transport/host.rs",
    "transport/congestion/round.rs",
    "transport/congestion/window.rs",
];

/// What a pure module must not name, and why.
const FORBIDDEN: [(&str, &str); 20] = [
    ("tokio", "a runtime"),
    ("quinn", "a carrier"),
    ("wtransport", "a carrier"),
    ("axum", "a carrier"),
    ("tungstenite", "a carrier"),
    ("socket2", "a socket"),
    ("std::net", "a socket"),
    ("std::fs", "a file"),
    ("std::io", "a file"),
    ("std::env", "the environment"),
    ("std::thread", "a thread"),
    ("Instant", "a clock"),
    ("SystemTime", "a clock"),
    ("rand", "randomness"),
    ("getrandom", "randomness"),
    ("ring", "randomness"),
    ("SystemRandom", "randomness"),
    ("HashMap", "an order that differs from run to run"),
    ("HashSet", "an order that differs from run to run"),
    ("async", "waiting"),
];

/// What one part may name all the same: `auth` checks signatures with ring, and its source of randomness has another name.
const ALLOWED: [(&str, &str); 1] = [("auth", "ring")];

/// The shell's modules, which the core must not import.
const SHELL: [&str; 7] = [
    "crate::transport",
    "crate::relay",
    "crate::http",
    "crate::history",
    "crate::client",
    "crate::config",
    "crate::command",
];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.into()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|entry| sources(&entry)).collect()
}

/// Whether `word` stands in `line` by itself, not as a part of another word.
fn names(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

/// What is wrong with a source, line by line. Comments may name anything.
fn violations(part: &str, source: &str) -> Vec<String> {
    let code = source.lines().zip(1..).map(|(line, number)| (line.split("//").next().unwrap_or_default(), number));
    let found = code.flat_map(|(line, number)| {
        let forbidden = FORBIDDEN.iter().filter(move |(word, _)| names(line, word) && !ALLOWED.contains(&(part, word)));
        let shell = SHELL.iter().filter(move |module| names(line, module));
        let forbidden = forbidden.map(move |(word, why)| format!("{number}: {word} is {why}"));
        forbidden.chain(shell.map(move |module| format!("{number}: {module} belongs to the shell")))
    });
    found.collect()
}

#[test]
fn the_core_is_pure() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    let parts = CORE.iter().flat_map(|part| sources(&src.join(part)).into_iter().map(move |source| (part, source)));
    for (part, source) in parts {
        let violations = violations(part, &fs::read_to_string(&source).unwrap());
        assert!(violations.is_empty(), "{}: {violations:#?}", source.display());
        seen += 1;
    }
    assert!(seen > 15, "only {seen} files were read");
}

#[test]
fn the_check_can_fail() {
    for (part, source, expected) in [
        ("room", "use tokio::sync::mpsc;", 1),
        ("room", "let now = std::time::Instant::now();", 1),
        ("room", "let x: u8 = rand::random();\nuse crate::relay::Relay;", 2),
        ("room", "// tokio may be named in a comment", 0),
        ("room", "let operand = brand + strands; // words that only contain one", 0),
        ("room", "use ring::hmac;", 1),
        ("auth", "use ring::hmac;", 0),
        ("auth", "ring::rand::SystemRandom::new()", 2),
    ] {
        assert_eq!(violations(part, source).len(), expected, "{source}");
    }
}
