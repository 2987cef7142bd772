//! A map of texts: get, put, append. Keys are independent of each other.
//!
//! Prevents lost and doubled appends from passing unseen: a value tells its whole past.

use super::{Call, Model};

/// So many bytes are compared to find crashed writes without a trace; past that all are kept,
/// which costs the search time but never a verdict.
const TRACE_BYTES_MAX: usize = 64 << 20;

/// A map whose every key holds the empty text at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValue;

/// One question about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The key.
    pub key: Box<str>,
    /// The question.
    pub action: Action,
}

/// What can be asked about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// What does it hold?
    Get,
    /// Hold this.
    Put(Box<str>),
    /// Hold this behind what is there.
    Append(Box<str>),
}

/// What the map answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To a get.
    Value(Box<str>),
    /// To a put or an append.
    Done,
}

impl Model for KeyValue {
    type State = String;
    type Input = Input;
    type Output = Output;
    type Part = Box<str>;

    fn init(&self) -> String {
        String::new()
    }

    fn step(&self, state: &String, input: &Input, output: Option<&Output>) -> Option<String> {
        match (&input.action, output) {
            (Action::Get, Some(Output::Value(value))) => {
                (**value == **state).then(|| state.clone())
            },
            (Action::Put(value), Some(Output::Done) | None) => Some(value.to_string()),
            (Action::Append(value), Some(Output::Done) | None) => {
                let mut longer = String::with_capacity(state.len() + value.len());
                longer.push_str(state);
                longer.push_str(value);
                Some(longer)
            },
            (Action::Get | Action::Put(_) | Action::Append(_), _) => None,
        }
    }

    fn part(&self, input: &Input) -> Box<str> {
        input.key.clone()
    }

    fn observes_only(&self, input: &Input, _output: Option<&Output>) -> bool {
        input.action == Action::Get
    }

    fn forgets(&self, input: &Input) -> bool {
        matches!(input.action, Action::Put(_))
    }

    /// Without a put, a text only grows.
    fn may_fit_later(&self, state: &String, call: Call<'_, Input, Output>) -> bool {
        match call.output {
            Some(Output::Value(value)) => value.starts_with(state.as_str()),
            Some(Output::Done) | None => true,
        }
    }

    /// A crashed put or append whose text is in no reply: whatever was read after it was read
    /// after a later put.
    fn traceless(&self, part: &[Call<'_, Input, Output>]) -> Vec<usize> {
        let texts = || {
            part.iter().filter_map(|call| match call.output {
                Some(Output::Value(text)) => Some(text),
                Some(Output::Done) | None => None,
            })
        };
        let crashed = part.iter().filter(|call| call.output.is_none()).count();
        let bytes: usize = texts().map(|text| text.len()).sum();
        if bytes.saturating_mul(crashed) > TRACE_BYTES_MAX {
            return Vec::new();
        }
        let traceless = |call: &Call<'_, Input, Output>| {
            let (Action::Put(wrote) | Action::Append(wrote)) = &call.input.action else {
                return false;
            };
            let wrote = &**wrote;
            // An empty put is in every text.
            call.output.is_none() && !wrote.is_empty() && !texts().any(|text| text.contains(wrote))
        };
        let places = (0..).zip(part).filter(|(_, call)| traceless(call));
        places.map(|(place, _)| place).collect()
    }

    fn bytes(&self, state: &String) -> usize {
        size_of::<String>() + state.len()
    }

    fn describe(&self, input: &Input, output: Option<&Output>) -> String {
        let question = match &input.action {
            Action::Get => "get".to_owned(),
            Action::Put(value) => format!("put {value:?}"),
            Action::Append(value) => format!("append {value:?}"),
        };
        match output {
            Some(Output::Value(value)) => format!("{question} -> {value:?}"),
            Some(Output::Done) => format!("{question} -> done"),
            None => format!("{question} -> unknown"),
        }
    }
}
