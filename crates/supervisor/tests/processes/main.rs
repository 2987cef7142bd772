//! The supervisor on real processes.
//!
//! Each test starts shells and sleeps of its own, waits for conditions and never for a time, and
//! plays the port of a replica itself where a probe needs one.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects, also in the functions that tests share"
)]

mod bench;
mod ends;
mod orphans;
mod probes;
mod restarts;
mod starts;
