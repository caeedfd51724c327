use std::net::SocketAddr;

use url::{Host, Url};

use super::{Carrier, ConnectError, Options};
use crate::wire::RoomName;

/// Where the relay is, how to speak with it, and which room is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub carrier: Carrier,
    /// Whether the carrier is encrypted; only WebSocket can do without.
    pub encrypted: bool,
    /// A name or an IP address, the latter without brackets.
    pub host: String,
    pub port: u16,
    pub room: RoomName,
}

impl Address {
    /// Reads a URL; a room in `options` goes before the one in its path.
    pub fn parse(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let parsed = Url::parse(url).map_err(|error| ConnectError::Url(error.to_string()))?;
        let (carrier, encrypted, default_port) = match parsed.scheme() {
            "https" => (Carrier::WebTransport, true, 443),
            "quic" => (Carrier::Quic, true, 4433),
            "wss" => (Carrier::WebSocket, true, 443),
            "ws" => (Carrier::WebSocket, false, 80),
            other => return Err(ConnectError::Url(format!("the scheme {other} is unknown"))),
        };
        let host = match parsed.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(ConnectError::Url("it names no host".to_owned())),
        };
        let room = match &options.room {
            Some(name) => RoomName::parse(name),
            None => RoomName::from_path(parsed.path()),
        }
        .map_err(ConnectError::RoomName)?;
        Ok(Self { carrier, encrypted, host, port: parsed.port().unwrap_or(default_port), room })
    }

    /// `host:port`, as it stands in a URL.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Every socket address that the host's name stands for, at least one.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let failed = |why: String| ConnectError::Resolve { host: self.host.clone(), why };
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<_> = found.map_err(|error| failed(error.to_string()))?.collect();
        if addresses.is_empty() {
            return Err(failed("it has no address".to_owned()));
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<(Carrier, bool, String, String), ConnectError> {
        let address = Address::parse(url, &Options::default())?;
        Ok((address.carrier, address.encrypted, address.authority(), address.room.to_string()))
    }

    #[test]
    fn urls_say_carrier_place_and_room() {
        for (url, carrier, encrypted, authority, room) in [
            ("https://localhost:4433/", Carrier::WebTransport, true, "localhost:4433", "lobby"),
            ("https://relay.example/r/team", Carrier::WebTransport, true, "relay.example:443", "team"),
            ("quic://127.0.0.1", Carrier::Quic, true, "127.0.0.1:4433", "lobby"),
            ("quic://[::1]:5/team", Carrier::Quic, true, "[::1]:5", "team"),
            ("wss://relay.example/ws", Carrier::WebSocket, true, "relay.example:443", "lobby"),
            ("ws://localhost:8000", Carrier::WebSocket, false, "localhost:8000", "lobby"),
        ] {
            assert_eq!(parse(url).unwrap(), (carrier, encrypted, authority.to_owned(), room.to_owned()), "{url}");
        }
        for url in ["", "localhost", "http://localhost", "quic:///", "https://localhost/a%20b"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn the_room_of_the_options_goes_first() {
        let options = Options { room: Some("team".to_owned()), ..Options::default() };
        assert_eq!(Address::parse("ws://localhost/other", &options).unwrap().room.as_str(), "team");
    }
}
