//! Audio and video through bad networks to one subscriber, by each congestion control: how late they are, how much is usable,
//! and what stands in the bottleneck's queue. Where more is offered than passes, video has layers, there is chat, and a plain
//! relay stands beside.
//!
//! `cargo bench --bench networks` runs all networks, each for all controls and carriers at once; `-- falling` runs one.

mod layers;
mod meeting;
mod network;
mod newcomer;
mod plain;
mod plot;
mod repair;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod targets;

use std::env;

use futures_util::future::join_all;
use tertulia::transport::Congestion;

use meeting::{Meeting, Record};
use network::Network;

/// What goes over UDP, by scheme.
const CARRIERS: [(&str, &str); 2] = [("QUIC", "quic"), ("WebTransport", "https")];

/// One meeting through one network.
struct Row {
    network: &'static Network,
    /// `None`: a relay that does none of all this.
    congestion: Option<Congestion>,
    carrier: &'static str,
    record: Record,
}

impl Row {
    fn control(&self) -> &'static str {
        match self.congestion {
            Some(congestion) => congestion.label(),
            None => "plain",
        }
    }
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo test --benches`: whether it runs at all.
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let chosen = |network: &&'static Network| {
        let mut names = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
        names.peek().is_none() || names.any(|name| network.name.contains(name.as_str()))
    };
    let networks: Vec<_> = network::ALL.iter().filter(chosen).take(if is_test { 1 } else { usize::MAX }).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    let mut rows = Vec::new();
    for network in &networks {
        println!("{}: {}", network.name, network.script.replace('\n', ", "));
        let through = runtime.block_on(through(network, is_test));
        print!("{}", table::render(&through));
        print!("{}", targets::render(&through));
        rows.extend(through);
    }
    let is_newcomer = |argument: &String| newcomer::NAME.contains(argument.as_str());
    if networks.len() == network::ALL.len() || is_test || arguments.iter().any(is_newcomer) {
        println!("{}", newcomer::NAME);
        print!("{}", runtime.block_on(newcomer::run(meeting::picture(), is_test)));
    }
    let mut repaired = repair::head();
    let is_chosen = |lossy: &&'static repair::Lossy| {
        let mut names = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
        names.peek().is_none() || names.any(|name| name == "repair" || lossy.name.contains(name.as_str()))
    };
    for lossy in repair::ALL.iter().filter(is_chosen).take(if is_test { 1 } else { usize::MAX }) {
        let through = runtime.block_on(repair::through(lossy, if is_test { 1 } else { repair::SECONDS }));
        print!("{}{through}", repair::head());
        repaired += &through;
    }
    if !is_test && networks.len() == network::ALL.len() {
        table::write(&rows, &repaired);
        plot::write(&rows);
    }
}

async fn through(network: &'static Network, is_test: bool) -> Vec<Row> {
    let seconds = if is_test { 1 } else { network.seconds };
    let meetings = Congestion::ALL.iter().flat_map(|congestion| {
        CARRIERS.iter().map(async |(carrier, scheme)| {
            let record = Meeting::start(network, *congestion, scheme).await.run(seconds).await;
            Row { network, congestion: Some(*congestion), carrier, record }
        })
    });
    let plain = async {
        let record = plain::run(network, seconds).await;
        Row { network, congestion: None, carrier: "QUIC", record }
    };
    let (mut rows, plain) =
        tokio::join!(join_all(meetings), async { if network.has_layers { Some(plain.await) } else { None } });
    rows.extend(plain);
    rows
}
