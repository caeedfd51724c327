use std::net::{Ipv4Addr, UdpSocket};

use socket2::{Domain, Socket, Type};

/// Subscribers that share one UDP socket of the load.
pub const SUBSCRIBERS_PER_SOCKET: usize = 10;

/// What a socket of the load may hold, so that the load does not lose what was delivered.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A UDP socket on loopback with room for a burst.
pub fn udp() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a UDP socket can be made");
    socket.set_recv_buffer_size(BUFFER_BYTES).expect("the kernel takes less if it must");
    socket.set_send_buffer_size(BUFFER_BYTES).expect("the kernel takes less if it must");
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("loopback has a free port");
    socket.set_nonblocking(true).expect("a socket can be non-blocking");
    socket.into()
}
