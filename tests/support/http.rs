//! HTTP as bytes over TCP.

use std::net::SocketAddr;
use std::time::Duration;

use tertulia::limits::HANDSHAKE_TIMEOUT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take. What the relay closes for being wrong it closes sooner than what it gives up for being slow.
pub const PATIENCE: Duration = HANDSHAKE_TIMEOUT.saturating_sub(Duration::from_secs(1));

/// What the relay said to some bytes.
#[derive(Debug)]
pub struct Reply {
    pub text: String,
    /// Whether it closed the connection afterwards.
    pub closed: bool,
}

impl Reply {
    pub fn status(&self) -> Option<u16> {
        self.text.strip_prefix("HTTP/1.1 ").or_else(|| self.text.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next()?;
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

/// Sends bytes on a new connection and reads until the relay closes it or has nothing more to say.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The relay may hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    read(&mut stream, PATIENCE).await
}

/// Reads until the connection is closed, or an answer is complete after which it is not, or for as long as `patience`
/// without anything said.
pub async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin), patience: Duration) -> Reply {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let closed = loop {
        if is_complete(&String::from_utf8_lossy(&bytes)) {
            break false;
        }
        match timeout(patience, stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(read)) => bytes.extend_from_slice(&piece[..read]),
            Err(_) => break false,
        }
    };
    Reply { text: String::from_utf8_lossy(&bytes).into_owned(), closed }
}

fn is_complete(text: &str) -> bool {
    let reply = Reply { text: text.to_owned(), closed: false };
    let length = reply.header("content-length").and_then(|length| length.parse::<usize>().ok());
    let length = if reply.status() == Some(101) { Some(0) } else { length };
    let stays_open = reply.header("connection") != Some("close");
    text.contains("\r\n\r\n") && stays_open && length.is_some_and(|length| reply.body().len() >= length)
}

/// A request for a WebSocket, with these header lines more.
pub fn upgrade(path: &str, host: &str, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
    .into_bytes()
}

/// A request whose answer is the last on its connection, with these header lines more.
pub fn get(path: &str, more: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n").into_bytes()
}
