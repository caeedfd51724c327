//! The load tool: sessions in great number against a relay, and what became of what they sent.
//!
//! `tertulia load` is this on the command line. [`Plan`] says who takes part and what they send, [`run()`] opens real sessions by
//! it, and [`Report`] is what a run has shown, as a table and as JSON. [`Search`] looks for the largest run that still
//! holds, and [`Finding`] is what it has come to.
//!
//! Publishers and subscribers are in one process, so that latency is measured by one clock. Sessions are leaner than
//! [`client::Room`](crate::client::Room) and share its way of connecting: a load asks for nothing once more and repairs
//! nothing, so that what was lost shows; sessions share UDP sockets; and a session is one task that keeps next to nothing, so
//! that thousands of them leave the machine to the relay.

mod admin;
mod advice;
mod conductor;
mod counts;
mod finding;
mod flow;
mod link;
mod obstacle;
mod outcome;
mod pace;
mod participant;
mod plan;
mod process;
mod profile;
mod receiver;
mod report;
mod run;
mod search;
mod session;
mod tally;
mod target;
mod workers;

pub use admin::parse_sha256;
pub use finding::{Finding, Step};
pub use obstacle::Obstacle;
pub use outcome::Percentiles;
pub use plan::{Plan, PlanError};
pub use profile::Profile;
pub use report::{Counted, Delivery, Machine, Process, Report, Sessions};
pub use run::{LoadError, Progress, run};
pub use search::Search;
pub use target::{AdminAt, Target, TargetError};
