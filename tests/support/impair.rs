//! A bad network between clients and a relay: a proxy for UDP and TCP, with a seed.
//!
//! What the network does is said in lines, at the start and later: `delay 30ms loss 2%`, `down rate 500kbit queue 200ms`,
//! `at 5s block udp`. [`script`] has the grammar, [`link`] what becomes of a packet.

mod conditions;
pub mod link;
pub mod network;
pub mod script;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use network::Network;

/// A way to a relay through a network that has its faults.
pub struct Proxy {
    /// Where clients find it, for UDP and TCP.
    pub address: SocketAddr,
    pub network: Arc<Network>,
    /// They end with the proxy.
    tasks: JoinSet<()>,
}

impl Proxy {
    /// A way to `relay`, on a free port, through a network of its own. It does the same for the same seed and the same
    /// packets.
    pub async fn start(relay: SocketAddr, script: &str, seed: u64) -> Self {
        println!("the network's seed is {seed}");
        let network = Arc::new(Network::new(script.parse().expect("the script is right"), seed));
        let any = "127.0.0.1:0".parse().expect("it is an address");
        let mut proxy = Self::bind(any, relay, network.clone()).await.expect("a port is free");
        proxy.tasks.spawn(network.run());
        proxy
    }

    /// A way to `relay` through a network that others may share, and that has to [`run`](Network::run).
    ///
    /// # Errors
    /// What the operating system says when the address cannot be had.
    pub async fn bind(listen: SocketAddr, relay: SocketAddr, network: Arc<Network>) -> io::Result<Self> {
        let (listener, socket) = bind(listen).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(tcp::carry(listener, relay, network.clone()));
        tasks.spawn(udp::carry(Arc::new(socket), relay, network.clone()));
        Ok(Self { address, network, tasks })
    }

    /// Changes the network from now on: a line as in a script, without `at`.
    pub fn apply(&self, line: &str) {
        self.network.apply(&line.parse().expect("the line is right"));
    }

    /// The relay's URL through here.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/", self.address)
    }
}

/// One port for both. When any port would do, TCP's may be taken for UDP.
async fn bind(listen: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    loop {
        let listener = TcpListener::bind(listen).await?;
        match udp::bind(listener.local_addr()?) {
            Ok(socket) => return Ok((listener, socket)),
            Err(_) if listen.port() == 0 => {}
            Err(error) => return Err(error),
        }
    }
}
