//! Claims about clients of an ensemble whose members fail.

use super::ensemble::*;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_follower_a_session_that_pings_lives_and_a_silent_one_ends() {
    let ensemble = Ensemble::of_three(31).await;
    let follower = ensemble.follower().await;
    let (mut lively, lives, _) = ensemble.begin(follower).await;
    let (mut silent, ends, _) = ensemble.begin(follower).await;
    silent.ask(1, &create("/silent", 1)).await;
    assert_eq!(silent.next().await, "1");
    ping_for(&mut lively, 3 * TIMEOUT).await;
    until("the silent one is over", || {
        !ensemble.has_session(follower, ends)
    })
    .await;
    assert_eq!(silent.next().await, "end");
    assert!(!ensemble.has_node(follower, "/silent"));
    assert!(ensemble.has_session(follower, lives));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_leaders_costs_no_session_and_no_connection_to_the_others() {
    let mut ensemble = Ensemble::of_three(32).await;
    let follower = ensemble.follower().await;
    let (mut client, session, _) = ensemble.begin(follower).await;
    for _ in 0..2 {
        ping_for(&mut client, TIMEOUT / 2).await;
        let leader = ensemble.leader().await;
        if leader != follower {
            ensemble.kill(leader);
            ping_for(&mut client, TIMEOUT).await;
            ensemble.leader().await;
            ensemble.start(leader).await;
        }
    }
    client.ask(1, &create("/after", 1)).await;
    assert_eq!(client.next().await, "1");
    ping_for(&mut client, 2 * TIMEOUT).await;
    assert!(ensemble.has_session(follower, session));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_with_a_member_hears_so_before_the_session_ends_and_goes_on_elsewhere() {
    let ensemble = Ensemble::of_three(33).await;
    let follower = ensemble.follower().await;
    let allowed = 4 * TIMEOUT;
    let (mut client, session, password) = ensemble.begin_with(follower, allowed).await;
    client.ask(1, &create("/lock", 1)).await;
    assert_eq!(client.next().await, "1");
    let others: Vec<u64> = (1..=3).filter(|&id| id != follower).collect();
    let there: Vec<String> = others.iter().map(|&id| address(id)).collect();
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    ensemble.network.part(&[&address(follower)], &there);
    // It says that it lives, and is answered, until it is let go.
    while client.try_ask(XID_PING, &Request::Ping).await && client.next().await == "-2" {
        sleep(TIMEOUT / 20).await;
    }
    assert!(
        ensemble.has_session(others[0], session),
        "it is not over yet"
    );

    let mut again = ensemble.connect(others[0]);
    again.shake(session, &password, 0).await;
    assert_eq!(again.shaken().await.0, session);
    ping_for(&mut again, TIMEOUT).await;
    assert!(ensemble.has_node(others[0], "/lock"), "it was never over");
}
