//! HTTP: the page, the SDK, health, metrics, the certificate's hash, and the way into WebSocket.

mod description;
mod guard;
mod page;
mod routes;
mod server;

pub use routes::{Doors, SessionQuestion, Site};
pub use server::{serve_admin, serve_plain, serve_tls};
