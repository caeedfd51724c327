//! The `tertulia` command: `tertulia serve` runs a relay.

#![warn(clippy::unwrap_used)]

mod command;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Each packet of each connection is allocated and freed.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match command::Command::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tertulia: {error:#}");
            // EX_CONFIG of sysexits(3): nothing that trying again would change.
            ExitCode::from(78)
        }
    }
}
