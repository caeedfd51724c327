//! How packets find the thread that has their connection: several sockets share a port, and the kernel looks at the connection id.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator, InvalidCid};
use socket2::SockRef;

/// Which of the sockets that share a port one is: the connection ids of its endpoint say so, so that a connection stays with it when its
/// client changes address or port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub index: usize,
    /// How many there are, at least one.
    pub of: usize,
}

impl Share {
    /// Whether packets with this first byte of a connection id come here.
    fn has(self, byte: u8) -> bool {
        usize::from(byte) % self.of == self.index
    }
}

/// Connection ids of which the first byte, by its remainder, says which socket they belong to. They are drawn until one does, so that nothing
/// else about them changes: who knows the key recognises them. After a restart with another number of threads they come to the socket that
/// recognises them, too.
pub(super) struct SteeredIds {
    pub ids: HashedConnectionIdGenerator,
    pub share: Share,
}

impl ConnectionIdGenerator for SteeredIds {
    fn generate_cid(&mut self) -> ConnectionId {
        loop {
            let id = self.ids.generate_cid();
            if id.first().is_none_or(|byte| self.share.has(*byte)) {
                return id;
            }
        }
    }

    /// What comes to the wrong socket, as what a network card has put together may, is nobody's: it must not end a connection by a reset.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match id.first() {
            Some(byte) if !self.share.has(*byte) => Err(InvalidCid),
            _ => self.ids.validate(id),
        }
    }

    fn cid_len(&self) -> usize {
        self.ids.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.ids.cid_lifetime()
    }
}

/// Lets other sockets of this program bind to the same port.
#[cfg(target_os = "linux")]
pub(super) fn share_port(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Elsewhere the sockets of a port are not chosen by what is in a packet.
#[cfg(not(target_os = "linux"))]
pub(super) fn share_port(_: &SockRef<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn steer(_: &UdpSocket, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has the kernel give each packet to one of so many sockets that share a port, by their order: by the first byte of the connection id that it
/// is sent to (RFC 9000, section 17). A client chooses that id for its first packets, and keeps it until it has got one from the relay.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "socket2 has no such option")]
pub(super) fn steer(socket: &UdpSocket, sockets: usize) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let mut program = program(sockets);
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, whose pointer and length are those of a vector that lives until the call is over.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// In the kernel's classic filter language, over the payload of a packet (bpf(4) of BSD, and `Documentation/networking/filter.rst` of Linux).
/// What is too short for a connection id goes to the first socket.
#[cfg(target_os = "linux")]
fn program(sockets: usize) -> Vec<libc::sock_filter> {
    use libc::{BPF_ABS, BPF_ALU, BPF_B, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_MOD, BPF_RET};

    /// `ret a`.
    const BPF_A: u32 = 0x10;
    /// Where the connection id begins behind a long header, and behind a short one.
    const LONG: u32 = 6;
    const SHORT: u32 = 1;
    let code =
        |code: u32, jump_true, jump_false, k| libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k };
    vec![
        code(BPF_LD | BPF_B | BPF_ABS, 0, 0, 0),
        code(BPF_JMP | BPF_JSET | BPF_K, 0, 2, 0x80),
        code(BPF_LD | BPF_B | BPF_ABS, 0, 0, LONG),
        code(BPF_JMP, 0, 0, 1),
        code(BPF_LD | BPF_B | BPF_ABS, 0, 0, SHORT),
        code(BPF_ALU | BPF_MOD | BPF_K, 0, 0, sockets as u32),
        code(BPF_RET | BPF_A, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(index: usize, of: usize) -> SteeredIds {
        SteeredIds { ids: HashedConnectionIdGenerator::from_key(7), share: Share { index, of } }
    }

    #[test]
    fn connection_ids_say_whose_they_are_and_are_known_there_alone() {
        for of in [1, 2, 3, 64] {
            for index in 0..of {
                let id = ids(index, of).generate_cid();
                assert_eq!(usize::from(id[0]) % of, index);
                let known = (0..5).filter(|index| ids(*index, 5).validate(&id).is_ok());
                assert!(
                    known.eq([usize::from(id[0]) % 5]),
                    "also after a restart with another number, where it comes to"
                );
            }
        }
        let foreign = SteeredIds { ids: HashedConnectionIdGenerator::from_key(8), share: Share { index: 0, of: 1 } };
        assert!(ids(0, 1).validate(&ids(0, 1).generate_cid()).is_ok());
        assert!((0..10).all(|_| foreign.validate(&ids(0, 1).generate_cid()).is_err()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_gives_packets_to_the_socket_that_their_connection_id_says() {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        share_port(&SockRef::from(&first)).unwrap();
        let mut sockets = vec![first];
        for _ in 1..3 {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
            share_port(&SockRef::from(&socket)).unwrap();
            socket.bind(&address.into()).unwrap();
            sockets.push(socket.into());
        }
        steer(&sockets[0], sockets.len()).unwrap();
        for byte in 0..=255_u8 {
            // From another port each time, as a client does whose address changes.
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(&[0xc0, 0, 0, 0, 1, 8, byte, 9, 9], address).unwrap();
            client.send_to(&[0x40, byte, 9, 9, 9, 9, 9, 9, 9], address).unwrap();
            let socket = &sockets[usize::from(byte) % 3];
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for header in [0xc0, 0x40] {
                let mut packet = [0; 16];
                assert_eq!(socket.recv(&mut packet).unwrap(), 9);
                assert_eq!(packet[0], header);
            }
        }
        // What is no packet of QUIC goes to the first one.
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[0xc0], address).unwrap();
        sockets[0].set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(sockets[0].recv(&mut [0; 16]).unwrap(), 1);
    }
}
