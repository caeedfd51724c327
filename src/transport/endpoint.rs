use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, Runtime, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tracing::warn;

use super::crumbs::Watching;
use super::steering::{Share, share_port, steer};
use super::unproved::CountingSocket;
use super::{CertificateStore, Congestion, EndpointKeys, Unproved};
use crate::config::Config;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, CONNECTIONS_PENDING_MAX, DATAGRAM_RECEIVE_BYTES_MAX, DATAGRAM_SEND_BYTES_MAX,
    IDLE_TIMEOUT, KEEP_ALIVE_INTERVAL, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES, STREAMS_BIDIRECTIONAL_MAX,
    STREAMS_UNIDIRECTIONAL_MAX, UDP_SOCKET_BUFFER_BYTES,
};
use crate::wire::{ALPN_QUIC, ALPN_WEBTRANSPORT};

/// Round-trip time that is assumed before there is a measurement. RFC 9002 suggests 333 ms; a meeting's first keyframe
/// should not wait for a third of a second if a packet of the handshake is lost.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How many packets a subscriber may leave unacknowledged before the time is over in which it has to acknowledge any.
const UNACKNOWLEDGED_PACKETS_MAX: u32 = 10;

/// What connection attempts may have sent that are not accepted yet, in bytes, on all threads.
const INCOMING_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How often another port is tried when the TCP port with the number of the UDP port is taken and any would do.
const PORT_ATTEMPTS: usize = 16;

/// Why a port could not be had.
#[derive(Debug, Error)]
#[error("cannot listen on {protocol} {address}: {error}{}", advice(error, address))]
pub struct BindError {
    /// `UDP` or `TCP`.
    pub protocol: &'static str,
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub error: io::Error,
}

impl BindError {
    /// Whether the machine does not have this kind of address at all.
    fn is_family_missing(&self) -> bool {
        matches!(self.error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
            || self.error.raw_os_error() == Some(EAFNOSUPPORT)
    }
}

/// "Address family not supported", on Linux.
const EAFNOSUPPORT: i32 = 97;

fn advice(error: &io::Error, address: &SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "; another program uses port {0}: stop it, or choose another port with --listen, --http or --admin",
                address.port()
            )
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose a higher one".into(),
        _ => String::new(),
    }
}

/// The sockets of one thread of a relay, bound and not yet served.
#[derive(Debug)]
pub struct Sockets {
    /// QUIC and WebTransport.
    pub udp: UdpSocket,
    /// HTTPS and WSS, on the same port.
    pub tls: TcpListener,
    /// HTTP and WS.
    pub plain: Vec<TcpListener>,
    /// HTTP with what only those who run the relay are told.
    pub admin: Option<TcpListener>,
}

impl Sockets {
    /// Binds those of so many threads, all to the same ports. Fewer where the system does not divide a port: then one thread serves all.
    ///
    /// # Errors
    /// [`BindError`] names the address and what to do.
    pub fn bind_all(config: &Config, shards: usize) -> Result<Vec<Self>, BindError> {
        let first = Self::bind(config)?;
        let mut all = vec![first];
        if shards > 1
            && let Err(error) = Self::bind_others(&mut all, shards)
        {
            warn!(%error, "one thread serves all: the system does not divide a port among several");
            all.truncate(1);
        }
        Ok(all)
    }

    /// The first sockets were bound as if no others were to come: that is how another program is noticed that has the port.
    fn bind_others(all: &mut Vec<Self>, shards: usize) -> io::Result<()> {
        let first = &all[0];
        let tcp = std::iter::once(&first.tls).chain(&first.plain);
        tcp.map(SockRef::from).chain([SockRef::from(&first.udp)]).try_for_each(|socket| share_port(&socket))?;
        for _ in 1..shards {
            let first = &all[0];
            let plain = first.plain.iter().map(|listener| tcp_listener(listener.local_addr()?, Port::Shared));
            let another = Self {
                udp: udp_socket(first.udp.local_addr()?, Port::Shared)?,
                tls: tcp_listener(first.tls.local_addr()?, Port::Shared)?,
                plain: plain.collect::<io::Result<_>>()?,
                admin: None,
            };
            all.push(another);
        }
        steer(&all[0].udp, shards)
    }

    fn bind(config: &Config) -> Result<Self, BindError> {
        let (udp, tls) = match bind_pair(config.listen) {
            // A machine without IPv6 has no `[::]`, but may well have 0.0.0.0.
            Err(error) if config.listen.ip() == Ipv6Addr::UNSPECIFIED && error.is_family_missing() => {
                bind_pair((Ipv4Addr::UNSPECIFIED, config.listen.port()).into())?
            }
            pair => pair?,
        };
        let mut plain = Vec::new();
        let mut port = None;
        for address in &config.http {
            let address = SocketAddr::new(address.ip(), port.unwrap_or(address.port()));
            match bind_tcp(address) {
                Ok(listener) => {
                    port = listener.local_addr().ok().map(|address| address.port());
                    plain.push(listener);
                }
                // Some machines have no IPv6, and the first address is there already.
                Err(error) if !plain.is_empty() && error.error.kind() != io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        let admin = config.admin.map(bind_tcp).transpose()?;
        Ok(Self { udp, tls, plain, admin })
    }

    /// Starts the QUIC endpoint on the UDP socket; it runs on the current tokio runtime.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn endpoint(
        udp: UdpSocket,
        certificates: &Arc<CertificateStore>,
        keys: &EndpointKeys,
        share: Share,
        congestion: Congestion,
        unproved: Arc<Unproved>,
    ) -> io::Result<quinn::Endpoint> {
        let mut config = server_config(certificates, congestion);
        config.incoming_buffer_size_total(INCOMING_BYTES_MAX / share.of as u64);
        config.token_key(keys.token_key());
        let runtime = Arc::new(TokioRuntime);
        let socket = Arc::new(CountingSocket { socket: runtime.wrap_udp_socket(udp)?, unproved });
        quinn::Endpoint::new_with_abstract_socket(keys.endpoint_config(share), Some(config), socket, runtime)
    }
}

fn bind_pair(address: SocketAddr) -> Result<(UdpSocket, TcpListener), BindError> {
    let mut attempts = if address.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let udp = udp_socket(address, Port::Own).map_err(|error| BindError { protocol: "UDP", address, error })?;
        let port = udp.local_addr().map_err(|error| BindError { protocol: "UDP", address, error })?.port();
        match bind_tcp(SocketAddr::new(address.ip(), port)) {
            Ok(tls) => return Ok((udp, tls)),
            Err(_) if attempts > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Both address families where the address is IPv6: Chromium resolves `localhost` to `::1` only, others prefer `127.0.0.1`.
fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Who may bind to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    /// This socket alone.
    Own,
    /// Others of this program too.
    Shared,
}

fn udp_socket(address: SocketAddr, port: Port) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    if port == Port::Shared {
        share_port(&SockRef::from(&socket))?;
    }
    // The kernel may grant less than is asked for; what it grants is good enough to go on.
    let _ = socket.set_recv_buffer_size(UDP_SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(UDP_SOCKET_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    tcp_listener(address, Port::Own).map_err(|error| BindError { protocol: "TCP", address, error })
}

fn tcp_listener(address: SocketAddr, port: Port) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    if port == Port::Shared {
        share_port(&SockRef::from(&socket))?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn server_config(certificates: &Arc<CertificateStore>, congestion: Congestion) -> ServerConfig {
    let tls = certificates.server_config(&[ALPN_WEBTRANSPORT, ALPN_QUIC]);
    let tls = QuicServerConfig::try_from(tls).expect("ring has the cipher suite that QUIC begins with");
    let mut config = ServerConfig::with_crypto(Arc::new(Watching(Arc::new(tls))));
    config.transport_config(Arc::new(transport_config(congestion)));
    config.max_incoming(CONNECTIONS_PENDING_MAX);
    config.incoming_buffer_size(64 * 1024);
    config
}

fn transport_config(congestion: Congestion) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(STREAMS_BIDIRECTIONAL_MAX.into())
        .max_concurrent_uni_streams(STREAMS_UNIDIRECTIONAL_MAX.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES_MAX)
        .max_idle_timeout(Some(idle_timeout()))
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .initial_rtt(INITIAL_RTT)
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()))
        .ack_frequency_config(Some(acknowledgements()))
        .congestion_controller_factory(congestion.factory());
    config
}

/// How often a subscriber that can be told is to acknowledge: what comes late is acknowledged as late as ever, but ten speakers
/// at once need one acknowledgement in 25 ms and not one for every two of their datagrams. A gap is told at once.
fn acknowledgements() -> AckFrequencyConfig {
    let mut config = AckFrequencyConfig::default();
    config.ack_eliciting_threshold(UNACKNOWLEDGED_PACKETS_MAX.into());
    config
}

fn idle_timeout() -> IdleTimeout {
    let milliseconds = u32::try_from(IDLE_TIMEOUT.as_millis()).expect("the idle timeout is seconds");
    VarInt::from_u32(milliseconds).into()
}
