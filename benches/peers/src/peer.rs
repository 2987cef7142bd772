//! The peers, each driven as its documentation does it first.
//!
//! Prevents a race that is won by driving badly: built once, without optional metrics and traces,
//! the success classifier sees success, and a tower service is asked whether it is ready before
//! each call, as its contract demands.

mod failsafe;
mod governor;
mod mainstay;
mod recloser;
mod seatbelt;
mod tower;
mod tower_resilience;

use crate::subject::{Missing, Subject};

pub(crate) fn subjects() -> Vec<Subject> {
    [
        mainstay::SUBJECTS,
        tower_resilience::SUBJECTS,
        seatbelt::SUBJECTS,
        failsafe::SUBJECTS,
        recloser::SUBJECTS,
        governor::SUBJECTS,
        tower::SUBJECTS,
    ]
    .concat()
}

pub(crate) fn missing() -> Vec<Missing> {
    [
        mainstay::MISSING,
        tower_resilience::MISSING,
        seatbelt::MISSING,
        failsafe::MISSING,
        recloser::MISSING,
        tower::MISSING,
    ]
    .concat()
}
