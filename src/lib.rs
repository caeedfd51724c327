//! Tertulia.
pub mod client;
pub mod config;
pub mod history;
pub mod http;
pub mod limits;
pub mod media;
pub mod now;
pub mod relay;
pub mod room;
pub mod transport;
pub mod wire;
