//! The options that all examples share: where the relay is and whom to trust.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tertulia::client::{Certificates, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// Where a relay on this machine says the hash of its development certificate.
const LOCAL_HTTP: &str = "http://localhost:8000";

/// How long that may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const RESPONSE_BYTES_MAX: u64 = 8 * 1024;

#[derive(Debug, Args)]
pub struct Relay {
    /// Where the relay is: https:// (WebTransport), quic://, wss:// or ws://
    #[arg(long, default_value = "https://localhost:4433/")]
    url: String,
    /// The room; without it, the one that the URL's path names
    #[arg(long)]
    room: Option<String>,
    /// The SHA-256 hash of the relay's certificate, in hex
    #[arg(long, value_name = "HEX", conflicts_with = "insecure_hash_from")]
    certificate_hash: Option<String>,
    /// Ask for the hash by plain HTTP, which is as safe as the way there. Done by itself for a relay on localhost
    #[arg(long, value_name = "HTTP_URL")]
    insecure_hash_from: Option<String>,
}

impl Relay {
    /// Where the relay is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How to join, as `name`.
    pub async fn options(&self, name: &str) -> Result<Options> {
        let certificates = self.certificates().await?;
        Ok(Options { room: self.room.clone(), name: name.to_owned(), certificates, ..Options::default() })
    }

    async fn certificates(&self) -> Result<Certificates> {
        let hash = match (&self.certificate_hash, &self.insecure_hash_from) {
            (Some(hash), _) => hash.clone(),
            (None, Some(place)) => fetch_hash(place).await?,
            (None, None) if self.is_local_with_tls() => fetch_hash(LOCAL_HTTP).await?,
            (None, None) => return Ok(Certificates::System),
        };
        Ok(Certificates::Sha256(vec![parse_hash(&hash)?]))
    }

    fn is_local_with_tls(&self) -> bool {
        let local = ["localhost", "127.0.0.1", "[::1]"];
        let url = Url::parse(&self.url).ok();
        url.is_some_and(|url| url.scheme() != "ws" && url.host_str().is_some_and(|host| local.contains(&host)))
    }
}

/// Reads 64 hex digits.
fn parse_hash(text: &str) -> Result<[u8; 32]> {
    let digits: Vec<_> = text.trim().chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect();
    ensure!(digits.len() == 64, "a SHA-256 hash has 64 hex digits, this one has {}", digits.len());
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| pair[at].context("a hash has only the digits 0-9 and a-f");
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Ok(hash)
}

async fn fetch_hash(place: &str) -> Result<String> {
    let why =
        || format!("{place} does not say the certificate's hash; is the relay running? Or give --certificate-hash");
    timeout(FETCH_TIMEOUT, fetch(place, "/certificate.sha256")).await.with_context(why)?.with_context(why)
}

/// A GET request of HTTP/1.0: the answer ends with the connection.
async fn fetch(place: &str, path: &str) -> Result<String> {
    let url = Url::parse(place)?;
    ensure!(url.scheme() == "http", "{place} is not an http:// URL");
    let host = url.host_str().context("it names no host")?;
    let address = (host.trim_matches(['[', ']']), url.port_or_known_default().unwrap_or(80));
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut response = String::new();
    stream.take(RESPONSE_BYTES_MAX).read_to_string(&mut response).await?;
    let (head, body) = response.split_once("\r\n\r\n").context("the answer is no HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "the answer was {}", head.lines().next().unwrap_or_default());
    Ok(body.trim().to_owned())
}
