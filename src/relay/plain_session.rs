use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, WebSocket};
use futures_util::future::maybe_done;
use futures_util::stream::{SplitStream, StreamExt};
use tokio::time::{sleep, timeout};

use super::entry::plain_request;
use super::outlet::Outlet;
use super::own_turn::own_turn;
use super::seat::Seat;
use super::shard::{SeatRequest, Shard};
use super::websocket_session::{Halves, failure, heard_out, note_end, say_goodbye, write};
use crate::limits::{Bucket, CLOSE_TIMEOUT, IDLE_TIMEOUT};
use crate::transport::{PingBudget, Place, PlainEntry};
use crate::wire::{ClientChat, CloseReason, MessageId};

/// Serves a plain WebSocket client: one text message is one chat message, both ways. It holds its place until it ends.
pub(super) async fn serve(
    _place: Place,
    shard: Rc<Shard>,
    (sink, mut stream): Halves,
    remote: SocketAddr,
    entry: PlainEntry,
) {
    let outlet = Rc::new(Outlet::plain(&shard.limits));
    let mut writer = std::pin::pin!(maybe_done(write(sink, &outlet, &shard)));
    let reason = match join(&shard, &outlet, remote, entry).await {
        Err(reason) => reason,
        Ok(seat) => {
            let mut listening = std::pin::pin!(async {
                tokio::select! {
                    reason = read(&shard, &seat, &mut stream) => reason,
                    reason = seat.feed_history() => reason,
                    reason = seat.ending.requested() => reason,
                }
            });
            let reason = tokio::select! {
                reason = own_turn(listening.as_mut()) => reason,
                () = &mut writer => heard_out(listening).await,
            };
            seat.note_reason(reason);
            reason
        }
    };
    note_end(&shard, remote, reason);
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

async fn join(
    shard: &Rc<Shard>,
    outlet: &Rc<Outlet>,
    remote: SocketAddr,
    entry: PlainEntry,
) -> Result<Seat, CloseReason> {
    let PlainEntry { room, token } = entry;
    let request = plain_request(shard, remote, &room, token.as_ref().map(|token| token.0.as_str()))?;
    shard.join(SeatRequest { room, request, outlet: outlet.clone(), remote }).await
}

/// Reads no faster than the room takes chat: a plain client understands no refusal, so it waits instead.
struct Pace {
    bucket: Bucket,
}

impl Pace {
    async fn wait(&mut self, shard: &Shard, seat: &Seat, bytes: usize) {
        let (rate, units) = (shard.limits.chat(), shard.limits.chat_units(bytes));
        shard.post.space().await;
        let mut waits = false;
        while seat.is_chat_busy() || !self.bucket.take(shard.now(), rate, units) {
            if !std::mem::replace(&mut waits, true) {
                shard.metrics.plain_waits.inc();
            }
            sleep(Duration::from_secs(1) / rate.per_second.max(1)).await;
        }
    }
}

async fn read(shard: &Shard, seat: &Seat, stream: &mut SplitStream<WebSocket>) -> CloseReason {
    let mut pace = Pace { bucket: Bucket::default() };
    let mut pings = PingBudget::default();
    loop {
        let Ok(next) = timeout(IDLE_TIMEOUT, stream.next()).await else {
            return CloseReason::IdleTimeout;
        };
        match next {
            Some(Ok(Message::Text(text))) if text.len() > shard.limits.chat_bytes as usize => {
                return CloseReason::TooLarge;
            }
            Some(Ok(Message::Text(text))) => {
                let begun = Instant::now();
                pace.wait(shard, seat, text.len()).await;
                pings.note_unread(begun.elapsed());
                let message_id = MessageId(rand::random());
                seat.chat(ClientChat::Send { message_id, to: None, body: text.as_str().to_owned() });
            }
            Some(Ok(Message::Pong(payload))) if seat.outlet.take_pong(shard.now(), &payload) => {}
            // Nobody asked for such a pong.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                if let Err(reason) = pings.take() {
                    return reason;
                }
            }
            Some(Ok(Message::Binary(_))) => return CloseReason::NotText,
            Some(Ok(Message::Close(_))) => return CloseReason::Left,
            Some(Err(error)) => return failure(&error),
            None => return CloseReason::ConnectionLost,
        }
    }
}
