use std::net::{IpAddr, SocketAddr, UdpSocket};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tertulia::relay::Relay;
use tertulia::transport::hex;

/// Addresses for others that are printed: a machine may have many of IPv6, and any one will do.
const ADDRESSES_MAX: usize = 6;

/// Black on white, whatever the colours of the terminal are: many cameras do not read the negative.
const BLACK_ON_WHITE: &str = "\x1b[30;107m";
const PLAIN: &str = "\x1b[0m";

/// Where a relay is reached, for the person who started it.
#[derive(Debug)]
pub struct Greeting {
    page: Option<SocketAddr>,
    port: u16,
    /// Where others on the network find it, the most likely one first.
    addresses: Vec<IpAddr>,
    certificate_sha256: Option<[u8; 32]>,
}

impl Greeting {
    /// What there is to say of a relay on this machine.
    pub fn of(relay: &Relay) -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let interfaces = interfaces.iter().filter(|interface| !leads_inside(&interface.name));
        let interfaces = interfaces.map(if_addrs::Interface::ip).collect();
        Self {
            page: relay.http_address(),
            port: relay.address().port(),
            addresses: reachable(relay.address().ip(), route(), interfaces),
            certificate_sha256: relay.certificate_sha256(),
        }
    }

    /// What is printed.
    pub fn lines(&self) -> Vec<String> {
        let (port, mut lines) = (self.port, Vec::new());
        if let Some(http) = self.page {
            let host = host(http);
            lines.push(format!("Page:  http://{host}:{}/", http.port()));
            lines.push(format!("Chat:  ws://{host}:{}/ for any WebSocket client", http.port()));
        }
        lines.push(format!(
            "Relay: https://localhost:{port}/ (WebTransport), quic://localhost:{port}/, wss://localhost:{port}/ws"
        ));
        let invitations = self.addresses.iter().map(|address| invitation(*address, port));
        lines.extend(invitations.map(|url| format!("       {url} for others on this network")));
        if let Some(sha256) = self.certificate_sha256 {
            if !self.addresses.is_empty() {
                lines.push(
                    "       Their browsers warn of the development certificate; they have to take it once.".into(),
                );
            }
            lines.push(format!("Development certificate, SHA-256: {}", hex(&sha256)));
        }
        lines
    }

    /// The first address for others, for their cameras; `None` if there is none.
    pub fn qr_code(&self) -> Option<String> {
        let url = invitation(*self.addresses.first()?, self.port);
        let code = QrCode::new(url).ok()?.render::<Dense1x2>().build();
        Some(code.lines().map(|line| format!("{BLACK_ON_WHITE}{line}{PLAIN}\n")).collect())
    }
}

fn invitation(address: IpAddr, port: u16) -> String {
    format!("https://{}/", SocketAddr::new(address, port))
}

fn host(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".into(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Under which addresses others reach a relay that listens on `listen`: the one of the route to others first, IPv4 before
/// IPv6.
fn reachable(listen: IpAddr, route: Option<IpAddr>, interfaces: Vec<IpAddr>) -> Vec<IpAddr> {
    if !listen.is_unspecified() {
        return Some(listen).filter(|address| is_for_others(*address)).into_iter().collect();
    }
    let mut interfaces = interfaces;
    interfaces.sort_by_key(|address| (Some(*address) != route, address.is_ipv6(), *address));
    interfaces.dedup();
    interfaces.retain(|address| is_for_others(*address) && (listen.is_ipv6() || address.is_ipv4()));
    interfaces.truncate(ADDRESSES_MAX);
    interfaces
}

/// Whether a link with that address leads others here: one of a single link needs the name of an interface as well.
fn is_for_others(address: IpAddr) -> bool {
    let of_one_link = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !of_one_link && !address.is_loopback() && !address.is_unspecified()
}

/// Whether an interface leads to containers or virtual machines on this machine, by its name: Docker, Podman, Kubernetes, libvirt.
fn leads_inside(interface: &str) -> bool {
    let is_hexadecimal = |digits: &str| digits.len() == 12 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    interface.strip_prefix("br-").is_some_and(is_hexadecimal)
        || ["docker", "podman", "cni", "virbr", "veth"].iter().any(|prefix| interface.starts_with(prefix))
}

/// The address that this machine has toward others, of IPv4 if it has one there: connecting a UDP socket sends nothing, it only
/// looks up the route.
fn route() -> Option<IpAddr> {
    // Addresses of nobody: TEST-NET-1 of RFC 5737, and RFC 3849.
    let nobody = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    nobody.into_iter().find_map(|(any, address)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(address).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn others_reach_what_is_neither_this_machine_nor_one_link() {
        let all = addresses(&[
            "127.0.0.1",
            "::1",
            "2001:db8::7",
            "fe80::1",
            "169.254.1.1",
            "10.0.0.5",
            "192.0.2.7",
            "10.0.0.5",
        ]);
        for (listen, route, expected) in [
            ("::", Some("192.0.2.7"), &["192.0.2.7", "10.0.0.5", "2001:db8::7"][..]),
            ("::", Some("2001:db8::7"), &["2001:db8::7", "10.0.0.5", "192.0.2.7"]),
            ("::", None, &["10.0.0.5", "192.0.2.7", "2001:db8::7"]),
            ("::", Some("203.0.113.1"), &["10.0.0.5", "192.0.2.7", "2001:db8::7"]),
            ("0.0.0.0", Some("192.0.2.7"), &["192.0.2.7", "10.0.0.5"]),
            ("127.0.0.1", Some("192.0.2.7"), &[]),
            ("::1", Some("192.0.2.7"), &[]),
            ("10.9.9.9", Some("192.0.2.7"), &["10.9.9.9"]),
        ] {
            let route = route.map(|route| route.parse().unwrap());
            assert_eq!(reachable(listen.parse().unwrap(), route, all.clone()), addresses(expected), "{listen}");
        }
        let many = (0..100).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        assert_eq!(reachable("::".parse().unwrap(), None, many).len(), ADDRESSES_MAX);
    }

    #[test]
    fn containers_and_virtual_machines_are_not_others() {
        for name in ["docker0", "br-0123456789ab", "virbr0", "veth12ab@if3", "cni0", "podman1"] {
            assert!(leads_inside(name), "{name}");
        }
        for name in ["eth0", "enp3s0", "wlan0", "br0", "br-lan", "wg0", "tailscale0", "lo", "Ethernet 2"] {
            assert!(!leads_inside(name), "{name}");
        }
    }

    fn greeting(texts: &[&str]) -> Greeting {
        let page = Some("127.0.0.1:8000".parse().unwrap());
        Greeting { page, port: 4433, addresses: addresses(texts), certificate_sha256: Some([0xab; 32]) }
    }

    #[test]
    fn every_address_is_printed() {
        let lines = greeting(&["192.0.2.7", "2001:db8::7"]).lines();
        assert_eq!(lines[0], "Page:  http://localhost:8000/");
        assert_eq!(lines[3], "       https://192.0.2.7:4433/ for others on this network");
        assert_eq!(lines[4], "       https://[2001:db8::7]:4433/ for others on this network");
        assert!(lines[5].contains("warn of the development certificate"));
        assert_eq!(greeting(&[]).lines().len(), 4, "nothing for others");
    }

    #[test]
    fn the_code_is_square_and_there_only_if_others_can_come() {
        assert_eq!(greeting(&[]).qr_code(), None);
        let code = greeting(&["192.0.2.7"]).qr_code().unwrap();
        let rows: Vec<_> = code.lines().collect();
        let bare = |row: &str| row.trim_start_matches(BLACK_ON_WHITE).trim_end_matches(PLAIN).chars().count();
        // Version 2 has 25 modules, and four of white around them; two of them stand in one character.
        assert!(rows.iter().all(|row| bare(row) == 25 + 2 * 4), "{code}");
        assert_eq!(rows.len(), (25 + 2 * 4_usize).div_ceil(2));
        assert!(rows[0].contains("   ") && code.contains('█'), "{code}");
    }
}
