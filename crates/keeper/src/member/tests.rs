//! Claims about members that fail, and about what their clients were promised.

use std::sync::PoisonError;
use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_zk_proto::jute::Jute as _;
use mainstay_zk_proto::opcode::Opcode;
use tokio::time::{Instant, timeout};

use super::*;
use crate::disk::Disk as _;
use crate::disk::simulated::Failing;
use crate::process::Process;
use crate::proposal::{Action, Batch, Entry, Operation};
use crate::replica::DiskStanding;
use ensemble::{Ensemble, address, create, propose, until};

mod changes;
mod ensemble;
mod lost_disk;

const OPEN: Action<'_> = Action::Open {
    timeout_ms: 10_000,
    password: [7; 16],
};

fn has(member: &ensemble::TestMember, path: &str) -> bool {
    let state = member
        .state()
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    state.tree().stat(path).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ensembles_of_one_three_and_five_do_what_any_of_their_members_proposes() {
    for count in [1, 3, 5] {
        let mut ensemble = Ensemble::of(count, count).await;
        ensemble.leader().await;
        for id in 1..=count {
            ensemble.load(id);
        }
        ensemble.progress(300).await;
        ensemble.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_leaders_die_under_load_nothing_acknowledged_is_lost_or_done_twice() {
    let mut ensemble = Ensemble::of(3, 11).await;
    for id in 1..=3 {
        ensemble.load(id);
    }
    for _ in 0..4 {
        ensemble.progress(200).await;
        let leader = ensemble.leader().await;
        ensemble.kill(leader);
        ensemble.progress(200).await;
        ensemble.start(leader).await;
        ensemble.load(leader);
    }
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_lost_under_load_lose_and_double_nothing() {
    let mut ensemble = Ensemble::of(3, 19).await;
    for id in 1..=3 {
        ensemble.load(id);
    }
    for _ in 0..20 {
        ensemble.progress(50).await;
        ensemble.network.reset();
    }
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_acknowledges_nothing_while_the_others_go_on() {
    let mut ensemble = Ensemble::of(5, 12).await;
    let old = ensemble.leader().await;
    for id in 1..=5 {
        ensemble.load(id);
    }
    ensemble.progress(100).await;
    let others: Vec<String> = (1..=5).filter(|&id| id != old).map(address).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    ensemble.network.part(&[&address(old)], &others);
    until("it notices that it leads nobody", || {
        ensemble.member(old).standing().leader.is_none()
    })
    .await;
    let number = propose(ensemble.member(old), 0, Action::Close);
    assert_eq!(ensemble.member(old).barrier().await, Err(NoQuorum));
    let origin = ensemble.member(old).origin();
    let told = ensemble.running[&old]
        .ears
        .heard()
        .told
        .contains_key(&(origin, number));
    assert!(!told, "nobody else knows of it");
    ensemble.progress(500).await;
    ensemble.network.heal();
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_hears_and_is_not_heard_does_not_keep_the_others_from_working() {
    let mut ensemble = Ensemble::of(3, 13).await;
    let leader = ensemble.leader().await;
    let deaf = (1..=3).find(|&id| id != leader).expect("there are three");
    for id in 1..=3 {
        ensemble.load(id);
    }
    for (from, to) in [(deaf, leader), (leader, deaf)] {
        ensemble.progress(100).await;
        ensemble.network.cut(&address(from), &address(to));
        ensemble.progress(500).await;
        ensemble.network.heal();
    }
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_lose_their_power_under_load_what_was_acknowledged_is_there() {
    for seed in 20..24 {
        let mut ensemble = Ensemble::of(3, seed).await;
        for id in 1..=3 {
            ensemble.load(id);
        }
        for _ in 0..2 {
            ensemble.progress(150).await;
            ensemble.kill_all_and_start_again().await;
        }
        ensemble.progress(150).await;
        ensemble.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_far_behind_gets_a_snapshot_and_the_rest() {
    let mut ensemble = Ensemble::of(3, 14).await;
    ensemble.snapshots = Snapshots {
        entries: 40,
        kept_entries: 20,
        ..Snapshots::default()
    };
    // Those that start from now on take small snapshots.
    for id in 1..=3 {
        ensemble.kill(id);
        ensemble.start(id).await;
    }
    let leader = ensemble.leader().await;
    let behind = (1..=3).find(|&id| id != leader).expect("there are three");
    ensemble.kill(behind);
    for id in (1..=3).filter(|&id| id != behind) {
        ensemble.load(id);
    }
    ensemble.progress(6_000).await;
    ensemble.start(behind).await;
    ensemble.load(behind);
    until("it gets a snapshot", || {
        ensemble.running[&behind].ears.heard().replaced > 0
    })
    .await;
    ensemble.progress(500).await;
    ensemble.settle().await;
    for id in 1..=3 {
        let names = crate::snapshot::names(&ensemble.disks[&id]).expect("lists");
        assert!(!names.is_empty(), "{id} has taken none");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_stopped_goes_on_from_its_disk() {
    let mut ensemble = Ensemble::of(3, 15).await;
    for id in 1..=3 {
        ensemble.load(id);
    }
    ensemble.progress(200).await;
    for id in 1..=3 {
        let before = ensemble.member(id).origin();
        let mut running = ensemble.running.remove(&id).expect("it runs");
        running.clients.shutdown().await;
        let member = std::sync::Arc::into_inner(running.member).expect("nobody else has it");
        timeout(Duration::from_secs(20), member.stop())
            .await
            .expect("it stops");
        ensemble.start(id).await;
        ensemble.load(id);
        assert!(ensemble.member(id).origin().incarnation > before.incarnation);
        ensemble.progress(100).await;
    }
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_barrier_is_everything_that_was_acknowledged_anywhere() {
    let mut ensemble = Ensemble::of(3, 16).await;
    // A leader knows first what is acknowledged; the others hear of it later.
    let writer = ensemble.leader().await;
    ensemble.network.delay(Duration::from_millis(10));
    propose(ensemble.member(writer), 1, OPEN);
    let origin = ensemble.member(writer).origin();
    for round in 0..20 {
        let path = format!("/{round}");
        let body = create(&path);
        let action = Action::Request {
            opcode: Opcode::Create,
            body: &body,
        };
        let number = propose(ensemble.member(writer), 1, action);
        let told = || {
            ensemble.running[&writer]
                .ears
                .heard()
                .told
                .contains_key(&(origin, number))
        };
        until("it is acknowledged", told).await;
        let [one, two, three] = [1, 2, 3].map(|id| ensemble.member(id));
        let passed = tokio::join!(one.barrier(), two.barrier(), two.barrier(), three.barrier());
        assert_eq!(passed, (Ok(()), Ok(()), Ok(()), Ok(())));
        let there = [one, two, three].map(|member| has(member, &path));
        assert_eq!(there, [true; 3], "{path}");
    }
    ensemble.settle().await;
}

/// How long what a follower proposes takes until its clients hear, in ways from one member to another.
async fn ways_of_a_write(members: u64) -> f64 {
    const WAY: Duration = Duration::from_millis(40);
    let ensemble = Ensemble::of(members, 23).await;
    let leader = ensemble.leader().await;
    let others = (1..=members).filter(|id| *id != leader);
    let follower = others.max().expect("there are others");
    ensemble.network.delay(WAY);
    let running = &ensemble.running[&follower];
    let begun = Instant::now();
    let number = propose(&running.member, 7, OPEN);
    let key = (running.member.origin(), number);
    until("it is told", || {
        running.ears.heard().told.contains_key(&key)
    })
    .await;
    begun.elapsed().as_secs_f64() / WAY.as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn of_three_a_follower_knows_after_one_way_there_and_back_that_its_write_is_safe() {
    let process = Process::new(1, 0);
    let ways = process.run(ways_of_a_write(3)).await;
    assert!((2.0..3.0).contains(&ways), "of three: {ways}");
    let ways = process.run(ways_of_a_write(5)).await;
    assert!((4.0..5.0).contains(&ways), "of five: {ways}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_disk_fails_says_so_and_the_others_go_on() {
    let mut ensemble = Ensemble::of(3, 17).await;
    for id in 1..=3 {
        ensemble.load(id);
    }
    ensemble.progress(100).await;
    let leader = ensemble.leader().await;
    ensemble.disks[&leader].fail(Some(Failing::Sync));
    let failed = timeout(Duration::from_secs(20), ensemble.member(leader).failed()).await;
    let why = failed.expect("it notices").to_string();
    assert!(why.contains("the simulated disk fails to sync"), "{why}");
    ensemble.progress(300).await;
    ensemble.kill(leader);
    ensemble.start(leader).await;
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let mut ensemble = Ensemble::of(1, 18).await;
    ensemble.load(1);
    ensemble.progress(10).await;
    ensemble.disks[&1].fail(Some(Failing::Full));
    let disk = |ensemble: &Ensemble| ensemble.member(1).standing().disk;
    until("it is full", || disk(&ensemble) == DiskStanding::Full).await;
    let before = ensemble.acknowledged();
    ensemble.disks[&1].fail(None);
    ensemble.progress(100).await;
    until("there is room", || disk(&ensemble) == DiskStanding::Fine).await;
    assert!(ensemble.acknowledged() > before);
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_hangs_or_is_full_hands_over_and_follows_when_it_is_back() {
    for (seed, failing) in [(40, Failing::Hang), (41, Failing::Full)] {
        let mut ensemble = Ensemble::of(3, seed).await;
        for id in 1..=3 {
            ensemble.load(id);
        }
        ensemble.progress(100).await;
        let leader = ensemble.leader().await;
        ensemble.disks[&leader].fail(Some(failing));
        until("it takes no writes", || {
            !ensemble.member(leader).takes_writes()
        })
        .await;
        let other = leader % 3 + 1;
        until("another one leads", || {
            let leads = ensemble.member(other).standing().leader;
            leads.is_some_and(|leads| leads != leader)
        })
        .await;
        ensemble.progress(200).await;
        ensemble.disks[&leader].fail(None);
        until("it follows", || {
            let standing = ensemble.member(leader).standing();
            standing.leader.is_some() && !standing.is_leader
        })
        .await;
        until("it takes writes", || ensemble.member(leader).takes_writes()).await;
        ensemble.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_finds_no_room_is_taken_when_there_is_some() {
    let mut ensemble = Ensemble::of(1, 42).await;
    ensemble.snapshots = Snapshots {
        entries: 5,
        kept_entries: 5,
        ..Snapshots::default()
    };
    ensemble.kill(1);
    ensemble.disks[&1].fail(None);
    ensemble.start(1).await;
    ensemble.leader().await;
    ensemble.disks[&1].fail(Some(Failing::Full));
    ensemble.load(1);
    until("it is full", || !ensemble.member(1).takes_writes()).await;
    let names = || crate::snapshot::names(&ensemble.disks[&1]).expect("lists");
    assert_eq!(names(), [""; 0], "there was no room for one");
    assert_eq!(ensemble.member(1).newest_snapshot(), None);
    assert!(
        has(ensemble.member(1), "/1-1"),
        "and what is there can be read"
    );
    ensemble.disks[&1].fail(None);
    until("there is a snapshot", || !names().is_empty()).await;
    ensemble.progress(100).await;
    ensemble.settle().await;
    let newest = ensemble.member(1).newest_snapshot().expect("it is known");
    ensemble.kill(1);
    ensemble.start(1).await;
    let after = ensemble.member(1).newest_snapshot().expect("it is known");
    assert!(after.zxid >= newest.zxid, "{after:?} after {newest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_keep_its_vote_for_want_of_room_votes_when_there_is_some() {
    let mut ensemble = Ensemble::of(3, 43).await;
    let leader = ensemble.leader().await;
    let (full, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    let log = ensemble.disks[&full].clone();
    ensemble.load(other);
    log.fail(Some(Failing::Full));
    until("it is full", || {
        ensemble.member(full).standing().disk == DiskStanding::Full
    })
    .await;
    let before = ensemble.acknowledged();
    ensemble.progress(100).await;
    ensemble.kill(leader);
    // The other one has to wait for a vote that can be kept.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!ensemble.member(other).standing().is_leader);
    log.fail(None);
    // Which of the two it is depends on who was told more by the one that is gone.
    until("one has the other's vote", || {
        [full, other]
            .iter()
            .any(|&id| ensemble.member(id).standing().is_leader)
    })
    .await;
    ensemble.start(leader).await;
    ensemble.progress(100).await;
    assert!(ensemble.acknowledged() > before);
    ensemble.settle().await;
}

/// A bug or a bad bit: a node that nobody else has.
fn corrupt(member: &ensemble::TestMember) {
    let body = create("/nobody-else-has-this");
    let operation = |sequence, action| Operation {
        sequence,
        session: 99,
        identities: Vec::new(),
        action,
    };
    let (opcode, body) = (Opcode::Create, &*body);
    let batch = Batch {
        origin: Origin {
            member: 99,
            incarnation: 1,
        },
        operations: vec![
            operation(1, OPEN),
            operation(2, Action::Request { opcode, body }),
        ],
    };
    let mut bytes = Vec::new();
    batch.write(&mut bytes);
    let mut entry = Vec::new();
    Entry {
        time_ms: 1,
        enforce_quota: true,
        batches: vec![&bytes],
    }
    .write(&mut entry);
    let mut state = member
        .state()
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    state
        .apply(&entry, 1, &mut ensemble::Ears::default())
        .expect("well-formed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_differs_goes_out_of_service_for_good_whether_it_leads_or_not() {
    for (seed, leads) in [(50, false), (51, true)] {
        let mut ensemble = Ensemble::of(3, seed).await;
        for id in 1..=3 {
            ensemble.load(id);
        }
        ensemble.progress(100).await;
        let leader = ensemble.leader().await;
        let wrong = if leads { leader } else { leader % 3 + 1 };
        corrupt(ensemble.member(wrong));
        let failed = timeout(Duration::from_secs(30), ensemble.member(wrong).failed()).await;
        let why = failed.expect("it notices");
        assert!(
            matches!(why, MemberError::Diverged(index) if index > 0),
            "{why}"
        );
        assert_eq!(ensemble.member(wrong).standing().leader, None);
        ensemble.progress(300).await;
        for id in (1..=3).filter(|&id| id != wrong) {
            assert!(
                ensemble
                    .member(id)
                    .standing()
                    .leader
                    .is_some_and(|leader| leader != wrong)
            );
        }
        ensemble.kill(wrong);
        let files = ensemble.disks[&wrong].names().expect("lists");
        assert!(
            files.iter().any(|name| name.starts_with("log-")),
            "{files:?}"
        );
        let again = ensemble.try_start(wrong).await;
        assert!(matches!(again, Err(MemberError::Diverged(_))));
        ensemble.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_by_chance_nothing_acknowledged_is_lost() {
    for seed in 100..103 {
        let mut random = Random::seeded(seed);
        let mut ensemble = Ensemble::of(3, seed).await;
        for id in 1..=3 {
            ensemble.load(id);
        }
        ensemble.progress(50).await;
        for _ in 0..8 {
            something_bad(&mut ensemble, &mut random).await;
        }
        ensemble.network.heal();
        ensemble.network.delay(Duration::ZERO);
        ensemble.progress(50).await;
        ensemble.settle().await;
    }
}

async fn something_bad(ensemble: &mut Ensemble, random: &mut Random) {
    let one = random.below(3) + 1;
    let other = one % 3 + 1;
    let network = &ensemble.network;
    match random.below(5) {
        0 => network.cut(&address(one), &address(other)),
        1 => network.part(&[&address(one)], &[&address(other)]),
        2 => network.reset(),
        3 => network.delay(Duration::from_millis(random.below(20))),
        _ => {
            ensemble.kill(one);
            ensemble.start(one).await;
            ensemble.load(one);
        },
    }
    tokio::time::sleep(random.up_to(Duration::from_millis(800))).await;
    if random.below(2) == 0 {
        ensemble.network.heal();
        ensemble.progress(1).await;
    }
}
