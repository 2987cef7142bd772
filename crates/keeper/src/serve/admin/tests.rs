//! Claims about what operators see.

use std::sync::Arc;

use hyper::Request;
use serde_json::json;

use super::super::{Desk, Settings};
use super::*;
use crate::replica::Solo;

async fn get(path: &str) -> (u16, String) {
    let desk = Desk::new(Settings {
        conf: "clientPort=2181\ndataDir=/d\n".to_owned(),
        ..Settings::default()
    });
    let replica: Arc<Solo<_>> = Solo::new(desk.sink(), || 1);
    let members = "server.1=a:1:2:participant;a:3\nserver.2=b:1:2:observer\n";
    let state = replica.state();
    state.write().expect("whole").belong_to(members);
    desk.begin(replica.origin(), 1);
    let request = Request::get(path).body(()).expect("a request");
    let response = answer(&desk, &*replica, &request);
    let status = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await;
    let body = body.expect("it is there").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn every_command_of_the_list_is_answered_under_its_name_without_an_error() {
    let (_, page) = get("/commands").await;
    let names = page.split('"').skip(1).step_by(2);
    let mut count = 0;
    for link in names {
        count += 1;
        let question = if link.ends_with("set_trace_mask") {
            "?traceMask=1"
        } else {
            ""
        };
        let (status, body) = get(&format!("{link}{question}")).await;
        let said: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(status, 200);
        assert!(
            link.ends_with(said["command"].as_str().expect("a name")),
            "{link}: {said}"
        );
        assert!(said["error"].is_null(), "{link}: {said}");
    }
    assert!(count > 20, "{count} commands");
}

#[tokio::test]
async fn fields_are_named_as_zookeepers_admin_server_names_them() {
    for (path, field) in [
        ("/commands/conf", "client_port"),
        ("/commands/mntr", "znode_count"),
        ("/commands/srvr", "server_stats"),
        ("/commands/stat", "secure_connections"),
        ("/commands/wchs", "num_total_watches"),
        ("/commands/isro", "read_only"),
        ("/commands/dirs", "datadir_size"),
        ("/commands/gtmk", "tracemask"),
        ("/commands/voting_view", "current_config"),
    ] {
        let (_, body) = get(path).await;
        let said: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert!(!said[field].is_null(), "{path} has no {field}: {said}");
    }
    let (_, body) = get("/commands/nope").await;
    assert!(body.contains("Unknown command: nope"), "{body}");
}

#[tokio::test]
async fn who_votes_and_who_watches_is_what_the_members_agreed_on() {
    let of = async |path: &str| -> serde_json::Value {
        serde_json::from_str(&get(path).await.1).expect("JSON")
    };
    let voting = of("/commands/voting_view").await;
    let one = json!({
        "server_addresses": ["a:1"],
        "election_addresses": ["a:2"],
        "client_address": "a:3",
        "learner_type": "participant",
    });
    assert_eq!(voting["current_config"], json!({ "1": one }));
    let observers = of("/commands/observers").await;
    assert_eq!(observers["observers"][0]["sid"], 2);
    assert_eq!(observers["observers"][0]["learner_type"], "observer");
    let none = of("/commands/lsnp").await;
    assert_eq!(none["zxid"], "ffffffffffffffff", "as ZooKeeper says it");
    assert_eq!(none["timestamp"], -1);
    let own = of("/commands/zabstate").await;
    let here = (&own["myid"], &own["client_address"], &own["zabstate"]);
    assert_eq!(
        here,
        (&json!(1), &json!("a:3"), &json!("broadcast")),
        "{own}"
    );
    assert_eq!(of("/commands/leader").await["leader_ip"], "a");
}

#[tokio::test]
async fn metrics_and_probes_are_there() {
    let (status, text) = get("/metrics").await;
    assert_eq!(status, 200);
    for (name, _) in METRICS {
        let has = |line: &str| line.starts_with(&format!("{name} "));
        assert!(text.lines().any(has), "{name} is missing");
    }
    assert!(text.contains("\nmainstay_keeper_znodes 4\n"), "{text}");
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/", 404)] {
        assert_eq!(get(path).await.0, status, "{path}");
    }
}
