//! Real media goes through unharmed: files made by ffmpeg are published, relayed and recorded over each pair of carriers,
//! and every decoded frame of the recording is the one that went in.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::{Directory, TestRelay};
use tertulia::limits::Limits;
use tertulia::wire::DropReason;

const CARRIERS: [&str; 3] = ["https", "quic", "ws"];

/// Only a hang reaches it.
const SECONDS_MAX: &str = "60";

fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_tertulia")).parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "cargo test builds {}", path.display());
    path
}

fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ffmpeg(arguments: &[&str]) -> String {
    let output = Command::new("ffmpeg").args(["-hide_banner", "-loglevel", "error"]).args(arguments).output();
    succeed(output.expect("ffmpeg is installed: run make setup"))
}

fn path(directory: &Directory, name: &str) -> String {
    directory.path().join(name).to_str().unwrap().to_owned()
}

/// Two seconds of a moving picture and of a tone. The tone ends with an Opus frame: Ogg can cut the last one short, media
/// datagrams cannot.
fn make_media(directory: &Directory) -> (String, String) {
    let (ivf, ogg) = (path(directory, "in.ivf"), path(directory, "in.ogg"));
    let picture = "testsrc=size=320x180:rate=30:duration=2";
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        picture,
        "-c:v",
        "libvpx",
        "-b:v",
        "800k",
        "-g",
        "30",
        "-deadline",
        "realtime",
        &ivf,
    ]);
    let tone = "sine=frequency=440:sample_rate=48000,atrim=end_sample=95688";
    ffmpeg(&["-f", "lavfi", "-i", tone, "-c:a", "libopus", "-b:a", "64k", &ogg]);
    (ivf, ogg)
}

/// The checksum of every decoded frame, with its time and size.
fn frames(file: &str) -> String {
    ffmpeg(&["-i", file, "-f", "framemd5", "-"])
}

/// Sends the files through the relay and returns what was recorded.
fn relay_media(
    relay: &TestRelay,
    files: (&str, &str),
    from: &str,
    to: &str,
    room: &str,
    directory: &Directory,
) -> (String, String) {
    let hash: String = relay.relay.certificate_sha256().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let command = |name: &str, carrier: &str| {
        let mut command = Command::new(example(name));
        command.args(["--url", &relay.url(carrier), "--room", room, "--certificate-hash", &hash]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let out = path(directory, room);
    let mut recorder = command("record", to);
    let mut recorder = recorder.args(["--out", &out, "--tracks", "2", "--seconds", SECONDS_MAX]).spawn().unwrap();
    let mut lines = BufReader::new(recorder.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert_eq!(first.trim(), "recording");
    succeed(command("publish", from).args(["--ivf", files.0, "--ogg", files.1, "--wait-for", "1"]).output().unwrap());
    recorder.stdout = Some(lines.into_inner());
    succeed(recorder.wait_with_output().unwrap());
    (recorded(directory, room, ".ivf"), recorded(directory, room, ".ogg"))
}

fn recorded(directory: &Directory, prefix: &str, suffix: &str) -> String {
    let entries = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.filter_map(|path| path.to_str().map(str::to_owned));
    let mut found = names.filter(|name| name.contains(&format!("/{prefix}-")) && name.ends_with(suffix));
    let file = found.next().unwrap_or_else(|| panic!("no {suffix} of {prefix} was recorded"));
    assert_eq!(found.next(), None, "one {suffix} of {prefix}");
    file
}

#[test]
fn what_was_recorded_is_what_was_published_over_each_pair_of_carriers() {
    let directory = Directory::new();
    let (ivf, ogg) = make_media(&directory);
    let (video, audio) = (frames(&ivf), frames(&ogg));
    assert_eq!(video.lines().filter(|line| !line.starts_with('#')).count(), 60);
    let relay = TestRelay::start(Limits::default());
    let differs = |from, to, room: &str| {
        let (out_video, out_audio) = relay_media(&relay, (&ivf, &ogg), from, to, room, &directory);
        let [same_video, same_audio] = [frames(&out_video) == video, frames(&out_audio) == audio];
        (!same_video || !same_audio).then(|| format!("from {from} to {to}: video {same_video}, audio {same_audio}"))
    };
    for from in CARRIERS {
        let before = left_out(&relay);
        let differing: Vec<_> = std::thread::scope(|scope| {
            let pairs = CARRIERS.map(|to| scope.spawn(move || differs(from, to, &format!("{from}-{to}"))));
            CARRIERS.into_iter().zip(pairs.map(|pair| pair.join().unwrap())).collect()
        });
        for (to, differs_first) in differing {
            let Some(told) = differs_first else { continue };
            // A recorder that stands still for longer than media may wait gets less: by itself it does not.
            assert!(left_out(&relay) > before, "{told}, and nothing was left out");
            assert_eq!(differs(from, to, &format!("again-{from}-{to}")), None, "before: {told}");
        }
    }
}

/// How much the relay has left out because it came too late or the subscriber was too slow.
fn left_out(relay: &TestRelay) -> u64 {
    let text = relay.relay.metrics().text();
    let reasons = [DropReason::Late, DropReason::SubscriberSlow].map(DropReason::label);
    let counted = reasons.map(|reason| {
        let name = format!("tertulia_datagrams_dropped_total{{reason=\"{reason}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&name)).expect("it is counted");
        count.parse::<u64>().expect("it is a number")
    });
    counted.iter().sum()
}
