use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::Context;
use tertulia::relay::Relay;
use tertulia::transport::hex;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::settings::Settings;

/// Runs a relay until it is told to stop.
pub fn serve(settings: &Settings) -> anyhow::Result<()> {
    start_log(settings.log())?;
    let mut relay = Relay::start(settings.config()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything is printed: who reads that the relay runs may stop it at once.
        let stop = stop_signal()?;
        greet(&relay);
        tokio::select! {
            () = stop => {}
            () = relay.ended() => anyhow::bail!("the relay's thread ended; its log says why"),
        }
        say("Stopping: telling everyone.");
        relay.stop().await;
        Ok(())
    })
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let parsed =
        EnvFilter::try_new(filter).with_context(|| format!("--log {filter} is not a filter; try info or debug"))?;
    let log = tracing_subscriber::fmt::layer().with_target(false);
    let log = log.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(log.with_filter(parsed.and(filter_fn(is_discreet)))).init();
    Ok(())
}

/// Whether something can be logged: tungstenite traces whole frames, and in them are tokens, tickets and chat.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    !(metadata.target().starts_with("tungstenite") && *metadata.level() == Level::TRACE)
}

/// Prints where the relay is reached. A closed standard output is no reason to stop.
fn greet(relay: &Relay) {
    let port = relay.address().port();
    if let Some(http) = relay.http_address() {
        say(&format!("Page:  http://{}:{}/", host(http), http.port()));
        say(&format!("Chat:  ws://{}:{}/ for any WebSocket client", host(http), http.port()));
    }
    say(&format!(
        "Relay: https://localhost:{port}/ (WebTransport), quic://localhost:{port}/, wss://localhost:{port}/ws"
    ));
    if let Some(address) = network_address().filter(|_| relay.address().ip().is_unspecified()) {
        say(&format!("       https://{}/ for others on this network", SocketAddr::new(address, port)));
    }
    if let Some(sha256) = relay.certificate_sha256() {
        say(&format!("Development certificate, SHA-256: {}", hex(&sha256)));
    }
    say("Press Ctrl-C to stop.");
}

fn host(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".into(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The address that this machine has toward others: connecting a UDP socket sends nothing, it only looks up the route.
fn network_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // TEST-NET-1 of RFC 5737: an address of nobody.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// From now on Ctrl-C and SIGTERM are waited for.
#[cfg(unix)]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// From now on Ctrl-C is waited for.
#[cfg(not(unix))]
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
