//! Claims about events: in which order, to whom, how often.

use mainstay_zk_proto::header::XID_SET_WATCHES;
use mainstay_zk_proto::watch::SetWatches;

use super::*;

#[tokio::test]
async fn an_event_comes_before_the_data_it_tells_of_and_once() {
    let (desk, replica) = solo();
    let mut watcher = Client::connect(&desk, &replica);
    let mut writer = Client::connect(&desk, &replica);
    watcher.begin().await;
    writer.begin().await;
    watcher.ask(1, &exists("/a", true)).await;
    watcher.ask(2, &exists("/a", true)).await;
    assert_eq!(watcher.next_of(2).await, ["1 NoNode", "2 NoNode"]);
    writer.ask(1, &create("/a", 0)).await;
    writer.ask(2, &set("/a", b"new")).await;
    assert_eq!(writer.next_of(2).await, ["1", "2"]);
    watcher.ask(3, &get("/a", true)).await;
    assert_eq!(watcher.next_of(2).await, ["Created /a", "3"]);
    // A watcher that writes hears of it before it hears that it is done.
    watcher.ask(4, &set("/a", b"own")).await;
    assert_eq!(watcher.next_of(2).await, ["DataChanged /a", "4"]);
}

#[tokio::test]
async fn watches_that_are_set_again_tell_first_what_was_missed() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    client.ask(1, &create("/a", 0)).await;
    client.next().await;
    let again = SetWatches {
        relative_zxid: 0,
        data: vec!["/a", "/gone"],
        exist: vec!["/later"],
        children: vec!["/"],
    };
    client
        .ask(XID_SET_WATCHES, &Request::SetWatches(again))
        .await;
    assert_eq!(
        client.next_of(4).await,
        ["DataChanged /a", "Deleted /gone", "ChildrenChanged /", "-8"]
    );
}

#[tokio::test]
async fn an_event_is_for_those_who_may_read_and_used_up_by_all() {
    let (desk, replica) = solo();
    let mut maker = Client::connect(&desk, &replica);
    let mut spy = Client::connect(&desk, &replica);
    maker.begin().await;
    spy.begin().await;
    spy.ask(1, &exists("/mine", true)).await;
    maker.ask(1, &exists("/mine", true)).await;
    assert_eq!(spy.next().await, "1 NoNode");
    let auth = Auth {
        kind: 0,
        scheme: "digest",
        proof: b"alice:secret",
    };
    maker.ask(XID_AUTH, &Request::Auth(auth)).await;
    let mine = Acl {
        perms: 31,
        id: Id {
            scheme: "auth",
            id: "",
        },
    };
    let node = Request::Create(Create {
        path: "/mine",
        data: None,
        acl: vec![mine],
        flags: 0,
    });
    maker.ask(2, &node).await;
    assert_eq!(
        maker.next_of(4).await,
        ["1 NoNode", "-4", "Created /mine", "2"]
    );
    spy.ask(2, &exists("/mine", false)).await;
    assert_eq!(spy.next().await, "2");
    assert_eq!(desk.watches().counts().watches, 0);
}

#[tokio::test]
async fn watches_go_with_their_connection() {
    let (desk, replica) = solo();
    let mut client = Client::connect(&desk, &replica);
    client.begin().await;
    client.ask(1, &exists("/a", true)).await;
    assert_eq!(client.next().await, "1 NoNode");
    assert_eq!(desk.watches().counts().watches, 1);
    drop(client);
    let gone = async {
        while desk.connections_len() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("it leaves");
    assert_eq!(desk.watches().counts().watches, 0);
}
