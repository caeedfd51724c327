use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tertulia::wire::TrackId;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::floor::{Header, Keys, Sinks, TRAIN_BYTES};
use super::profile::Profile;
use super::session::{Endpoint, Sender, naive_path};
use super::socket::{self, SUBSCRIBERS_PER_SOCKET};
use super::tally::{Receiver, Tally};

/// The prefix of the load's thread name.
pub const THREAD: &str = "load";

/// How long the last packets of the load have to leave: what is told that everyone has gone need not wait for them.
const GOODBYE: Duration = Duration::from_millis(50);

/// Publishers and subscribers, all on one thread of their own.
pub struct Load {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the load is made of.
#[derive(Clone)]
pub struct Parts {
    pub profile: Profile,
    pub subscribers: usize,
    pub tally: Arc<Tally>,
}

impl Load {
    /// Returns when everyone is there and media flows.
    pub fn start(make: impl AsyncFnOnce() -> Vec<Publisher> + Send + 'static, parts: Parts) -> Self {
        let (stop, stopping) = oneshot::channel();
        let (ready, wait) = std::sync::mpsc::channel();
        let run = async move || {
            let publishers = make().await;
            let mut publishing = JoinSet::new();
            for (number, publisher) in publishers.into_iter().enumerate() {
                publishing.spawn_local(publisher.run(number, parts.clone()));
            }
            ready.send(()).expect("the start is waiting");
            // Either way it is over.
            let _ = stopping.await;
            drop(publishing);
            sleep(GOODBYE).await;
        };
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            LocalSet::new().block_on(&runtime.expect("a runtime can be made"), run());
        };
        let thread = thread::Builder::new().name(format!("{THREAD}-0")).spawn(body).expect("a thread can be had");
        wait.recv().expect("the load starts");
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load does not panic");
        }
    }
}

/// Sends the frames of one track, and keeps the sessions that only receive.
pub struct Publisher {
    track: TrackId,
    way: Way,
    _others: Vec<Sender>,
}

enum Way {
    Session(Sender),
    Udp { socket: UdpSocket, state: UdpSocketState, floor: SocketAddr },
}

impl Publisher {
    async fn run(mut self, number: usize, parts: Parts) {
        let profile = parts.profile;
        let mut ticks = interval_at(Instant::now() + profile.phase(number, parts.subscribers), profile.interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            ticks.tick().await;
            let frame = parts.tally.send(number);
            self.way.send(profile.frame(number, self.track, frame)).await;
        }
    }
}

impl Way {
    async fn send(&mut self, datagrams: Vec<Bytes>) {
        match self {
            Self::Session(sender) => sender.send(datagrams).await,
            Self::Udp { socket, state, floor } => {
                let contents = datagrams.concat();
                let segment_size = (datagrams.len() > 1).then_some(datagrams[0].len());
                let transmit =
                    Transmit { destination: *floor, ecn: None, contents: &contents, segment_size, src_ip: None };
                state.send((&*socket).into(), &transmit).expect("loopback takes everything");
            }
        }
    }
}

/// The participants of the rooms of the relay, those who publish in the order in which they do. The endpoints are made by
/// `endpoint`, on the load's thread.
pub async fn rooms(parts: Parts, endpoint: impl Fn() -> Endpoint) -> Vec<Publisher> {
    let (profile, subscribers) = (parts.profile, parts.subscribers);
    let publishers = profile.publishers(subscribers);
    let silent = if profile.publishers_subscribe() { subscribers - publishers } else { subscribers };
    let mut endpoints = Vec::new();
    let (mut publishing, mut others) = (Vec::new(), Vec::new());
    // Those of one room share sockets, as they do behind the floor.
    let rooms = profile.rooms(subscribers);
    for number in 0..silent + publishers {
        if number % SUBSCRIBERS_PER_SOCKET == 0 {
            endpoints.push(endpoint());
        }
        let mut session = endpoints[number / SUBSCRIBERS_PER_SOCKET].connect("/").await;
        let (count, place) = if number < silent { (silent, number) } else { (publishers, number - silent) };
        let (room, turn) = (place * rooms / count, place % (count / rooms));
        session.join(format!("bench{room}"), format!("participant {number}")).await;
        if number < silent {
            others.push(session.run(Receiver::new(parts.tally.clone())));
        } else {
            publishing.push((turn * rooms + room, session));
        }
    }
    publishing.sort_by_key(|(publisher, _)| *publisher);
    let mut publishers = Vec::new();
    for (_, mut session) in publishing {
        let track = session.publish(parts.profile.track()).await;
        let sender = session.run(Receiver::new(parts.tally.clone()));
        publishers.push(Publisher { track, way: Way::Session(sender), _others: std::mem::take(&mut others) });
    }
    publishers
}

/// Sessions that take no seat in a room: those of the naive relay, and plain WebSocket clients.
pub async fn unseated(parts: Parts, endpoint: impl Fn() -> Endpoint) -> Vec<Publisher> {
    let publishing = parts.profile.publishers(parts.subscribers);
    let beside = if parts.profile.publishers_subscribe() { 0 } else { publishing };
    let mut endpoints = Vec::new();
    let (mut publishers, mut others) = (Vec::new(), Vec::new());
    for number in 0..parts.subscribers + beside {
        if number % SUBSCRIBERS_PER_SOCKET == 0 {
            endpoints.push(endpoint());
        }
        let path = naive_path(number < parts.subscribers);
        let session = endpoints[number / SUBSCRIBERS_PER_SOCKET].connect(path).await;
        let sender = session.run(Receiver::new(parts.tally.clone()));
        if number + publishing < parts.subscribers + beside {
            others.push(sender);
        } else {
            let track = TrackId(number as u32 + 1);
            publishers.push(Publisher { track, way: Way::Session(sender), _others: std::mem::take(&mut others) });
        }
    }
    publishers
}

/// The publishers of the floor, and its sinks on these sockets.
pub async fn udp(parts: Parts, sinks: Sinks, sockets: Vec<std::net::UdpSocket>, floor: SocketAddr) -> Vec<Publisher> {
    for socket in sockets {
        tokio::task::spawn_local(drain(socket, sinks, parts.clone()));
    }
    let publisher = |number| {
        let socket = socket::udp();
        let state = UdpSocketState::new((&socket).into()).expect("the socket can be set up");
        let socket = UdpSocket::from_std(socket).expect("the runtime takes it");
        Publisher { track: TrackId(number), way: Way::Udp { socket, state, floor }, _others: Vec::new() }
    };
    (1..=parts.profile.publishers(parts.subscribers) as u32).map(publisher).collect()
}

/// Counts what the floor sends to one socket.
async fn drain(socket: std::net::UdpSocket, sinks: Sinks, parts: Parts) {
    let state = UdpSocketState::new((&socket).into()).expect("the socket can be set up");
    let socket = UdpSocket::from_std(socket).expect("the runtime takes it");
    let mut receivers: Vec<_> = (0..parts.subscribers).map(|_| Receiver::new(parts.tally.clone())).collect();
    let keys = Keys::new(parts.subscribers);
    let mut buffers: Vec<_> = (0..BATCH_SIZE).map(|_| vec![0; TRAIN_BYTES]).collect();
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    while socket.readable().await.is_ok() {
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| std::io::IoSliceMut::new(buffer)).collect();
        let received = socket.try_io(Interest::READABLE, || state.recv((&socket).into(), &mut slices, &mut metas));
        for (meta, buffer) in metas[..received.unwrap_or(0)].iter().zip(&mut buffers) {
            for packet in buffer[..meta.len].chunks_mut(meta.stride) {
                let header = Header::read(packet);
                let receiver = &mut receivers[usize::from(header.subscriber)];
                match sinks {
                    Sinks::Open => receiver.receive(keys.open(header, packet)),
                    Sinks::Count => receiver.note(usize::from(header.publisher), header.frame),
                }
            }
        }
    }
}
