//! Claims about who belongs to the ensemble, and how that changes.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_zk_proto::Code;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ensemble::{Ensemble, TestMember, line, until};
use super::*;
use crate::ensemble::Change;

/// What clients see of the members.
pub(super) fn list(member: &TestMember) -> String {
    let state = member
        .state()
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    state.tree().config().to_owned()
}

pub(super) fn numbers(member: &TestMember) -> BTreeSet<u64> {
    let list = crate::ensemble::Ensemble::read(&list(member)).expect("a list");
    list.0.keys().copied().collect()
}

pub(super) fn joining(members: &[(u64, &str)]) -> Change {
    let lines = members
        .iter()
        .map(|(id, kind)| format!("server.{id}={}", line(*id, kind)));
    Change {
        joining: Some(lines.collect::<Vec<_>>().join(",")),
        version: -1,
        voters_min: 1,
        is_allowed: true,
        ..Change::default()
    }
}

fn leaving(members: &[u64]) -> Change {
    let members: Vec<String> = members.iter().map(u64::to_string).collect();
    Change {
        leaving: Some(members.join(",")),
        ..joining(&[])
    }
}

/// Makes a change through a member, again when nobody knows what became of it.
pub(super) async fn change(member: &TestMember, change: &Change) -> Result<(), Code> {
    for _ in 0..1_000 {
        let made = timeout(
            Duration::from_mins(2),
            member.change_members(change.clone()),
        );
        match made.await.expect("it ends") {
            Ok(Err(Code::ReconfigInProgress)) | Err(NoQuorum) => {},
            Ok(made) => return made,
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody ever says what became of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_has_everything_and_serves_and_has_no_vote() {
    let mut ensemble = Ensemble::bare(4, 40);
    ensemble.founders.insert(4, "observer");
    for id in 1..=4 {
        ensemble.start(id).await;
    }
    ensemble.load(4);
    ensemble.progress(200).await;
    assert!(ensemble.member(4).standing().is_observer);
    assert!(!ensemble.member(1).standing().is_observer);
    assert!(list(ensemble.member(4)).contains("server.4=member-4:1:2:observer;0.0.0.0:3\n"));
    let leader = ensemble.leader().await;
    ensemble.kill(leader);
    ensemble.progress(200).await;
    // With the observer there are two of four, and one of three with a vote.
    let other = (1..=3).find(|&id| id != leader).expect("there are three");
    ensemble.kill(other);
    assert_eq!(ensemble.member(4).barrier().await, Err(NoQuorum));
    ensemble.start(other).await;
    ensemble.start(leader).await;
    ensemble.progress(100).await;
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_that_hears_a_leader_without_a_quorum_knows_that_nobody_leads() {
    let mut ensemble = Ensemble::bare(4, 41);
    ensemble.founders.insert(4, "observer");
    for id in 1..=4 {
        ensemble.start(id).await;
    }
    let leader = ensemble.leader().await;
    let observer = Arc::clone(ensemble.member(4));
    until("it is led", || observer.standing().leader == Some(leader)).await;
    let others: Vec<String> = (1..=3).filter(|&id| id != leader).map(address).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let here = [address(leader), address(4)];
    let here = [&*here[0], &*here[1]];
    ensemble.network.part(&here, &others);
    let nobody = BTreeSet::new();
    let mut denied = false;
    // The leader goes on to speak to it, and says at each touch what it leads.
    for _ in 0..1_000 {
        denied = observer.touch(&nobody).await.is_err() && observer.standing().leader.is_none();
        if denied {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(denied, "it went on to believe the leader");
    ensemble.network.heal();
    let mut is_led = false;
    for _ in 0..1_000 {
        is_led = observer.touch(&nobody).await.is_ok() && observer.standing().leader.is_some();
        if is_led {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(is_led, "a leader with a quorum is one again");
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ensemble_begins_where_zookeeper_does_and_each_change_is_the_next_transaction() {
    let mut ensemble = Ensemble::bare(2, 41);
    ensemble.founders.insert(100, "observer");
    for id in 1..=2 {
        ensemble.start(id).await;
    }
    ensemble.leader().await;
    let begun = "server.1=member-1:1:2:participant;0.0.0.0:3\n\
                 server.2=member-2:1:2:participant;0.0.0.0:3\n\
                 server.100=member-100:1:2:observer;0.0.0.0:3\nversion=100000000";
    until("both have the list", || {
        (1..=2).all(|id| list(ensemble.member(id)) == begun)
    })
    .await;
    let made = change(ensemble.member(2), &leaving(&[100])).await;
    assert_eq!(made, Ok(()));
    assert_list_is_the_last_transaction(ensemble.member(2));
    ensemble.settle().await;
}

fn assert_list_is_the_last_transaction(member: &TestMember) {
    let state = member.state().read().expect("whole");
    let stat = state.tree().stat(crate::tree::CONFIG).expect("it is there");
    assert_eq!((stat.version, stat.mzxid), (-1, state.members_version()));
    assert_eq!(state.members_version(), state.zxid());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_that_cannot_be_reached_joins_and_leaves_and_holds_up_nobody() {
    let mut ensemble = Ensemble::of(3, 42).await;
    for id in 1..=3 {
        ensemble.load(id);
    }
    for round in 0..3 {
        ensemble.progress(50).await;
        let through = ensemble.member(round % 3 + 1);
        assert_eq!(
            change(through, &joining(&[(100, "observer")])).await,
            Ok(())
        );
        assert!(numbers(through).contains(&100));
        ensemble.progress(50).await;
        let through = ensemble.member(round % 3 + 1);
        assert_eq!(change(through, &leaving(&[100])).await, Ok(()));
        assert!(!numbers(through).contains(&100));
    }
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_refused_for_the_reason_that_zookeeper_gives() {
    let mut ensemble = Ensemble::of(3, 43).await;
    ensemble.load(1);
    ensemble.progress(1).await;
    let member = ensemble.member(1);
    let observer = joining(&[(9, "observer")]);
    let cases = [
        (
            Change {
                version: 77,
                ..observer.clone()
            },
            Code::BadVersion,
        ),
        (
            Change {
                joining: Some("some thing".to_owned()),
                ..observer.clone()
            },
            Code::BadArguments,
        ),
        (
            Change {
                voters_min: 2,
                ..leaving(&[1, 2])
            },
            Code::BadArguments,
        ),
        (
            Change {
                is_allowed: false,
                ..observer.clone()
            },
            Code::NoAuth,
        ),
        // Two of four are not there.
        (
            joining(&[(8, "participant"), (9, "participant"), (10, "participant")]),
            Code::NewConfigNoQuorum,
        ),
    ];
    for (wanted, code) in cases {
        assert_eq!(change(member, &wanted).await, Err(code), "{wanted:?}");
    }
    let before = Change {
        version: 1 << 32,
        ..observer
    };
    assert_eq!(change(member, &before).await, Ok(()));
    assert_eq!(change(member, &before).await, Err(Code::BadVersion));
    until("those who were refused are forgotten", || {
        numbers(ensemble.member(1)) == BTreeSet::from([1, 2, 3, 9])
    })
    .await;
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_changes_at_once_one_is_made_and_the_other_hears_so() {
    let mut ensemble = Ensemble::of(3, 44).await;
    let leader = ensemble.leader().await;
    ensemble.network.delay(Duration::from_millis(20));
    let (one, two) = tokio::join!(
        ensemble
            .member(leader)
            .change_members(joining(&[(8, "observer")])),
        ensemble
            .member(leader)
            .change_members(joining(&[(9, "observer")])),
    );
    let told = BTreeSet::from([format!("{one:?}"), format!("{two:?}")]);
    let expected = ["Ok(Ok(()))", "Ok(Err(ReconfigInProgress))"];
    assert_eq!(told, expected.map(str::to_owned).into());
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_made_while_the_leader_still_tidies_up_after_the_one_before() {
    let mut ensemble = Ensemble::of(3, 45).await;
    ensemble.network.delay(Duration::from_millis(10));
    let leader = ensemble.leader().await;
    for _ in 0..5 {
        for next in [joining(&[(100, "observer")]), leaving(&[100])] {
            let made = ensemble.member(leader).change_members(next).await;
            assert!(matches!(made, Ok(Ok(()))), "{made:?}");
        }
    }
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_after_the_other_is_replaced_under_load_the_leader_too() {
    let mut ensemble = Ensemble::of(3, 45).await;
    for id in 1..=3 {
        ensemble.load(id);
    }
    for (old, new, other) in [(1, 4, 2), (2, 5, 3), (3, 6, 4)] {
        ensemble.progress(100).await;
        ensemble.add(new).await;
        ensemble.load(new);
        let replaced = Change {
            leaving: leaving(&[old]).leaving,
            ..joining(&[(new, "participant")])
        };
        assert_eq!(change(ensemble.member(other), &replaced).await, Ok(()));
        let gone = timeout(Duration::from_mins(1), ensemble.member(old).failed()).await;
        assert!(matches!(gone, Ok(MemberError::Removed(id)) if id == old));
        ensemble.kill(old);
        ensemble.disks.remove(&old);
        ensemble.progress(100).await;
    }
    assert_eq!(numbers(ensemble.member(5)), BTreeSet::from([4, 5, 6]));
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_file_is_old_goes_by_the_list_of_the_ensemble() {
    let mut ensemble = Ensemble::of(3, 46).await;
    ensemble.leader().await;
    ensemble.add(4).await;
    let made = change(ensemble.member(1), &joining(&[(4, "participant")])).await;
    assert_eq!(made, Ok(()));
    let made = change(ensemble.member(2), &leaving(&[1])).await;
    assert_eq!(made, Ok(()));
    ensemble.kill(1);
    ensemble.disks.remove(&1);
    // Nobody's file names the fourth but its own, and all name the first.
    ensemble.kill_all_and_start_again().await;
    ensemble.progress(100).await;
    let leader = ensemble.leader().await;
    assert_eq!(numbers(ensemble.member(leader)), BTreeSet::from([2, 3, 4]));
    ensemble.kill(if leader == 2 { 3 } else { 2 });
    ensemble.progress(100).await;
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_that_is_told_of_itself_begins_no_ensemble_of_its_own() {
    let mut ensemble = Ensemble::of(3, 47).await;
    for id in 1..=3 {
        ensemble.load(id);
    }
    ensemble.progress(100).await;
    ensemble.add(4).await;
    ensemble.progress(300).await;
    assert_eq!(ensemble.member(4).standing().leader, None);
    let made = change(ensemble.member(1), &joining(&[(4, "participant")])).await;
    assert_eq!(made, Ok(()));
    ensemble.load(4);
    ensemble.progress(100).await;
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_while_much_is_written_gets_a_snapshot_and_votes_when_it_has_it() {
    let mut ensemble = Ensemble::bare(3, 48);
    ensemble.snapshots = Snapshots {
        entries: 40,
        kept_entries: 20,
        ..Snapshots::default()
    };
    for id in 1..=3 {
        ensemble.start(id).await;
        ensemble.load(id);
    }
    ensemble.progress(2_000).await;
    ensemble.add(4).await;
    ensemble.add(5).await;
    let both = joining(&[(4, "participant"), (5, "observer")]);
    assert_eq!(change(ensemble.member(1), &both).await, Ok(()));
    ensemble.load(4);
    ensemble.load(5);
    ensemble.progress(300).await;
    assert!(!ensemble.member(4).standing().is_observer);
    assert!(ensemble.member(5).standing().is_observer);
    until("both got a snapshot", || {
        [4, 5]
            .iter()
            .all(|id| ensemble.running[id].ears.heard().replaced > 0)
    })
    .await;
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_while_members_change_nothing_acknowledged_is_lost_and_all_is_finished() {
    for seed in 200..203 {
        let mut random = Random::seeded(seed);
        let mut ensemble = Ensemble::of(3, seed).await;
        ensemble.add(4).await;
        for id in 1..=4 {
            ensemble.load(id);
        }
        for round in 0..6 {
            let wanted = in_or_out(4, round % 2 == 0);
            change_while_one_dies(&mut ensemble, &mut random, wanted).await;
            ensemble.progress(1).await;
        }
        let made = change(ensemble.member(1), &in_or_out(4, true)).await;
        assert_eq!(made, Ok(()), "seed {seed}");
        until("it votes", || {
            let standing = ensemble.member(4).standing();
            standing.leader.is_some() && !standing.is_observer
        })
        .await;
        ensemble.progress(50).await;
        ensemble.settle().await;
    }
}

fn in_or_out(member: u64, is_in: bool) -> Change {
    if is_in {
        joining(&[(member, "participant")])
    } else {
        leaving(&[member])
    }
}

async fn change_while_one_dies(ensemble: &mut Ensemble, random: &mut Random, wanted: Change) {
    let through = Arc::clone(ensemble.member(random.below(3) + 1));
    let mut asks = JoinSet::new();
    asks.spawn(async move {
        let made = through.change_members(wanted);
        timeout(Duration::from_secs(20), made).await
    });
    sleep(random.up_to(Duration::from_millis(300))).await;
    let victim = random.below(3) + 1;
    ensemble.kill(victim);
    sleep(random.up_to(Duration::from_millis(300))).await;
    ensemble.start(victim).await;
    ensemble.load(victim);
    // Whatever became of it: it was asked through one who may be gone.
    drop(asks.join_next().await);
}
