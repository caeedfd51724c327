use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::runtime::Runtime;
use tokio::sync::{Barrier, mpsc as queue, oneshot, watch};

use super::common::Common;
use super::listen::{self, Beginning, Listeners};
use super::mail::Mail;
use super::metrics::Spread;
use super::post::{Post, ShardId};
use crate::history::Outcome;
use crate::transport::{CertificateStore, Congestion, EndpointKeys, Share, Sockets, UdpDrops};

/// What the relay's threads are started with: one for each shard.
pub(super) struct Threads {
    pub common: Arc<Common>,
    pub certificates: Arc<CertificateStore>,
    pub endpoint_keys: EndpointKeys,
    pub congestion: Congestion,
    /// Where QUIC, WebTransport, HTTPS and WSS are served.
    pub address: SocketAddr,
    pub stop: watch::Sender<bool>,
}

/// What one thread is started with.
struct Thread {
    beginning: Beginning,
    sockets: Sockets,
    share: Share,
    endpoint_keys: EndpointKeys,
    congestion: Congestion,
}

impl Threads {
    /// Starts one for each set of sockets. They serve when this returns; each is told to have ended by what it gives.
    pub fn start(
        self,
        sockets: Vec<Sockets>,
        outcomes: queue::UnboundedReceiver<Outcome>,
    ) -> io::Result<Vec<oneshot::Receiver<()>>> {
        let of = sockets.len();
        let ended = Arc::new(Barrier::new(of));
        let mut outcomes = Some(outcomes);
        let threads =
            sockets.into_iter().zip(Post::between(of)).enumerate().map(|(index, (sockets, (post, letters)))| {
                let beginning = Beginning {
                    id: ShardId(index),
                    common: self.common.clone(),
                    unproved: Arc::default(),
                    mail: Mail::new(letters, outcomes.take()),
                    post,
                    udp_drops: UdpDrops::of(&sockets.udp),
                    certificates: self.certificates.clone(),
                    address: self.address,
                    stopping: self.stop.subscribe(),
                    ended: ended.clone(),
                };
                let (endpoint_keys, congestion) = (self.endpoint_keys.clone(), self.congestion);
                Thread { beginning, sockets, share: Share { index, of }, endpoint_keys, congestion }.start()
            });
        let started = threads.collect::<io::Result<Vec<_>>>();
        if started.is_err() {
            // Those that have begun wait for each other no longer than for sessions to end.
            self.stop.send_replace(true);
        }
        started
    }
}

impl Thread {
    fn start(self) -> io::Result<oneshot::Receiver<()>> {
        let (ended, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        // The thread makes its runtime itself: if nothing comes of it, it must not be dropped inside an async program.
        thread::Builder::new().name(format!("tertulia-{}", self.beginning.id)).spawn(move || {
            let Self { beginning, sockets, share, endpoint_keys, congestion } = self;
            Spread::count_for(beginning.id);
            let Sockets { udp, tls, plain, admin } = sockets;
            let start = || -> io::Result<(Runtime, quinn::Endpoint)> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let _entered = runtime.enter();
                let (certificates, unproved) = (&beginning.certificates, beginning.unproved.clone());
                let endpoint = Sockets::endpoint(udp, certificates, &endpoint_keys, share, congestion, unproved)?;
                drop(_entered);
                Ok((runtime, endpoint))
            };
            let (runtime, endpoint) = match start() {
                Ok(started) => started,
                Err(error) => return drop(ready.send(Err(error))),
            };
            // Whoever starts the relay waits for it.
            let _ = ready.send(Ok(()));
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, listen::serve(beginning, endpoint, Listeners { tls, plain, admin }));
            // Whoever waited may be gone: then nobody needs to know.
            let _ = ended.send(());
        })?;
        is_ready.recv().map_err(io::Error::other)??;
        Ok(stopped)
    }
}
