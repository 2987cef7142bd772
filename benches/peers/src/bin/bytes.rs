//! Prints bytes allocated per call.
//!
//! Prevents counting that slows down what is timed: this program counts and does not time.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    peers::refuse_virtual_time();
    for subject in peers::subjects() {
        let bytes = peers::allocated_per_call(&mut subject.start());
        let case = subject.case.name();
        println!(
            "{} {case}_bytes {} B {bytes}",
            peers::PRINTED_AS,
            subject.name
        );
    }
}
