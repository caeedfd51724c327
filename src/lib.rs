//! Tertulia.
pub mod limits;
pub mod media;
pub mod now;
pub mod room;
pub mod wire;
