use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::conditions::Conditions;
use super::link::{Counts, Kind, Link, Load};
use super::script::{Change, Script};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From clients to the relay.
    Up,
    /// From the relay to clients.
    Down,
}

/// Bytes on their way, and where they go.
#[derive(Clone)]
pub enum Parcel {
    /// `None`: the socket is connected.
    Udp {
        socket: Arc<UdpSocket>,
        to: Option<SocketAddr>,
        bytes: Vec<u8>,
    },
    Tcp {
        to: mpsc::UnboundedSender<Vec<u8>>,
        bytes: Vec<u8>,
    },
}

/// A network: a link in each direction, which everyone shares who goes through it.
pub struct Network {
    start: Instant,
    up: Way,
    down: Way,
    /// Counts changes, so that whoever is stopped by the network knows when to look again.
    changes: watch::Sender<u64>,
    /// What changes by itself.
    later: Vec<(Duration, Change)>,
}

struct Way {
    direction: Direction,
    link: Mutex<Link<Parcel>>,
    pushed: Notify,
    /// Something has left the queue.
    popped: Notify,
}

impl Load for Parcel {
    fn change(&mut self) {
        let (Self::Udp { bytes, .. } | Self::Tcp { bytes, .. }) = self;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x40;
        }
    }
}

impl Network {
    /// One that is as the script says, at its beginning.
    pub fn new(script: Script, seed: u64) -> Self {
        let (now, later): (Vec<_>, Vec<_>) = script.changes.into_iter().partition(|(at, _)| at.is_zero());
        let network = Self {
            start: Instant::now(),
            up: Way::new(Direction::Up, seed),
            down: Way::new(Direction::Down, seed.wrapping_add(1)),
            changes: watch::Sender::new(0),
            later,
        };
        for (_, change) in now {
            network.apply(&change);
        }
        network
    }

    /// Hands over what arrives, and follows the script.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.deliver(&self.up), self.deliver(&self.down), self.follow());
    }

    /// Changes the network from now on.
    pub fn apply(&self, change: &Change) {
        for way in [&self.up, &self.down] {
            let mut link = lock(&way.link);
            let conditions = change.apply(way.direction, *link.conditions());
            link.set(self.elapsed(), conditions);
            drop(link);
            way.pushed.notify_one();
            way.popped.notify_waiters();
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Time since the network began: what `at` counts from.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn counts(&self, direction: Direction) -> Counts {
        lock(&self.way(direction).link).counts()
    }

    /// How long what waits for the bottleneck takes to pass, at the rate of the moment.
    pub fn queue_time(&self, direction: Direction) -> Duration {
        let link = lock(&self.way(direction).link);
        link.conditions().sending_time(link.queued_bytes())
    }

    /// Sends something on its way.
    pub fn push(&self, direction: Direction, kind: Kind, parcel: Parcel) {
        let (Parcel::Udp { bytes, .. } | Parcel::Tcp { bytes, .. }) = &parcel;
        let (way, length) = (self.way(direction), bytes.len());
        lock(&way.link).push(self.elapsed(), kind, length, parcel);
        way.pushed.notify_one();
    }

    /// Waits until a TCP segment may enter: while there is no room, TCP slows down.
    pub async fn room(&self, direction: Direction, bytes: usize) {
        let way = self.way(direction);
        loop {
            let popped = way.popped.notified();
            let mut popped = std::pin::pin!(popped);
            popped.as_mut().enable();
            {
                let link = lock(&way.link);
                if !link.conditions().blocks_tcp && link.has_room(bytes) {
                    return;
                }
            }
            popped.await;
        }
    }

    /// Waits until TCP connections are reset.
    pub async fn cut(&self) {
        let mut changes = self.changes.subscribe();
        // The network outlives whoever waits here.
        while !self.cuts_tcp() && changes.changed().await.is_ok() {}
    }

    pub fn cuts_tcp(&self) -> bool {
        [&self.up, &self.down].into_iter().any(|way| lock(&way.link).conditions().cuts_tcp)
    }

    async fn deliver(&self, way: &Way) {
        let mut arrived = Vec::new();
        loop {
            let next = {
                let mut link = lock(&way.link);
                let now = self.elapsed();
                arrived.extend(std::iter::from_fn(|| link.pop(now)));
                link.next_timeout()
            };
            way.popped.notify_waiters();
            for (_, parcel) in arrived.drain(..) {
                parcel.hand_over();
            }
            let due = async {
                match next {
                    Some(at) => sleep_until(self.start + at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = way.pushed.notified() => {}
            }
        }
    }

    async fn follow(&self) {
        for (at, change) in &self.later {
            sleep_until(self.start + *at).await;
            self.apply(change);
        }
    }

    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

impl Way {
    fn new(direction: Direction, seed: u64) -> Self {
        let link = Mutex::new(Link::new(Conditions::default(), seed));
        Self { direction, link, pushed: Notify::new(), popped: Notify::new() }
    }
}

impl Parcel {
    /// What cannot be handed over is lost: its socket is full, or nobody is there any more.
    fn hand_over(self) {
        match self {
            Self::Udp { socket, to: Some(to), bytes } => drop(socket.try_send_to(&bytes, to)),
            Self::Udp { socket, to: None, bytes } => drop(socket.try_send(&bytes)),
            Self::Tcp { to, bytes } => drop(to.send(bytes)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
