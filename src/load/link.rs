use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::target::Found;
use crate::client::carrier::quic::{Endpoint, Streams, reason_of};
use crate::client::carrier::websocket;
use crate::client::{Carrier, ConnectError};
use crate::wire::{CloseReason, MessageBuffer, StreamKind, delimit};

/// The first byte of a media datagram on WebSocket.
const MEDIA: u8 = 0x00;

/// A session's connection, with everything that is read from it in one place.
pub enum Link {
    Quic(Box<QuicLink>),
    WebSocket(Box<websocket::Stream>),
}

/// A connection over QUIC or WebTransport.
pub struct QuicLink {
    streams: Streams,
    control: MessageBuffer,
    chat: MessageBuffer,
}

/// What has arrived.
pub enum Arrival {
    Datagram(Bytes),
    Control(Bytes),
    Chat(Bytes),
}

/// The connection is over.
#[derive(Debug)]
pub struct Ended(pub CloseReason);

/// A UDP socket to the relay that several sessions share; `None` where the carrier has none.
pub fn endpoint(found: &Found) -> Result<Option<Arc<Endpoint>>, ConnectError> {
    let endpoint = match found.address.carrier {
        Carrier::WebTransport => Endpoint::webtransport(found.remote, &found.options)?,
        Carrier::Quic => Endpoint::quic(found.remote, &found.options)?,
        Carrier::WebSocket => return Ok(None),
    };
    Ok(Some(Arc::new(endpoint)))
}

impl Link {
    /// Connects, by that socket if there is one.
    pub async fn connect(found: &Found, endpoint: Option<Arc<Endpoint>>) -> Result<Self, ConnectError> {
        let Some(endpoint) = endpoint else {
            let stream = websocket::connect(&found.address, found.remote, &found.options).await?;
            return Ok(Self::WebSocket(Box::new(stream)));
        };
        let streams = endpoint.connect(&found.address, found.remote).await.map_err(|failed| failed.error)?;
        let (control, chat) = (MessageBuffer::default(), MessageBuffer::default());
        Ok(Self::Quic(Box::new(QuicLink { streams, control, chat })))
    }

    /// Sends a message. Why it could not be sent is known to [`Link::next`].
    pub async fn send(&mut self, kind: StreamKind, message: &[u8]) {
        match self {
            Self::Quic(link) => {
                let stream = match kind {
                    StreamKind::Control => &mut link.streams.control.0,
                    StreamKind::Chat => &mut link.streams.chat.0,
                };
                let _ = stream.quic().write_all(&delimit(message)).await;
            }
            Self::WebSocket(stream) => {
                let mut bytes = BytesMut::with_capacity(1 + message.len());
                bytes.put_u8(kind.byte());
                bytes.extend_from_slice(message);
                let _ = stream.send(Message::Binary(bytes.freeze())).await;
            }
        }
    }

    /// Sends a frame at once.
    pub async fn send_datagrams(&mut self, datagrams: Vec<Bytes>) {
        match self {
            Self::Quic(link) => {
                for datagram in datagrams {
                    // What the path does not take is lost, as on any path.
                    let _ = link.streams.link.quic.send_datagram(datagram);
                }
            }
            Self::WebSocket(stream) => {
                for datagram in datagrams {
                    let _ = stream.feed(Message::Binary(datagram)).await;
                }
                let _ = stream.flush().await;
            }
        }
    }

    /// Waits for what arrives next. Nothing is lost when it is dropped meanwhile.
    pub async fn next(&mut self) -> Result<Arrival, Ended> {
        match self {
            Self::Quic(link) => link.next().await,
            Self::WebSocket(stream) => loop {
                match stream.next().await {
                    Some(Ok(Message::Binary(bytes))) => match bytes.first().copied() {
                        Some(MEDIA) => return Ok(Arrival::Datagram(bytes)),
                        Some(kind) if kind == StreamKind::Control.byte() => {
                            return Ok(Arrival::Control(bytes.slice(1..)));
                        }
                        Some(kind) if kind == StreamKind::Chat.byte() => return Ok(Arrival::Chat(bytes.slice(1..))),
                        _ => {}
                    },
                    Some(Ok(Message::Close(frame))) => return Err(Ended(websocket::close_reason(frame).0)),
                    // A ping is answered with the next thing that is read.
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(Ended(CloseReason::ConnectionLost)),
                }
            },
        }
    }

    /// Ends the connection.
    pub async fn close(&mut self) {
        match self {
            Self::Quic(link) => link.streams.link.quic.close(u32::from(CloseReason::Left.code()).into(), b""),
            Self::WebSocket(stream) => {
                let _ = stream.close(None).await;
            }
        }
    }
}

impl QuicLink {
    async fn next(&mut self) -> Result<Arrival, Ended> {
        loop {
            if let Some(message) = pop(&mut self.control)? {
                return Ok(Arrival::Control(message));
            }
            if let Some(message) = pop(&mut self.chat)? {
                return Ok(Arrival::Chat(message));
            }
            let Streams { link, control, chat } = &mut self.streams;
            let (control, chat) = (control.1.quic(), chat.1.quic());
            let (chunk, buffer) = tokio::select! {
                biased;
                datagram = link.next_datagram() => {
                    return datagram.map(Arrival::Datagram).map_err(|error| Ended(reason_of(&error)));
                }
                chunk = control.read_chunk(usize::MAX, true) => (chunk, &mut self.control),
                chunk = chat.read_chunk(usize::MAX, true) => (chunk, &mut self.chat),
            };
            match chunk {
                Ok(Some(chunk)) => buffer.push(&chunk.bytes),
                // The connection alone can say why.
                _ => return Err(Ended(reason_of(&link.quic.closed().await))),
            }
        }
    }
}

fn pop(buffer: &mut MessageBuffer) -> Result<Option<Bytes>, Ended> {
    buffer.pop().map_err(|_| Ended(CloseReason::TooLarge))
}
