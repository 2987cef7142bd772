//! A lock whose every acquisition gives a greater fencing token.
//!
//! Prevents two holders at once, and a token that the resource could mistake for an older one,
//! from passing unseen. For locks that end by themselves (leases) see [`lock`](crate::lock),
//! which judges what the resource accepted.

use super::Model;

/// One free lock per name. The first token is greater than 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lock;

/// One question about one lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The lock's name.
    pub lock: Box<str>,
    /// Who asks.
    pub owner: u64,
    /// The question.
    pub action: Action,
}

/// What can be asked of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// May I have it?
    Acquire,
    /// Take it back.
    Release,
}

/// What a lock answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// To an acquire: it is yours.
    Acquired {
        /// The fencing token.
        token: u64,
    },
    /// To an acquire: somebody has it.
    Busy,
    /// To a release: it is free now.
    Released,
    /// To a release: it was not yours.
    NotHeld,
}

/// Who has the lock, and a bound of the last token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Who has it.
    pub owner: Option<u64>,
    /// The next token is greater than this.
    pub token: u64,
}

impl Model for Lock {
    type State = State;
    type Input = Input;
    type Output = Output;
    type Part = Box<str>;

    fn init(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, input: &Input, output: Option<&Output>) -> Option<State> {
        let owner = Some(input.owner);
        let free = State {
            owner: None,
            token: state.token,
        };
        match (input.action, output) {
            (Action::Acquire, Some(&Output::Acquired { token })) => {
                (state.owner.is_none() && token > state.token).then_some(State { owner, token })
            },
            (Action::Acquire, Some(Output::Busy)) => state.owner.map(|_| *state),
            // A token that nobody saw was at least one greater than the last.
            (Action::Acquire, None) => {
                let token = state.token.saturating_add(1);
                state.owner.is_none().then_some(State { owner, token })
            },
            (Action::Release, Some(Output::Released) | None) => {
                (state.owner == owner).then_some(free)
            },
            (Action::Release, Some(Output::NotHeld)) => (state.owner != owner).then_some(*state),
            (Action::Acquire | Action::Release, Some(_)) => None,
        }
    }

    fn part(&self, input: &Input) -> Box<str> {
        input.lock.clone()
    }

    fn observes_only(&self, _input: &Input, output: Option<&Output>) -> bool {
        matches!(output, Some(Output::Busy | Output::NotHeld))
    }

    fn describe(&self, input: &Input, output: Option<&Output>) -> String {
        let question = match input.action {
            Action::Acquire => "acquire",
            Action::Release => "release",
        };
        match output {
            Some(Output::Acquired { token }) => format!("{question} -> token {token}"),
            Some(Output::Busy) => format!("{question} -> busy"),
            Some(Output::Released) => format!("{question} -> released"),
            Some(Output::NotHeld) => format!("{question} -> not held"),
            None => format!("{question} -> unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(state: State, owner: u64, action: Action, output: Option<Output>) -> Option<State> {
        let lock = "l".into();
        let input = Input {
            lock,
            owner,
            action,
        };
        Lock.step(&state, &input, output.as_ref())
    }

    #[test]
    fn a_token_that_nobody_saw_is_used_up_all_the_same() {
        let acquired = |token| Some(Output::Acquired { token });
        let held = step(State::default(), 1, Action::Acquire, acquired(1)).expect("free");
        let free = step(held, 1, Action::Release, Some(Output::Released)).expect("held");
        let held = step(free, 2, Action::Acquire, None).expect("free");
        assert_eq!(step(held, 3, Action::Acquire, acquired(3)), None, "held");
        let free = step(held, 2, Action::Release, None).expect("held");
        assert_eq!(step(free, 3, Action::Acquire, acquired(2)), None);
        assert!(step(free, 3, Action::Acquire, acquired(3)).is_some());
    }
}
