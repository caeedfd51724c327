//! What to send to whom, and how frames become datagrams and datagrams frames. Pure.

mod arrivals;
mod assembly;
mod fragment;
mod recent_pictures;
mod rendition;
mod route;
mod speakers;
mod voice;

pub use arrivals::Arrivals;
pub use assembly::{Assembly, Decodability};
pub use fragment::{Frame, FrameTooLarge};
pub use recent_pictures::PictureBudget;
pub use route::{Change, Forward, Publisher, Routes, Slot};
pub use speakers::Speakers;
