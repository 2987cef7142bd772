//! Claims about what is applied once, and what is told in which order.

use mainstay_zk_proto::acl::Acl;
use mainstay_zk_proto::jute::Jute as _;
use mainstay_zk_proto::request::Create;

use super::*;

const HERE: Origin = Origin {
    member: 1,
    incarnation: 1,
};
const THERE: Origin = Origin {
    member: 2,
    incarnation: 1,
};
const SESSION: i64 = 0x0100_0000_0000_0007;
const TERM: i64 = 3;

/// Remembers what it hears, in words.
#[derive(Default)]
struct Ears(Vec<String>);

impl Sink for Ears {
    fn event(&mut self, event: &Event, zxid: i64) {
        self.0
            .push(format!("{zxid} {:?} {}", event.kind, event.path));
    }

    fn session_over(&mut self, session: i64) {
        self.0.push(format!("over {session:#x}"));
    }

    fn applied(&mut self, _: &State, told: Told<'_>) {
        let result = told.result.map(|effect| match effect {
            Effect::Tree(_) => "tree",
            Effect::Session { .. } => "session",
            Effect::Gone => "gone",
        });
        let sequence = told.operation.sequence;
        self.0.push(format!("{} #{sequence} {result:?}", told.zxid));
    }

    fn settled(&mut self) {}
}

const fn expire(term: i64, attached: i64) -> Action<'static> {
    Action::Expire { term, attached }
}

/// Applies operations of one origin as one entry.
fn apply(state: &mut State, origin: Origin, operations: &[(i64, Action<'_>)]) -> Vec<String> {
    let operations = operations.iter().map(|(sequence, action)| Operation {
        sequence: *sequence,
        session: SESSION,
        identities: Vec::new(),
        action: action.clone(),
    });
    let batch = Batch {
        origin,
        operations: operations.collect(),
    };
    let mut bytes = Vec::new();
    batch.write(&mut bytes);
    let entry = Entry {
        time_ms: 1,
        enforce_quota: true,
        batches: vec![&bytes],
    };
    let mut out = Vec::new();
    entry.write(&mut out);
    let mut ears = Ears::default();
    state.apply(&out, TERM, &mut ears).expect("well-formed");
    ears.0
}

const OPEN: Action<'_> = Action::Open {
    timeout_ms: 10_000,
    password: [7; 16],
};

fn ephemeral(path: &str) -> Vec<u8> {
    let mut body = Vec::new();
    Request::Create(Create {
        path,
        data: None,
        acl: vec![Acl::OPEN],
        flags: 1,
    })
    .write(&mut body);
    body
}

const fn create(body: &[u8]) -> Action<'_> {
    Action::Request {
        opcode: Opcode::Create,
        body,
    }
}

#[test]
fn what_was_forwarded_twice_is_applied_once() {
    let mut state = State::new();
    let body = ephemeral("/e");
    let batch = [(1, OPEN), (2, create(&body))];
    assert_eq!(
        apply(&mut state, HERE, &batch),
        [
            "1 #1 Ok(\"session\")",
            "2 Created /e",
            "2 ChildrenChanged /",
            "2 #2 Ok(\"tree\")"
        ]
    );
    assert_eq!(apply(&mut state, HERE, &batch), [""; 0]);
    assert_eq!((state.zxid(), state.applied_of(HERE)), (2, 2));
}

#[test]
fn what_comes_before_its_predecessor_waits_until_it_comes_again() {
    let mut state = State::new();
    let body = ephemeral("/e");
    assert_eq!(apply(&mut state, HERE, &[(2, create(&body))]), [""; 0]);
    assert_eq!(state.applied_of(HERE), 0);
    let told = apply(&mut state, HERE, &[(1, OPEN), (2, create(&body))]);
    assert_eq!(told.last().map(String::as_str), Some("2 #2 Ok(\"tree\")"));

    let before = state.digest();
    let again = Origin {
        incarnation: 2,
        ..HERE
    };
    let nobody = Origin { member: 9, ..HERE };
    for origin in [HERE, again, nobody] {
        assert_eq!(apply(&mut state, origin, &[(7, OPEN)]), [""; 0]);
        assert_eq!(state.digest(), before, "no transaction changes nothing");
    }
}

#[test]
fn an_origin_that_started_again_counts_from_one_and_its_past_is_over() {
    let mut state = State::new();
    apply(&mut state, HERE, &[(1, OPEN)]);
    let again = Origin {
        incarnation: 2,
        ..HERE
    };
    assert_eq!(apply(&mut state, again, &[(1, Action::Close)]).len(), 2);
    assert_eq!(apply(&mut state, HERE, &[(2, OPEN)]), [""; 0]);
    assert_eq!(state.applied_of(HERE), 0);
}

#[test]
fn whoever_comes_back_under_the_number_of_a_member_that_left_may_have_a_clock_that_is_behind() {
    let mut state = State::new();
    let mut silent = Ears::default();
    let late = Origin {
        incarnation: HERE.incarnation - 1,
        ..HERE
    };
    let line = |number| format!("server.{number}=a:1:2:participant;3\n");
    state.set_members(&[line(HERE.member), line(9)].concat(), &mut silent);
    apply(&mut state, HERE, &[(1, OPEN)]);
    assert_eq!(apply(&mut state, late, &[(1, OPEN)]), [""; 0], "its past");

    state.set_members(&line(9), &mut silent);
    assert_eq!(apply(&mut state, HERE, &[(1, OPEN)]), [""; 0], "known");
    assert_eq!(apply(&mut state, HERE, &[(2, OPEN)]).len(), 1, "the same");
    state.set_members(&[line(HERE.member), line(9)].concat(), &mut silent);
    state.set_members(&line(9), &mut silent);
    assert_eq!(state.applied_of(HERE), 2);
    assert_eq!(
        apply(&mut state, late, &[(1, OPEN)]).len(),
        1,
        "another one"
    );
    assert_eq!(state.applied_of(late), 1);
}

#[test]
fn a_session_that_moved_is_served_by_its_new_member_alone() {
    let mut state = State::new();
    apply(&mut state, HERE, &[(1, OPEN)]);
    let password = [7; 16];
    assert_eq!(
        apply(
            &mut state,
            THERE,
            &[(
                1,
                Action::Attach {
                    password,
                    timeout_ms: 4_000
                }
            )]
        ),
        ["2 #1 Ok(\"session\")"]
    );
    let body = ephemeral("/e");
    assert_eq!(
        apply(&mut state, HERE, &[(2, create(&body))]),
        ["3 #2 Err(SessionMoved)"]
    );
    assert_eq!(
        apply(&mut state, THERE, &[(2, create(&body))])
            .last()
            .map(String::as_str),
        Some("4 #2 Ok(\"tree\")")
    );
}

#[test]
fn a_wrong_password_opens_no_session_and_closes_none() {
    let mut state = State::new();
    apply(&mut state, HERE, &[(1, OPEN)]);
    let password = [8; 16];
    assert_eq!(
        apply(
            &mut state,
            THERE,
            &[(
                1,
                Action::Attach {
                    password,
                    timeout_ms: 4_000
                }
            )]
        ),
        ["2 #1 Err(SessionExpired)"]
    );
    assert_eq!(
        state.sessions().get(SESSION).map(|session| session.member),
        Some(1)
    );
}

#[test]
fn events_of_an_end_come_before_the_answer_and_the_session_is_over_once() {
    let mut state = State::new();
    let body = ephemeral("/e");
    apply(&mut state, HERE, &[(1, OPEN), (2, create(&body))]);
    assert_eq!(
        apply(&mut state, THERE, &[(1, expire(TERM - 1, 1))]),
        ["3 #1 Err(SessionMoved)"],
        "a leader of the past noticed"
    );
    assert_eq!(
        apply(&mut state, THERE, &[(2, expire(TERM, 1))]),
        [
            "4 Deleted /e",
            "4 ChildrenChanged /",
            "over 0x100000000000007",
            "4 #2 Ok(\"gone\")"
        ]
    );
    assert_eq!(
        apply(&mut state, HERE, &[(3, create(&body)), (4, Action::Close)]),
        ["5 #3 Err(SessionExpired)", "6 #4 Err(SessionExpired)"]
    );
}

#[test]
fn a_session_that_came_back_in_time_does_not_end_for_its_silence_before() {
    let mut state = State::new();
    apply(&mut state, HERE, &[(1, OPEN)]);
    let password = [7; 16];
    apply(
        &mut state,
        THERE,
        &[(
            1,
            Action::Attach {
                password,
                timeout_ms: 10_000,
            },
        )],
    );
    assert_eq!(
        apply(&mut state, HERE, &[(2, expire(TERM, 1))]),
        ["3 #2 Err(SessionMoved)"]
    );
    assert_eq!(
        apply(&mut state, HERE, &[(3, expire(TERM, 2))]),
        ["over 0x100000000000007", "4 #3 Ok(\"gone\")"]
    );
}

#[test]
fn states_that_differ_in_anything_have_another_digest() {
    let mut digests = vec![State::new().digest()];
    let mut state = State::new();
    let body = ephemeral("/e");
    let password = [7; 16];
    for (sequence, action) in (1..).zip([
        OPEN,
        Action::Attach {
            password,
            timeout_ms: 10_000,
        },
        create(&body),
        // It does nothing, but it was applied.
        create(&body),
        Action::Close,
    ]) {
        apply(&mut state, HERE, &[(sequence, action)]);
        digests.push(state.digest());
    }
    let different: BTreeSet<u64> = digests.iter().copied().collect();
    assert_eq!(different.len(), digests.len(), "{digests:x?}");
}

/// A state with a session, a few nodes, and a progress of two origins.
fn lived_in() -> State {
    let mut state = State::new();
    let (e, f) = (ephemeral("/e"), ephemeral("/zookeeper/f"));
    apply(
        &mut state,
        HERE,
        &[(1, OPEN), (2, create(&e)), (3, create(&f))],
    );
    apply(&mut state, THERE, &[(1, Action::Close)]);
    state
}

fn records(frozen: &FrozenState) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let written: Result<(), ()> = frozen.records(|record| {
        all.push(record.to_vec());
        Ok(())
    });
    written.expect("nothing fails here");
    all
}

fn load(records: &[Vec<u8>]) -> Result<State, LoadError> {
    let mut loader = Loader::default();
    records
        .iter()
        .try_for_each(|record| loader.record(record))?;
    loader.finish()
}

#[test]
fn a_state_that_was_loaded_goes_on_as_if_nothing_happened() {
    let mut before = lived_in();
    let mut after = load(&records(&before.freeze())).expect("complete");
    assert_eq!(after.digest(), before.digest());
    assert_eq!(after.tree().ephemerals(SESSION, ""), ["/e", "/zookeeper/f"]);
    assert_eq!(after.applied_of(HERE), 3);
    let rest = [(2, expire(TERM, 1))];
    assert_eq!(
        apply(&mut after, THERE, &rest),
        apply(&mut before, THERE, &rest)
    );
    assert_eq!(after.digest(), before.digest());
}

#[test]
fn a_frozen_state_does_not_change_with_the_living_one() {
    let mut state = lived_in();
    let frozen = state.freeze();
    let before = records(&frozen);
    let body = ephemeral("/later");
    apply(&mut state, HERE, &[(4, create(&body)), (5, Action::Close)]);
    assert_eq!(records(&frozen), before);
}

#[test]
fn records_that_are_damaged_missing_or_out_of_order_make_no_state() {
    let good = records(&lived_in().freeze());
    for missing in 0..good.len() {
        let mut records = good.clone();
        records.remove(missing);
        assert!(load(&records).is_err(), "record {missing} was left out");
    }
    for damaged in 0..good.len() {
        for byte in 0..good[damaged].len() {
            let mut records = good.clone();
            records[damaged][byte] ^= 0x10;
            let loaded = load(&records);
            assert!(loaded.is_err(), "byte {byte} of record {damaged}");
        }
    }
    let mut twice = good.clone();
    twice.extend(good);
    assert!(load(&twice).is_err());
}
