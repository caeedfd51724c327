use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Addresses for others that are told: a machine may have many of IPv6, and any one will do.
const ADDRESSES_MAX: usize = 6;

/// Where others on the network find at this moment what listens on `listen`, the most likely address first, six at most. None if
/// it serves this machine alone.
pub fn addresses_for_others(listen: SocketAddr) -> Vec<SocketAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let interfaces = interfaces.iter().filter(|interface| !leads_inside(&interface.name));
    let interfaces = interfaces.map(if_addrs::Interface::ip).collect();
    let addresses = reachable(listen.ip(), route(), interfaces);
    addresses.into_iter().map(|address| (address, listen.port()).into()).collect()
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
}
