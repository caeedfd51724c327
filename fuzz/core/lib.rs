//! The core of the relay, as `src/lib.rs` has it, without the shell.

pub mod auth;
pub mod limits;
pub mod media;
pub mod now;
pub mod room;
pub mod wire;
