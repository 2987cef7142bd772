//! A set of numbers: add, remove, read all.
//!
//! Prevents an element that appears, vanishes or comes back from passing unseen. For a set that
//! is read once at the end, [`set`](crate::set) is cheaper and says more.

use std::collections::BTreeSet;

use super::Model;

/// One set that is empty at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set;

/// What can be asked of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Put it in, if it is not there.
    Add(u64),
    /// Take it out, if it is there.
    Remove(u64),
    /// What is in?
    Read,
}

/// What a set answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To an add or a remove.
    Done,
    /// To a read.
    Elements(BTreeSet<u64>),
}

impl Model for Set {
    type State = BTreeSet<u64>;
    type Input = Input;
    type Output = Output;
    type Part = ();

    fn init(&self) -> Self::State {
        BTreeSet::new()
    }

    fn step(
        &self,
        state: &Self::State,
        input: &Input,
        output: Option<&Output>,
    ) -> Option<Self::State> {
        match (*input, output) {
            (Input::Add(element), Some(Output::Done) | None) => {
                let mut next = state.clone();
                next.insert(element);
                Some(next)
            },
            (Input::Remove(element), Some(Output::Done) | None) => {
                let mut next = state.clone();
                next.remove(&element);
                Some(next)
            },
            (Input::Read, Some(Output::Elements(elements))) => {
                (elements == state).then(|| state.clone())
            },
            (Input::Add(_) | Input::Remove(_) | Input::Read, _) => None,
        }
    }

    fn part(&self, _input: &Input) {}

    fn observes_only(&self, input: &Input, _output: Option<&Output>) -> bool {
        *input == Input::Read
    }

    fn bytes(&self, state: &Self::State) -> usize {
        // A B-tree's node is at least half full.
        size_of::<Self::State>() + state.len() * 2 * size_of::<u64>()
    }

    fn describe(&self, input: &Input, output: Option<&Output>) -> String {
        let question = match input {
            Input::Add(element) => format!("add {element}"),
            Input::Remove(element) => format!("remove {element}"),
            Input::Read => "read".to_owned(),
        };
        match output {
            Some(Output::Done) => format!("{question} -> done"),
            Some(Output::Elements(elements)) => format!("{question} -> {elements:?}"),
            None => format!("{question} -> unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Recorder;
    use crate::wgl::{self, Limits};

    fn is_linearizable(steps: &[(Input, Output)]) -> bool {
        let mut recorder = Recorder::new();
        for ((input, output), time) in steps.iter().zip((0..).step_by(2)) {
            recorder.invoke(1, time, *input).expect("in order");
            recorder
                .returned(1, time + 1, output.clone())
                .expect("open");
        }
        let history = recorder.finish();
        wgl::check(&Set, &history, &Limits::default(), &|| true).is_linearizable()
    }

    #[test]
    fn an_element_that_was_removed_does_not_come_back() {
        let read = |elements: &[u64]| {
            let elements = elements.iter().copied().collect();
            (Input::Read, Output::Elements(elements))
        };
        let added = (Input::Add(1), Output::Done);
        let removed = (Input::Remove(1), Output::Done);
        let good = [added.clone(), read(&[1]), removed.clone(), read(&[])];
        assert!(is_linearizable(&good));
        assert!(!is_linearizable(&[added, removed, read(&[1])]));
    }
}
