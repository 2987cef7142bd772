//! Who is measured: one subject per peer and case, and the gaps, each with its reason.
//!
//! Prevents a table that hides what could not be measured.

use std::hint::black_box;

use crate::case::Case;
use crate::peer;

/// Makes so many calls, one after the other, in one thread.
pub type Worker = Box<dyn FnMut(u64) + Send>;

/// One peer in one case.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What is called.
    pub case: Case,
    /// The crate.
    pub name: &'static str,
    start: fn(Case) -> Vec<Worker>,
}

/// A peer that has no figure in a case.
#[derive(Clone, Copy, Debug)]
pub struct Missing {
    /// Which case.
    pub case: Case,
    /// The crate.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl Subject {
    pub(crate) const fn new(
        case: Case,
        name: &'static str,
        start: fn(Case) -> Vec<Worker>,
    ) -> Self {
        Self { case, name, start }
    }

    /// Builds the policy once, and one worker per thread on it.
    #[must_use]
    pub fn start(&self) -> Vec<Worker> {
        let workers = (self.start)(self.case);
        assert_eq!(workers.len(), self.case.threads(), "{self:?}");
        workers
    }
}

/// All subjects, ours first, case by case.
#[must_use]
pub fn subjects() -> Vec<Subject> {
    let all = peer::subjects();
    let of = |case| all.iter().filter(move |subject| subject.case == case);
    Case::ALL.into_iter().flat_map(of).copied().collect()
}

/// What has no figure, and why.
#[must_use]
pub fn missing() -> Vec<Missing> {
    peer::missing()
}

/// As many workers as `case` has threads, each made of a clone of what `make` is given.
pub(crate) fn workers<T: Clone>(case: Case, shared: &T, make: impl Fn(T) -> Worker) -> Vec<Worker> {
    (0..case.threads()).map(|_| make(shared.clone())).collect()
}

/// A worker that makes a call by `call`, which says whether its answer was the one to expect.
pub(crate) fn worker(mut call: impl FnMut(u64) -> bool + Send + 'static) -> Worker {
    Box::new(move |calls| {
        for number in 0..calls {
            let expected = call(black_box(number));
            assert!(black_box(expected), "the answer is not that of the case");
        }
    })
}

/// A worker whose calls need tokio's timers at hand.
pub(crate) fn worker_on_tokio(mut call: impl FnMut(u64) -> bool + Send + 'static) -> Worker {
    let runtime = runtime();
    Box::new(move |calls| {
        let _inside = runtime.enter();
        for number in 0..calls {
            let expected = call(black_box(number));
            assert!(black_box(expected), "the answer is not that of the case");
        }
    })
}

/// A runtime of tokio's that nothing runs on: timers only have to exist.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without I/O needs nothing of the system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_measured_in_each_case_or_reported_as_missing() {
        for case in Case::ALL {
            let measured = subjects()
                .iter()
                .any(|one| (one.case, one.name) == (case, "mainstay"));
            let missing = missing()
                .iter()
                .any(|gap| (gap.case, gap.name) == (case, "mainstay"));
            assert!(measured != missing, "{}", case.name());
        }
    }

    #[test]
    fn nobody_is_both_measured_and_missing() {
        for gap in missing() {
            let measured = subjects()
                .into_iter()
                .find(|one| (one.case, one.name) == (gap.case, gap.name));
            assert!(measured.is_none(), "{measured:?}");
        }
    }

    #[test]
    fn the_instructions_of_each_subject_with_one_thread_are_counted() {
        let counted = include_str!("../benches/instructions.rs");
        for subject in subjects().iter().filter(|one| one.case.threads() == 1) {
            let line = format!("(Case::{:?}, \"{}\")", subject.case, subject.name);
            assert!(counted.contains(&line), "no {line}");
        }
    }
}
