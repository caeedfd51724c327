//! The native client: take part in a room from a Rust program.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use tertulia::client::{Event, Options, Room};
//!
//! let options = Options { name: "Ana".to_owned(), ..Options::default() };
//! let room = Room::connect("https://relay.example:4433/r/team", options).await?;
//! room.chat().send("Hello").await?;
//! while let Some(event) = room.next_event().await {
//!     if let Event::ChatMessage(message) = event {
//!         println!("{}: {}", message.from_name, message.body);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Room`] outlives its connection: when that breaks, it connects again and comes back to its seat, by itself. Chat has no
//! gap and no double by that, tracks go on, and the others notice nothing if it takes less than the relay keeps the seat.
//! [`Options::reconnect`] and [`Options::fallbacks`] say how and where, [`Event::Reconnecting`] and [`Event::Reconnected`]
//! tell of it. It ends with [`Event::Closed`]: when it was left, when trying again cannot help, or when that took too long.
//!
//! A network that stops carrying UDP says nothing. A room at `https://` goes on over WebSocket then, at the same host and port, within
//! three seconds and without a break, and returns when UDP passes again; one at `quic://` where a fallback says `wss://`. See
//! [`Options::follow_udp`].
//!
//! Dropping a [`Room`] ends its connection and the tasks that serve it. [`Chat`], [`LocalTrack`] and [`RemoteTrack`] are
//! handles of it that fail or end with it.

pub(crate) mod address;
mod arrival;
pub(crate) mod carrier;
mod chat;
mod connect_error;
mod dispatch;
mod event;
mod keeper;
mod live;
mod options;
mod publication;
mod queue;
mod receive;
mod reception;
mod reconnect;
mod restore;
mod room;
mod roster;
mod seat;
mod session;
mod tls;
mod track;

pub use carrier::Carrier;
pub use chat::Chat;
pub use connect_error::ConnectError;
pub use event::{ChatError, Event, RequestError};
pub use options::{Options, Reconnect};
pub use room::Room;
pub use tls::Certificates;
pub use track::{LocalTrack, RemoteTrack, SendFrameError};
