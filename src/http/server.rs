use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::Site;
use super::guard::RequestError;
use super::routes::Remote;
use crate::limits::{
    CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, HTTP_CONNECTION_TIMEOUT, HTTP_HEAD_BYTES_MAX, TCP_CONNECTIONS_MAX,
    TCP_REFUSALS_MAX, TCP_UNSENT_BYTES_MAX,
};
use crate::transport::{Refusal, TcpPlace};

/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTPS and WSS. Ends with the relay.
pub async fn serve_tls(listener: TcpListener, site: Site, config: rustls::ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let router = site.clone().public();
    // Without a handshake nothing can be said to those who are turned away, and a handshake is what it would cost.
    let refuse = |_, _| std::future::ready(());
    let serve = |stream, remote, place| {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        async move {
            let _place: TcpPlace = place;
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => serve_connection(stream, remote, router).await,
                Ok(Err(error)) => debug!(%remote, %error, "TLS handshake failed"),
                Err(_) => debug!(%remote, "TLS handshake took too long"),
            }
        }
    };
    accept(listener, &site, serve, refuse).await;
}

/// Serves HTTP and WS. Ends with the relay.
pub async fn serve_plain(listener: TcpListener, site: Site) {
    let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let router = if is_local { site.clone().local() } else { site.clone().public() };
    serve_router(listener, &site, router).await;
}

/// Serves what only those who run the relay are told. Ends with the relay.
pub async fn serve_admin(listener: TcpListener, site: Site) {
    let router = site.clone().admin();
    serve_router(listener, &site, router).await;
}

async fn serve_router(listener: TcpListener, site: &Site, router: Router) {
    let serve = |stream, remote, place| {
        let router = router.clone();
        async move {
            let _place: TcpPlace = place;
            serve_connection(stream, remote, router).await;
        }
    };
    accept(listener, site, serve, turn_away).await;
}

/// Serves those whom the gate lets in, and tells the others.
async fn accept<S, F, R, T>(listener: TcpListener, site: &Site, serve: S, refuse: R)
where
    S: Fn(TcpStream, SocketAddr, TcpPlace) -> F,
    F: Future<Output = ()> + Send + 'static,
    R: Fn(TcpStream, RequestError) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "a TCP listener could not be served"),
    };
    let (mut connections, mut refusals) = (JoinSet::new(), JoinSet::new());
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < TCP_CONNECTIONS_MAX => match accepted {
                Ok((stream, remote)) => {
                    if let Err(error) = prepare(&stream) {
                        debug!(%remote, %error, "a TCP connection was gone at once");
                    }
                    match site.gate.connect(remote.ip()) {
                        Ok(place) => _ = connections.spawn(serve(stream, remote, place)),
                        Err(error) => {
                            debug!(%remote, %error, "a TCP connection was refused");
                            site.metrics.refuse(Refusal::from(&error));
                            if refusals.len() < TCP_REFUSALS_MAX {
                                refusals.spawn(refuse(stream, error.into()));
                            }
                        }
                    }
                }
                Err(error) => {
                    warn!(%error, "no TCP connection could be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            Some(_) = refusals.join_next(), if !refusals.is_empty() => {}
        }
    }
}

/// Says why a connection is turned away, and closes it. Its request is read before, and what follows afterwards: TCP resets a
/// connection that is closed with something unread, and the reset would overtake the answer.
async fn turn_away(mut stream: TcpStream, error: RequestError) {
    let (status, body) = (error.status(), format!("{error}\n"));
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "
    );
    let answer = format!("{head}{}\r\n\r\n{body}", body.len());
    let told = async {
        let mut unread = [0; 1024];
        let _request = stream.read(&mut unread).await?;
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // Who does not listen is not told.
    let _ = timeout(CLOSE_TIMEOUT, told).await;
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
