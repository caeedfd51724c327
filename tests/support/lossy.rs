//! A network that loses, doubles, delays, reorders and changes packets: a UDP proxy with a seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What the network does to each packet, each way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Of a hundred.
    pub lost: u32,
    pub doubled: u32,
    pub changed: u32,
    /// They come a little later than those after them.
    pub reordered: u32,
    pub one_way: Duration,
    /// Losses in bursts (Gilbert-Elliott): of a thousand packets so many begin one, of a hundred so many end it.
    pub bursts: Option<(u32, u32)>,
}

/// A way to a relay.
pub struct Lossy {
    pub address: SocketAddr,
    /// Whether packets to the relay pass.
    pub up: Arc<AtomicBool>,
    /// Whether packets from the relay pass.
    pub down: Arc<AtomicBool>,
    /// Packets with more bytes do not pass, and nobody is told.
    pub bytes_max: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

struct Way {
    weather: Weather,
    random: std::sync::Mutex<StdRng>,
    is_bursting: AtomicBool,
    passes: Arc<AtomicBool>,
    bytes_max: Arc<AtomicUsize>,
}

impl Way {
    /// Sends a packet on, after what the network does to it.
    fn pass(&self, tasks: &mut JoinSet<()>, packet: &[u8], to: impl Fn(Vec<u8>) -> Sending) {
        if !self.passes.load(Ordering::Relaxed) || packet.len() > self.bytes_max.load(Ordering::Relaxed) {
            return;
        }
        let Weather { lost, doubled, changed, reordered, one_way, bursts } = self.weather;
        let mut random = self.random.lock().unwrap();
        if let Some((begins, ends)) = bursts {
            let was = self.is_bursting.load(Ordering::Relaxed);
            let changes = if was { random.random_range(0..100) < ends } else { random.random_range(0..1000) < begins };
            self.is_bursting.store(was != changes, Ordering::Relaxed);
            if was != changes {
                return;
            }
        }
        let mut happens = |percent: u32| random.random_range(0..100) < percent;
        if happens(lost) {
            return;
        }
        let copies = if happens(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let mut packet = packet.to_vec();
            if happens(changed) {
                let at = packet.len() / 2;
                packet[at] ^= 0x40;
            }
            let late = if happens(reordered) { Duration::from_millis(5) } else { Duration::ZERO };
            let sending = to(packet);
            tasks.spawn(async move {
                sleep(one_way + late).await;
                sending.send().await;
            });
        }
    }
}

struct Sending {
    socket: Arc<UdpSocket>,
    packet: Vec<u8>,
    /// `None`: the socket is connected.
    to: Option<SocketAddr>,
}

impl Sending {
    async fn send(self) {
        // A packet that cannot be sent is lost.
        let _ = match self.to {
            Some(to) => self.socket.send_to(&self.packet, to).await,
            None => self.socket.send(&self.packet).await,
        };
    }
}

impl Lossy {
    /// A way to `relay` that does the same for the same seed and the same packets.
    pub async fn new(relay: SocketAddr, weather: Weather, seed: u64) -> Self {
        println!("the network's seed is {seed}");
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = front.local_addr().unwrap();
        let (up, down) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let bytes_max = Arc::new(AtomicUsize::new(usize::MAX));
        let way = |passes: &Arc<AtomicBool>, seed| {
            let random = std::sync::Mutex::new(StdRng::seed_from_u64(seed));
            Arc::new(Way {
                weather,
                random,
                is_bursting: AtomicBool::new(false),
                passes: passes.clone(),
                bytes_max: bytes_max.clone(),
            })
        };
        let mut task = JoinSet::new();
        task.spawn(carry(front, relay, way(&up, seed), way(&down, seed + 1)));
        Self { address, up, down, bytes_max, _task: task }
    }

    /// Nothing passes any more, or again.
    pub fn set_passable(&self, passable: bool) {
        self.up.store(passable, Ordering::Relaxed);
        self.down.store(passable, Ordering::Relaxed);
    }
}

/// Each client is seen by the relay under a port of its own.
async fn carry(front: Arc<UdpSocket>, relay: SocketAddr, up: Arc<Way>, down: Arc<Way>) {
    let mut clients: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let tasks = Arc::new(Mutex::new(JoinSet::new()));
    let mut packet = [0; 2048];
    let mut backs = JoinSet::new();
    loop {
        // An error is of an earlier packet that could not be delivered.
        let Ok((length, client)) = front.recv_from(&mut packet).await else {
            continue;
        };
        let back = match clients.get(&client) {
            Some(back) => back.clone(),
            None => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                back.connect(relay).await.unwrap();
                clients.insert(client, back.clone());
                backs.spawn(carry_back(back.clone(), front.clone(), client, down.clone(), tasks.clone()));
                back
            }
        };
        let mut tasks = tasks.lock().await;
        up.pass(&mut tasks, &packet[..length], |packet| Sending { socket: back.clone(), packet, to: None });
        while tasks.try_join_next().is_some() {}
    }
}

async fn carry_back(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    down: Arc<Way>,
    tasks: Arc<Mutex<JoinSet<()>>>,
) {
    let mut packet = [0; 2048];
    loop {
        let Ok(length) = back.recv(&mut packet).await else {
            // The relay is away.
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        let to = Some(client);
        let mut tasks = tasks.lock().await;
        down.pass(&mut tasks, &packet[..length], |packet| Sending { socket: front.clone(), packet, to });
    }
}
