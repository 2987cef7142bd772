//! The example service: a small payment service that can be broken on purpose.
//!
//! Prevents proofs on toys that cannot fail: it charges exactly what it says it charges, it
//! records every charge where a drill can count it, and it can be told to fail in the ways real
//! services do. Whatever fault is set, a charge is either recorded whole or not at all.

mod fault;
mod ledger;
mod options;
mod server;
mod service;

pub use options::Options;
pub use server::{StartError, run};
