//! Tertulia.
pub mod client;
pub mod limits;
pub mod media;
pub mod now;
pub mod room;
pub mod wire;
