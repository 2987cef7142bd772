//! A znode's data with its version, as ZooKeeper's `setData` and `getData` see it.
//!
//! Prevents a conditional write that ignores its condition, and a version that skips or repeats,
//! from passing unseen: each write raises the version by exactly one.

use super::Model;

/// One existing znode per path, each with version 0 and value 0 at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Znode;

/// One question about one znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The path.
    pub path: Box<str>,
    /// The question.
    pub action: Action,
}

/// What can be asked about a znode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Value and version.
    Get,
    /// Hold `value`, if the version is `expected` or nothing is expected.
    Set {
        /// The new value.
        value: u64,
        /// The version that must be there; `None` is ZooKeeper's -1.
        expected: Option<u32>,
    },
}

/// What a znode answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To a get.
    Data {
        /// The value.
        value: u64,
        /// How many writes there were.
        version: u32,
    },
    /// To a set: the new version.
    Version(u32),
    /// To a set: another version was there.
    BadVersion,
}

/// Value and version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The value.
    pub value: u64,
    /// How many writes there were.
    pub version: u32,
}

impl Model for Znode {
    type State = State;
    type Input = Input;
    type Output = Output;
    type Part = Box<str>;

    fn init(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, input: &Input, output: Option<&Output>) -> Option<State> {
        let version = state.version;
        match (input.action, output) {
            (Action::Get, Some(Output::Data { value, version })) => {
                let same = (*value, *version) == (state.value, state.version);
                same.then_some(*state)
            },
            (Action::Set { value, expected }, output) => {
                let sets = expected.is_none_or(|expected| expected == version);
                let next = State {
                    value,
                    version: version.wrapping_add(1),
                };
                match output {
                    Some(Output::Version(version)) => {
                        (sets && *version == next.version).then_some(next)
                    },
                    Some(Output::BadVersion) => (!sets).then_some(*state),
                    Some(Output::Data { .. }) => None,
                    None => sets.then_some(next),
                }
            },
            (Action::Get, _) => None,
        }
    }

    fn part(&self, input: &Input) -> Box<str> {
        input.path.clone()
    }

    fn observes_only(&self, input: &Input, output: Option<&Output>) -> bool {
        input.action == Action::Get || output == Some(&Output::BadVersion)
    }

    fn describe(&self, input: &Input, output: Option<&Output>) -> String {
        let question = match input.action {
            Action::Get => "get".to_owned(),
            Action::Set {
                value,
                expected: None,
            } => format!("set {value}"),
            Action::Set {
                value,
                expected: Some(version),
            } => format!("set {value} if version {version}"),
        };
        match output {
            Some(Output::Data { value, version }) => {
                format!("{question} -> {value}, version {version}")
            },
            Some(Output::Version(version)) => format!("{question} -> version {version}"),
            Some(Output::BadVersion) => format!("{question} -> bad version"),
            None => format!("{question} -> unknown"),
        }
    }
}
