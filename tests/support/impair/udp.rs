use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::link::Kind;
use super::network::{Direction, Network, Parcel};

/// The longest UDP packet, in bytes.
const PACKET_BYTES_MAX: usize = 65_536;

/// Clients at a time. Packets of others are passed over.
const CLIENTS_MAX: usize = 4096;

/// A client is forgotten after this long without a word from the relay.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// What a socket holds, in bytes, so that it is the network that loses packets and not the kernel.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    // The kernel may grant less than is asked for.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Each client is seen by the relay under a port of its own.
pub async fn carry(front: Arc<UdpSocket>, relay: SocketAddr, network: Arc<Network>) {
    let mut clients: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    let mut backs = JoinSet::new();
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let (length, client) = tokio::select! {
            received = front.recv_from(&mut packet) => match received {
                Ok(received) => received,
                // It is of an earlier packet that could not be delivered.
                Err(_) => continue,
            },
            Some(Ok(client)) = backs.join_next() => {
                clients.remove(&client);
                continue;
            }
        };
        let back = match clients.get(&client) {
            Some(back) => back.clone(),
            None if clients.len() >= CLIENTS_MAX => continue,
            None => {
                let Ok(back) = toward(relay).await else { continue };
                let back = Arc::new(back);
                clients.insert(client, back.clone());
                backs.spawn(carry_back(back.clone(), front.clone(), client, network.clone()));
                back
            }
        };
        let parcel = Parcel::Udp { socket: back, to: None, bytes: packet[..length].to_vec() };
        network.push(Direction::Up, Kind::Packet, parcel);
    }
}

async fn toward(relay: SocketAddr) -> io::Result<UdpSocket> {
    let any = if relay.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = bind(any.parse().expect("it is an address"))?;
    socket.connect(relay).await?;
    Ok(socket)
}

async fn carry_back(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    network: Arc<Network>,
) -> SocketAddr {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    while let Ok(received) = timeout(CLIENT_TIMEOUT, back.recv(&mut packet)).await {
        // An error says that the relay was not there for an earlier packet. It may come back.
        let Ok(length) = received else { continue };
        let parcel = Parcel::Udp { socket: front.clone(), to: Some(client), bytes: packet[..length].to_vec() };
        network.push(Direction::Down, Kind::Packet, parcel);
    }
    client
}
