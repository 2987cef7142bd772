//! Mainstay's policies and those of its peers, each behind the same two words: a [`Case`] says what
//! a call is, a [`Subject`] makes such calls.
//!
//! Prevents three benchmarks that measure three different things: the figures of `cargo xtask bench
//! policies`, criterion's and the counted instructions are all taken from [`subjects`]. Always
//! holds: a subject checks every answer, so that a healthy path that is not healthy ends the
//! benchmark instead of being measured.

mod case;
mod measure;
mod peer;
mod poll;
mod subject;

pub use case::{CALLS_MIN, COUNT_WINDOW, Case, FAILURE_RATE, FOREVER, WINDOW};
pub use measure::{PRINTED_AS, allocated_per_call, nanos_per_call, refuse_virtual_time};
pub use poll::{Failure, now, once};
pub use subject::{Missing, Subject, Worker, missing, subjects};
