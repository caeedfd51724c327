use std::net::SocketAddr;
use std::rc::Rc;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::future::{maybe_done, pending};
use futures_util::stream::{SplitSink, SplitStream, StreamExt};
use futures_util::{FutureExt, SinkExt};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;

use super::entry::seat_request;
use super::outlet::{Encoded, Outlet};
use super::own_turn::own_turn;
use super::quic_session::{chat_message, closing, control_message};
use super::seat::Seat;
use super::shard::{SeatRequest, Shard};
use crate::limits::{BURST_DATAGRAMS_MAX, CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, KEEP_ALIVE_INTERVAL};
use crate::transport::{PingBudget, Place};
use crate::wire::{CloseReason, DropReason, StreamKind};

/// How many messages leave in one system call, at most.
const WRITE_MESSAGES_MAX: usize = 64;

/// A WebSocket taken apart, to be written and read at once.
pub(super) type Halves = (SplitSink<WebSocket, Message>, SplitStream<WebSocket>);

/// Serves one meeting session over WebSocket, from its first message to its end. It holds its place until then.
pub(super) async fn serve(_place: Place, shard: Rc<Shard>, (sink, mut stream): Halves, remote: SocketAddr) {
    let outlet = Rc::new(Outlet::websocket(&shard.limits));
    // It may end first and is awaited again for the goodbye.
    let mut writer = std::pin::pin!(maybe_done(write(sink, &outlet, &shard)));
    let reason = {
        let mut conversing = std::pin::pin!(converse(&shard, &outlet, &mut stream, remote));
        tokio::select! {
            reason = own_turn(conversing.as_mut()) => reason,
            () = &mut writer => heard_out(conversing).await,
        }
    };
    note_end(&shard, remote, reason);
    outlet.send_uncounted(&Encoded::control(&closing(reason)));
    outlet.close(&shard.metrics);
    let goodbye = async {
        writer.as_mut().await;
        if let Some(sink) = writer.as_mut().take_output() {
            say_goodbye(sink, stream, reason).await;
        }
    };
    // What cannot be sent in that time is not worth waiting for: the other side is slow or gone.
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}

/// Why a session ends that nothing can be written to any more: what was said before that is still read, for whoever says goodbye and
/// hangs up has left.
pub(super) async fn heard_out(conversing: impl Future<Output = CloseReason>) -> CloseReason {
    timeout(CLOSE_TIMEOUT, conversing).await.unwrap_or(CloseReason::ConnectionLost)
}

/// Counts the end of a session.
pub(super) fn note_end(shard: &Shard, remote: SocketAddr, reason: CloseReason) {
    debug!(%remote, reason = reason.label(), "session ended");
    shard.metrics.session_closed(reason);
    if reason != CloseReason::Left {
        shard.note_failure(remote, reason);
    }
}

/// Sends the close frame and reads on until the other side has closed too: TCP resets a connection that is closed with
/// something unread, and the reset would overtake the close frame.
pub(super) async fn say_goodbye(
    mut sink: SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
    reason: CloseReason,
) {
    let frame = CloseFrame { code: reason.websocket_code(), reason: reason.to_string().into() };
    // If the other side closed first, the first of these fails and the second sends the reply to its close frame.
    let _ = sink.send(Message::Close(Some(frame))).await;
    let _ = sink.close().await;
    while let Some(Ok(_)) = stream.next().await {}
    if matches!(reason, CloseReason::TooLarge | CloseReason::Malformed) {
        // What follows a message that was refused cannot be read any more, such as answers to pings, so time has to do.
        pending::<()>().await;
    }
}

async fn converse(
    shard: &Rc<Shard>,
    outlet: &Rc<Outlet>,
    stream: &mut SplitStream<WebSocket>,
    remote: SocketAddr,
) -> CloseReason {
    let mut pings = PingBudget::default();
    let first = tokio::select! {
        first = timeout(HANDSHAKE_TIMEOUT, first_control_message(shard, outlet, stream, &mut pings)) => first,
        () = shard.stop_requested() => Ok(Err(CloseReason::ShuttingDown)),
    };
    let wanted =
        first.unwrap_or(Err(CloseReason::JoinTimeout)).and_then(|message| seat_request(shard, remote, &message));
    let seat = match wanted {
        Ok((room, request)) => shard.join(SeatRequest { room, request, outlet: outlet.clone(), remote }).await,
        Err(reason) => Err(reason),
    };
    let seat = match seat {
        Ok(seat) => seat,
        Err(reason) => return reason,
    };
    let reason = tokio::select! {
        reason = read(shard, &seat, stream, &mut pings) => reason,
        reason = seat.ending.requested() => reason,
        reason = seat.feed_history() => reason,
        reason = seat.begin_media() => reason,
        reason = seat.roster_overdue() => reason,
        reason = seat.tend_media() => reason,
    };
    seat.note_reason(reason);
    reason
}

async fn first_control_message(
    shard: &Shard,
    outlet: &Outlet,
    stream: &mut SplitStream<WebSocket>,
    pings: &mut PingBudget,
) -> Result<Bytes, CloseReason> {
    loop {
        let message = next_binary(shard, outlet, stream, pings).await?;
        match message.first() {
            Some(0) => shard.metrics.drop_datagrams(DropReason::NotJoined, 1),
            Some(&kind) if kind == StreamKind::Control.byte() => return Ok(message.slice(1..)),
            _ => return Err(CloseReason::UnexpectedMessage),
        }
    }
}

async fn next_binary(
    shard: &Shard,
    outlet: &Outlet,
    stream: &mut SplitStream<WebSocket>,
    pings: &mut PingBudget,
) -> Result<Bytes, CloseReason> {
    loop {
        let Ok(next) = timeout(IDLE_TIMEOUT, stream.next()).await else {
            return Err(CloseReason::IdleTimeout);
        };
        match next {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(Message::Ping(_))) => pings.take()?,
            Some(Ok(Message::Pong(payload))) if outlet.take_pong(shard.now(), &payload) => {}
            // Nobody asked for it.
            Some(Ok(Message::Pong(_))) => pings.take()?,
            Some(Ok(Message::Text(_))) => return Err(CloseReason::UnexpectedMessage),
            Some(Ok(Message::Close(frame))) => return Err(closed(frame.as_ref())),
            Some(Err(error)) => return Err(failure(&error)),
            None => return Err(CloseReason::ConnectionLost),
        }
    }
}

/// Why a client closed its WebSocket. A browser says 1001 for a page that is left or loaded again (RFC 6455, section 7.4.1).
fn closed(frame: Option<&CloseFrame>) -> CloseReason {
    match frame.map(|frame| frame.code) {
        None | Some(close_code::NORMAL) => CloseReason::Left,
        Some(code) if code == CloseReason::Left.websocket_code() => CloseReason::Left,
        Some(close_code::AWAY) => CloseReason::PageClosed,
        Some(_) => CloseReason::ConnectionLost,
    }
}

/// Why a WebSocket failed, as far as tungstenite says.
pub(super) fn failure(error: &axum::Error) -> CloseReason {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<Error>()) {
        Some(Error::Capacity(_)) => CloseReason::TooLarge,
        Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => CloseReason::ConnectionLost,
        Some(Error::Utf8(_) | Error::Protocol(_)) => CloseReason::Malformed,
        _ => CloseReason::ConnectionLost,
    }
}

async fn read(shard: &Shard, seat: &Seat, stream: &mut SplitStream<WebSocket>, pings: &mut PingBudget) -> CloseReason {
    let mut burst = Vec::with_capacity(BURST_DATAGRAMS_MAX);
    loop {
        let taken = take_burst(shard, seat, stream, pings, &mut burst).await;
        seat.forward(&mut burst);
        if let Err(reason) = taken {
            return reason;
        }
    }
}

/// Waits for messages and takes all that have arrived: what has arrived together is passed on together.
async fn take_burst(
    shard: &Shard,
    seat: &Seat,
    stream: &mut SplitStream<WebSocket>,
    pings: &mut PingBudget,
    burst: &mut Vec<Bytes>,
) -> Result<(), CloseReason> {
    shard.post.space().await;
    take(shard, seat, next_binary(shard, &seat.outlet, stream, pings).await?, burst)?;
    while burst.len() < BURST_DATAGRAMS_MAX
        && shard.post.has_space()
        && let Some(message) = next_binary(shard, &seat.outlet, stream, pings).now_or_never()
    {
        take(shard, seat, message?, burst)?;
    }
    Ok(())
}

fn take(shard: &Shard, seat: &Seat, message: Bytes, burst: &mut Vec<Bytes>) -> Result<(), CloseReason> {
    let Some(&kind) = message.first() else {
        return Err(CloseReason::Malformed);
    };
    if kind == 0 {
        burst.push(message);
        return Ok(());
    }
    // What came before must not be overtaken: an unpublish would make a stray of it.
    seat.forward(burst);
    match StreamKind::from_byte(kind) {
        Some(StreamKind::Control) => control_message(&message[1..], seat, shard),
        Some(StreamKind::Chat) => chat_message(&message[1..], seat),
        None => Err(CloseReason::UnexpectedStream),
    }
}

/// Writes what is put into the outlet, messages before media, and keeps the connection alive. Gives the connection back
/// once the outlet is closed and empty, or when nothing can be written any more.
pub(super) async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    outlet: &Outlet,
    shard: &Shard,
) -> SplitSink<WebSocket, Message> {
    let mut keep_alive = interval(KEEP_ALIVE_INTERVAL);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let written = tokio::select! {
            // A stream of media that never pauses must not keep the keep-alive from leaving.
            biased;
            _ = keep_alive.tick() => sink.send(outlet.ping(shard.now())).await,
            open = outlet.wait_for_message() => {
                if !open {
                    return sink;
                }
                write_messages(&mut sink, outlet, shard).await
            }
        };
        if written.is_err() {
            return sink;
        }
    }
}

async fn write_messages(
    sink: &mut SplitSink<WebSocket, Message>,
    outlet: &Outlet,
    shard: &Shard,
) -> Result<(), axum::Error> {
    for _ in 0..WRITE_MESSAGES_MAX {
        let Some(message) = outlet.take_message(shard) else {
            break;
        };
        sink.feed(message).await?;
    }
    if let Some(ping) = outlet.due_ping(shard) {
        sink.feed(ping).await?;
    }
    sink.flush().await
}
