//! A model: what one process, one thread and no faults would answer.
//!
//! Prevents a checker that knows one kind of store only. A model says which state follows from an
//! operation and whether its reply fits; the search in [`wgl`](crate::wgl) does the rest.
//!
//! What always holds: [`Model::step`] is a function. The same state, input and output give the
//! same answer, or the search's memory lies.

pub mod key_value;
pub mod lock;
pub mod register;
pub mod set;
pub mod znode;

use std::fmt;
use std::hash::Hash;

/// An operation as a model sees it: a question, and the reply unless it crashed.
#[derive(Debug)]
pub struct Call<'a, I, O> {
    /// What was asked.
    pub input: &'a I,
    /// What came back; `None` when nobody knows whether and how it ended.
    pub output: Option<&'a O>,
}

impl<I, O> Clone for Call<'_, I, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, O> Copy for Call<'_, I, O> {}

/// A sequential object.
pub trait Model {
    /// What the object remembers.
    type State: Clone + Eq + Hash + fmt::Debug;
    /// What can be asked of it.
    type Input: PartialEq + fmt::Debug;
    /// What it can answer.
    type Output: fmt::Debug;
    /// Names a part of the object that is independent of all other parts, such as one key of a
    /// map. A history is linearizable exactly when each part's is (Herlihy and Wing, "Linearizability",
    /// 1990; Horn and Kroening, "Faster linearizability checking via P-compositionality", 2015).
    type Part: Ord + fmt::Debug;

    /// The state of one part before anything was asked.
    fn init(&self) -> Self::State;

    /// The state after `input`, or `None` if `output` cannot be its reply in `state`.
    ///
    /// Without an output the operation crashed: say what it does to the state if it happens, and
    /// `None` if it does nothing.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// The part that an operation touches.
    fn part(&self, input: &Self::Input) -> Self::Part;

    /// Whether an operation with this reply leaves **every** state as it is. Such an operation
    /// is taken as soon as it fits, and needs no second try. `false` is always right.
    fn observes_only(&self, _input: &Self::Input, _output: Option<&Self::Output>) -> bool {
        false
    }

    /// Whether the state after this operation may be one that no longer tells what was before.
    /// `true` is always right.
    fn forgets(&self, _input: &Self::Input) -> bool {
        true
    }

    /// Whether a call that changes nothing can fit in `state`, or in one that follows from it by
    /// operations none of which [`forgets`](Self::forgets). `true` is always right; `false` saves
    /// the search a branch.
    fn may_fit_later(
        &self,
        _state: &Self::State,
        _call: Call<'_, Self::Input, Self::Output>,
    ) -> bool {
        true
    }

    /// Places of crashed calls in `part` that no reply shows a trace of, so that a part without
    /// them has the same verdict. Naming none is always right.
    fn traceless(&self, _part: &[Call<'_, Self::Input, Self::Output>]) -> Vec<usize> {
        Vec::new()
    }

    /// About how many bytes a state takes, for the memory limit.
    fn bytes(&self, _state: &Self::State) -> usize {
        size_of::<Self::State>()
    }

    /// How an operation reads in a report.
    fn describe(&self, input: &Self::Input, output: Option<&Self::Output>) -> String {
        match output {
            Some(output) => format!("{input:?} -> {output:?}"),
            None => format!("{input:?} -> unknown"),
        }
    }
}
