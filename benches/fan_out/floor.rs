//! The least that forwarding can cost: one thread that reads, seals once per subscriber and sends, and knows nothing of
//! connections, congestion, loss or rooms.

use std::io::{ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::socket;
use super::tally::{FRAME_AT, PAYLOAD_AT};

/// As much as QUIC puts in front of a datagram: flags, connection id, packet number.
const HEADER_BYTES: usize = 1 + 8 + 4;

/// As much as one received train can hold.
pub const TRAIN_BYTES: usize = 64 * 1024;

/// The prefix of the floor's thread name.
pub const THREAD: &str = "floor";

/// What stands in front of a packet in the clear: the packet's number, and what a sink that does not open it counts by.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub subscriber: u16,
    pub publisher: u16,
    pub frame: u32,
    packet: u32,
}

/// What the floor's subscribers do with what they get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sinks {
    /// Open it, as the subscribers of all other rows do.
    Open,
    /// Only count it.
    Count,
}

/// The keys of all subscribers.
pub struct Keys(Vec<LessSafeKey>);

pub struct Floor {
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Floor {
    /// Sends everything on to those of `subscribers` who are in the publisher's room; the rooms are of one size.
    pub fn start(subscribers: Vec<SocketAddr>, rooms: usize) -> Self {
        let socket = socket::udp();
        let address = socket.local_addr().expect("the socket is bound");
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let run = move || Forwarder::new(socket, subscribers, rooms).run(&stop);
        let thread = thread::Builder::new().name(format!("{THREAD}-0")).spawn(run).expect("a thread can be had");
        Self { address, stopping, thread: Some(thread) }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the floor does not panic");
        }
    }
}

struct Forwarder {
    socket: UdpSocket,
    state: UdpSocketState,
    subscribers: Vec<SocketAddr>,
    rooms: usize,
    keys: Keys,
    packets_sealed: u32,
    train: Vec<u8>,
}

impl Forwarder {
    fn new(socket: UdpSocket, subscribers: Vec<SocketAddr>, rooms: usize) -> Self {
        let state = UdpSocketState::new((&socket).into()).expect("the socket can be set up");
        let keys = Keys::new(subscribers.len());
        Self { socket, state, subscribers, rooms, keys, packets_sealed: 0, train: Vec::with_capacity(TRAIN_BYTES) }
    }

    fn run(&mut self, stop: &AtomicBool) {
        let mut buffers: Vec<_> = (0..BATCH_SIZE).map(|_| vec![0; TRAIN_BYTES]).collect();
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        while !stop.load(Ordering::Relaxed) {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            match self.state.recv((&self.socket).into(), &mut slices, &mut metas) {
                Ok(received) => {
                    for (meta, buffer) in metas[..received].iter().zip(&buffers) {
                        self.forward(&buffer[..meta.len], meta.stride);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&self.socket),
                Err(error) => panic!("loopback delivers: {error}"),
            }
        }
    }

    /// Sends what arrived together, which is of one publisher, to every subscriber in one system call each.
    fn forward(&mut self, burst: &[u8], stride: usize) {
        let room = usize::from(burst[PAYLOAD_AT]) % self.rooms;
        let people = self.subscribers.len() / self.rooms;
        for subscriber in room * people..(room + 1) * people {
            self.train.clear();
            for datagram in burst.chunks(stride) {
                self.seal(subscriber, datagram);
            }
            let segment_bytes = HEADER_BYTES + stride + AES_128_GCM.tag_len();
            let transmit = Transmit {
                destination: self.subscribers[subscriber],
                ecn: None,
                contents: &self.train,
                segment_size: (burst.len() > stride).then_some(segment_bytes),
                src_ip: None,
            };
            self.state.send((&self.socket).into(), &transmit).expect("loopback takes everything");
        }
    }

    fn seal(&mut self, subscriber: usize, datagram: &[u8]) {
        let start = self.train.len();
        let header = Header::of(datagram, subscriber, self.packets_sealed);
        self.packets_sealed += 1;
        self.train.extend_from_slice(&header.bytes());
        self.train.extend_from_slice(datagram);
        let (clear, payload) = self.train[start..].split_at_mut(HEADER_BYTES);
        let tag = self.keys.0[subscriber]
            .seal_in_place_separate_tag(header.nonce(), Aad::from(clear), payload)
            .expect("the datagram is short");
        self.train.extend_from_slice(tag.as_ref());
    }
}

impl Header {
    fn of(datagram: &[u8], subscriber: usize, packet: u32) -> Self {
        let frame = datagram[FRAME_AT..].first_chunk().expect("the datagram is one of ours");
        let publisher = u16::from(datagram[PAYLOAD_AT]);
        Self { subscriber: subscriber as u16, publisher, frame: u32::from_be_bytes(*frame), packet }
    }

    fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[1..3].copy_from_slice(&self.subscriber.to_be_bytes());
        bytes[3..5].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.frame.to_be_bytes());
        bytes[9..].copy_from_slice(&self.packet.to_be_bytes());
        bytes
    }

    /// The header of a packet that the floor sent.
    pub fn read(packet: &[u8]) -> Self {
        let short = |at: usize| u16::from_be_bytes(*packet[at..].first_chunk().expect("a whole header"));
        let long = |at: usize| u32::from_be_bytes(*packet[at..].first_chunk().expect("a whole header"));
        Self { subscriber: short(1), publisher: short(3), frame: long(5), packet: long(9) }
    }

    fn nonce(self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&self.packet.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Keys {
    pub fn new(subscribers: usize) -> Self {
        let key = |index: usize| UnboundKey::new(&AES_128_GCM, &[index as u8; 16]).expect("the key has 16 bytes");
        Self((0..subscribers).map(|index| LessSafeKey::new(key(index))).collect())
    }

    /// The datagram in a packet.
    pub fn open<'a>(&self, header: Header, packet: &'a mut [u8]) -> &'a [u8] {
        let (clear, payload) = packet.split_at_mut(HEADER_BYTES);
        let key = &self.0[usize::from(header.subscriber)];
        key.open_in_place(header.nonce(), Aad::from(clear), payload).expect("the floor sealed it")
    }
}

/// Waits for something to read, at most 50 ms, so that a stop is noticed.
#[expect(unsafe_code, reason = "the standard library has no poll")]
fn wait(socket: &UdpSocket) {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry is passed with the count of one.
    unsafe { libc::poll(&raw mut poll, 1, 50) };
}
