use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tertulia::relay::Relay;
use tertulia::transport::{addresses_for_others, hex};

/// Black on white, whatever the colours of the terminal are: many cameras do not read the negative.
const BLACK_ON_WHITE: &str = "\x1b[30;107m";
const PLAIN: &str = "\x1b[0m";

/// Where a relay is reached, for the person who started it.
#[derive(Debug)]
pub struct Greeting {
    page: Option<SocketAddr>,
    quic: SocketAddr,
    /// Where others on the network find it, the most likely one first.
    addresses: Vec<SocketAddr>,
    certificate_sha256: Option<[u8; 32]>,
}

impl Greeting {
    /// What there is to say of a relay on this machine.
    pub fn of(relay: &Relay) -> Self {
        Self {
            page: relay.http_address(),
            quic: relay.address(),
            addresses: addresses_for_others(relay.address()),
            certificate_sha256: relay.certificate_sha256(),
        }
    }

    /// What is printed.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(http) = self.page {
            let host = host(http, self.quic);
            lines.push(format!("Page:  http://{host}:{}/", http.port()));
            lines.push(format!("Chat:  ws://{host}:{}/ for any WebSocket client", http.port()));
        }
        let at = format!("{}:{}", host(self.quic, self.quic), self.quic.port());
        lines.push(format!("Relay: https://{at}/ (WebTransport), quic://{at}/, wss://{at}/ws"));
        lines.extend(
            self.addresses.iter().map(|address| format!("       https://{address}/ for others on this network")),
        );
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
        let url = format!("https://{}/", self.addresses.first()?);
        let code = QrCode::new(url).ok()?.render::<Dense1x2>().build();
        Some(code.lines().map(|line| format!("{BLACK_ON_WHITE}{line}{PLAIN}\n")).collect())
    }
}

/// By what name `address` is reached on this machine. Browsers look for `localhost` at its IPv6 address, and for WebTransport nowhere
/// else: where `quic` is not there, the page is to come from the IPv4 address.
fn host(address: SocketAddr, quic: SocketAddr) -> String {
    let is_here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    match address.ip() {
        IpAddr::V4(ip) if is_here(ip.into()) && quic.is_ipv4() && is_here(quic.ip()) => Ipv4Addr::LOCALHOST.to_string(),
        ip if is_here(ip) => "localhost".into(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(texts: &[&str]) -> Greeting {
        let page = Some("127.0.0.1:8000".parse().unwrap());
        let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
        Greeting { page, quic: "[::]:4433".parse().unwrap(), addresses, certificate_sha256: Some([0xab; 32]) }
    }

    #[test]
    fn every_address_is_printed() {
        let lines = greeting(&["192.0.2.7:4433", "[2001:db8::7]:4433"]).lines();
        assert_eq!(lines[0], "Page:  http://localhost:8000/");
        assert_eq!(lines[3], "       https://192.0.2.7:4433/ for others on this network");
        assert_eq!(lines[4], "       https://[2001:db8::7]:4433/ for others on this network");
        assert!(lines[5].contains("warn of the development certificate"));
        assert_eq!(greeting(&[]).lines().len(), 4, "nothing for others");
    }

    #[test]
    fn the_name_is_one_at_which_pages_find_webtransport() {
        let cases = [
            ("127.0.0.1:8000", "[::]:4433", "localhost", "localhost"),
            ("127.0.0.1:8000", "[::1]:4433", "localhost", "localhost"),
            ("127.0.0.1:8000", "0.0.0.0:4433", "127.0.0.1", "127.0.0.1"),
            ("0.0.0.0:8000", "127.0.0.1:4433", "127.0.0.1", "127.0.0.1"),
            ("[::1]:8000", "127.0.0.1:4433", "localhost", "127.0.0.1"),
            ("127.0.0.1:8000", "192.0.2.7:4433", "localhost", "192.0.2.7"),
        ];
        for (page, quic, page_host, relay_host) in cases {
            let quic = quic.parse().unwrap();
            let greeting =
                Greeting { page: Some(page.parse().unwrap()), quic, addresses: vec![], certificate_sha256: None };
            let lines = greeting.lines();
            assert_eq!(lines[0], format!("Page:  http://{page_host}:8000/"), "{page} {quic}");
            assert!(lines[2].contains(&format!("https://{relay_host}:4433/")), "{}", lines[2]);
        }
    }

    #[test]
    fn the_code_is_square_and_there_only_if_others_can_come() {
        assert_eq!(greeting(&[]).qr_code(), None);
        let code = greeting(&["192.0.2.7:4433"]).qr_code().unwrap();
        let rows: Vec<_> = code.lines().collect();
        let bare = |row: &str| row.trim_start_matches(BLACK_ON_WHITE).trim_end_matches(PLAIN).chars().count();
        // Version 2 has 25 modules, and four of white around them; two of them stand in one character.
        assert!(rows.iter().all(|row| bare(row) == 25 + 2 * 4), "{code}");
        assert_eq!(rows.len(), (25 + 2 * 4_usize).div_ceil(2));
        assert!(rows[0].contains("   ") && code.contains('█'), "{code}");
    }
}
