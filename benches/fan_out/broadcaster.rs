//! The chat server that the example of tokio-tungstenite is: an unbounded queue for each client, and every message goes into
//! the queues of all others. It has one thread, as the relay has, which is less work than the example's several.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use futures_util::future;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tertulia::limits::WEBSOCKET_READ_BUFFER_BYTES;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// The prefix of its thread's name.
pub const THREAD: &str = "broadcaster";

/// How a client's bytes are read.
#[derive(Debug, Clone, Copy)]
pub enum Reading {
    /// As the example does it: each attempt to read, and there is one after each message that is sent, clears 128 KiB before.
    Example,
    /// With a buffer as small as the relay's.
    Lean,
}

type Clients = Arc<Mutex<HashMap<SocketAddr, mpsc::UnboundedSender<Message>>>>;

pub struct Broadcaster {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Broadcaster {
    pub fn start(reading: Reading) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("the socket is bound");
        let (stop, stopping) = oneshot::channel();
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let listener = TcpListener::from_std(listener).expect("the runtime takes it");
                future::select(Box::pin(accept(listener, reading)), stopping).await;
            });
        };
        let thread = thread::Builder::new().name(format!("{THREAD}-0")).spawn(body).expect("a thread can be had");
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Broadcaster {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the broadcaster does not panic");
        }
    }
}

impl Reading {
    fn config(self) -> WebSocketConfig {
        match self {
            Self::Example => WebSocketConfig::default(),
            Self::Lean => WebSocketConfig::default().read_buffer_size(WEBSOCKET_READ_BUFFER_BYTES),
        }
    }
}

async fn accept(listener: TcpListener, reading: Reading) {
    let clients = Clients::default();
    loop {
        let (stream, address) = listener.accept().await.expect("the load connects");
        tokio::spawn(serve(stream, address, clients.clone(), reading.config()));
    }
}

async fn serve(stream: TcpStream, own: SocketAddr, clients: Clients, config: WebSocketConfig) {
    stream.set_nodelay(true).expect("TCP has it");
    let websocket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await;
    let websocket = websocket.expect("the load speaks WebSocket");
    let (queue, mut queued) = mpsc::unbounded_channel();
    clients.lock().unwrap_or_else(PoisonError::into_inner).insert(own, queue);
    let (sink, stream) = websocket.split();
    let pass_on = stream.try_for_each(|message| {
        let clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, queue) in clients.iter().filter(|(client, _)| **client != own) {
            // A client that has gone gets nothing.
            let _ = queue.send(message.clone());
        }
        future::ok(())
    });
    let write = stream::poll_fn(|context| queued.poll_recv(context)).map(Ok).forward(sink);
    // Either way the client has gone.
    let _ = future::select(Box::pin(pass_on), Box::pin(write)).await;
    clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
}
