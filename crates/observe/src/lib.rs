//! One event becomes a log line, a metric and a dashboard frame.
//!
//! Prevents three stories about one failure. [`Observer`] is the hub: crates hand it
//! [`mainstay_core::event::Event`]s, it stamps them and turns each into all three.

pub mod clock;
mod history;
pub mod log;
mod metrics;
mod observer;
pub mod probe;
mod record;
pub mod status;
mod subscription;

pub use history::HISTORY_MAX;
pub use metrics::{Exposition, METRICS};
pub use observer::Observer;
pub use record::{Record, ReplicationState};
pub use subscription::{Delivery, Subscription};
