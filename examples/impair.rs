//! A bad network between browsers and a relay on this machine.
//!
//! ```sh
//! cargo run -- --listen 127.0.0.1:4433                                    # the relay
//! cargo run --example impair -- "delay 30ms loss 2%" "down rate 1mbit"    # the network, in another terminal
//! ```
//!
//! Then open <http://127.0.0.2:8000/>: the page, WebTransport and WebSocket all come through the network. Lines that are
//! typed while it runs change it: `block udp`.

#[path = "../tests/support"]
#[allow(dead_code, reason = "the tests use the rest")]
mod support {
    pub mod impair;
}

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io, thread};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use support::impair::Proxy;
use support::impair::network::{Direction, Network};
use support::impair::script::{Change, Script};

/// Be a bad network between clients and a relay, for UDP and TCP.
///
/// The relay tells pages on which port WebTransport is, and pages look for it at the address that they came from. So the
/// network has the relay's ports, at another address. The relay must leave that address free: start it with `--listen
/// 127.0.0.1:4433`. Linux and Windows have 127.0.0.2 by themselves; on macOS: `sudo ifconfig lo0 alias 127.0.0.2`.
#[derive(Debug, Parser)]
#[command(about, long_about, after_long_help = Script::GRAMMAR)]
struct Arguments {
    /// What the network does: lines of a script, such as "delay 30ms loss 2%" or "at 5s down rate 500kbit"
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
    /// A file with more such lines, which come first
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// The address at which clients find the network
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)))]
    listen: IpAddr,
    /// The relay's address
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    relay: IpAddr,
    /// A port of the relay; give it again for more
    #[arg(long, value_name = "PORT", default_values_t = [4433, 8000])]
    port: Vec<u16>,
    /// Chance is the same for the same seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let network = Arc::new(Network::new(arguments.script()?, arguments.seed));
    let mut tasks = JoinSet::new();
    tasks.spawn(network.clone().run());
    let mut proxies = Vec::new();
    for port in &arguments.port {
        let (listen, relay) = (SocketAddr::new(arguments.listen, *port), SocketAddr::new(arguments.relay, *port));
        let proxy = Proxy::bind(listen, relay, network.clone()).await.with_context(|| {
            format!("cannot listen on {listen}; is the relay started with --listen {relay}, so that it is free?")
        })?;
        println!("{listen} leads to {relay}");
        proxies.push(proxy);
    }
    println!("Type a line to change the network, like: down rate 500kbit. Press Ctrl-C to stop.");
    let mut lines = typed();
    loop {
        tokio::select! {
            Some(line) = lines.recv() => apply(&network, &line),
            stop = tokio::signal::ctrl_c() => {
                stop?;
                report(&network);
                return Ok(());
            }
        }
    }
}

impl Arguments {
    fn script(&self) -> Result<Script> {
        let mut text = String::new();
        if let Some(path) = &self.script {
            text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        for line in &self.lines {
            text += "\n";
            text += line;
        }
        Ok(text.parse()?)
    }
}

/// What is typed. A thread of its own reads it, which ends with the program.
fn typed() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn apply(network: &Network, line: &str) {
    match line.parse::<Change>() {
        _ if line.trim().is_empty() => report(network),
        Ok(change) => {
            network.apply(&change);
            println!("{:.1}s: {}", network.elapsed().as_secs_f64(), line.trim());
        }
        Err(mistake) => println!("{mistake}"),
    }
}

fn report(network: &Network) {
    for (name, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
        println!("{name:4} {}", network.counts(direction));
    }
}
