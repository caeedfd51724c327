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

/// What QUIC puts in front of a datagram: flags, connection id, packet number. Here: nothing, subscriber, publisher, and
/// the frame's number, which is what the sink needs to count.
pub const HEADER_BYTES: usize = 1 + 8 + 4;

/// As much as one received train can hold.
pub const TRAIN_BYTES: usize = 64 * 1024;

/// The prefix of the floor's thread name.
pub const THREAD: &str = "floor";

pub struct Floor {
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Floor {
    /// Sends everything on to `subscribers`.
    pub fn start(subscribers: Vec<SocketAddr>) -> Self {
        let socket = socket::udp();
        let address = socket.local_addr().expect("the socket is bound");
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let run = move || Forwarder::new(socket, subscribers).run(&stop);
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
    subscribers: Vec<(SocketAddr, LessSafeKey)>,
    packets_sealed: u64,
    train: Vec<u8>,
}

impl Forwarder {
    fn new(socket: UdpSocket, subscribers: Vec<SocketAddr>) -> Self {
        let state = UdpSocketState::new((&socket).into()).expect("the socket can be set up");
        let key = |index: usize| UnboundKey::new(&AES_128_GCM, &[index as u8; 16]).expect("the key has 16 bytes");
        let keyed = |(index, address)| (address, LessSafeKey::new(key(index)));
        let subscribers = subscribers.into_iter().enumerate().map(keyed).collect();
        Self { socket, state, subscribers, packets_sealed: 0, train: Vec::with_capacity(TRAIN_BYTES) }
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

    /// Sends what arrived together to every subscriber in one system call each.
    fn forward(&mut self, burst: &[u8], stride: usize) {
        for subscriber in 0..self.subscribers.len() {
            self.train.clear();
            for datagram in burst.chunks(stride) {
                self.seal(subscriber, datagram);
            }
            let segment_bytes = HEADER_BYTES + stride + AES_128_GCM.tag_len();
            let transmit = Transmit {
                destination: self.subscribers[subscriber].0,
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
        self.train.push(0);
        self.train.extend_from_slice(&(subscriber as u32).to_be_bytes());
        self.train.extend_from_slice(&u32::from(datagram[super::tally::PAYLOAD_AT]).to_be_bytes());
        self.train.extend_from_slice(&datagram[super::tally::FRAME_AT..super::tally::FRAME_AT + 4]);
        self.train.extend_from_slice(datagram);
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.packets_sealed.to_be_bytes());
        self.packets_sealed += 1;
        let (header, payload) = self.train[start..].split_at_mut(HEADER_BYTES);
        let tag = self.subscribers[subscriber]
            .1
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), payload)
            .expect("the datagram is short");
        self.train.extend_from_slice(tag.as_ref());
    }
}

/// Waits for something to read, at most 50 ms, so that a stop is noticed.
#[expect(unsafe_code, reason = "the standard library has no poll")]
fn wait(socket: &UdpSocket) {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry is passed with the count of one.
    unsafe { libc::poll(&raw mut poll, 1, 50) };
}
