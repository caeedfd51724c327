//! The relay that the examples of wtransport lead to: receive a datagram, send it to every other session, on the
//! multi-thread runtime.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::runtime::{Builder, Runtime};
use wtransport::endpoint::{IncomingSession, endpoint_side};
use wtransport::{Connection, Endpoint, ServerConfig};

use super::tls;

/// The prefix of its threads' names.
pub const THREAD: &str = "naive";

/// The path of sessions that get datagrams, not only send them.
pub const SUBSCRIBE_PATH: &str = "/subscribe";

type Subscribers = Arc<RwLock<Vec<Connection>>>;

pub struct Naive {
    pub address: SocketAddr,
    _runtime: Runtime,
}

impl Naive {
    pub fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(THREAD)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let config = ServerConfig::builder()
            .with_bind_address(([127, 0, 0, 1], 0).into())
            .with_custom_tls(tls::server())
            .build();
        let endpoint = runtime.block_on(async { Endpoint::server(config) }).expect("loopback has a free port");
        let address = endpoint.local_addr().expect("the endpoint is bound");
        runtime.spawn(accept(endpoint));
        Self { address, _runtime: runtime }
    }
}

async fn accept(endpoint: Endpoint<endpoint_side::Server>) {
    let subscribers = Subscribers::default();
    loop {
        let incoming = endpoint.accept().await;
        tokio::spawn(serve(incoming, subscribers.clone()));
    }
}

async fn serve(incoming: IncomingSession, subscribers: Subscribers) {
    let request = incoming.await.expect("the load speaks WebTransport");
    let subscribes = request.path() == SUBSCRIBE_PATH;
    let connection = request.accept().await.expect("the load waits for the answer");
    let own = connection.stable_id();
    if subscribes {
        subscribers.write().unwrap_or_else(PoisonError::into_inner).push(connection.clone());
    }
    while let Ok(datagram) = connection.receive_datagram().await {
        for subscriber in subscribers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if subscriber.stable_id() != own {
                // A subscriber that has gone gets nothing.
                let _ = subscriber.send_datagram(datagram.payload());
            }
        }
    }
}
