//! Is a history linearizable? The search of Wing and Gong with Lowe's memory.
//!
//! Prevents believing a store because nothing crashed: a history passes only if the operations can
//! be put in one order, each somewhere between its invocation and its return, in which a
//! sequential [`Model`] would have given every reply (Herlihy and Wing, "Linearizability: a
//! correctness condition for concurrent objects", 1990).
//!
//! What always holds: [`Verdict::Linearizable`] carries the orders, so it can be replayed by
//! anybody; [`Verdict::Violated`] means that all orders were tried; whatever could not be finished
//! within the [`Limits`] is [`Verdict::Unknown`].
//!
//! Keep histories easy to check where they are made: unique values, at most three concurrent
//! writes to one key, a new key after 100 to 200 operations.

mod budget;
mod entries;
mod index;
mod part;
mod search;
mod seen;
mod window;

pub use budget::{Limits, Why};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::budget::{Budget, Purse};
use self::part::{Chosen, Part};
use self::search::{Found, Search};
use crate::failure::Failure;
use crate::history::History;
use crate::model::Model;

/// What the search says about a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable {
        /// For each part, in the order of their names, the operations in an order that explains
        /// all replies. Crashed operations that are missing need not have happened.
        orders: Vec<Vec<usize>>,
    },
    /// There is none.
    Violated(Box<Failure>),
    /// Nobody knows.
    Unknown {
        /// Why the search gave up.
        why: Why,
    },
}

impl Verdict {
    /// Whether there is an order.
    pub const fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable { .. })
    }

    /// Whether it is certain that there is none.
    pub const fn is_violated(&self) -> bool {
        matches!(self, Self::Violated(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable { orders } => {
                let operations: usize = orders.iter().map(Vec::len).sum();
                let parts = orders.len();
                write!(f, "linearizable: {operations} operations in {parts} parts")
            },
            Self::Violated(failure) => write!(f, "not linearizable: {failure}"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

/// Searches for an order. `going` is asked every 1,024 steps whether to go on; it is where a
/// caller with a clock keeps its deadline.
pub fn check<M>(
    model: &M,
    history: &History<M::Input, M::Output>,
    limits: &Limits,
    going: &(dyn Fn() -> bool + Sync),
) -> Verdict
where
    M: Model + Sync,
    M::Input: Sync,
    M::Output: Sync,
{
    let check = Check {
        model,
        history,
        parts: parts(model, history),
        budget: Budget::new(*limits, going),
        going,
        next: AtomicUsize::new(0),
        violated: AtomicUsize::new(usize::MAX),
    };
    let threads = limits.threads.get().min(check.parts.len());
    if threads <= 1 {
        return check.verdict(check.work());
    }
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = check.work();
                // A poisoned lock holds whole results all the same: each push is one.
                let mut all = found
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                all.append(&mut own);
            });
        }
    });
    let mut found = found
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_by_key(|(part, _)| *part);
    check.verdict(found)
}

/// The operations of each part, in the order of the parts' names.
fn parts<M: Model>(model: &M, history: &History<M::Input, M::Output>) -> Vec<Vec<Chosen>> {
    let mut parts: BTreeMap<M::Part, Vec<Chosen>> = BTreeMap::new();
    for (operation, asked) in history.operations().iter().enumerate() {
        let part = parts.entry(model.part(&asked.input)).or_default();
        part.push(Chosen {
            operation,
            crashed: false,
        });
    }
    parts.into_values().collect()
}

enum Outcome {
    Order(Vec<usize>),
    Failure(Box<Failure>),
    GaveUp(Why),
}

/// One check, shared by its threads.
struct Check<'a, M: Model> {
    model: &'a M,
    history: &'a History<M::Input, M::Output>,
    parts: Vec<Vec<Chosen>>,
    budget: Budget<'a>,
    going: &'a (dyn Fn() -> bool + Sync),
    /// The next part that nobody has begun.
    next: AtomicUsize,
    /// The first part that is known to have no order; later ones no longer matter.
    violated: AtomicUsize,
}

impl<M: Model> Check<'_, M> {
    /// Takes parts until none is left that matters.
    fn work(&self) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(chosen) = self.parts.get(number) else {
                return outcomes;
            };
            if number > self.violated.load(Ordering::Relaxed) {
                return outcomes;
            }
            let outcome = self.part(number, chosen);
            if matches!(outcome, Outcome::Failure(_)) {
                self.violated.fetch_min(number, Ordering::Relaxed);
            }
            outcomes.push((number, outcome));
        }
    }

    fn part(&self, number: usize, chosen: &[Chosen]) -> Outcome {
        let part = Part::new(self.model, self.history, chosen);
        let violated = &self.violated;
        let needless = move || violated.load(Ordering::Relaxed) < number;
        let purse = Purse::new(&self.budget, &needless);
        match Search::new(self.model, &part, purse).run() {
            Ok(Found::Order(order)) => {
                let operation = |call: &u32| part.operations[*call as usize];
                Outcome::Order(order.iter().map(operation).collect())
            },
            Ok(Found::Stuck(stuck)) => {
                let chosen = (chosen.to_vec(), &part);
                let failure = window::explain(self.model, self.history, chosen, stuck, self.going);
                Outcome::Failure(Box::new(failure))
            },
            Err(why) => Outcome::GaveUp(why),
        }
    }

    /// A violation outweighs what is unknown, and that outweighs orders.
    fn verdict(&self, outcomes: Vec<(usize, Outcome)>) -> Verdict {
        let mut orders = Vec::with_capacity(self.parts.len());
        let mut unknown = None;
        for (_, outcome) in outcomes {
            match outcome {
                Outcome::Failure(failure) => return Verdict::Violated(failure),
                Outcome::GaveUp(why) => unknown = unknown.or(Some(why)),
                Outcome::Order(order) => orders.push(order),
            }
        }
        match unknown {
            Some(why) => Verdict::Unknown { why },
            None => Verdict::Linearizable { orders },
        }
    }
}

#[cfg(test)]
mod tests;
