//! The fuzz targets over their corpora (`fuzz/corpus/`), and over inputs that are made of them. `tests/fuzz` looks for more.
//!
//! `TERTULIA_CORPORA_INPUTS=1000000` tries out so many, all targets together.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
mod bodies;

use bodies::{Body, TARGETS};

/// As much as one message, and a little more.
const INPUT_BYTES_MAX: usize = 70_000;

/// Chance that is the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound.max(1) as u64) as usize
    }

    /// An input like those of a corpus, changed in a few places.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(8) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                2 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfd, 0xff][self.below(8)],
                3 => bytes.truncate(at),
                4 => bytes.insert(at, self.below(256) as u8),
                5 => _ = bytes.drain(at..(at + self.below(8)).min(bytes.len())),
                6 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ => {
                    let end = (at + self.below(64)).min(bytes.len());
                    bytes.extend_from_within(at..end);
                }
            }
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Names the input if it fails.
fn try_out(target: &str, body: Body, bytes: &[u8], origin: &str) {
    if let Err(problem) = panic::catch_unwind(AssertUnwindSafe(|| body(bytes))) {
        eprintln!("{target} fails with {origin}: {bytes:02x?}");
        panic::resume_unwind(problem);
    }
}

#[test]
fn every_input_of_the_corpora_passes() {
    let (mut files, mut size) = (0, 0);
    for (target, body) in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{target} has no corpus");
        for (path, bytes) in corpus {
            try_out(target, body, &bytes, &path.display().to_string());
            files += 1;
            size += bytes.len();
        }
    }
    assert!(files < 200 && size < 500_000, "{files} files of {size} bytes are too many to keep");
}

#[test]
fn inputs_made_of_the_corpora_pass() {
    let inputs = std::env::var("TERTULIA_CORPORA_INPUTS").map_or(35_000, |count| count.parse().unwrap());
    for (target, body) in TARGETS {
        let corpus: Vec<_> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
        for seed in 0..inputs / TARGETS.len() as u64 {
            let bytes = Dice(seed).mutation(&corpus);
            try_out(target, body, &bytes, &format!("seed {seed}"));
        }
    }
}
