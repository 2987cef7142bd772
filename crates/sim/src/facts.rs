//! What is known about a run from outside: what was seen, what went wrong, what was met at all.
//!
//! Prevents a green run that proved nothing: what a run has to meet sometimes is counted by name.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

use crate::property::Properties;
use crate::trace::Trace;

/// A run that breaks more promises than this has made its point.
const VIOLATIONS_MAX: usize = 20;

/// A broken promise.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// Which promise.
    pub property: &'static str,
    /// How it was broken.
    pub detail: String,
    /// When, in virtual milliseconds since the start.
    pub at_ms: u64,
}

/// What is known; clones are the same.
#[derive(Clone, Debug)]
pub struct Facts {
    inside: Arc<Mutex<Inside>>,
    /// What happened.
    pub trace: Trace,
}

#[derive(Debug)]
struct Inside {
    started: Instant,
    violations: Vec<Violation>,
    met: BTreeMap<&'static str, u64>,
    moments: u64,
    properties: Properties,
}

impl Facts {
    /// Nothing is known yet of an ensemble of `members`.
    pub fn new(members: usize, trace: Trace) -> Self {
        Self {
            inside: Arc::new(Mutex::new(Inside {
                started: Instant::now(),
                violations: Vec::new(),
                met: BTreeMap::new(),
                moments: 0,
                properties: Properties::new(members),
            })),
            trace,
        }
    }

    /// The next moment: a number that grows with everything that a client does or hears.
    pub fn moment(&self) -> u64 {
        let mut inside = self.inside();
        inside.moments += 1;
        inside.moments
    }

    /// Something happened that not every run has.
    pub fn met(&self, what: &'static str) {
        *self.inside().met.entry(what).or_default() += 1;
    }

    /// What was met how often.
    pub fn all_met(&self) -> BTreeMap<&'static str, u64> {
        self.inside().met.clone()
    }

    /// A promise was broken.
    pub fn violated(&self, property: &'static str, detail: Arguments<'_>) {
        self.trace
            .tell(format_args!("VIOLATED {property}: {detail}"));
        let mut inside = self.inside();
        let at_ms = u64::try_from(inside.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if inside.violations.len() < VIOLATIONS_MAX {
            inside.violations.push(Violation {
                property,
                detail: detail.to_string(),
                at_ms,
            });
        }
    }

    /// The promises that were broken.
    pub fn violations(&self) -> Vec<Violation> {
        self.inside().violations.clone()
    }

    /// Asks the properties, and takes down what they find broken.
    pub fn check<T>(&self, ask: impl FnOnce(&mut Properties, &mut Findings) -> T) -> T {
        let mut findings = Findings::default();
        let answer = ask(&mut self.inside().properties, &mut findings);
        for (property, detail) in findings.0 {
            self.violated(property, format_args!("{detail}"));
        }
        answer
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What properties find broken.
#[derive(Debug, Default)]
pub struct Findings(Vec<(&'static str, String)>);

impl Findings {
    /// A promise was broken.
    pub fn add(&mut self, property: &'static str, detail: String) {
        self.0.push((property, detail));
    }
}
