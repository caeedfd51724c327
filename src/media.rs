//! What to send to whom, and how frames become datagrams and datagrams frames. Pure.

mod assembly;
mod egress;
mod fragment;
mod rendition;
mod route;

pub use assembly::{Assembly, Decodability};
pub use egress::{Class, Due, Egress, LeftOut, Medium};
pub use fragment::{Frame, FrameTooLarge};
pub use route::{Change, Forward, Publisher, Routes, Slot};
