//! Dashboard, metrics, probes and the API of a node.
//!
//! Prevents flying blind: what the node knows is on a page that works without scripts, in
//! metrics, and in JSON. Read-only: nothing here changes the node, and nothing here asks another
//! address for anything.

mod api;
mod assets;
mod page;
mod readiness;
mod server;
mod snapshot;
mod stream;

pub use readiness::Readiness;
pub use server::{Admin, BindError};
