//! Claims about recipes on the keeper, through a client that nobody here wrote.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_keeper::server::{Server, ServerConfig};
use mainstay_recipe::election::{Election, lead};
use mainstay_recipe::lock::acquire;
use mainstay_recipe::membership::{Group, join};
use mainstay_recipe::setting::Setting;
use mainstay_recipe::{Client, Fence, RecipeError};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Runs `claim` against a keeper of one member.
async fn with_keeper<F: Future<Output = ()>>(claim: impl FnOnce(SocketAddr) -> F) {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("zoo.cfg");
    let data = folder.path().display();
    let text = format!(
        "dataDir={data}\nclientPort=0\nclientPortAddress=127.0.0.1\nminSessionTimeout=100\n\
         admin.serverPort=0\n"
    );
    std::fs::write(&file, text).expect("a file");
    let config = ServerConfig::read(&file, &[]).expect("it is right");
    let server = Server::start(config).await.expect("it starts");
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = server.run((), async move { drop(stopped.await) });
    let claiming = async {
        claim(address).await;
        drop(stop);
    };
    let (ended, ()) = tokio::join!(running, claiming);
    ended.expect("a clean stop");
}

async fn client(address: SocketAddr) -> Client {
    let connector = Client::connector().with_session_timeout(Duration::from_secs(20));
    let client = connector.connect(&address.to_string()).await;
    client.expect("it answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_has_one_holder_and_the_next_one_has_a_higher_token() {
    with_keeper(async |address| {
        let (one, two) = (client(address).await, client(address).await);
        let first = acquire(&one, "/locks/a").await.expect("nobody has it");
        let waiting = acquire(&two, "/locks/a");
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("two holders"),
            () = settled(&one, "/locks/a", 2) => {},
        }
        let token = first.token();
        first.release().await.expect("it is held");
        let second = waiting.await.expect("it is free");
        assert!(second.token() > token);

        let mut fence = Fence::default();
        fence.admit(second.token()).expect("nobody was here");
        fence.admit(token).expect_err("the first one was replaced");
    })
    .await;
}

/// Waits until so many stand in line.
async fn settled(client: &Client, dir: &str, count: usize) {
    let mut group = Group::follow(client, dir).await.expect("it answers");
    while group.next().await.expect("it answers").len() < count {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_ends_a_lock_and_says_so() {
    with_keeper(async |address| {
        let (one, two) = (client(address).await, client(address).await);
        let first = acquire(&one, "/lock").await.expect("nobody has it");
        let path = first.path().to_owned();
        // What an operator does who takes a lock away.
        two.delete(&path, None).await.expect("it is there");
        first.lost().await;
        acquire(&two, "/lock").await.expect("it is free");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_finds_the_leader_and_its_successor() {
    with_keeper(async |address| {
        let (one, two, user) = (
            client(address).await,
            client(address).await,
            client(address).await,
        );
        let election = Election::follow(&user, "/election").await.expect("answers");
        let held = lead(&one, "/election", b"one").await.expect("alone");
        let first = election.next(None).await.expect("it answers");
        assert_eq!((&*first.identity, first.token), (&b"one"[..], held.token()));
        let successor = lead(&two, "/election", b"two");
        let leaving = async {
            drop(one);
            drop(held);
        };
        let (second, ()) = tokio::join!(successor, leaving);
        let second = second.expect("it is free");
        let leader = election.next(Some(first.token)).await.expect("answers");
        assert_eq!(
            (&*leader.identity, leader.token),
            (&b"two"[..], second.token())
        );
        assert!(leader.token > first.token);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_who_is_there_and_a_name_has_one_owner() {
    with_keeper(async |address| {
        let (one, two) = (client(address).await, client(address).await);
        let mut group = Group::follow(&two, "/group").await.expect("answers");
        assert_eq!(group.next().await.expect("answers").len(), 0);
        let first = join(&one, "/group", "a", b"10.0.0.1").await.expect("free");
        let members = group.next().await.expect("answers");
        assert_eq!(members["a"], b"10.0.0.1");
        let taken = join(&two, "/group", "a", b"").await.expect_err("taken");
        assert!(matches!(taken, RecipeError::Taken { .. }), "{taken}");
        first.leave().await.expect("it is there");
        assert_eq!(group.next().await.expect("answers").len(), 0);
        join(&two, "/group", "a", b"").await.expect("free again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_is_followed_and_two_writers_do_not_overwrite_each_other() {
    with_keeper(async |address| {
        let (one, two) = (client(address).await, client(address).await);
        let mut follower = Setting::follow(&one, "/app/limit").await.expect("answers");
        let mut writer = Setting::follow(&two, "/app/limit").await.expect("answers");
        assert_eq!(follower.next().await.expect("answers").data, b"");
        let value = writer.next().await.expect("answers");
        let version = writer.change(value.version, b"7").await.expect("answers");
        let version = version.expect("nobody else writes");
        assert_eq!(follower.next().await.expect("answers").data, b"7");
        let late = follower.change(value.version, b"8").await.expect("answers");
        assert_eq!(late, None, "it overwrote what it had not seen");
        assert_eq!(
            follower.change(version, b"9").await.expect("answers"),
            Some(version + 1)
        );
    })
    .await;
}
