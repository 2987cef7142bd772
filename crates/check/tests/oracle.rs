//! Small histories, judged by the search and by a judge that tries every order.
//!
//! The judge shares nothing with the search but the models: no list, no memory, no shortcuts.
//! `CHECK_ORACLE_HISTORIES` and `CHECK_ORACLE_SEED` ask for more histories or others.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what a test leans on fails loudly, and seeds are printed"
)]

use mainstay_check::history::{History, Operation, Reply};
use mainstay_check::model::{Model, key_value, lock, register, znode};
use mainstay_check::wgl::{self, Limits, Verdict};
use mainstay_core::random::Random;

const HISTORIES: u64 = 20_000;
const SEED: u64 = 0x5eed_0001;
const OPERATIONS_MAX: u64 = 6;

fn from_environment(name: &str, default: u64) -> u64 {
    let value = std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok());
    value.unwrap_or(default)
}

/// Whether some order of `left` explains all replies, by trying all.
fn some_order<M: Model>(
    model: &M,
    operations: &[Operation<M::Input, M::Output>],
    left: &[usize],
    state: &M::State,
) -> bool {
    if left.iter().all(|at| operations[*at].returned().is_none()) {
        return true;
    }
    left.iter().any(|&next| {
        let operation = &operations[next];
        let returned_before = |other: &usize| {
            let returned = operations[*other].returned();
            returned.is_some_and(|returned| returned < operation.invoked)
        };
        if left.iter().any(returned_before) {
            return false;
        }
        let rest: Vec<_> = left.iter().copied().filter(|at| *at != next).collect();
        let state = model.step(state, &operation.input, operation.output());
        state.is_some_and(|state| some_order(model, operations, &rest, &state))
    })
}

/// Replays an order that the search claims to be a witness.
fn witness_holds<M: Model>(
    model: &M,
    operations: &[Operation<M::Input, M::Output>],
    order: &[usize],
) -> bool {
    let mut state = model.init();
    for (place, at) in order.iter().enumerate() {
        let operation = &operations[*at];
        let late = |other: &usize| {
            let returned = operations[*other].returned();
            returned.is_some_and(|returned| returned < operation.invoked)
        };
        if order[place + 1..].iter().any(late) || order[..place].contains(at) {
            return false;
        }
        match model.step(&state, &operation.input, operation.output()) {
            Some(next) => state = next,
            None => return false,
        }
    }
    let completed = (0..operations.len()).filter(|at| operations[*at].returned().is_some());
    completed.into_iter().all(|at| order.contains(&at))
}

/// Random operations of up to three clients; `ask` makes a question with a likely reply.
fn random_history<I, O>(
    random: &mut Random,
    mut ask: impl FnMut(&mut Random) -> (I, O),
) -> History<I, O> {
    let count = 1 + random.below(OPERATIONS_MAX);
    let mut free = [0, 0, 0];
    let mut next_client = 3;
    let mut clients = [0, 1, 2];
    let mut operations = Vec::new();
    for _ in 0..count {
        let who = usize::try_from(random.below(3)).expect("below three");
        let invoked = free[who] + random.below(4);
        let at = invoked + random.below(8);
        let (input, output) = ask(random);
        let crashes = random.below(5) == 0;
        operations.push(Operation {
            client: clients[who],
            invoked,
            input,
            reply: if crashes {
                Reply::Crashed
            } else {
                Reply::Returned { at, output }
            },
        });
        free[who] = at;
        if crashes {
            clients[who] = next_client;
            next_client += 1;
        }
    }
    History::of(operations).expect("no client overlaps itself")
}

/// `None` on agreement; otherwise what differs. Counts the linearizable ones.
fn compare<M>(
    model: &M,
    history: &History<M::Input, M::Output>,
    linearizable: &mut u64,
) -> Option<String>
where
    M: Model + Sync,
    M::Input: Sync,
    M::Output: Sync,
{
    let operations = history.operations();
    let all: Vec<_> = (0..operations.len()).collect();
    let expected = some_order(model, operations, &all, &model.init());
    *linearizable += u64::from(expected);
    let limits = Limits::default();
    match wgl::check(model, history, &limits, &|| true) {
        Verdict::Linearizable { orders } => {
            let order: Vec<_> = orders.into_iter().flatten().collect();
            let right = expected && witness_holds(model, operations, &order);
            (!right).then(|| format!("judge {expected}, search found the order {order:?}"))
        },
        Verdict::Violated(failure) => {
            expected.then(|| format!("judge found an order, search did not: {failure}"))
        },
        Verdict::Unknown { why } => Some(format!("unknown: {why}")),
    }
}

fn agree<M>(name: &str, model: &M, mut ask: impl FnMut(&mut Random) -> (M::Input, M::Output))
where
    M: Model + Sync,
    M::Input: Sync,
    M::Output: Sync,
{
    let histories = from_environment("CHECK_ORACLE_HISTORIES", HISTORIES) / 4;
    let seed = from_environment("CHECK_ORACLE_SEED", SEED);
    let mut random = Random::seeded(seed);
    let mut linearizable = 0;
    for number in 0..histories {
        let history = random_history(&mut random, &mut ask);
        if let Some(difference) = compare(model, &history, &mut linearizable) {
            panic!("{name}, seed {seed}, history {number}: {difference}\n{history:?}");
        }
    }
    println!("{name}, seed {seed}: {linearizable} of {histories} linearizable, all agreed");
    // A test that only sees one of the two verdicts proves nothing.
    assert!(linearizable * 20 > histories && linearizable * 20 < histories * 19);
}

/// A model without any of its hints, so that the search has to try everything.
struct Plain<M>(M);

/// An input that equals nothing, not even itself.
#[derive(Debug)]
struct Alone<I>(I);

impl<I> PartialEq for Alone<I> {
    fn eq(&self, _other: &Self) -> bool {
        false
    }
}

impl<M: Model> Model for Plain<M> {
    type State = M::State;
    type Input = Alone<M::Input>;
    type Output = M::Output;
    type Part = M::Part;

    fn init(&self) -> M::State {
        self.0.init()
    }

    fn step(
        &self,
        state: &M::State,
        input: &Self::Input,
        output: Option<&M::Output>,
    ) -> Option<M::State> {
        self.0.step(state, &input.0, output)
    }

    fn part(&self, input: &Self::Input) -> M::Part {
        self.0.part(&input.0)
    }
}

/// Compares longer histories, which no judge can try in every order, with and without hints.
fn agree_with_plain<M>(
    name: &str,
    model: M,
    mut ask: impl FnMut(&mut Random) -> (M::Input, M::Output),
) where
    M: Model + Sync + Copy,
    M::Input: Sync + Clone,
    M::Output: Sync + Clone,
{
    let seed = from_environment("CHECK_ORACLE_SEED", SEED);
    let mut random = Random::seeded(seed);
    let (mut linearizable, mut all) = (0, 0);
    while all < from_environment("CHECK_ORACLE_HISTORIES", HISTORIES) / 20 {
        let history = long_history(&mut random, &mut ask);
        let alone = history
            .operations()
            .iter()
            .cloned()
            .map(|operation| Operation {
                client: operation.client,
                invoked: operation.invoked,
                input: Alone(operation.input),
                reply: operation.reply,
            });
        let plain = History::of(alone.collect()).expect("no client overlaps itself");
        let limits = Limits::default();
        let hinted = wgl::check(&model, &history, &limits, &|| true);
        let plain = wgl::check(&Plain(model), &plain, &limits, &|| true);
        assert!(
            hinted.is_linearizable() == plain.is_linearizable()
                && hinted.is_violated() == plain.is_violated(),
            "{name}, seed {seed}, history {all}: {hinted}, without hints {plain}\n{history:?}"
        );
        all += 1;
        linearizable += u64::from(hinted.is_linearizable());
    }
    println!("{name}, seed {seed}: {linearizable} of {all} long ones linearizable, all agreed");
    assert!(linearizable * 50 > all && linearizable * 50 < all * 49);
}

/// Up to 14 operations of up to six clients with long lives.
fn long_history<I, O>(
    random: &mut Random,
    mut ask: impl FnMut(&mut Random) -> (I, O),
) -> History<I, O> {
    let mut operations = Vec::new();
    for client in 0..6 {
        let mut free = random.below(20);
        for _ in 0..=random.below(3) {
            let invoked = free + random.below(8);
            let at = invoked + random.below(30);
            let (input, output) = ask(random);
            let crashes = random.below(6) == 0;
            let reply = if crashes {
                Reply::Crashed
            } else {
                Reply::Returned { at, output }
            };
            operations.push(Operation {
                client,
                invoked,
                input,
                reply,
            });
            free = at;
            if crashes {
                break;
            }
        }
    }
    History::of(operations).expect("no client overlaps itself")
}

#[test]
fn the_search_with_hints_and_without_agree_about_registers() {
    use register::{Input, Output};
    agree_with_plain("register", register::Register, |random| {
        let value = |random: &mut Random| i64::from(random.below(3) == 0) + 1;
        match random.below(4) {
            0 => (Input::Write(value(random)), Output::Done),
            1 => {
                let (expected, new) = (value(random), value(random));
                let input = Input::CompareAndSet { expected, new };
                (input, Output::Swapped(random.below(2) == 0))
            },
            _ => (Input::Read, Output::Value(Some(value(random)))),
        }
    });
}

#[test]
fn the_search_with_hints_and_without_agree_about_appended_texts() {
    use key_value::{Action, Input, Output};
    agree_with_plain("key-value", key_value::KeyValue, |random| {
        let letter = |random: &mut Random| ["a", "b"][usize::from(random.below(3) == 0)];
        let mut text = String::new();
        for _ in 0..random.below(3) {
            text.push_str(letter(random));
        }
        let (action, output) = match random.below(5) {
            0 => (Action::Put(letter(random).into()), Output::Done),
            1 | 2 => (Action::Append(letter(random).into()), Output::Done),
            _ => (Action::Get, Output::Value(text.into())),
        };
        let key = "k".into();
        (Input { key, action }, output)
    });
}

#[test]
fn the_search_and_all_orders_agree_about_registers() {
    use register::{Input, Output};
    agree("register", &register::Register, |random| {
        let value = |random: &mut Random| i64::from(random.below(3) == 0) + 1;
        match random.below(4) {
            0 => (Input::Write(value(random)), Output::Done),
            1 => {
                let input = Input::CompareAndSet {
                    expected: value(random),
                    new: value(random),
                };
                (input, Output::Swapped(random.below(2) == 0))
            },
            _ => {
                let there = random.below(4) > 0;
                (Input::Read, Output::Value(there.then(|| value(random))))
            },
        }
    });
}

#[test]
fn the_search_and_all_orders_agree_about_appended_texts() {
    use key_value::{Action, Input, Output};
    let texts = ["", "a", "b", "ab", "ba", "aa"];
    let text = |random: &mut Random, below: u64| {
        let at = usize::try_from(random.below(below)).expect("a small number");
        Box::<str>::from(texts[at])
    };
    agree("key-value", &key_value::KeyValue, |random| {
        let (action, output) = match random.below(4) {
            0 => (Action::Put(text(random, 3)), Output::Done),
            1 => (Action::Append(text(random, 3)), Output::Done),
            _ => (Action::Get, Output::Value(text(random, 6))),
        };
        let key = "k".into();
        (Input { key, action }, output)
    });
}

#[test]
fn the_search_and_all_orders_agree_about_znodes() {
    use znode::{Action, Input, Output};
    agree("znode", &znode::Znode, |random| {
        let small = |random: &mut Random, below| u32::try_from(random.below(below)).expect("small");
        let (action, output) = if random.below(2) == 0 {
            let output = Output::Data {
                value: random.below(2),
                version: small(random, 3),
            };
            (Action::Get, output)
        } else {
            let action = Action::Set {
                value: random.below(2),
                expected: (random.below(2) == 0).then(|| small(random, 2)),
            };
            match random.below(3) {
                0 => (action, Output::BadVersion),
                _ => (action, Output::Version(1 + small(random, 2))),
            }
        };
        let path = "/a".into();
        (Input { path, action }, output)
    });
}

#[test]
fn the_search_and_all_orders_agree_about_locks() {
    use lock::{Action, Input, Output};
    agree("lock", &lock::Lock, |random| {
        let (action, output) = match random.below(5) {
            0 => (Action::Acquire, Output::Busy),
            1 | 2 => {
                let token = 1 + random.below(4);
                (Action::Acquire, Output::Acquired { token })
            },
            3 => (Action::Release, Output::Released),
            _ => (Action::Release, Output::NotHeld),
        };
        let (lock, owner) = ("l".into(), random.below(2));
        let input = Input {
            lock,
            owner,
            action,
        };
        (input, output)
    });
}
