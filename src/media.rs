//! What to send to whom, and how frames become datagrams and datagrams frames. Pure.

mod assembly;
mod fragment;
mod route;

pub use assembly::{Assembly, Decodability};
pub use fragment::{Frame, FrameTooLarge};
pub use route::{Forward, Publisher, Routes, Slot};
