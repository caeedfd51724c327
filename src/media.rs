//! What to send to whom, and how frames become datagrams and datagrams frames. Pure.

mod arrivals;
mod assembly;
mod copies;
mod egress;
mod floor;
mod fragment;
mod gaps;
mod gathering;
mod pace;
mod parity;
mod publisher;
mod recent;
mod recent_pictures;
mod redundancy;
mod rendition;
mod route;
mod speakers;
mod voice;

pub use arrivals::Arrivals;
pub use assembly::{Assembly, Decodability};
pub use egress::{Class, Due, Egress, LeftOut, Medium, Space};
pub use floor::SharedFloor;
pub use fragment::{Delivery, Frame, FrameTooLarge};
pub use gaps::{Arrival, Gaps};
pub use gathering::{Gathering, Load, sort_by_taker};
pub use pace::{LIMITED_BURST_TIME, Pace};
pub use publisher::Publisher;
pub use recent::{Kept, Recent};
pub use recent_pictures::{KeptPictures, PictureBudget};
pub use redundancy::Redundancy;
pub use route::{Change, Forward, Routes, Slot, Speaking};
pub use speakers::Speakers;
