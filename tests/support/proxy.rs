//! A piece of network between a client and a relay, which can be cut.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// The longest UDP packet.
const PACKET_BYTES_MAX: usize = 65_536;

/// Passes TCP and UDP on to one address, from the same port of its own.
pub struct Proxy {
    address: SocketAddr,
    tcp: Arc<Line>,
    udp: Arc<Line>,
    _tasks: JoinSet<()>,
}

/// Whether something passes.
#[derive(Default)]
struct Line {
    is_cut: AtomicBool,
    cut: Notify,
}

impl Line {
    fn passes(&self) -> bool {
        !self.is_cut.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.cut.notify_waiters();
    }

    fn restore(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let (listener, socket) = bind().await;
        let address = listener.local_addr().unwrap();
        let (tcp, udp) = (Arc::new(Line::default()), Arc::new(Line::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_tcp(listener, target, tcp.clone()));
        tasks.spawn(pass_udp(Arc::new(socket), target, udp.clone()));
        Self { address, tcp, udp, _tasks: tasks }
    }

    /// The relay's URL through here.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/", self.address)
    }

    /// Resets every TCP connection, and each new one, until [`Proxy::restore`].
    pub fn cut_tcp(&self) {
        self.tcp.cut();
    }

    /// Loses every UDP packet, until [`Proxy::restore`].
    pub fn cut_udp(&self) {
        self.udp.cut();
    }

    pub fn restore(&self) {
        self.tcp.restore();
        self.udp.restore();
    }
}

/// One port for both.
async fn bind() -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            return (listener, socket);
        }
    }
}

async fn pass_tcp(listener: TcpListener, target: SocketAddr, line: Arc<Line>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((mut near, _)) = listener.accept().await else { continue };
        near.set_zero_linger().unwrap();
        let line = line.clone();
        connections.spawn(async move {
            let cut = line.cut.notified();
            if !line.passes() {
                return;
            }
            let Ok(mut far) = TcpStream::connect(target).await else { return };
            far.set_zero_linger().unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                () = cut => {}
            }
        });
    }
}

async fn pass_udp(socket: Arc<UdpSocket>, target: SocketAddr, line: Arc<Line>) {
    let mut ways: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut back = JoinSet::new();
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut packet).await else { continue };
        if !line.passes() {
            continue;
        }
        let way = match ways.get(&from) {
            Some(way) => way.clone(),
            None => {
                let way = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                way.connect(target).await.unwrap();
                back.spawn(pass_back(way.clone(), socket.clone(), from, line.clone()));
                ways.insert(from, way.clone());
                way
            }
        };
        let _ = way.send(&packet[..length]).await;
    }
}

async fn pass_back(way: Arc<UdpSocket>, socket: Arc<UdpSocket>, to: SocketAddr, line: Arc<Line>) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        // The other side may be down for a moment.
        let Ok(length) = way.recv(&mut packet).await else { continue };
        if line.passes() {
            let _ = socket.send_to(&packet[..length], to).await;
        }
    }
}
