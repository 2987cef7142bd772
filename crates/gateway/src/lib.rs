//! HTTP reverse proxy that keeps answering while endpoints fail.
//!
//! [`Gateway::bind`] takes all ports, [`Gateway::run`] serves until told to stop and then drains,
//! and a [`Handle`] takes endpoints in and out of rotation and says how services are doing. The
//! way of a request is `stack.rs`, top to bottom.

mod alarm;
mod body;
mod buffer;
mod cache;
mod clock;
pub mod config;
mod downstream;
mod drain;
mod failure;
mod fallback;
mod finish;
mod forward;
mod framing;
mod front;
mod gateway;
mod handle;
mod latency;
mod listen;
pub mod metrics;
mod probe;
mod replay;
mod reply;
mod service;
mod stack;
mod tally;
mod upstream;
mod worker;

pub use gateway::{BindError, Drained, Gateway};
pub use handle::{Handle, ReloadError};
pub use upstream::endpoint::Rotation;
