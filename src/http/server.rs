use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::Site;
use super::routes::Remote;
use crate::limits::{
    HANDSHAKE_TIMEOUT, HTTP_CONNECTION_TIMEOUT, HTTP_HEAD_BYTES_MAX, TCP_CONNECTIONS_MAX, TCP_UNSENT_BYTES_MAX,
};

/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTPS and WSS. Ends with the relay.
pub async fn serve_tls(listener: TcpListener, site: Site, config: rustls::ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let router = site.public();
    accept(listener, |stream, remote| {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        async move {
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => serve_connection(stream, remote, router).await,
                Ok(Err(error)) => debug!(%remote, %error, "TLS handshake failed"),
                Err(_) => debug!(%remote, "TLS handshake took too long"),
            }
        }
    })
    .await;
}

/// Serves HTTP and WS. Ends with the relay.
pub async fn serve_plain(listener: TcpListener, site: Site) {
    let router = site.plain();
    accept(listener, |stream, remote| serve_connection(stream, remote, router.clone())).await;
}

async fn accept<S, F>(listener: TcpListener, serve: S)
where
    S: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "a TCP listener could not be served"),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < TCP_CONNECTIONS_MAX => match accepted {
                Ok((stream, remote)) => {
                    if let Err(error) = prepare(&stream) {
                        debug!(%remote, %error, "a TCP connection was gone at once");
                    }
                    connections.spawn(serve(stream, remote));
                }
                Err(error) => {
                    warn!(%error, "no TCP connection could be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Small messages leave at once, and stale media waits here, where it can be left out, instead of in the kernel.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(TCP_UNSENT_BYTES_MAX)?;
    Ok(())
}

async fn serve_connection<I>(stream: I, remote: SocketAddr, router: Router)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(Remote(remote))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    match timeout(HTTP_CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%remote, %error, "an HTTP connection failed"),
        Err(_) => debug!(%remote, "an HTTP connection took too long"),
    }
}
