//! Audio and video through bad networks to one subscriber, by each congestion control: how late they are, how much is usable,
//! and what stands in the bottleneck's queue. Where more is offered than passes, video has layers, there is chat, and a plain
//! relay stands beside.
//!
//! `cargo bench --bench networks` runs all networks: each for both carriers with Tertulia's control and for TCP at once, then for the
//! others, a few at a time. `-- falling` runs one, and `-- falling tertulia QUIC` that with this control and carrier alone, and
//! `-- "60 ms, 5 % in bursts" publisher QUIC seed=2` the rows of loss repair with these words, by another seed.

#[path = "../support/chart.rs"]
mod chart;
mod cut;
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
use repair::Behind;

/// What goes over UDP, by scheme.
const CARRIERS: [(&str, &str); 2] = [("QUIC", "quic"), ("WebTransport", "https")];

/// A relay that does none of all this.
const PLAIN: &str = "plain";

/// Meetings at a time.
const AT_ONCE_MAX: usize = 4;

/// What goes over TCP, which has a control of its own.
const WEBSOCKET: (&str, &str) = ("WebSocket", "wss");

/// One meeting through one network.
struct Row {
    network: &'static Network,
    control: &'static str,
    carrier: &'static str,
    record: Record,
}

fn main() {
    let is_choice = |argument: &String| argument != "--bench" && !argument.starts_with(meeting::SEED);
    let arguments: Vec<_> = env::args().skip(1).filter(is_choice).collect();
    // `cargo test --benches`: whether it runs at all.
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let is_way = |name: &str| {
        ways().any(|way| way.names().contains(&name)) || Behind::ALL.iter().any(|behind| behind.label() == name)
    };
    let (chosen_ways, arguments): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| is_way(argument));
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
        let through = runtime.block_on(through(network, &chosen_ways, is_test));
        print!("{}", table::render(&through));
        print!("{}", targets::render(&through));
        rows.extend(through);
    }
    let is_newcomer = |argument: &String| newcomer::NAME.contains(argument.as_str());
    let mut newcomers = String::new();
    if networks.len() == network::ALL.len() || is_test || arguments.iter().any(is_newcomer) {
        println!("{}", newcomer::NAME);
        newcomers = runtime.block_on(newcomer::run(meeting::picture(), is_test));
        print!("{newcomers}");
    }
    let is_cut = |argument: &String| cut::NAME.contains(argument.as_str());
    let mut cuts = cut::HEAD.to_owned();
    if networks.len() == network::ALL.len() || arguments.iter().any(is_cut) {
        cuts += &runtime.block_on(cut::run());
        print!("{cuts}");
    }
    let mut repaired = repair::head();
    let is_chosen = |lossy: &&'static repair::Lossy| {
        let mut names = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
        names.peek().is_none() || names.any(|name| name == "repair" || lossy.name.contains(name.as_str()))
    };
    for lossy in repair::ALL.iter().filter(is_chosen).take(if is_test { 1 } else { usize::MAX }) {
        let through = runtime.block_on(repair::through(lossy, &chosen_ways, if is_test { 1 } else { repair::SECONDS }));
        print!("{}{through}", repair::head());
        repaired += &through;
    }
    if !is_test && networks.len() == network::ALL.len() {
        table::write(&rows, [&repaired, &newcomers, &cuts]);
        plot::write(&rows);
    }
}

/// Who carries a meeting, and what decides how much is on its way.
#[derive(Clone, Copy)]
struct Way {
    congestion: Option<Congestion>,
    control: &'static str,
    carrier: &'static str,
    scheme: &'static str,
}

impl Way {
    fn names(&self) -> [&'static str; 2] {
        [self.control, self.carrier]
    }

    /// Whether it is what a relay does unless it is told otherwise.
    fn has_targets(&self) -> bool {
        self.control != PLAIN && self.congestion.is_none_or(|congestion| congestion == Congestion::default())
    }

    async fn run(self, network: &'static Network, seconds: u64) -> Row {
        let Self { congestion, control, carrier, scheme } = self;
        let record = match control {
            PLAIN => plain::run(network, seconds).await,
            _ => Meeting::start(network, congestion.unwrap_or_default(), scheme).await.run(seconds).await,
        };
        Row { network, control, carrier, record }
    }
}

/// All there are.
fn ways() -> impl Iterator<Item = Way> {
    let over_udp = Congestion::ALL.into_iter().flat_map(|congestion| {
        let control = congestion.label();
        CARRIERS.map(|(carrier, scheme)| Way { congestion: Some(congestion), control, carrier, scheme })
    });
    let (carrier, scheme) = WEBSOCKET;
    let over_tcp = Way { congestion: None, control: "TCP", carrier, scheme };
    let (carrier, scheme) = CARRIERS[0];
    let plain = Way { congestion: None, control: PLAIN, carrier, scheme };
    over_udp.chain([over_tcp, plain])
}

/// Runs meetings over these ways, or over all that make sense: a few at a time, or it would be measured what all of them need of the
/// machine's time.
async fn through(network: &'static Network, chosen: &[String], is_test: bool) -> Vec<Row> {
    let seconds = if is_test { 1 } else { network.seconds };
    let makes_sense = |way: &Way| way.congestion.is_some() || network.has_layers;
    let is_chosen = |way: &Way| chosen.iter().all(|name| way.names().contains(&name.as_str()));
    let ways = ways().filter(|way| makes_sense(way) && is_chosen(way));
    let (with_targets, others): (Vec<_>, Vec<_>) = ways.partition(Way::has_targets);
    let mut rows = Vec::new();
    for ways in with_targets.chunks(AT_ONCE_MAX).chain(others.chunks(AT_ONCE_MAX)) {
        rows.extend(join_all(ways.iter().map(|way| way.run(network, seconds))).await);
    }
    rows
}
