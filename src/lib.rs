//! Tertulia is a low-latency relay for online meetings: chat on reliable streams, audio and video as unreliable datagrams,
//! over WebTransport, QUIC and WebSocket.
//!
//! ```text
//!  SHELL  tokio, quinn, wtransport, clock, randomness, files
//!     relay -> transport -> (the network)        relay -> http, history         client -> (the network)
//!  ------------------------------------------------------------------------------------------------------
//!  PURE   bytes, values and `now` go in; values come out; same input, same output
//!     relay -> room, auth -> wire <- media <- relay   leaves: limits, now       client -> wire, media
//! ```
//!
//! - To host a relay in a program of your own: [`relay::Relay`], with [`relay::Callbacks`] to watch and refuse what happens.
//! - To take part in a meeting from a program: [`client::Room`].
//! - To understand what is on the wire: [`wire`], and `PROTOCOL.md` beside the source.
//! - To say who may come in, and to make access tokens: [`auth`].
//! - To understand the rules of a meeting: [`room::Room`], and for media [`media::Routes`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tertulia::client::{Options, Room};
//! use tertulia::config::Config;
//! use tertulia::relay::Relay;
//!
//! let relay = Relay::start(Config::default())?;
//! let room = Room::connect("ws://localhost:8000/", Options { name: "Ana".into(), ..Options::default() }).await?;
//! let sequence = room.chat().send("hello").await?;
//! println!("message {sequence} is kept and on its way to everyone");
//! room.disconnect().await;
//! relay.stop().await;
//! # Ok(())
//! # }
//! ```

#![warn(clippy::unwrap_used)]

pub mod auth;
pub mod client;
pub mod config;
pub mod history;
mod http;
pub mod limits;
pub mod load;
#[cfg(test)]
mod logged;
pub mod media;
pub mod now;
mod owner_only;
pub mod relay;
pub mod room;
pub mod transport;
pub mod wire;
