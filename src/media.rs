//! What to send to whom, and how frames become datagrams and datagrams frames. Pure.

mod assembly;
mod fragment;
mod gaps;
mod parity;
mod publisher;
mod recent;
mod redundancy;
mod rendition;
mod route;

pub use assembly::{Assembly, Decodability};
pub use fragment::{Delivery, Frame, FrameTooLarge};
pub use gaps::{Arrival, Gaps};
pub use publisher::Publisher;
pub use recent::{Kept, Recent};
pub use redundancy::Redundancy;
pub use route::{Change, Forward, Routes, Slot};
