//! Limits, crashed operations, and what time alone decides.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::history::{Operation, Reply};
use crate::model::register::{Input, Output, Register};

type Asked = Operation<Input, Output>;

fn done(client: u64, invoked: u64, at: u64, input: Input, output: Output) -> Asked {
    Operation {
        client,
        invoked,
        input,
        reply: Reply::Returned { at, output },
    }
}

fn write(client: u64, (invoked, at): (u64, u64), value: i64) -> Asked {
    done(client, invoked, at, Input::Write(value), Output::Done)
}

fn read(client: u64, (invoked, at): (u64, u64), value: i64) -> Asked {
    let output = Output::Value(Some(value));
    done(client, invoked, at, Input::Read, output)
}

fn crashed(client: u64, invoked: u64, input: Input) -> Asked {
    Operation {
        client,
        invoked,
        input,
        reply: Reply::Crashed,
    }
}

fn verdict_of(operations: Vec<Asked>) -> Verdict {
    let history = History::of(operations).expect("it can have happened");
    check(&Register, &history, &Limits::default(), &|| true)
}

/// Writers who are all under way at once, and a read of what nobody wrote: every order is tried.
fn hard(writers: u64) -> History<Input, Output> {
    let mut operations: Vec<_> = (0..writers)
        .map(|client| write(client, (1, 9), i64::try_from(client).expect("small")))
        .collect();
    operations.push(read(99, (10, 11), -1));
    History::of(operations).expect("it can have happened")
}

#[test]
fn an_empty_history_is_linearizable() {
    let orders = Vec::new();
    assert_eq!(verdict_of(Vec::new()), Verdict::Linearizable { orders });
}

#[test]
fn operations_of_the_same_moment_may_come_in_either_order() {
    let either = |value| {
        let writes = [write(1, (1, 5), 10), write(2, (5, 6), 20)];
        verdict_of(writes.into_iter().chain([read(3, (7, 8), value)]).collect())
    };
    assert!(either(10).is_linearizable());
    assert!(either(20).is_linearizable());
}

#[test]
fn a_crashed_write_may_happen_late_or_never_but_not_early() {
    let with_read = |value, at| {
        verdict_of(vec![
            write(1, (1, 2), 10),
            crashed(2, 3, Input::Write(20)),
            read(3, at, value),
        ])
    };
    assert!(with_read(10, (100, 101)).is_linearizable());
    assert!(with_read(20, (100, 101)).is_linearizable());
    assert!(with_read(20, (3, 3)).is_linearizable());
    assert!(with_read(20, (1, 2)).is_violated());
}

#[test]
fn a_crashed_write_happens_once() {
    let verdict = verdict_of(vec![
        write(1, (1, 2), 10),
        crashed(2, 3, Input::Write(20)),
        read(3, (4, 5), 20),
        read(3, (6, 7), 10),
    ]);
    assert!(verdict.is_violated());
}

#[test]
fn hundreds_of_crashed_writes_that_nobody_saw_cost_nothing() {
    let mut operations: Vec<_> = (0..300)
        .map(|client| crashed(client, 1, Input::Write(1_000)))
        .collect();
    operations.push(write(900, (2, 3), 1));
    operations.push(read(901, (4, 5), 1));
    let history = History::of(operations).expect("it can have happened");
    let limits = Limits {
        steps_max: 1_024,
        ..Limits::default()
    };
    assert!(check(&Register, &history, &limits, &|| true).is_linearizable());
}

#[test]
fn equal_crashed_writes_are_tried_once_not_in_every_order() {
    let mut operations: Vec<_> = (0..200)
        .map(|client| crashed(client, 1, Input::Write(7)))
        .collect();
    // Seven was read before and after another write, then something that nobody wrote.
    for time in 0..20 {
        operations.push(read(900, (10 * time + 2, 10 * time + 3), 7));
        operations.push(write(900, (10 * time + 4, 10 * time + 5), 8));
    }
    operations.push(read(900, (1_000, 1_001), 9));
    let history = History::of(operations).expect("it can have happened");
    let limits = Limits {
        steps_max: 100_000,
        ..Limits::default()
    };
    assert!(check(&Register, &history, &limits, &|| true).is_violated());
}

#[test]
fn steps_run_out_into_unknown() {
    let limits = Limits {
        steps_max: 5_000,
        ..Limits::default()
    };
    let verdict = check(&Register, &hard(20), &limits, &|| true);
    let why = Why::Steps { max: 5_000 };
    assert_eq!(verdict, Verdict::Unknown { why });
    assert_eq!(
        verdict.to_string(),
        "unknown: the search took all of its 5000 steps"
    );
}

#[test]
fn memory_runs_out_into_unknown() {
    let limits = Limits {
        memory_bytes_max: 100_000,
        ..Limits::default()
    };
    let verdict = check(&Register, &hard(20), &limits, &|| true);
    let max_bytes = 100_000;
    let why = Why::Memory { max_bytes };
    assert_eq!(verdict, Verdict::Unknown { why });
}

#[test]
fn the_caller_may_say_stop_and_is_asked_often() {
    let asked = AtomicUsize::new(0);
    let going = || asked.fetch_add(1, Ordering::Relaxed) < 3;
    let verdict = check(&Register, &hard(20), &Limits::default(), &going);
    let why = Why::Stopped;
    assert_eq!(verdict, Verdict::Unknown { why });
    assert_eq!(asked.into_inner(), 4);
}

#[test]
fn a_small_enough_failure_is_still_certain() {
    assert!(check(&Register, &hard(8), &Limits::default(), &|| true).is_violated());
}

#[test]
fn threads_stop_together() {
    let threads = NonZeroUsize::new(3).expect("three");
    let stopped = AtomicBool::new(false);
    let limits = Limits {
        threads,
        ..Limits::default()
    };
    let going = || !stopped.swap(true, Ordering::Relaxed);
    let verdict = check(&Register, &hard(20), &limits, &going);
    assert!(matches!(verdict, Verdict::Unknown { .. }));
}

#[test]
fn what_a_search_took_is_given_back() {
    let budget = Budget::new(Limits::default(), &|| true);
    for _ in 0..3 {
        let mut purse = Purse::new(&budget, &|| false);
        purse
            .bytes(Limits::default().memory_bytes_max)
            .expect("all is free");
        assert!(purse.bytes(1).is_err());
    }
}

#[test]
fn a_certain_violation_outweighs_what_is_unknown() {
    use crate::model::key_value::{Action, Input, KeyValue, Output};
    let ask = |client, key: &str, (invoked, at), action, output| Operation {
        client,
        invoked,
        input: Input {
            key: key.into(),
            action,
        },
        reply: Reply::Returned { at, output },
    };
    let mut operations = Vec::new();
    for client in 0..20 {
        let action = Action::Put(client.to_string().into());
        operations.push(ask(client, "a", (1, 9), action, Output::Done));
    }
    let wrong = || Output::Value("nobody".into());
    operations.push(ask(30, "a", (10, 11), Action::Get, wrong()));
    operations.push(ask(31, "b", (10, 11), Action::Get, wrong()));
    let history = History::of(operations).expect("it can have happened");
    let limits = Limits {
        memory_bytes_max: 100_000,
        ..Limits::default()
    };
    match check(&KeyValue, &history, &limits, &|| true) {
        Verdict::Violated(failure) => assert_eq!(failure.part, "\"b\""),
        other @ (Verdict::Linearizable { .. } | Verdict::Unknown { .. }) => panic!("{other}"),
    }
}
