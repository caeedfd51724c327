use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::stream::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::{Barrier, mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking, yield_now};
use tokio::time::{interval, timeout, timeout_at};
use tracing::{debug, error, warn};

use super::common::Common;
use super::mail::Mail;
use super::memory::Memory;
use super::post::{Post, ShardId};
use super::shard::{Pending, Shard};
use super::{plain_session, quic_session, websocket_session};
use crate::http;
use crate::limits::{
    CONNECTIONS_PENDING_MAX, CONNECTIONS_UNVALIDATED_MAX, HANDSHAKE_TIMEOUT, LOAD_INTERVAL, MEMORY_INTERVAL,
    SAMPLE_INTERVAL, SESSION_QUESTIONS_MAX, UDP_DROPS_INTERVAL,
};
use crate::media::Load;
use crate::transport::{
    Arrival, CertificateStore, Counted, GateError, Place, QuicSession, Refusal, UdpDrops, Unproved, WebSocketKind,
};
use crate::wire::CloseReason;

/// How long a relay takes at most to stop: whoever waits for it takes it to hang after 5 s.
const STOP_TIME_MAX: Duration = Duration::from_millis(4500);

/// How long of that sessions may take to say goodbye.
const GOODBYES_TIME_MAX: Duration = Duration::from_secs(3);

/// How long of that the shards may wait for each other, until what is kept is closed by the first one.
const SHARDS_TIME_MAX: Duration = Duration::from_millis(3500);

/// How long the last packets may take to leave: a remote that does not answer is not waited for.
const LAST_PACKETS_TIME_MAX: Duration = Duration::from_millis(500);

/// WebSockets that were upgraded and wait for their session.
const ARRIVALS_MAX: usize = 64;

/// What one of the relay's threads is given.
pub(super) struct Beginning {
    pub id: ShardId,
    pub common: Arc<Common>,
    pub unproved: Arc<Unproved>,
    pub mail: Mail,
    pub post: Post,
    pub udp_drops: UdpDrops,
    pub certificates: Arc<CertificateStore>,
    pub address: SocketAddr,
    pub stopping: watch::Receiver<bool>,
    /// Where all threads wait for each other when they stop: a room's home is needed until the last of its sessions has ended.
    pub ended: Arc<Barrier>,
}

/// What one shard listens to by TCP.
pub(super) struct Listeners {
    pub tls: TcpListener,
    pub plain: Vec<TcpListener>,
    pub admin: Option<TcpListener>,
}

/// Serves the sockets of a shard until the relay stops.
pub(super) async fn serve(beginning: Beginning, endpoint: quinn::Endpoint, listeners: Listeners) {
    let Beginning { id, common, unproved, mut mail, post, udp_drops, certificates, address, mut stopping, ended } =
        beginning;
    let shard = Shard::new(id, common, post, unproved);
    let _background = background(&shard, &certificates, udp_drops);
    let (arrivals, mut arrived) = mpsc::channel(ARRIVALS_MAX);
    let (questions, mut asked) = mpsc::channel(SESSION_QUESTIONS_MAX);
    let doors = http::Doors { arrivals, questions };
    let site = http::Site::new(shard.metrics.clone(), shard.gate.clone(), certificates.clone(), address, doors);
    let _http = serve_http(listeners, site, &certificates);

    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(incoming) = endpoint.accept() => accept(&shard, &mut tasks, incoming, endpoint.open_connections()),
            Some(arrival) = arrived.recv() => start_websocket(&shard, &mut tasks, arrival),
            Some(http::SessionQuestion { room, answer }) = asked.recv() => {
                let shard = shard.clone();
                // Whoever asked may be gone.
                tasks.spawn_local(async move { _ = answer.send(shard.sessions_json(room).await) });
            }
            letter = mail.next() => mail.carry_out(&shard, letter, &mut tasks),
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => note_panic(&shard, ended),
            _ = stopping.wait_for(|stop| *stop) => break,
        }
    }
    let begun = tokio::time::Instant::now();
    shard.stop();
    if timeout_at(begun + GOODBYES_TIME_MAX, end_sessions(&shard, &mut mail, &mut tasks)).await.is_err() {
        warn!("some sessions did not end in time");
    }
    // The sessions of other shards need the homes of their rooms. A shard that has failed is not waited for.
    let _ = timeout_at(begun + SHARDS_TIME_MAX, wait_for_others(&shard, &mut mail, &mut tasks, &ended)).await;
    mail.carry_out_rest(&shard, &mut tasks);
    endpoint.close(u32::from(CloseReason::ShuttingDown.code()).into(), CloseReason::ShuttingDown.label().as_bytes());
    let _ = timeout(LAST_PACKETS_TIME_MAX, endpoint.wait_idle()).await;
    shard.note_stopped();
    let _ = timeout_at(begun + SHARDS_TIME_MAX + LAST_PACKETS_TIME_MAX, ended.wait()).await;
    if id == ShardId::FIRST && timeout_at(begun + STOP_TIME_MAX, shard.history.stop()).await.is_err() {
        warn!("the disk takes too long: chat that nobody was told of yet may not be kept");
    }
}

/// What a shard looks at now and then; the first one, for all of them.
fn background(shard: &Rc<Shard>, certificates: &Arc<CertificateStore>, udp_drops: UdpDrops) -> JoinSet<()> {
    let mut background = JoinSet::new();
    background.spawn_local(count_losses(shard.clone(), udp_drops));
    background.spawn_local(sample_sessions(shard.clone()));
    background.spawn_local(watch_load(shard.clone()));
    background.spawn_local(shard.clone().send_gathered());
    let sending = shard.clone();
    background.spawn_local(async move { sending.post.send_packed().await });
    if shard.id == ShardId::FIRST {
        background.spawn_local(shard.keys.clone().watch());
        background.spawn_local(certificates.clone().watch());
        background.spawn_local(watch_memory(shard.clone()));
    }
    background
}

fn serve_http(listeners: Listeners, site: http::Site, certificates: &Arc<CertificateStore>) -> JoinSet<()> {
    let Listeners { tls, plain, admin } = listeners;
    let mut http = JoinSet::new();
    http.spawn(http::serve_tls(tls, site.clone(), certificates.server_config(&[b"http/1.1"])));
    for listener in plain {
        http.spawn(http::serve_plain(listener, site.clone()));
    }
    if let Some(listener) = admin {
        http.spawn(http::serve_admin(listener, site));
    }
    http
}

/// Waits until all sessions here have said goodbye.
async fn end_sessions(shard: &Rc<Shard>, mail: &mut Mail, tasks: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            letter = mail.next() => mail.carry_out(shard, letter, tasks),
            ended = tasks.join_next() => match ended {
                Some(ended) => note_panic(shard, ended),
                None => break,
            },
        }
    }
}

/// Waits until those of all other shards have.
async fn wait_for_others(shard: &Rc<Shard>, mail: &mut Mail, tasks: &mut JoinSet<()>, ended: &Barrier) {
    let mut all = std::pin::pin!(ended.wait());
    loop {
        tokio::select! {
            _ = &mut all => break,
            letter = mail.next() => mail.carry_out(shard, letter, tasks),
        }
    }
}

/// Counts what the kernel dropped and what the history found to be damaged, and forgets handshakes that came to nothing, for as
/// long as it is polled.
async fn count_losses(shard: Rc<Shard>, udp_drops: UdpDrops) {
    let mut due = interval(UDP_DROPS_INTERVAL);
    let mut counted = 0;
    loop {
        due.tick().await;
        // The kernel goes through all sockets of the machine for it: media does not wait for that.
        let dropped = spawn_blocking(move || udp_drops.count()).await.unwrap_or_default();
        shard.metrics.udp_dropped.inc_by(dropped.saturating_sub(counted));
        counted = counted.max(dropped);
        shard.unproved.forget();
        // The history is that of all shards.
        if shard.id == ShardId::FIRST {
            let counted = shard.metrics.chat_lost.get();
            shard.metrics.chat_lost.inc_by(shard.history.messages_lost().saturating_sub(counted));
        }
    }
}

/// Lets nobody new in while memory is short, for as long as it is polled.
async fn watch_memory(shard: Rc<Shard>) {
    let mut memory = Memory::new(shard.limits.memory_megabytes);
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

/// Looks how busy the shard is and what it has to wait for, for as long as it is polled: a busy one lets small datagrams wait for each
/// other.
async fn watch_load(shard: Rc<Shard>) {
    let runtime = Handle::current().metrics();
    let mut load = Load::default();
    let mut busy = runtime.worker_total_busy_duration(0);
    let mut seen = Instant::now();
    let mut due = interval(LOAD_INTERVAL);
    loop {
        due.tick().await;
        let (busy_before, seen_before) = (busy, seen);
        (busy, seen) = (runtime.worker_total_busy_duration(0), Instant::now());
        load.note(busy.saturating_sub(busy_before), seen - seen_before);
        shard.gather_time.set(load.gather_time());
        shard.rosters.borrow_mut().look();
    }
}

/// Adds to the aggregates how sessions do, for as long as it is polled. Media has a turn between two rooms.
async fn sample_sessions(shard: Rc<Shard>) {
    let mut due = interval(SAMPLE_INTERVAL);
    loop {
        due.tick().await;
        for part in shard.parts() {
            part.borrow_mut().sample(shard.now(), &shard.metrics);
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
fn accept(shard: &Rc<Shard>, tasks: &mut JoinSet<()>, incoming: quinn::Incoming, open: usize) {
    let address = incoming.remote_address().ip();
    let pending = shard.connections_pending.load(Ordering::Relaxed);
    let open = shard.note_connections(shard.id, open);
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
        tasks.spawn_local(serve_quic(shard.clone(), Box::new(incoming), pending));
    }
}

/// Tells whoever asks that there is no connection to be had: QUIC has a code for that and no words.
fn refuse(shard: &Shard, incoming: quinn::Incoming, error: &GateError) {
    debug!(remote = %incoming.remote_address(), %error, "a connection was refused");
    shard.metrics.refuse(Refusal::from(error));
    incoming.refuse();
}

/// Serves a connection from its first packet to its end. The attempt comes in a box: a future keeps room for what it is given, for as
/// long as the connection lives.
async fn serve_quic(shard: Rc<Shard>, incoming: Box<quinn::Incoming>, pending: Pending) {
    if let Some((session, _held)) = establish(&shard, incoming).await {
        quic_session::serve(shard, session, pending).await;
    }
}

/// Makes a session of a connection attempt, with what is held until the session ends. If none came, that is counted, unless the relay
/// stops.
async fn establish(shard: &Shard, incoming: Box<quinn::Incoming>) -> Option<(QuicSession, (Counted, Place))> {
    let remote = incoming.remote_address();
    let proved_before = incoming.remote_address_validated();
    let failed = |reason: CloseReason, problem: String| {
        debug!(%remote, problem, "no session came of a connection");
        shard.metrics.sessions_failed.inc();
        shard.note_failure(remote, reason);
        None
    };
    let mut counted = shard.unproved.count(remote, proved_before);
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => return failed(CloseReason::ConnectionLost, error.to_string()),
    };
    let refused = |error: &GateError| shard.metrics.refuse(Refusal::from(error));
    let established = tokio::select! {
        established = timeout(HANDSHAKE_TIMEOUT, QuicSession::establish(connecting, &shard.gate, refused)) => established,
        () = shard.stop_requested() => return None,
    };
    let session = match established {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return failed(CloseReason::ConnectionLost, error.to_string()),
        Err(_) => return failed(CloseReason::HandshakeTimeout, "it took too long".into()),
    };
    counted.prove();
    // The handshake has proved the address; before, nothing may be noted of it.
    let begun = if proved_before { Ok(()) } else { shard.gate.begin(remote.ip()) };
    match begun.and_then(|()| shard.gate.enter(remote.ip())) {
        Ok(place) => Some((session, (counted, place))),
        Err(error) => {
            shard.metrics.refuse(Refusal::from(&error));
            session.close(CloseReason::TooFast);
            failed(CloseReason::TooFast, error.to_string())
        }
    }
}

/// Starts the session of a WebSocket. It is split here: the session's future would keep room for the whole socket.
fn start_websocket(shard: &Rc<Shard>, tasks: &mut JoinSet<()>, arrival: Arrival) {
    let Arrival { socket, remote, kind, place } = arrival;
    let (shard, halves) = (shard.clone(), socket.split());
    match kind {
        WebSocketKind::Meeting => tasks.spawn_local(websocket_session::serve(place, shard, halves, remote)),
        WebSocketKind::Plain(entry) => tasks.spawn_local(plain_session::serve(place, shard, halves, remote, entry)),
    };
}
