//! A register: read, write, compare-and-set. What a single znode or key promises.
//!
//! Prevents stale reads, lost writes and doubled writes from passing unseen.

use std::collections::BTreeSet;

use super::{Call, Model};

/// One register that holds nothing at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// What can be asked of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// What does it hold?
    Read,
    /// Hold this.
    Write(i64),
    /// Hold `new` if it holds `expected`.
    CompareAndSet {
        /// What must be there.
        expected: i64,
        /// What shall be there.
        new: i64,
    },
}

/// What a register answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To a read.
    Value(Option<i64>),
    /// To a write.
    Done,
    /// To a compare-and-set: whether it set.
    Swapped(bool),
}

impl Model for Register {
    type State = Option<i64>;
    type Input = Input;
    type Output = Output;
    type Part = ();

    fn init(&self) -> Self::State {
        None
    }

    fn step(
        &self,
        state: &Self::State,
        input: &Input,
        output: Option<&Output>,
    ) -> Option<Self::State> {
        match (*input, output) {
            (Input::Read, Some(Output::Value(value))) => (value == state).then_some(*state),
            (Input::Write(value), Some(Output::Done) | None) => Some(Some(value)),
            (Input::CompareAndSet { expected, new }, output) => {
                let swaps = *state == Some(expected);
                match output {
                    Some(Output::Swapped(swapped)) if *swapped != swaps => None,
                    Some(Output::Swapped(_)) => Some(if swaps { Some(new) } else { *state }),
                    Some(Output::Value(_) | Output::Done) => None,
                    None => swaps.then_some(Some(new)),
                }
            },
            (Input::Read | Input::Write(_), _) => None,
        }
    }

    fn part(&self, _input: &Input) {}

    fn observes_only(&self, input: &Input, output: Option<&Output>) -> bool {
        *input == Input::Read || output == Some(&Output::Swapped(false))
    }

    /// A crashed write whose value nobody read and nobody compared with. Where some compare
    /// failed, it may have failed because of any value, so every write may have left a trace.
    fn traceless(&self, part: &[Call<'_, Input, Output>]) -> Vec<usize> {
        let mut observed = BTreeSet::new();
        for call in part {
            match (call.input, call.output) {
                (_, Some(Output::Swapped(false))) => return Vec::new(),
                (Input::CompareAndSet { expected, .. }, _) => {
                    observed.insert(*expected);
                },
                (_, Some(Output::Value(Some(value)))) => {
                    observed.insert(*value);
                },
                (_, Some(Output::Value(None) | Output::Done | Output::Swapped(true)) | None) => {},
            }
        }
        let traceless = |call: &Call<'_, Input, Output>| {
            let value = match call.input {
                Input::Write(value) | Input::CompareAndSet { new: value, .. } => value,
                Input::Read => return false,
            };
            call.output.is_none() && !observed.contains(value)
        };
        let places = (0..).zip(part).filter(|(_, call)| traceless(call));
        places.map(|(place, _)| place).collect()
    }

    fn describe(&self, input: &Input, output: Option<&Output>) -> String {
        let question = match input {
            Input::Read => "read".to_owned(),
            Input::Write(value) => format!("write {value}"),
            Input::CompareAndSet { expected, new } => format!("if {expected} then {new}"),
        };
        match output {
            None => format!("{question} -> unknown"),
            Some(Output::Value(Some(value))) => format!("{question} -> {value}"),
            Some(Output::Value(None)) => format!("{question} -> nothing"),
            Some(Output::Done) => format!("{question} -> done"),
            Some(Output::Swapped(true)) => format!("{question} -> set"),
            Some(Output::Swapped(false)) => format!("{question} -> not set"),
        }
    }
}
