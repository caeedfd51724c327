//! What the command line offers.

mod greeting;
mod load;
mod secret;
mod serve;
mod settings;
mod signal;
mod time;
mod token;

use clap::{Args, Parser, Subcommand};

use load::Load;
use settings::Settings;
use token::Token;

/// A low-latency relay for online meetings over WebTransport, QUIC and WebSocket.
///
/// Without a command it serves: `tertulia` is `tertulia serve`.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a relay until Ctrl-C or SIGTERM.
    Serve(Box<Serve>),
    /// Make an access token and print it.
    Token(Token),
    /// Load a relay with real sessions, and say what became of what they sent.
    Load(Box<Load>),
}

#[derive(Debug, Args)]
struct Serve {
    /// A TOML file with the same settings, by the same names: `listen = "[::]:4433"`. What is given here comes before it.
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Command {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong and what to do about it, in one line.
    pub fn run(self) -> anyhow::Result<()> {
        let Serve { config, settings } = match self.action {
            Some(Action::Serve(serve)) => *serve,
            Some(Action::Token(token)) => return token.print(),
            Some(Action::Load(load)) => return load.run(),
            None => self.serve,
        };
        let settings = match config {
            Some(path) => settings.or(Settings::read(&path)?),
            None => settings,
        };
        serve::serve(&settings)
    }
}
