//! Each broken promise is found, and a kept one is not accused.

use super::*;

type Run = Vec<Record<&'static str, u32>>;

fn record(
    session: u64,
    (invoked, at): (Time, Time),
    act: Act<&'static str, u32>,
    zxid: Zxid,
) -> Record<&'static str, u32> {
    Record {
        session,
        invoked,
        act,
        reply: Some(Stamp { at, zxid }),
    }
}

fn write(value: u32) -> Act<&'static str, u32> {
    let value = Some(value);
    Act::Write { key: "a", value }
}

fn read(found: Option<(u32, Zxid)>) -> Act<&'static str, u32> {
    let watch = Watch::Unset;
    let key = "a";
    Act::Read { key, found, watch }
}

fn watching(found: Option<(u32, Zxid)>) -> Act<&'static str, u32> {
    let watch = Watch::Set;
    let key = "a";
    Act::Read { key, found, watch }
}

fn crashed(session: u64, invoked: Time, act: Act<&'static str, u32>) -> Record<&'static str, u32> {
    Record {
        session,
        invoked,
        act,
        reply: None,
    }
}

fn at_the_end(found: Option<(u32, Zxid)>) -> Vec<Final<&'static str, u32>> {
    vec![Final { key: "a", found }]
}

fn found(run: &Run, finals: &[Final<&'static str, u32>]) -> Vec<Violation> {
    check(Promise::SequentialReads, run, finals).violations
}

/// Two writes one after the other, by sessions 1 and 2.
fn two_writes() -> Run {
    vec![
        record(1, (1, 2), write(10), 5),
        record(2, (3, 4), write(20), 6),
    ]
}

#[test]
fn an_old_read_keeps_the_promise_of_sequential_reads_and_breaks_that_of_linearizable_ones() {
    let mut run = two_writes();
    run.push(record(3, (8, 9), read(Some((10, 5))), 5));

    let sequential = check(Promise::SequentialReads, &run, &[]);
    assert!(sequential.is_kept(), "{sequential}");
    assert_eq!(
        sequential.to_string(),
        "linearizable writes and sequential reads, 3 records with 2 acknowledged writes: kept"
    );

    let linearizable = check(Promise::LinearizableReads, &run, &[]);
    assert_eq!(
        linearizable.violations,
        [Violation::Stale { reply: 2, newer: 1 }]
    );
    assert_eq!(
        linearizable.to_string(),
        "linearizable writes and reads, 3 records with 2 acknowledged writes: broken 1 times\n  \
         reply 2 is older than 1, which had returned before it was asked for"
    );
}

#[test]
fn a_sync_is_up_to_date_under_either_promise() {
    let mut run = two_writes();
    run.push(record(3, (8, 9), Act::Sync, 5));
    assert_eq!(found(&run, &[]), [Violation::Stale { reply: 2, newer: 1 }]);
    run[2].reply = Some(Stamp { at: 9, zxid: 6 });
    assert_eq!(found(&run, &[]), []);
}

#[test]
fn writes_respect_real_time() {
    let run = vec![
        record(1, (1, 2), write(10), 6),
        record(2, (3, 4), write(20), 5),
    ];
    let order = Violation::WriteOrder {
        earlier: 0,
        later: 1,
    };
    assert_eq!(found(&run, &[]), [order]);

    let concurrent = vec![
        record(1, (1, 3), write(10), 6),
        record(2, (2, 4), write(20), 5),
    ];
    assert_eq!(found(&concurrent, &[]), []);

    let of_one_moment = vec![
        record(1, (1, 2), write(10), 6),
        record(2, (2, 4), write(20), 5),
    ];
    assert_eq!(found(&of_one_moment, &[]), []);
}

#[test]
fn a_zxid_is_given_once_but_for_the_writes_of_one_transaction() {
    let mut run = vec![
        record(1, (1, 3), write(10), 5),
        record(2, (2, 4), write(20), 5),
    ];
    let zxid = 5;
    assert_eq!(
        found(&run, &[]),
        [Violation::DuplicateZxid {
            first: 0,
            second: 1,
            zxid
        }]
    );
    let value = Some(20);
    run[1] = record(1, (1, 3), Act::Write { key: "b", value }, 5);
    assert_eq!(found(&run, &[]), []);
}

#[test]
fn a_session_sees_its_own_writes_and_never_goes_back() {
    let mut run = two_writes();
    run.push(record(2, (5, 6), read(Some((10, 5))), 5));
    assert_eq!(
        found(&run, &[]),
        [Violation::OwnWriteMissing { write: 1, reply: 2 }]
    );

    let mut run = two_writes();
    run.push(record(3, (5, 6), read(Some((20, 6))), 6));
    run.push(record(3, (7, 8), read(Some((10, 5))), 5));
    assert_eq!(
        found(&run, &[]),
        [Violation::WentBack {
            before: 2,
            after: 3
        }]
    );
}

#[test]
fn a_read_shows_the_newest_write_within_its_own_prefix() {
    let shows = |shown, prefix| {
        let mut run = two_writes();
        run.push(record(3, (5, 6), read(shown), prefix));
        found(&run, &[])
    };
    let (read, write) = (2, 1);
    assert_eq!(shows(Some((20, 6)), 9), []);
    assert_eq!(
        shows(Some((10, 5)), 6),
        [Violation::WrongVersion {
            read,
            write,
            shown: Some(5)
        }]
    );
    assert_eq!(
        shows(None, 6),
        [Violation::WrongVersion {
            read,
            write,
            shown: None
        }]
    );
    assert_eq!(
        shows(Some((10, 6)), 6),
        [Violation::WrongValue { read, write }]
    );
    assert_eq!(
        shows(Some((30, 4)), 6),
        [Violation::Phantom { read, zxid: 4 }]
    );
    assert_eq!(
        shows(Some((20, 6)), 5),
        [Violation::BeyondPrefix { read, zxid: 6 }]
    );
}

#[test]
fn a_reply_does_not_know_what_was_not_asked_yet() {
    let run = vec![
        record(3, (1, 2), Act::Sync, 5),
        record(1, (3, 4), write(10), 5),
    ];
    assert_eq!(
        found(&run, &[]),
        [Violation::FromTheFuture { reply: 0, write: 1 }]
    );
}

#[test]
fn a_crashed_write_counts_from_the_first_reply_that_shows_it() {
    let mut run = two_writes();
    run.push(crashed(4, 5, write(30)));
    assert_eq!(
        found(&run, &at_the_end(Some((20, 6)))),
        [],
        "it never happened"
    );
    assert_eq!(found(&run, &at_the_end(Some((30, 9)))), [], "it happened");

    run.push(record(3, (6, 7), read(Some((30, 9))), 9));
    assert_eq!(found(&run, &at_the_end(Some((30, 9)))), []);
    assert_eq!(
        found(&run, &at_the_end(Some((20, 6)))),
        [Violation::LostWrite {
            write: 2,
            last_read: 0
        }]
    );
    run[2].invoked = 8;
    assert_eq!(
        found(&run, &[]),
        [Violation::FromTheFuture { reply: 3, write: 2 }]
    );
}

#[test]
fn an_acknowledged_write_is_there_at_the_end() {
    let run = two_writes();
    let last_read = 0;
    assert_eq!(found(&run, &at_the_end(Some((20, 6)))), []);
    let lost = Violation::LostWrite {
        write: 1,
        last_read,
    };
    assert_eq!(found(&run, &at_the_end(Some((10, 5)))), [lost]);
    assert_eq!(found(&run, &at_the_end(None)), [lost]);
    assert_eq!(
        found(&run, &at_the_end(Some((99, 7)))),
        [Violation::PhantomAtTheEnd { last_read }]
    );
}

#[test]
fn a_delete_of_unknown_end_excuses_that_the_key_is_gone() {
    let mut run = two_writes();
    let key = "a";
    run.push(crashed(4, 5, Act::Write { key, value: None }));
    run.push(record(3, (6, 7), read(None), 9));
    assert_eq!(found(&run, &at_the_end(None)), []);
    run[2].invoked = 8;
    assert_eq!(
        found(&run, &[]),
        [Violation::WrongVersion {
            read: 3,
            write: 1,
            shown: None
        }]
    );
}

#[test]
fn an_event_comes_before_the_new_data_and_once() {
    let event = |at, zxid| record(3, (at, at), Act::Event { key: "a" }, zxid);
    let watched = || vec![record(3, (0, 1), watching(None), 1)];
    let then = |rest: Run| {
        let mut run = watched();
        run.extend(two_writes());
        run.extend(rest);
        found(&run, &[])
    };
    let new_data = || record(3, (8, 9), read(Some((20, 6))), 6);

    assert_eq!(then(vec![event(5, 5), new_data()]), []);
    let (watch, change) = (0, 5);
    assert_eq!(
        then(vec![new_data(), event(9, 5)]),
        [Violation::EventMissing {
            watch,
            change,
            reply: 3
        }]
    );
    assert_eq!(
        then(vec![event(5, 5), event(6, 6)]),
        [Violation::EventUnexpected { event: 4 }]
    );
    assert_eq!(
        then(vec![event(6, 6)]),
        [Violation::EventOfWrongChange {
            event: 3,
            watch,
            expected: Some(5)
        }]
    );
}

#[test]
fn an_event_may_tell_of_a_crashed_write_but_not_of_nothing() {
    let mut run = vec![
        record(3, (0, 1), watching(None), 1),
        record(3, (5, 5), Act::Event { key: "a" }, 4),
    ];
    assert_eq!(
        found(&run, &[]),
        [Violation::EventOfWrongChange {
            event: 1,
            watch: 0,
            expected: None
        }]
    );
    run.push(crashed(1, 2, write(10)));
    assert_eq!(found(&run, &[]), []);
}

#[test]
fn an_event_without_a_zxid_tells_of_a_change_that_was_asked_for() {
    // `two_writes` are asked for at 1 and 3.
    let event = |at| record(3, (at, at), Act::Event { key: "a" }, ZXID_UNKNOWN);
    let then = |event| {
        let mut run = vec![record(3, (0, 0), watching(None), 1)];
        run.extend(two_writes());
        run.push(event);
        found(&run, &[])
    };
    assert_eq!(then(event(9)), []);
    let (watch, expected) = (0, Some(5));
    assert_eq!(
        then(event(0)),
        [Violation::EventOfWrongChange {
            event: 3,
            watch,
            expected
        }]
    );
}

#[test]
fn only_so_many_violations_are_kept_and_the_rest_are_counted() {
    let zxid = 7;
    let run: Run = (0..)
        .take(VIOLATIONS_MAX + 51)
        .map(|time| record(time, (1, 2), write(1), zxid))
        .collect();
    let certificate = check(Promise::SequentialReads, &run, &[]);
    assert_eq!(certificate.violations.len(), VIOLATIONS_MAX);
    assert_eq!(certificate.more, 50);
    assert!(certificate.to_string().contains("broken 1050 times"));
}
