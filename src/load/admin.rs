use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::counts::Counts;
use crate::client::Carrier;
use crate::client::address::Address;

/// The longest answer that is read, in bytes: metrics are far shorter.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// How long an answer may take: a relay under load has other things to do.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a relay serves HTTP without TLS.
#[derive(Debug, Clone)]
pub struct Admin {
    at: String,
    /// The hash of its certificate, if that is a self-signed one.
    pub certificate_sha256: Option<[u8; 32]>,
}

/// What a relay says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Introduction {
    webtransport: u16,
    certificate_sha256: Option<String>,
}

impl Admin {
    /// What is at this address, if it is the relay that is reached at `relay`.
    pub async fn of(at: &str, relay: &Address) -> Option<Self> {
        let introduction: Introduction = serde_json::from_str(&fetch(at, "/relay.json").await?).ok()?;
        let is_it = match (relay.carrier, relay.encrypted) {
            (Carrier::WebSocket, false) => {
                at.rsplit_once(':').and_then(|(_, port)| port.parse().ok()) == Some(relay.port)
            }
            _ => introduction.webtransport == relay.port,
        };
        let certificate_sha256 = introduction.certificate_sha256.as_deref().and_then(parse_sha256);
        is_it.then(|| Self { at: at.to_owned(), certificate_sha256 })
    }

    /// What the relay has counted until now.
    pub async fn counts(&self) -> Option<Counts> {
        Some(Counts::read(&fetch(&self.at, "/metrics").await?))
    }
}

/// Reads a hash of 64 hexadecimal digits.
pub fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<_> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8)).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

/// The body of an answer with status 200.
async fn fetch(at: &str, path: &str) -> Option<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(at).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    };
    timeout(PATIENCE, exchange).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_have_64_digits() {
        assert_eq!(parse_sha256(&"0f".repeat(32)), Some([0x0f; 32]));
        for text in ["", "0f", &"0f".repeat(33), &"0g".repeat(32), &"é".repeat(64)] {
            assert_eq!(parse_sha256(text), None, "{text}");
        }
    }
}
