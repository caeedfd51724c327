use std::io::{IsTerminal, Write};

use anyhow::Context;
use tertulia::relay::Relay;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::greeting::Greeting;
use super::settings::{QrChoice, Settings};
use super::signal::StopSignals;

/// Runs a relay until it is told to stop.
pub fn serve(settings: &Settings) -> anyhow::Result<()> {
    start_log(settings.log())?;
    let mut relay = Relay::start(settings.config()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything is printed: who reads that the relay runs may stop it at once.
        let mut signals = StopSignals::listen()?;
        greet(&relay, settings.qr());
        tokio::select! {
            () = signals.next() => {}
            () = relay.ended() => anyhow::bail!("the relay's thread ended; its log says why"),
        }
        say("Stopping: telling everyone.");
        tokio::select! {
            () = relay.stop() => {}
            () = signals.next() => say("Stopped at once: not everyone was told."),
        }
        Ok(())
    })
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let parsed =
        EnvFilter::try_new(filter).with_context(|| format!("--log {filter} is not a filter; try info or debug"))?;
    let log = tracing_subscriber::fmt::layer().with_target(false);
    let log = log.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(log.with_filter(parsed.and(filter_fn(is_discreet)))).init();
    Ok(())
}

/// Whether something can be logged: tungstenite traces whole frames, and in them are tokens, tickets and chat.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    !(metadata.target().starts_with("tungstenite") && *metadata.level() == Level::TRACE)
}

/// Prints where the relay is reached. A closed standard output is no reason to stop.
fn greet(relay: &Relay, qr: QrChoice) {
    let greeting = Greeting::of(relay);
    greeting.lines().iter().for_each(|line| say(line));
    let is_wanted = match qr {
        QrChoice::Auto => std::io::stdout().is_terminal(),
        QrChoice::Always => true,
        QrChoice::Never => false,
    };
    if let Some(code) = greeting.qr_code().filter(|_| is_wanted) {
        say(&code);
    }
    say("Press Ctrl-C to stop.");
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
