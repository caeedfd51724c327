use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::maybe_done;
use quinn::ConnectionError;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;
use tracing::debug;

use super::entry::seat_request;
use super::media_streams;
use super::outbox::Outbox;
use super::outlet::{Encoded, Outlet};
use super::seat::Seat;
use super::shard::{Pending, SeatRequest, Shard};
use crate::limits::{CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT};
use crate::transport::{MessageReader, QuicSession, SendStream, StreamError, Streams};
use crate::wire::{ClientChat, ClientMessage, CloseReason, ServerMessage, StreamKind, decode, delimit, encode};

/// How an HTTP/3 connection ends that has nothing to complain about (RFC 9114, section 8.1).
const H3_NO_ERROR: u64 = 0x100;

/// How many pieces of an outbox leave in one call, and how many bytes there are until it is not waited for more.
const WRITE_PIECES_MAX: usize = 64;
const WRITE_BYTES: usize = 8 * 1024;

/// Serves one session over QUIC or WebTransport, from its first stream to its end.
pub(super) async fn serve(shard: Rc<Shard>, session: QuicSession, pending: Pending) {
    let remote = session.connection().remote_address();
    let session = Rc::new(session);
    let joined = tokio::select! {
        joined = join(&shard, &session, remote) => joined,
        () = shard.stop_requested() => Err((CloseReason::ShuttingDown, None)),
        () = session.crumbs_found() => Err((CloseReason::TooFast, None)),
    };
    drop(pending);
    let reason = match joined {
        Ok(joined) => joined.run(&shard, &session).await,
        Err((reason, control)) => {
            if let Some(control) = control {
                say_goodbye(&session, control, reason).await;
            }
            reason
        }
    };
    debug!(%remote, reason = reason.label(), "session ended");
    if reason != CloseReason::Left {
        shard.note_failure(remote, reason);
    }
    shard.metrics.session_closed(reason);
    session.close(reason);
}

/// A session with a seat, and its streams as far as they are there. It is passed on in a box: a future keeps room for all that is
/// moved through it, for as long as the session lives.
struct Joined {
    seat: Seat,
    streams: Streams,
    control: (SendStream, MessageReader),
    chat: Option<(SendStream, MessageReader)>,
}

type NotJoined = (CloseReason, Option<SendStream>);

async fn join(shard: &Rc<Shard>, session: &Rc<QuicSession>, remote: SocketAddr) -> Result<Box<Joined>, NotJoined> {
    let metrics = shard.metrics.clone();
    let mut streams = Streams::new(session.clone(), move || metrics.stop_silent_stream());
    let mut chat = None;
    let first = async {
        loop {
            match streams.next().await {
                Ok((StreamKind::Control, send, receive)) => return Ok((send, receive)),
                Ok((StreamKind::Chat, send, receive)) if chat.is_none() => chat = Some((send, receive)),
                Ok(_) => return Err(CloseReason::UnexpectedStream),
                Err(error) => return Err(error.close_reason()),
            }
        }
    };
    let control = timeout(HANDSHAKE_TIMEOUT, first).await.unwrap_or(Err(CloseReason::JoinTimeout));
    let (send, mut receive) = control.map_err(|reason| (reason, None))?;

    let first_message = timeout(HANDSHAKE_TIMEOUT, receive.next()).await;
    let first_message =
        first_message.map_err(|_| CloseReason::JoinTimeout).and_then(|read| read.map_err(|error| error.close_reason()));
    let outlet = Rc::new(Outlet::quic(session.carrier(), session.connection().clone(), &shard.limits));
    let wanted = first_message.and_then(|message| seat_request(shard, remote, &message));
    let seat = match wanted {
        Ok((room, request)) => shard.join(SeatRequest { room, request, outlet, remote }).await,
        Err(reason) => Err(reason),
    };
    match seat {
        Ok(seat) => Ok(Box::new(Joined { seat, streams, control: (send, receive), chat })),
        Err(reason) => Err((reason, Some(send))),
    }
}

impl Joined {
    /// Runs all parts of the session as one task: whichever ends first ends it.
    async fn run(self: Box<Self>, shard: &Shard, session: &Rc<QuicSession>) -> CloseReason {
        // Without a place of its own the box would be there until this ends, empty.
        let Self { seat, mut streams, control: (control_send, mut control_receive), chat } = *{ self };
        // Dropping the receiving half of a stream tells the other side to stop sending, which would overtake the goodbye.
        let (early_send, chat_receive) = chat.unzip();
        let mut chat = ChatStream { early_send, receive: chat_receive };
        let outlet = seat.outlet.clone();
        let Outlet::Quic { control: control_outbox, chat: chat_outbox, .. } = &*outlet else {
            return CloseReason::Internal;
        };
        let (chat_opened, chat_send) = oneshot::channel();
        let mut control_out = std::pin::pin!(write(control_outbox, control_send));
        let mut chat_out = std::pin::pin!(maybe_done(async {
            // An error means that the session ends before the chat stream came: nothing is lost that was asked for.
            if let Ok(send) = chat_send.await {
                write(chat_outbox, send).await;
            }
        }));
        let reason = tokio::select! {
            // Media that arrived before an unpublish or a goodbye still belongs to the track.
            biased;
            reason = read_datagrams(session, &seat) => reason,
            reason = media_streams::read(session, &seat, &shard.metrics) => reason,
            reason = read_control(&mut control_receive, &seat, shard) => reason,
            reason = read_chat(&mut streams, &mut chat, chat_opened, &seat, shard) => reason,
            reason = seat.feed_history() => reason,
            reason = seat.ask_again() => reason,
            reason = seat.tend_media() => reason,
            reason = seat.ending.requested() => reason,
            () = session.crumbs_found() => CloseReason::TooFast,
            () = &mut control_out => return CloseReason::ConnectionLost,
            reason = seat.begin_media() => reason,
            reason = seat.roster_overdue() => reason,
            () = &mut chat_out => CloseReason::ConnectionLost,
        };
        seat.note_reason(reason);
        // The others need not wait for the goodbye.
        drop(seat);
        if reason != CloseReason::ConnectionLost {
            outlet.send_uncounted(&Encoded::control(&closing(reason)));
            outlet.close(&shard.metrics);
            // What cannot be sent in that time is not worth waiting for: the other side is slow or gone.
            let written = async { tokio::join!(control_out, chat_out) };
            let _ = timeout(CLOSE_TIMEOUT, heard(session, written)).await;
        }
        reason
    }
}

pub(super) fn closing(reason: CloseReason) -> ServerMessage {
    ServerMessage::Closing { reason, message: reason.to_string() }
}

/// Waits until the other side has closed the connection after what was `written`. Chromium throws away what a page has not
/// read yet when the relay closes it, although it has arrived.
async fn heard(session: &QuicSession, written: impl Future) {
    written.await;
    session.connection().closed().await;
}

async fn say_goodbye(session: &QuicSession, control: SendStream, reason: CloseReason) {
    let outbox = Outbox::new(0, 0);
    let message = delimit(&encode(&closing(reason)));
    let bytes = message.len();
    outbox.push_uncounted(message, bytes);
    outbox.close();
    // What cannot be sent in that time is not worth waiting for.
    let _ = timeout(CLOSE_TIMEOUT, heard(session, write(&outbox, control))).await;
}

/// Writes what is put into an outbox until it is closed and empty and the other side has it, or the stream breaks.
async fn write(outbox: &Outbox<Bytes>, mut stream: SendStream) {
    let stream = stream.quic();
    while outbox.wait().await {
        let mut pieces = Vec::new();
        let mut bytes = 0;
        // Few bytes at a time, so that one who reads slowly is seen to read.
        while pieces.len() < WRITE_PIECES_MAX && bytes < WRITE_BYTES {
            let Some(piece) = outbox.take() else { break };
            bytes += piece.len();
            pieces.push(piece);
        }
        if stream.write_all_chunks(&mut pieces).await.is_err() {
            return;
        }
    }
    // A stream that is reset already has nothing left to finish.
    if stream.finish().is_ok() {
        let _ = stream.stopped().await;
    }
}

async fn read_control(stream: &mut MessageReader, seat: &Seat, shard: &Shard) -> CloseReason {
    loop {
        shard.post.space().await;
        let message = match stream.next().await {
            Ok(message) => message,
            Err(error) => return error.close_reason(),
        };
        if let Err(reason) = control_message(&message, seat, shard) {
            return reason;
        }
        // Many messages may have arrived at once; others have a turn in between.
        consume_budget().await;
    }
}

/// Takes one message of a control stream, on whichever carrier. An error ends the session.
pub(super) fn control_message(message: &[u8], seat: &Seat, shard: &Shard) -> Result<(), CloseReason> {
    seat.count_message()?;
    match decode(message).map_err(|_| CloseReason::Malformed)? {
        ClientMessage::Leave => Err(CloseReason::Left),
        ClientMessage::Ping { token } => {
            let relay_time_us = shard.now().since_start.as_micros() as u64;
            let pong = Encoded::control(&ServerMessage::Pong { token, relay_time_us });
            seat.outlet.send(&pong).map_err(|_| CloseReason::SlowConsumer)
        }
        message => {
            seat.message(message);
            Ok(())
        }
    }
}

/// Takes one message of a chat stream, on whichever carrier. An error ends the session.
pub(super) fn chat_message(message: &[u8], seat: &Seat) -> Result<(), CloseReason> {
    seat.count_message()?;
    let message: ClientChat = decode(message).map_err(|_| CloseReason::Malformed)?;
    seat.chat(message);
    Ok(())
}

/// Reads the chat stream once it is there, and hands its other half to the writer. Any further stream ends the session, but
/// for one in the place of a chat stream that was too slow.
async fn read_chat(
    streams: &mut Streams,
    chat: &mut ChatStream,
    opened: oneshot::Sender<SendStream>,
    seat: &Seat,
    shard: &Shard,
) -> CloseReason {
    let (send, receive) = match chat.open(streams).await {
        Ok(halves) => halves,
        Err(reason) => return reason,
    };
    // The writer waits for it for as long as the session lives.
    let _ = opened.send(send);
    loop {
        let read = tokio::select! {
            read = read_chat_messages(receive, seat, shard) => read,
            reason = extra_stream(streams) => return reason,
        };
        if let Err(reason) = read {
            return reason;
        }
        // Others are heard and media goes on; only what this one says comes too slowly.
        receive.stop(CloseReason::IdleTimeout);
        shard.metrics.stop_slow_stream();
        match streams.next().await {
            Ok((StreamKind::Chat, mut send, next)) => {
                // What the others say goes on in the first stream. It may be reset already, then it is finished as well.
                let _ = send.quic().finish();
                *receive = next;
            }
            Ok(_) => return CloseReason::UnexpectedStream,
            Err(error) => return error.close_reason(),
        }
    }
}

/// Reads until the session has to end, which is an error, or until a message is too slow.
async fn read_chat_messages(stream: &mut MessageReader, seat: &Seat, shard: &Shard) -> Result<(), CloseReason> {
    loop {
        shard.post.space().await;
        let message = match stream.next().await {
            Ok(message) => message,
            Err(StreamError::Slow) => return Ok(()),
            Err(error) => return Err(error.close_reason()),
        };
        chat_message(&message, seat)?;
        consume_budget().await;
    }
}

/// The chat stream, which may come before the control stream or long after it. Until then chat waits in its outbox.
struct ChatStream {
    early_send: Option<SendStream>,
    receive: Option<MessageReader>,
}

impl ChatStream {
    async fn open(&mut self, streams: &mut Streams) -> Result<(SendStream, &mut MessageReader), CloseReason> {
        let send = match self.early_send.take() {
            Some(send) => send,
            None => match streams.next().await {
                Ok((StreamKind::Chat, send, receive)) => {
                    self.receive = Some(receive);
                    send
                }
                Ok((StreamKind::Control, ..)) => return Err(CloseReason::UnexpectedStream),
                Err(error) => return Err(error.close_reason()),
            },
        };
        let receive = self.receive.as_mut().ok_or(CloseReason::Internal)?;
        Ok((send, receive))
    }
}

async fn extra_stream(streams: &mut Streams) -> CloseReason {
    match streams.next().await {
        Ok(_) => CloseReason::UnexpectedStream,
        Err(error) => StreamError::close_reason(&error),
    }
}

async fn read_datagrams(session: &QuicSession, seat: &Seat) -> CloseReason {
    // Most participants of a large room send nothing: it is allocated for those who do.
    let mut burst = Vec::new();
    loop {
        match session.read_burst(&mut burst).await {
            Ok(()) => seat.forward(&mut burst),
            // wtransport closes the connection when the other side has closed the session, as a page does that is left or
            // loaded again: scripts have no time for a word then. That is found out in a box: a session keeps no room for its end.
            Err(ConnectionError::LocallyClosed) if Box::pin(session.was_ended_by_remote()).await => {
                return CloseReason::PageClosed;
            }
            Err(error) => return ended(&error),
        }
    }
}

/// Why a connection ended, as far as it says.
fn ended(error: &ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == 0 => CloseReason::Left,
        ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == H3_NO_ERROR => {
            CloseReason::PageClosed
        }
        ConnectionError::TimedOut => CloseReason::IdleTimeout,
        _ => CloseReason::ConnectionLost,
    }
}
