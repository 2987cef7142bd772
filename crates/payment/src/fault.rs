//! How the service misbehaves, when it was told to.
//!
//! Prevents drills that only know dead processes: a grey failure (errors, silence, slowness) is
//! what health checks miss. A fault lives in the process's memory only; a restart ends it.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A way to misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// None: work as promised.
    #[default]
    None,
    /// Business requests answer 500 while `/healthz` stays 200.
    Error,
    /// Connections are accepted and requests read, but nothing is ever answered.
    Hang,
    /// Everything takes [`SLOWDOWN`] times as long.
    Slow,
}

/// How much longer everything takes under [`Fault::Slow`].
pub(crate) const SLOWDOWN: u32 = 10;

/// The body of `POST /fault`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultRequest {
    /// The fault to show from now on.
    pub(crate) kind: Fault,
}

/// The fault in force, shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct FaultSwitch(Mutex<Fault>);

impl FaultSwitch {
    /// The fault in force.
    pub(crate) fn get(&self) -> Fault {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `fault` in force for requests that arrive from now on.
    pub(crate) fn set(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}
