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
    let other = follower % 3 + 1;
    ensemble.cut_off(follower);
    // It says that it lives, and is answered, until it is let go.
    while client.try_ask(XID_PING, &Request::Ping).await && client.next().await == "-2" {
        sleep(TIMEOUT / 20).await;
    }
    assert!(ensemble.has_session(other, session), "it is not over yet");

    let (mut again, goes_on) = ensemble.attach(other, session, &password).await;
    assert!(goes_on);
    ping_for(&mut again, TIMEOUT).await;
    assert!(ensemble.has_node(other, "/lock"), "it was never over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_ends_no_session_when_it_wakes_up() {
    let ensemble = Ensemble::of_three(34).await;
    let (stalled, follower) = (ensemble.leader().await, ensemble.follower().await);
    let other = 6 - stalled - follower;
    let (_left, moves, password) = ensemble.begin(stalled).await;
    let (mut stays, session, _) = ensemble.begin(follower).await;
    ensemble.running[&stalled].stall(2 * TIMEOUT);
    let (mut moved, goes_on) = ensemble.attach(other, moves, &password).await;
    assert!(goes_on, "another one leads before it is over");
    tokio::join!(
        ping_for(&mut stays, 4 * TIMEOUT),
        ping_for(&mut moved, 4 * TIMEOUT),
    );
    until("the one that stood still follows", || {
        ensemble.running[&stalled]
            .member
            .standing()
            .leader
            .is_some()
    })
    .await;
    for id in 1..=3 {
        assert!(ensemble.has_session(id, session) && ensemble.has_session(id, moves));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moved_is_served_there_only_and_what_was_on_its_way_here_is_not_done() {
    let ensemble = Ensemble::of_three(35).await;
    let here = ensemble.follower().await;
    let there = ensemble.leader().await;
    let (mut old, session, password) = ensemble.begin_with(here, 8 * TIMEOUT).await;
    ensemble.cut_off(here);
    old.ask(1, &create("/on-its-way", 1)).await;
    let (mut new, goes_on) = ensemble.attach(there, session, &password).await;
    assert!(goes_on);
    new.ask(1, &create("/moved", 1)).await;
    assert_eq!(new.next().await, "1");
    ensemble.network.heal();
    let said = old.next().await;
    assert!(["1 SessionMoved", "end"].contains(&&*said), "{said}");
    new.ask(2, &create("/later", 0)).await;
    assert_eq!(new.next().await, "2");
    until("all have it", || {
        (1..=3).all(|id| ensemble.has_node(id, "/later"))
    })
    .await;
    // What the old connection asked is applied by now, to no effect.
    let origin = ensemble.running[&here].member.origin();
    until("it was tried", || {
        ensemble.see(there, |state| state.applied_of(origin)) >= 2
    })
    .await;
    for id in 1..=3 {
        assert!(ensemble.has_node(id, "/moved") && !ensemble.has_node(id, "/on-its-way"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clients_with_one_session_the_last_is_served_wherever_it_comes() {
    let ensemble = Ensemble::of_three(36).await;
    let (mut last, session, password) = ensemble.begin(1).await;
    for round in 0..9 {
        let (mut next, goes_on) = ensemble.attach(round % 3 + 1, session, &password).await;
        assert!(goes_on);
        assert_eq!(last.next().await, "end");
        next.ask(1, &create(&format!("/{round}"), 1)).await;
        assert_eq!(next.next().await, "1");
        last = next;
    }
    last.ask(2, &Request::CloseSession).await;
    assert_eq!(last.next_of(2).await, ["2", "end"]);
    until("the session and its nodes are gone", || {
        (1..=3).all(|id| !ensemble.has_session(id, session) && !ensemble.has_node(id, "/0"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ephemeral_node_outlives_a_session_that_closed_while_it_was_made() {
    let ensemble = Ensemble::of_three(37).await;
    let here = ensemble.follower().await;
    let there = ensemble.leader().await;
    let (mut old, session, password) = ensemble.begin_with(here, 8 * TIMEOUT).await;
    ensemble.cut_off(here);
    old.ask(1, &create("/ghost", 1)).await;
    let (mut new, _) = ensemble.attach(there, session, &password).await;
    new.ask(1, &Request::CloseSession).await;
    assert_eq!(new.next_of(2).await, ["1", "end"]);
    ensemble.network.heal();
    let said = old.next().await;
    assert!(["1 SessionExpired", "end"].contains(&&*said), "{said}");
    let origin = ensemble.running[&here].member.origin();
    until("it was tried", || {
        ensemble.see(there, |state| state.applied_of(origin)) >= 2
    })
    .await;
    assert!(!ensemble.has_node(there, "/ghost") && !ensemble.has_session(there, session));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_just_then_is_over_or_goes_on_and_not_both() {
    let ensemble = Ensemble::of_three(38).await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        let (_client, session, password) = ensemble.begin(1).await;
        sessions.push((session, password));
    }
    // All are silent; each comes back a little later than the one before.
    let mut back = Vec::new();
    sleep(TIMEOUT * 3 / 4).await;
    for (session, password) in sessions {
        sleep(TIMEOUT / 10).await;
        let (client, goes_on) = ensemble.attach(2, session, &password).await;
        back.push((client, session, goes_on));
    }
    for (client, session, goes_on) in &mut back {
        if *goes_on {
            client.ask(1, &exists("/", false)).await;
            assert_eq!(client.next().await, "1");
        }
        assert_eq!(ensemble.has_session(2, *session), *goes_on);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_outlives_its_leader_is_done_once_and_its_answer_is_what_became_of_it() {
    let ensemble = Ensemble::of_three(39).await;
    let old = ensemble.leader().await;
    let (mut client, _, _) = ensemble.begin_with(old, 8 * TIMEOUT).await;
    ensemble.cut_off(old);
    // The old leader has these in its log, and nobody else has them.
    client.ask(1, &create("/number-", 2)).await;
    client.ask(2, &create("/taken", 0)).await;
    client.ask(3, &get("/taken", false)).await;
    let other = old % 3 + 1;
    until("another one leads", || {
        let leader = ensemble.running[&other].member.standing().leader;
        leader.is_some_and(|leader| leader != old)
    })
    .await;
    let (mut quicker, _, _) = ensemble.begin_with(other, 8 * TIMEOUT).await;
    quicker.ask(1, &create("/taken", 0)).await;
    quicker.ask(2, &set("/taken", b"by the quicker one")).await;
    assert_eq!(quicker.next_of(2).await, ["1", "2"]);
    ensemble.network.heal();
    assert_eq!(client.next_of(2).await, ["1", "2 NodeExists"]);
    assert_eq!(client.next().await, "3");
    assert_eq!(client.data(4, "/taken").await, b"by the quicker one");
    let numbers_at = |id| {
        ensemble.see(id, |state| {
            let listed = state.tree().children("/", &[]).expect("it is open");
            let names = listed.names.iter();
            names.filter(|name| name.starts_with("number-")).count()
        })
    };
    until("all have it, once", || [1, 2, 3].map(numbers_at) == [1; 3]).await;
}
