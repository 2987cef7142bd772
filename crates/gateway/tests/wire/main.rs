//! The gateway on real sockets: what clients and endpoints see of it.
//!
//! Ports come from the system, limits are small, and every wait is for a condition.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, wherever it is in its tools"
)]

mod breakers;
mod clients;
mod draining;
mod fallbacks;
mod forwarding;
mod garbage;
mod limits;
mod observing;
mod origins;
mod probing;
mod reloading;
mod retries;
mod setup;
mod smuggling;
