//! One event becomes a log line, a metric and a dashboard frame.
//!
//! Prevents three stories about one failure. [`Observer`] is the hub: crates hand it
//! [`mainstay_core::event::Event`]s, it stamps them and turns each into all three.

pub mod clock;
mod observer;
pub mod probe;
pub mod status;

pub use observer::Observer;
