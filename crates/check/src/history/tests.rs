//! Histories that cannot have happened are refused.

use super::*;

fn recorder() -> Recorder<&'static str, u8> {
    Recorder::new()
}

#[test]
fn a_client_has_one_open_operation() {
    let mut recorder = recorder();
    recorder.invoke(1, 5, "a").expect("the first is fine");
    assert_eq!(recorder.open(1), Some(&"a"));

    let refused = recorder.invoke(1, 6, "b").expect_err("the first is open");
    assert_eq!(
        refused.to_string(),
        "client 1 invokes a second operation while its first is open"
    );
}

#[test]
fn a_reply_comes_after_its_question() {
    let mut recorder = recorder();
    assert_eq!(
        recorder.returned(1, 5, 0),
        Err(Impossible::NothingOpen { client: 1 })
    );
    recorder.invoke(1, 5, "a").expect("nothing is open");
    let refused = recorder.returned(1, 4, 0).expect_err("4 is before 5");
    assert_eq!(
        refused.to_string(),
        "the time of client 1 goes back from 5 to 4"
    );
    recorder.returned(1, 5, 0).expect("the same time is fine");
    assert_eq!(
        recorder.invoke(1, 4, "b"),
        Err(Impossible::BackInTime {
            client: 1,
            from: 5,
            to: 4
        })
    );
}

#[test]
fn a_client_is_retired_by_an_operation_of_unknown_end() {
    let mut recorder = recorder();
    recorder.invoke(1, 5, "a").expect("nothing is open");
    recorder.crashed(1).expect("it is open");
    assert_eq!(
        recorder.invoke(1, 6, "b"),
        Err(Impossible::Retired { client: 1 })
    );
    assert_eq!(
        recorder.returned(1, 6, 0),
        Err(Impossible::NothingOpen { client: 1 })
    );
    assert_eq!(
        recorder.crashed(1),
        Err(Impossible::NothingOpen { client: 1 })
    );
}

#[test]
fn what_failed_for_certain_never_happened_and_what_is_open_may_have() {
    let mut recorder = recorder();
    recorder.invoke(1, 5, "a").expect("nothing is open");
    recorder.failed(1, 6).expect("it is open");
    recorder.invoke(1, 7, "b").expect("nothing is open");
    let history = recorder.finish();

    assert_eq!(history.len(), 1);
    assert_eq!(history.operations()[0].input, "b");
    assert_eq!(history.operations()[0].reply, Reply::Crashed);
}

#[test]
fn whole_operations_are_checked_the_same_way() {
    let operation = |invoked, reply| Operation {
        client: 3,
        invoked,
        input: "a",
        reply,
    };
    let returned = |at| Reply::Returned { at, output: 0 };
    let of = |operations| History::of(operations).map(|history| history.len());

    assert_eq!(
        of(vec![operation(4, returned(5)), operation(1, returned(4))]),
        Ok(2)
    );
    assert_eq!(
        of(vec![operation(1, returned(5)), operation(4, returned(6))]),
        Err(Impossible::Open { client: 3 })
    );
    assert_eq!(
        of(vec![
            operation(1, Reply::Crashed),
            operation(4, returned(6))
        ]),
        Err(Impossible::Retired { client: 3 })
    );
    assert_eq!(
        of(vec![operation(4, returned(1))]),
        Err(Impossible::BackInTime {
            client: 3,
            from: 4,
            to: 1
        })
    );
}
