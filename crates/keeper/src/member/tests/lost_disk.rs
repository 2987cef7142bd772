//! Claims about members that come back with an empty disk, under the number that they had.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use super::ensemble::{Ensemble, address, until};
use super::*;

/// The others, as places in the network.
fn places(members: impl IntoIterator<Item = u64>) -> Vec<String> {
    members.into_iter().map(address).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_disk_does_not_help_another_one_to_lose_what_was_acknowledged() {
    for seed in 50..53 {
        let mut ensemble = Ensemble::of(3, seed).await;
        let leader = ensemble.leader().await;
        ensemble.load(leader);
        ensemble.progress(50).await;
        let mut others = (1..=3).filter(|&id| id != leader);
        let (behind, wiped) = others.next().zip(others.next()).expect("there are three");
        // From here on, only the leader and the one that will be wiped have what is acknowledged.
        let (here, there) = (places([leader, wiped]), address(behind));
        let here: Vec<&str> = here.iter().map(String::as_str).collect();
        ensemble.network.part(&here, &[&there]);
        ensemble.progress(50).await;
        ensemble.kill(leader);
        ensemble.kill(wiped);
        ensemble.network.heal();
        ensemble.add(wiped).await;
        // A quorum by numbers, and none by what it has; an election takes half a second.
        for _ in 0..150 {
            let leads = |id: &u64| ensemble.member(*id).standing().is_leader;
            let elected = [behind, wiped].into_iter().find(leads);
            assert_eq!(elected, None, "without what was acknowledged");
            sleep(Duration::from_millis(20)).await;
        }
        ensemble.start(leader).await;
        // The two that have their disks elect, and take the third one in again.
        let voters = || {
            let member = ensemble.member(behind);
            let list = changes::numbers(member);
            list == BTreeSet::from([1, 2, 3]) && has(ensemble.member(wiped), "/1-1")
        };
        until("the one that lost its disk is in again", voters).await;
        ensemble.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_its_disk_is_taken_in_again_under_load_and_can_then_be_relied_on() {
    let mut ensemble = Ensemble::of(3, 60).await;
    for round in 0..2 {
        let leader = ensemble.leader().await;
        ensemble.load(leader);
        ensemble.progress(100).await;
        // A follower at first, and then the leader itself.
        let wiped = if round == 0 { leader % 3 + 1 } else { leader };
        let other = wiped % 3 + 1;
        let before = changes::list(ensemble.member(other));
        ensemble.kill(wiped);
        ensemble.add(wiped).await;
        let is_in = || {
            let member = ensemble.member(other);
            changes::list(member) != before && changes::numbers(member).contains(&wiped)
        };
        until("it left, and is in again", is_in).await;
        // A change of nothing waits until the one before it is complete.
        let nothing = changes::joining(&[(wiped, "participant")]);
        let made = changes::change(ensemble.member(other), &nothing).await;
        assert_eq!(made, Ok(()));
        // Without one of the others there is a quorum only with it.
        let gone = (1..=3)
            .find(|&id| id != wiped && id != other)
            .expect("three");
        ensemble.kill(gone);
        ensemble.load(wiped);
        ensemble.progress(100).await;
        ensemble.start(gone).await;
    }
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_lost_their_disks_a_new_ensemble_begins() {
    let mut ensemble = Ensemble::of(3, 70).await;
    ensemble.leader().await;
    for id in 1..=3 {
        ensemble.kill(id);
    }
    for id in 1..=3 {
        ensemble.add(id).await;
    }
    let leader = ensemble.leader().await;
    ensemble.load(leader);
    ensemble.progress(50).await;
    ensemble.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_taken_out_is_taken_in_by_the_next_leader_when_the_first_one_dies() {
    let mut ensemble = Ensemble::of(5, 80).await;
    let leader = ensemble.leader().await;
    let wiped = leader % 5 + 1;
    let other = wiped % 5 + 1;
    ensemble.load(other);
    ensemble.progress(50).await;
    ensemble.kill(wiped);
    ensemble.add(wiped).await;
    let is_in =
        |ensemble: &Ensemble, at: u64| changes::numbers(ensemble.member(at)).contains(&wiped);
    until("it is taken out", || !is_in(&ensemble, leader)).await;
    // It cannot be taken in while nobody reaches it.
    let rest = places((1..=5).filter(|&id| id != wiped));
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    ensemble.network.part(&[&address(wiped)], &rest);
    until("all know", || !is_in(&ensemble, other)).await;
    ensemble.kill(leader);
    until("the next leader took it in", || is_in(&ensemble, other)).await;
    ensemble.network.heal();
    ensemble.progress(50).await;
    ensemble.start(leader).await;
    ensemble.settle().await;
}
