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
//! | [`latency`] | a hedge or a limit that waits for yesterday's latency |
//! | [`bulkhead`] | one slow upstream uses up everything |
//! | [`limit`] | more calls than can be served in time |
//! | [`detector`] | a dead peer is believed alive, or a late one dead |
//! | [`outlier`] | one bad endpoint among good ones keeps its share |
//! | [`adjudicate`] | one wrong answer is believed |
//! | [`freshness`] | an answer too old, or none at all |
//! | [`fault`] | a protection that is first tried in an outage |
//! | [`balance`] | a slow endpoint gets its full share of calls |
//! | [`edge`] | one overload fills the log with a line per refusal |
//! | [`health`] | one lost probe takes an endpoint out |
//! | [`restart`] | a crash loop burns the machine |
//! | [`vector_clock`] | histories of several nodes merge in the wrong order |
//!
//! The feature `serde`, which is off by default, reads configurations from text (see `unit::text`)
//! and writes events as JSON has them.
#![no_std]

extern crate alloc;

pub mod adjudicate;
mod atomic;
pub mod balance;
pub mod breaker;
pub mod bulkhead;
pub mod detector;
pub mod edge;
pub mod event;
pub mod fault;
pub mod freshness;
pub mod health;
pub mod lane;
pub mod latency;
pub mod limit;
pub mod outcome;
pub mod outlier;
pub mod random;
pub mod restart;
pub mod retry;
pub mod time;
pub mod unit;
pub mod vector_clock;
