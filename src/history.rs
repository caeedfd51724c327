//! Where chat is kept.

mod memory;

pub use memory::{History, Page};
