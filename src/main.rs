//! The `tertulia` command: `tertulia serve` runs a relay.

mod command;

use std::process::ExitCode;

use clap::Parser;

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
