use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use crate::limits::CONNECTIONS_UNVALIDATED_MAX;

/// An address that is not proved gets at most so many times the bytes that came from it (RFC 9000, section 8.1).
const AMPLIFICATION_MAX: usize = 3;

/// The least that a first packet has (RFC 9000, section 14.1).
const INITIAL_BYTES_MIN: usize = 1200;

/// How long a handshake's last packet may take to leave.
const LAST_PACKET_TIMEOUT: Duration = Duration::from_secs(1);

/// The first bit of a packet with a long header, as all packets of a handshake have (RFC 9000, section 17.2).
const LONG_HEADER: u8 = 0x80;

/// What tells that such a packet is a Retry, and where (RFC 9000, section 17.2.5).
const RETRY: u8 = 0xf0;

/// Connection ids that are remembered of one address, the last ones: twice as many as there can be handshakes of addresses that are
/// not proved. Each of them is looked at for each packet from there.
const CONNECTION_IDS_MAX: usize = 2 * CONNECTIONS_UNVALIDATED_MAX;

/// What came from addresses that have not proved that they are theirs, and what went there. quinn counts too, but lets one
/// more packet go when it comes near the bound.
///
/// There is a lock around it for what the endpoint's socket and the relay share. While all addresses are proved, packets do not
/// come near it.
#[derive(Debug, Default)]
pub struct Unproved {
    accounts: Mutex<Accounts>,
    /// How many there are.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Accounts {
    unproved: BTreeMap<SocketAddr, Account>,
    /// How many connections there are from addresses that are proved.
    proved: BTreeMap<SocketAddr, usize>,
}

#[derive(Debug, Default)]
struct Account {
    /// Handshakes of this address that are under way.
    handshakes: usize,
    received_bytes: usize,
    sent_bytes: usize,
    /// The connection ids that the relay has chosen: who repeats one has got it.
    connection_ids: VecDeque<Vec<u8>>,
    is_proved: bool,
    /// When the last of the handshakes ended.
    ended_at: Option<Instant>,
}

impl Account {
    fn remember(&mut self, connection_id: &[u8]) {
        if self.connection_ids.iter().any(|own| own == connection_id) {
            return;
        }
        if self.connection_ids.len() == CONNECTION_IDS_MAX {
            self.connection_ids.pop_front();
        }
        self.connection_ids.push_back(connection_id.to_vec());
    }

    fn is_over(&self) -> bool {
        let has_left = self.is_proved || self.ended_at.is_some_and(|at| at.elapsed() > LAST_PACKET_TIMEOUT);
        self.handshakes == 0 && has_left
    }
}

impl Unproved {
    /// Begins to count for a connection whose first packet has come. `is_proved`: by a Retry.
    pub fn count(self: &Arc<Self>, address: SocketAddr, is_proved: bool) -> Counted {
        let mut counted = Counted { unproved: self.clone(), address, is_proved: false };
        self.change(|accounts| {
            // Few are left of handshakes that came to nothing: beyond `CONNECTIONS_UNVALIDATED_MAX` at a time, addresses are
            // proved by a Retry.
            accounts.unproved.retain(|_, account| !account.is_over());
            let account = accounts.unproved.entry(address).or_default();
            account.handshakes += 1;
            account.received_bytes += INITIAL_BYTES_MIN;
            account.is_proved |= accounts.proved.contains_key(&address);
        });
        if is_proved {
            counted.prove();
        }
        counted
    }

    /// Forgets what is over. Without it, the last handshake that came to nothing would be looked up for every packet until the
    /// next one begins.
    pub fn forget(&self) {
        if !self.is_empty() {
            self.change(|accounts| accounts.unproved.retain(|_, account| !account.is_over()));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Accounts)) {
        let mut accounts = self.accounts();
        change(&mut accounts);
        self.count.store(accounts.unproved.len(), Ordering::Relaxed);
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn received(&self, from: SocketAddr, packet: &[u8]) {
        if let Some(account) = self.accounts().unproved.get_mut(&from) {
            account.received_bytes += packet.len();
            let destination = connection_ids(packet).map(|(destination, _)| destination);
            account.is_proved |= destination.is_some_and(|id| account.connection_ids.iter().any(|own| own == id));
        }
    }

    /// How many of these bytes may leave, in whole packets.
    fn allowed(&self, transmit: &Transmit<'_>) -> usize {
        let contents = transmit.contents;
        let mut accounts = self.accounts();
        let account = accounts.unproved.get_mut(&transmit.destination);
        let Some(account) = account.filter(|account| !account.is_proved) else {
            return contents.len();
        };
        let mut allowed = 0;
        for packet in contents.chunks(transmit.segment_size.unwrap_or(contents.len()).max(1)) {
            if account.sent_bytes + packet.len() > account.received_bytes * AMPLIFICATION_MAX {
                break;
            }
            account.sent_bytes += packet.len();
            allowed += packet.len();
            if let Some((_, source)) = connection_ids(packet)
                // Whoever repeats an empty one has got nothing. Whoever repeats that of a Retry shows its token, which proves more.
                && !source.is_empty()
                && packet[0] & RETRY != RETRY
            {
                account.remember(source);
            }
        }
        allowed
    }
}

/// The destination's and the source's connection id of a packet with a long header (RFC 9000, section 17.2).
fn connection_ids(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    packet.first().filter(|first| *first & LONG_HEADER != 0)?;
    let rest = packet.get(5..)?;
    let (length, rest) = rest.split_first()?;
    let (destination, rest) = rest.split_at_checked(usize::from(*length))?;
    let (length, rest) = rest.split_first()?;
    Some((destination, rest.get(..usize::from(*length))?))
}

/// A connection that is counted, until this is dropped.
#[derive(Debug)]
pub struct Counted {
    unproved: Arc<Unproved>,
    address: SocketAddr,
    is_proved: bool,
}

impl Counted {
    /// The address is proved: another connection from there needs no other proof while this one goes on. Only the first time
    /// counts.
    pub fn prove(&mut self) {
        if self.is_proved {
            return;
        }
        self.unproved.change(|accounts| {
            *accounts.proved.entry(self.address).or_default() += 1;
            if let Some(account) = accounts.unproved.get_mut(&self.address) {
                account.is_proved = true;
            }
            end_handshake(accounts, self.address);
        });
        self.is_proved = true;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Self { address, is_proved, .. } = *self;
        self.unproved.change(|accounts| match accounts.proved.get_mut(&address).filter(|_| is_proved) {
            Some(1) => drop(accounts.proved.remove(&address)),
            Some(connections) => *connections -= 1,
            None => end_handshake(accounts, address),
        });
    }
}

fn end_handshake(accounts: &mut Accounts, address: SocketAddr) {
    if let Some(account) = accounts.unproved.get_mut(&address) {
        account.handshakes = account.handshakes.saturating_sub(1);
        account.ended_at = Some(Instant::now());
        if account.is_over() {
            accounts.unproved.remove(&address);
        }
    }
}

/// A socket that keeps to [`Unproved`]. What may not leave is lost, as on the way.
pub(super) struct CountingSocket {
    pub socket: Arc<dyn AsyncUdpSocket>,
    pub unproved: Arc<Unproved>,
}

impl fmt::Debug for CountingSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl AsyncUdpSocket for CountingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.unproved.is_empty() {
            return self.socket.try_send(transmit);
        }
        let allowed = self.unproved.allowed(transmit);
        if allowed == transmit.contents.len() {
            return self.socket.try_send(transmit);
        }
        if allowed == 0 {
            return Ok(());
        }
        let Transmit { destination, ecn, segment_size, src_ip, contents } = *transmit;
        self.socket.try_send(&Transmit { destination, ecn, segment_size, src_ip, contents: &contents[..allowed] })
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.socket.poll_recv(context, buffers, meta))?;
        if self.unproved.is_empty() {
            return Poll::Ready(Ok(count));
        }
        for (buffer, meta) in buffers.iter().zip(meta.iter()).take(count) {
            for packet in buffer[..meta.len].chunks(meta.stride.max(1)) {
                self.unproved.received(meta.addr, packet);
            }
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of a handshake, of this many bytes.
    fn packet(destination: &[u8], source: &[u8], bytes: usize) -> Vec<u8> {
        let ids = [&[destination.len() as u8], destination, &[source.len() as u8], source].concat();
        let mut packet = [&[0xc0, 0, 0, 0, 1][..], &ids].concat();
        packet.resize(bytes, 0);
        packet
    }

    fn address() -> SocketAddr {
        "192.0.2.1:4433".parse().unwrap()
    }

    fn allowed(unproved: &Unproved, contents: &[u8], segment_size: Option<usize>) -> usize {
        unproved.allowed(&Transmit { destination: address(), ecn: None, contents, segment_size, src_ip: None })
    }

    #[test]
    fn three_times_what_came_and_not_a_byte_more() {
        let unproved = Arc::new(Unproved::default());
        let counted = unproved.count(address(), false);
        let ours = packet(b"theirs", b"ours", 1200);
        assert_eq!(allowed(&unproved, &[&*ours, &*ours].concat(), Some(1200)), 2400);
        assert_eq!(allowed(&unproved, &packet(b"theirs", b"ours", 100), None), 100);
        assert_eq!(allowed(&unproved, &ours, None), 0, "1200 bytes more would be 3700");
        unproved.received(address(), &packet(b"another", b"theirs", 400));
        assert_eq!(allowed(&unproved, &[&*ours, &*ours].concat(), Some(1200)), 1200, "the first of a train");
        assert_eq!(allowed(&unproved, &[0x40; 1200], None), 0, "session tickets are not sent for nothing either");
        drop(counted);
        assert_eq!(allowed(&unproved, &ours, None), 0, "a goodbye is counted too");
    }

    #[test]
    fn whoever_repeats_the_relays_connection_id_has_proved_the_address() {
        let unproved = Arc::new(Unproved::default());
        let counted = unproved.count(address(), false);
        let ours = packet(b"theirs", b"ours", 1200);
        assert_eq!([(); 4].map(|()| allowed(&unproved, &ours, None)), [1200, 1200, 1200, 0]);
        unproved.received(address(), &packet(b"guess", b"theirs", 1));
        unproved.received(address(), &packet(b"guess", b"theirs", 30));
        assert_eq!(allowed(&unproved, &ours, None), 0);
        unproved.received(address(), &packet(b"ours", b"theirs", 30));
        assert_eq!([(); 9].map(|()| allowed(&unproved, &ours, None)), [1200; 9]);
        drop(counted);
        assert!(unproved.is_empty());
    }

    #[test]
    fn connection_ids_of_an_address_are_few_however_many_packets_come_from_there() {
        let unproved = Arc::new(Unproved::default());
        let _counted = unproved.count(address(), false);
        let remembered = || unproved.accounts().unproved[&address()].connection_ids.len();
        unproved.received(address(), &[0; 1_000_000]);
        for number in 0..1000u16 {
            let mut retry = packet(b"theirs", &number.to_be_bytes(), 100);
            retry[0] |= RETRY;
            assert_eq!(allowed(&unproved, &retry, None), 100);
        }
        assert_eq!(remembered(), 0, "a Retry is answered with its token");
        for number in 0..1000u16 {
            assert_eq!(allowed(&unproved, &packet(b"theirs", &number.to_be_bytes(), 100), None), 100);
        }
        assert_eq!(remembered(), CONNECTION_IDS_MAX);
        unproved.received(address(), &packet(&999u16.to_be_bytes(), b"theirs", 30));
        assert!(unproved.accounts().unproved[&address()].is_proved, "by one of the last");
    }

    #[test]
    fn a_browser_has_no_connection_id_and_proves_its_address_by_the_relays() {
        let unproved = Arc::new(Unproved::default());
        let _counted = unproved.count(address(), false);
        let ours = packet(b"", b"ours", 1200);
        assert_eq!([(); 4].map(|()| allowed(&unproved, &ours, None)), [1200, 1200, 1200, 0]);
        unproved.received(address(), &packet(b"", b"", 7));
        assert_eq!(allowed(&unproved, &packet(b"", b"", 7), None), 7);
        unproved.received(address(), &packet(b"", b"", 7));
        assert_eq!(allowed(&unproved, &ours, None), 0, "an empty one proves nothing");
        unproved.received(address(), &packet(b"ours", b"", 30));
        assert_eq!([(); 9].map(|()| allowed(&unproved, &ours, None)), [1200; 9]);
    }

    #[test]
    fn an_address_with_a_connection_needs_no_other_proof() {
        let unproved = Arc::new(Unproved::default());
        let ours = packet(b"theirs", b"ours", 1200);
        let retried = unproved.count(address(), true);
        let mut established = unproved.count(address(), false);
        assert_eq!([(); 4].map(|()| allowed(&unproved, &ours, None)), [1200; 4]);
        established.prove();
        assert!(unproved.is_empty());
        drop(retried);
        let another = unproved.count(address(), false);
        assert_eq!([(); 4].map(|()| allowed(&unproved, &ours, None)), [1200; 4]);
        drop((another, established));
        assert!(unproved.is_empty() && unproved.accounts().proved.is_empty());
        let _later = unproved.count(address(), false);
        assert_eq!([(); 4].map(|()| allowed(&unproved, &ours, None)), [1200, 1200, 1200, 0]);
    }

    #[test]
    fn what_came_to_nothing_is_forgotten_after_a_second() {
        let unproved = Arc::new(Unproved::default());
        drop(unproved.count(address(), false));
        unproved.forget();
        assert!(!unproved.is_empty(), "its goodbye may be on its way");
        unproved.accounts().unproved.values_mut().for_each(|account| {
            account.ended_at = account.ended_at.and_then(|at| at.checked_sub(LAST_PACKET_TIMEOUT * 2));
        });
        unproved.forget();
        assert!(unproved.is_empty());
    }

    #[test]
    fn an_address_that_is_proved_twice_is_forgotten_all_the_same() {
        let unproved = Arc::new(Unproved::default());
        let other = unproved.count(address(), false);
        let mut retried = unproved.count(address(), true);
        retried.prove();
        drop(retried);
        assert!(unproved.accounts().proved.is_empty() && !unproved.is_empty());
        drop(other);
        assert!(unproved.is_empty());
    }

    #[test]
    fn what_is_no_packet_is_passed_over() {
        for bytes in [&[][..], &[0xc0], &[0xc0; 6], &[0xc0, 0, 0, 0, 1, 200, 1], &[0xff; 40]] {
            assert_eq!(connection_ids(bytes), None);
        }
    }
}
