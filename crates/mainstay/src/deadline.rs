//! The ambient deadline: how long the call that this code works for may still take.
//!
//! Prevents work for somebody who has left: queueing, backoffs, hedges and calls further down all
//! see what is left of the time, without handing it on by hand. It is absolute, so that waiting
//! uses it up by itself (gRPC's meaning of the word), and a nested one can only shorten it.
//!
//! It belongs to the future it was set around, not to a thread: it is set while that future is
//! polled, and taken back after. So it does not reach what is spawned, unless [`carry`] takes it
//! there. Setting it costs a few nanoseconds and no memory; it is one plain value per thread
//! rather than tokio's task-local, which blocking code cannot use.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use std::time::Duration;
//! use mainstay::{Clock, Deadline, deadline};
//!
//! let clock = Clock::new();
//! let soon = Deadline::after(clock.now(), Duration::from_secs(1));
//! let seen = deadline::scope(clock, soon, async {
//!     // However generous: a nested deadline never extends the one around it.
//!     deadline::scope(clock, Deadline::NEVER, async { deadline::current(clock) }).await
//! });
//! assert_eq!(seen.await, Some(soon));
//! # });
//! ```

use std::time::Duration;

use mainstay_core::time::Deadline;
use tokio::time;

use crate::clock::Clock;

mod ambient;
mod future;
mod header;
mod layer;
mod service;

pub(crate) use ambient::Ambient;
pub use ambient::Scoped;
pub use future::DeadlineFuture;
pub use header::{Header, from_header, to_header};
pub use layer::DeadlineLayer;
pub use service::DeadlineService;
pub(crate) use service::no_time;

/// Runs `future` with `deadline`, or the ambient one if that is earlier.
///
/// This tells; it does not end the future. [`Timeout::total`](crate::Timeout::total) does both.
pub fn scope<F>(clock: Clock, deadline: Deadline, future: F) -> Scoped<F> {
    Scoped::new(Ambient::of(clock, deadline), future)
}

/// Runs `work` on this thread with `deadline`, or the ambient one if that is earlier: the form of
/// [`scope`] for blocking code.
pub fn scope_blocking<R>(clock: Clock, deadline: Deadline, work: impl FnOnce() -> R) -> R {
    Ambient::of(clock, deadline).enter(work)
}

/// Takes the ambient deadline along to where `future` is spawned.
pub fn carry<F>(future: F) -> Scoped<F> {
    Scoped::new(Ambient::current(), future)
}

/// The ambient deadline on the scale of `clock`; `None` where there is none.
pub fn current(clock: Clock) -> Option<Deadline> {
    let at = Ambient::current().deadline?;
    Some(Deadline::at(clock.instant(at)))
}

/// The earlier of `deadline` and the ambient one, on the scale of `clock`.
#[must_use]
pub fn earlier(clock: Clock, deadline: Deadline) -> Deadline {
    current(clock).map_or(deadline, |ambient| ambient.earlier(deadline))
}

/// What is left until the ambient deadline, zero once it has passed; `None` where there is none.
pub fn remaining() -> Option<Duration> {
    let at = Ambient::current().deadline?;
    Some(at.saturating_duration_since(time::Instant::now()))
}

#[cfg(test)]
mod tests;
