//! HTTP as bytes over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http::{PATIENCE, Reply, read};
use super::quic::tls_config;

/// Sends bytes on a new connection and reads until the relay closes it or has nothing more to say.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Reply {
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    let mut stream = connect(address, &versions, &[b"http/1.1"]).await.unwrap();
    let _ = stream.write_all(bytes).await;
    read(&mut stream, PATIENCE).await
}

/// A TLS connection of one of these versions, with one of these protocols.
pub async fn connect(
    address: SocketAddr,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(tls_config(versions, alpn)));
    let stream = TcpStream::connect(address).await?;
    connector.connect("localhost".try_into().unwrap(), stream).await
}
