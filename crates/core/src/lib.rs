//! The pure half of Mainstay: every decision, and nothing that acts.
//!
//! No clock, no I/O, no thread and no randomness of its own. Time comes in as [`time::Instant`],
//! chance as [`random::Random`], and what happened leaves as a value: an outcome, a permit, an
//! [`event::Event`]. `no_std` makes the compiler prove it.
//!
//! | module | the failure it prevents |
//! |---|---|
//! | [`breaker`] | calls pile up on an endpoint that only fails |
//! | [`retry`] | one lost packet becomes a lost request, or a retry storm |
//! | [`bulkhead`] | one slow upstream uses up everything |
//! | [`balance`] | a slow endpoint gets its full share of calls |
//! | [`edge`] | one overload fills the log with a line per refusal |
//! | [`health`] | one lost probe takes an endpoint out |
//! | [`restart`] | a crash loop burns the machine |
//! | [`vector_clock`] | histories of several nodes merge in the wrong order |
#![no_std]

extern crate alloc;

mod atomic;
pub mod balance;
pub mod breaker;
pub mod bulkhead;
pub mod edge;
pub mod event;
pub mod health;
pub mod outcome;
pub mod random;
pub mod restart;
pub mod retry;
pub mod time;
pub mod vector_clock;
