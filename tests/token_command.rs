//! `tertulia token`, as a person uses it.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use support::Directory;
use tertulia::auth::{Grant, Keys, SecretKey, Sources};
use tertulia::now::Now;
use tertulia::wire::{DisplayName, Identity, RoomName};

const SECRET: &str = "canary-canary-canary-canary-canary";
const PARTICIPANT: [&str; 4] = ["--room", "standup", "--identity", "ana"];

fn run(arguments: &[&str], secret: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia"));
    command.arg("token").args(arguments).stdin(Stdio::null()).env_remove("TERTULIA_SECRET");
    if let Some(secret) = secret {
        command.env("TERTULIA_SECRET", secret);
    }
    command.output().unwrap()
}

fn keys_file(directory: &Directory, text: &str) -> String {
    let path = directory.path().join("keys.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Now { since_start: Duration::ZERO, unix_ms: unix.as_millis() as u64 }
}

/// What a printed token grants, if it was signed with that secret.
fn granted(output: &Output, api_key: &str, secret: &str) -> Grant {
    assert!(output.status.success(), "{output:?}");
    let printed = str::from_utf8(&output.stdout).unwrap();
    assert!(printed.ends_with('\n') && printed.lines().count() == 1, "{printed}");
    let keys = Keys::default().with_secret(SecretKey::new(api_key, secret).unwrap()).unwrap();
    keys.verify(printed.trim_end(), now()).unwrap()
}

#[test]
fn every_option_is_in_the_token() {
    let directory = Directory::new();
    let keys = keys_file(&directory, &format!("[secrets]\napplication = '{SECRET}'\n"));
    let standup = Grant {
        identity: Some(Identity::parse("ana").unwrap()),
        ..Grant::everyone(RoomName::parse("standup").unwrap())
    };
    let cases: [(&[&str], Grant, u64); 9] = [
        (&[], standup.clone(), 6 * 3600),
        (&["--publish"], standup.clone(), 6 * 3600),
        (&["--no-publish"], Grant { publish: Sources::NONE, ..standup.clone() }, 6 * 3600),
        (&["--no-subscribe"], Grant { subscribe: false, ..standup.clone() }, 6 * 3600),
        (&["--no-chat"], Grant { chat: false, ..standup.clone() }, 6 * 3600),
        (&["--hidden"], Grant { hidden: true, ..standup.clone() }, 6 * 3600),
        (&["--admin"], Grant { admin: true, ..standup.clone() }, 6 * 3600),
        (&["--valid-for", "90s"], standup.clone(), 90),
        (
            &["--name", "Ana María", "--valid-for", "30d", "--api-key", "application"],
            Grant { name: Some(DisplayName::parse("Ana María").unwrap()), ..standup },
            30 * 24 * 3600,
        ),
    ];
    for (options, expected, valid_for_s) in cases {
        let before = now().unix_ms / 1000;
        let output = run(&[&["--keys", &keys][..], &PARTICIPANT, options].concat(), None);
        let after = now().unix_ms / 1000;
        let grant = granted(&output, "application", SECRET);
        let expires_at_s = grant.expires_at_ms.unwrap() / 1000;
        assert!((before..=after).contains(&(expires_at_s - valid_for_s)), "{options:?}: {expires_at_s}");
        assert_eq!(Grant { expires_at_ms: None, ..grant }, expected, "{options:?}");
    }
}

#[test]
fn the_secret_comes_from_the_file_or_the_environment() {
    let directory = Directory::new();
    let other = SECRET.replace("canary", "parrot");
    let keys = keys_file(&directory, &format!("[secrets]\none = '{SECRET}'\ntwo = '{other}'\n"));
    let output = run(&[&["--keys", &keys, "--api-key", "two"][..], &PARTICIPANT].concat(), None);
    granted(&output, "two", &other);
    let output = run(&[&["--api-key", "three"][..], &PARTICIPANT].concat(), Some(SECRET));
    granted(&output, "three", SECRET);
    // Both are there: what was given by hand counts.
    let output = run(&[&["--keys", &keys, "--api-key", "one"][..], &PARTICIPANT].concat(), Some(&other));
    granted(&output, "one", SECRET);
}

#[test]
fn mistakes_are_explained_in_one_line_without_the_secret() {
    let directory = Directory::new();
    let keys = keys_file(&directory, &format!("[secrets]\none = '{SECRET}'\ntwo = '{SECRET}'\n"));
    let write = |name: &str, text: &str| {
        let path: PathBuf = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let broken = write("broken.toml", &format!("[secrets]\none = {SECRET}\n"));
    let weak = write("weak.toml", "[secrets]\none = 'canary'\n");
    let empty = write("empty.toml", "");
    for (options, secret, expected) in [
        (vec![], None, "give --keys FILE"),
        (vec!["--api-key", "one"], None, "give --keys FILE, or put the secret into TERTULIA_SECRET"),
        (vec!["--api-key", "one"], Some("canary"), "fewer than 32 bytes"),
        (vec![], Some(SECRET), "give --keys FILE"),
        (vec!["--keys", &keys], None, "has several secrets; choose one with --api-key: one, two"),
        (vec!["--keys", &keys, "--api-key", "three"], None, "has no secret for \"three\"; it has: one, two"),
        (vec!["--keys", &broken], None, "broken.toml, line 2, is not as it has to be"),
        (vec!["--keys", &weak], None, "the secret of \"one\" has fewer than 32 bytes"),
        (vec!["--keys", &empty], None, "has no secret; `tertulia token --help` says how to make one"),
        (vec!["--keys", "missing.toml"], None, "cannot read missing.toml"),
    ] {
        let output = run(&[&options[..], &PARTICIPANT].concat(), secret);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{options:?}: {error}");
        assert!(error.contains(expected) && error.trim_end().lines().count() == 1, "{options:?}: {error}");
        assert!(!error.contains("canary") && output.stdout.is_empty(), "{options:?}: {error}");
    }
}

#[test]
fn what_no_token_can_say_is_refused() {
    let directory = Directory::new();
    let keys = keys_file(&directory, &format!("[secrets]\none = '{SECRET}'\n"));
    for (options, expected) in [
        (vec!["--room", "standup"], "--identity <IDENTITY>"),
        (vec!["--identity", "ana"], "--room <ROOM>"),
        (vec!["--room", "a/b", "--identity", "ana"], "invalid value 'a/b' for '--room <ROOM>'"),
        (vec!["--room", "standup", "--identity", "a@b"], "invalid value 'a@b' for '--identity <IDENTITY>'"),
        (vec!["--room", "standup", "--identity", "ana", "--name", " "], "for '--name <NAME>': it is empty"),
        (vec!["--room", "standup", "--identity", "ana", "--valid-for", "6"], "a number with s, m, h or d"),
        (vec!["--room", "standup", "--identity", "ana", "--publish", "--no-publish"], "cannot be used with"),
        (vec!["--room", "standup", "--identity", "ana", "--secret", "x"], "unexpected argument '--secret'"),
    ] {
        let output = run(&[&["--keys", &keys][..], &options].concat(), None);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {error}");
        assert!(error.contains(expected), "{options:?}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn the_line_in_the_help_makes_a_keys_file() {
    use std::os::unix::fs::PermissionsExt;
    let help = String::from_utf8(run(&["--help"], None).stdout).unwrap();
    let line = help.lines().find(|line| line.contains("openssl rand -base64 32")).unwrap();
    // openssl itself need not be there.
    let directory = Directory::new();
    let openssl = directory.path().join("openssl");
    fs::write(&openssl, format!("#!/bin/sh\n[ \"$*\" = 'rand -base64 32' ] && echo {SECRET}\n")).unwrap();
    fs::set_permissions(&openssl, fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let shell = Command::new("sh").args(["-c", line]).current_dir(directory.path()).env("PATH", path).status();
    assert!(shell.unwrap().success());

    let keys = directory.path().join("keys.toml");
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    let output = run(&[&["--keys", keys.to_str().unwrap()][..], &PARTICIPANT].concat(), None);
    granted(&output, "my-application", SECRET);
}
