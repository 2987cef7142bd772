//! Claims about how sessions begin, go on and end.

use super::*;

#[tokio::test]
async fn a_session_goes_on_with_its_password_and_leaves_the_old_connection() {
    let (desk, replica) = solo();
    let mut first = Client::connect(&desk, &replica);
    let (session, password) = first.begin().await;
    assert_eq!(session >> 56, 1, "the member is in the number");
    first.ask(1, &create("/e", 1)).await;
    assert_eq!(first.next().await, "1");

    let mut second = Client::connect(&desk, &replica);
    second.shake(session, &password, 2).await;
    assert_eq!(second.shaken().await, (session, password, 4_000));
    assert_eq!(first.next().await, "end");
    assert_eq!(
        second.data(1, "/e").await,
        b"old",
        "the node is still there"
    );
}

#[tokio::test]
async fn a_wrong_password_or_an_unknown_session_hears_that_it_is_over() {
    let (desk, replica) = solo();
    let mut owner = Client::connect(&desk, &replica);
    let (session, _) = owner.begin().await;
    for (session, password) in [(session, &[9; 16][..]), (session, &[]), (77, &[0; 16])] {
        let mut thief = Client::connect(&desk, &replica);
        thief.shake(session, password, 0).await;
        assert_eq!(thief.shaken().await.2, 0);
        assert_eq!(thief.next().await, "end");
    }
    owner.ask(1, &exists("/", false)).await;
    assert_eq!(owner.next().await, "1", "and its owner goes on");
}

#[tokio::test]
async fn who_closes_a_session_hears_so_before_the_end() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    client.ask(1, &create("/e", 1)).await;
    client.ask(2, &Request::CloseSession).await;
    assert_eq!(client.next_of(3).await, ["1", "2", "end"]);
    assert!(look(replica.state(), |state| state.tree().stat("/e")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_ends_and_one_that_pings_does_not() {
    let (desk, replica) = solo();
    let mut silent = Client::connect(&desk, &replica);
    let mut lively = Client::connect(&desk, &replica);
    silent.begin().await;
    lively.begin().await;
    silent.ask(1, &create("/silent", 1)).await;
    assert_eq!(silent.next().await, "1");
    let pings = async {
        for _ in 0..20 {
            sleep(Duration::from_secs(1)).await;
            lively.ask(XID_PING, &Request::Ping).await;
            assert_eq!(lively.next().await, "-2");
        }
    };
    tokio::select! {
        never = tend(&desk, &*replica) => match never {},
        () = pings => {},
    }
    assert_eq!(silent.next().await, "end");
    assert!(look(replica.state(), |state| state.tree().stat("/silent")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_seen_more_is_not_served_the_past() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    client.shake(0, &[0; 16], 1_000).await;
    assert_eq!(client.next().await, "end");
    // One transaction later it would have been served.
    let mut waits = Client::connect(&desk, &replica);
    waits.shake(0, &[0; 16], 1).await;
    let mut other = Client::connect(&desk, &replica);
    other.begin().await;
    assert_ne!(waits.shaken().await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn when_a_snapshot_took_the_states_place_clients_come_again() {
    let (_, replica, mut client) = held().await;
    client.ask(1, &create("/a", 0)).await;
    {
        let mut teller = replica.teller.lock().expect("whole");
        look(&replica.state, |state| teller.replaced(state));
        teller.settled();
    }
    assert_eq!(
        client.next().await,
        "end",
        "nobody knows whether it was done"
    );
}

#[tokio::test(start_paused = true)]
async fn who_was_heard_is_told_also_when_the_connection_is_gone_by_then() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    let (session, _) = client.begin().await;
    drop(desk.heard());
    client.ask(1, &exists("/", false)).await;
    assert_eq!(client.next().await, "1");
    drop(client);
    while desk.connections_len() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(desk.heard(), [session].into());
    assert_eq!(desk.heard(), [].into(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_proof_of_identity_is_answered_late() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    let asked = Instant::now();
    let proof = Auth {
        kind: 0,
        scheme: "nobody",
        proof: b"knows",
    };
    client.ask(XID_AUTH, &Request::Auth(proof)).await;
    assert_eq!(client.next().await, "-4 AuthFailed");
    assert!(asked.elapsed() >= Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn who_has_to_prove_who_they_are_and_did_not_is_sent_away() {
    let desk = Desk::new(Settings {
        schemes_required: ["digest".to_owned()].into(),
        ..Settings::default()
    });
    desk.begin(Held::ORIGIN, 1_700_000_000_000);
    let replica = Solo::new(desk.sink(), || 1);
    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    client.ask(1, &exists("/", false)).await;
    assert_eq!(client.next().await, "1 SessionClosedRequireSaslAuth");
    assert!(client.message().await.is_none(), "it is sent away");

    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    let proof = Auth {
        kind: 0,
        scheme: "digest",
        proof: b"a:b",
    };
    client.ask(XID_AUTH, &Request::Auth(proof)).await;
    assert_eq!(client.next().await, "-4");
    client.ask(1, &exists("/", false)).await;
    assert_eq!(client.next().await, "1");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_slow_to_answer_is_told_and_one_that_never_does_loses_the_client() {
    let (desk, held, mut client) = held().await;
    let takes = |time| *held.telling.lock().expect("whole") = time;
    // Longer than it is until the next telling.
    takes(Duration::from_secs(1));
    let lives = async {
        for second in 0..10 {
            sleep(Duration::from_secs(1)).await;
            client.ask(XID_PING, &Request::Ping).await;
            let pong = client.message().await;
            assert!(pong.is_some(), "it is told of, after {second} s");
        }
        takes(PATIENCE);
        let over = timeout(Duration::from_secs(4), client.message()).await;
        assert_eq!(over, Ok(None), "before its session may end");
    };
    tokio::select! {
        never = pulse::tell(&desk, &*held) => match never {},
        () = lives => {},
    }
}
