use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tokio::time::{interval, timeout};
use tracing::{debug, error, warn};

use super::memory::Memory;
use super::shard::{Pending, Shard, ShardParts};
use super::{plain_session, quic_session, websocket_session};
use crate::history::Outcome;
use crate::http;
use crate::limits::{
    CONNECTIONS_PENDING_MAX, CONNECTIONS_UNVALIDATED_MAX, HANDSHAKE_TIMEOUT, MEMORY_INTERVAL, SAMPLE_INTERVAL,
    SESSION_QUESTIONS_MAX, UDP_DROPS_INTERVAL,
};
use crate::transport::{
    Arrival, CertificateStore, EstablishError, GateError, QuicSession, Refusal, UdpDrops, WebSocketKind,
};
use crate::wire::CloseReason;

/// How long sessions may take to say goodbye when the relay stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// WebSockets that were upgraded and wait for their session.
const ARRIVALS_MAX: usize = 64;

/// What the relay's thread is given.
pub(super) struct Part {
    pub shard: ShardParts,
    pub outcomes: mpsc::UnboundedReceiver<Outcome>,
    pub udp_drops: UdpDrops,
    pub certificates: Arc<CertificateStore>,
    pub port: u16,
    pub stopping: watch::Receiver<bool>,
}

/// The TCP listeners of a relay.
pub(super) struct Listeners {
    pub tls: TcpListener,
    pub plain: Vec<TcpListener>,
    pub admin: Option<TcpListener>,
}

/// Serves all sockets until the relay stops.
pub(super) async fn serve(part: Part, endpoint: quinn::Endpoint, listeners: Listeners) {
    let Listeners { tls, plain, admin } = listeners;
    let Part { shard, mut outcomes, udp_drops, certificates, port, mut stopping } = part;
    let shard = Shard::new(shard);
    let mut background = JoinSet::new();
    background.spawn_local(shard.keys.clone().watch());
    background.spawn_local(certificates.clone().watch());
    background.spawn_local(count_losses(shard.clone(), udp_drops));
    background.spawn_local(watch_memory(shard.clone()));
    background.spawn_local(sample_sessions(shard.clone()));
    let (arrivals, mut arrived) = mpsc::channel(ARRIVALS_MAX);
    let (questions, mut asked) = mpsc::channel(SESSION_QUESTIONS_MAX);
    let doors = http::Doors { arrivals, questions };
    let site = http::Site::new(shard.metrics.clone(), shard.gate.clone(), certificates.clone(), port, doors);
    let mut http = JoinSet::new();
    http.spawn(http::serve_tls(tls, site.clone(), certificates.server_config(&[b"http/1.1"])));
    for listener in plain {
        http.spawn(http::serve_plain(listener, site.clone()));
    }
    if let Some(listener) = admin {
        http.spawn(http::serve_admin(listener, site));
    }

    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            Some(incoming) = endpoint.accept() => accept(&shard, &mut sessions, incoming, endpoint.open_connections()),
            Some(arrival) = arrived.recv() => {
                sessions.spawn_local(serve_websocket(shard.clone(), arrival));
            }
            Some(http::SessionQuestion { room, answer }) = asked.recv() => {
                // Whoever asked may be gone.
                let _ = answer.send(shard.sessions_json(room.as_ref()));
            }
            Some(outcome) = outcomes.recv() => shard.guard("chat", || shard.note_outcome(outcome)),
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => note_panic(&shard, ended),
            _ = stopping.wait_for(|stop| *stop) => break,
        }
    }
    shard.stop();
    let goodbye = async {
        loop {
            tokio::select! {
                Some(outcome) = outcomes.recv() => shard.guard("chat", || shard.note_outcome(outcome)),
                ended = sessions.join_next() => match ended {
                    Some(ended) => note_panic(&shard, ended),
                    None => break,
                },
            }
        }
    };
    if timeout(STOP_TIMEOUT, goodbye).await.is_err() {
        warn!("some sessions did not end in time");
    }
    endpoint.close(u32::from(CloseReason::ShuttingDown.code()).into(), CloseReason::ShuttingDown.label().as_bytes());
    // Lets the last packets leave; a remote that does not answer is not waited for.
    let _ = timeout(Duration::from_millis(500), endpoint.wait_idle()).await;
    shard.note_stopped();
    shard.history.stop().await;
}

/// Counts what the kernel dropped and what the history found to be damaged, and forgets handshakes that came to nothing, for as
/// long as it is polled.
async fn count_losses(shard: Rc<Shard>, udp_drops: UdpDrops) {
    let mut due = interval(UDP_DROPS_INTERVAL);
    loop {
        due.tick().await;
        // The kernel goes through all sockets of the machine for it: media does not wait for that.
        let dropped = spawn_blocking(move || udp_drops.count()).await.unwrap_or_default();
        let counted = shard.metrics.udp_dropped.get();
        shard.metrics.udp_dropped.inc_by(dropped.saturating_sub(counted));
        let counted = shard.metrics.chat_lost.get();
        shard.metrics.chat_lost.inc_by(shard.history.messages_lost().saturating_sub(counted));
        shard.unproved.forget();
    }
}

/// Lets nobody new in while memory is short, for as long as it is polled.
async fn watch_memory(shard: Rc<Shard>) {
    let memory = Memory::new(shard.limits.memory_megabytes);
    let mut due = interval(MEMORY_INTERVAL);
    let mut was_short = false;
    loop {
        due.tick().await;
        let is_short = memory.is_short();
        if is_short && !was_short {
            warn!(bytes_max = memory.bytes_max(), "memory is short: nobody new comes in until someone leaves");
        }
        shard.gate.note_memory(is_short);
        shard.metrics.memory_short.set(i64::from(is_short));
        was_short = is_short;
    }
}

/// Adds to the aggregates how sessions do, for as long as it is polled. Media has a turn between two rooms.
async fn sample_sessions(shard: Rc<Shard>) {
    let mut due = interval(SAMPLE_INTERVAL);
    loop {
        due.tick().await;
        for room in shard.rooms() {
            room.borrow_mut().sample(shard.now(), &shard.metrics);
            yield_now().await;
        }
    }
}

fn note_panic(shard: &Shard, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a session failed");
        shard.metrics.session_closed(CloseReason::Internal);
    }
}

/// Takes a connection attempt, asks it to prove its address, refuses it, or passes it over.
fn accept(shard: &Rc<Shard>, sessions: &mut JoinSet<()>, incoming: quinn::Incoming, open: usize) {
    let address = incoming.remote_address().ip();
    let pending = shard.connections_pending.get();
    // Some are open that are neither a session nor pending: see the known limits in ARCHITECTURE.md.
    let open_max = shard.limits.sessions as usize + CONNECTIONS_PENDING_MAX;
    if pending >= CONNECTIONS_PENDING_MAX || open >= open_max {
        shard.metrics.handshakes_ignored.inc();
        return incoming.ignore();
    }
    let proved = incoming.remote_address_validated();
    let begun = if proved { shard.gate.begin(address) } else { shard.gate.may_begin(address) };
    if let Err(error) = shard.gate.may_enter(address) {
        refuse(shard, incoming, &error);
    } else if !proved && incoming.may_retry() && (begun.is_err() || pending >= CONNECTIONS_UNVALIDATED_MAX) {
        shard.metrics.handshakes_retried.inc();
        // It fails only for attempts that cannot be retried, and those were sorted out.
        let _ = incoming.retry();
    } else if let Err(error) = begun {
        refuse(shard, incoming, &error);
    } else {
        let pending = Pending::new(shard.clone());
        sessions.spawn_local(serve_quic(shard.clone(), incoming, pending));
    }
}

/// Tells whoever asks that there is no connection to be had: QUIC has a code for that and no words.
fn refuse(shard: &Shard, incoming: quinn::Incoming, error: &GateError) {
    debug!(remote = %incoming.remote_address(), %error, "a connection was refused");
    shard.metrics.refuse(Refusal::from(error));
    incoming.refuse();
}

async fn serve_quic(shard: Rc<Shard>, incoming: quinn::Incoming, pending: Pending) {
    let remote = incoming.remote_address();
    let proved_before = incoming.remote_address_validated();
    let failed = |reason: CloseReason, problem: String| {
        debug!(%remote, problem, "no session came of a connection");
        shard.metrics.sessions_failed.inc();
        shard.note_failure(remote, reason);
    };
    let mut counted = shard.unproved.count(remote, proved_before);
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => return failed(CloseReason::ConnectionLost, error.to_string()),
    };
    let established = tokio::select! {
        established = timeout(HANDSHAKE_TIMEOUT, QuicSession::establish(connecting, &shard.gate)) => established,
        () = shard.stop_requested() => return,
    };
    let session = match established {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => {
            if let EstablishError::Gate(error) = &error {
                shard.metrics.refuse(Refusal::from(error));
            }
            return failed(CloseReason::ConnectionLost, error.to_string());
        }
        Err(_) => return failed(CloseReason::HandshakeTimeout, "it took too long".into()),
    };
    counted.prove();
    // The handshake has proved the address; before, nothing may be noted of it.
    let begun = if proved_before { Ok(()) } else { shard.gate.begin(remote.ip()) };
    match begun.and_then(|()| shard.gate.enter(remote.ip())) {
        Ok(_place) => quic_session::serve(shard.clone(), session, pending).await,
        Err(error) => {
            shard.metrics.refuse(Refusal::from(&error));
            session.close(CloseReason::TooFast);
            failed(CloseReason::TooFast, error.to_string());
        }
    }
}

async fn serve_websocket(shard: Rc<Shard>, arrival: Arrival) {
    let Arrival { socket, remote, kind, place: _place } = arrival;
    match kind {
        WebSocketKind::Meeting => websocket_session::serve(shard, socket, remote).await,
        WebSocketKind::Plain(entry) => plain_session::serve(shard, socket, remote, entry).await,
    }
}
