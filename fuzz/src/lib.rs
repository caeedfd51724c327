//! What each fuzz target does with its input. An input may be refused; it must not panic, hang, or break what is asserted
//! here. `tests/corpora.rs` runs the same functions over the corpora.

pub mod chat;
pub mod control;
pub mod framing;
pub mod media_header;
pub mod plain_text;
pub mod room;
pub mod token;

/// What a target does with an input.
pub type Body = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Body); 7] = [
    ("chat", chat::try_out),
    ("control", control::try_out),
    ("framing", framing::try_out),
    ("media_header", media_header::try_out),
    ("plain_text", plain_text::try_out),
    ("room", room::try_out),
    ("token", token::try_out),
];
