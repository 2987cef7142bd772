//! Limits: by rate, by concurrency that adapts, by what the callee refuses, by priority.
//!
//! Prevents more calls than can be served in time.

pub mod adaptive;
pub mod delay;
pub mod priority;
pub mod rate;
pub mod throttle;
