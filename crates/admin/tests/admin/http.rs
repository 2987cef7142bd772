//! Claims about probes, API, metrics and the listener.

use std::sync::Arc;

use mainstay_admin::{Admin, Readiness};
use mainstay_core::event::{Event, Observe};
use mainstay_observe::Observer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::node::{MadeUp, Node, PATIENT};

fn stopped(cut_off: u64) -> Event {
    Event::NodeStopped { cut_off }
}

#[tokio::test]
async fn probes_say_whether_the_node_lives_started_and_is_ready() {
    let node = Node::start().await;
    let starting = ["/livez", "/healthz", "/startupz", "/readyz"];
    let mut seen = Vec::new();
    for path in starting {
        seen.push(node.get(path).await.status.as_u16());
    }
    assert_eq!(seen, [200, 200, 503, 503]);

    node.readiness.set_started();
    assert_eq!(node.get("/startupz").await.status, 200);
    let early = node.get("/readyz").await;
    assert_eq!(early.status, 503);
    assert_eq!(early.text, "the node does not take requests yet\n");

    node.readiness.set_ready(true);
    let ready = node.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text.as_str()), (200, "ok\n"));

    node.readiness.set_ready(false);
    let draining = node.get("/readyz?verbose").await;
    assert_eq!(draining.status, 503);
    assert_eq!(
        draining.text,
        "[+]ping ok\n[+]started ok\n[-]ready failed: the node takes no new requests\n\
         readyz check failed\n"
    );
    assert_eq!(node.get("/livez").await.status, 200);
    node.stop().await;
}

#[tokio::test]
async fn the_status_document_names_its_schema_and_holds_the_replication_state() {
    let node = Node::start().await;
    node.observer.observe(stopped(0));
    let answer = node.get("/api/v1/status").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let status = answer.json();
    assert_eq!(status["schema"], "mainstay.status/v1");
    assert_eq!(status["node"], "n1");
    assert!(status["clock"].is_object());
    assert_eq!(status["ready"], false);
    assert_eq!(status["services"][0]["name"], "payment");
    assert_eq!(status["services"][0]["endpoints"][1]["health"], "healthy");
    assert_eq!(
        node.get("/api/v1").await.json()["schema"],
        "mainstay.api/v1"
    );
    node.stop().await;
}

#[tokio::test]
async fn events_can_be_read_page_by_page_and_by_name() {
    let node = Node::start().await;
    for n in 0..5 {
        node.observer.observe(stopped(n));
    }
    node.observer.observe(Event::LogDropped { lines: 7 });
    let numbers = async |query: &str| -> Vec<u64> {
        let answer = node.get(&format!("/api/v1/events{query}")).await.json();
        assert_eq!(answer["schema"], "mainstay.events/v1");
        let events = answer["events"].as_array().expect("events").clone();
        let seq = |event: &serde_json::Value| event["seq"].as_u64().expect("a number");
        events.iter().map(seq).collect()
    };
    assert_eq!(numbers("").await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers("?limit=2").await, [5, 6], "the latest");
    assert_eq!(numbers("?after=1&limit=2").await, [2, 3], "the next");
    assert_eq!(numbers("?event=log_dropped").await, [6]);
    assert_eq!(
        numbers("?event=log_dropped,node_stopped&after=4").await,
        [5, 6]
    );
    assert_eq!(numbers("?after=6").await, [0; 0]);
    assert_eq!(numbers("?limit=99999999999").await.len(), 6);

    let unknown = node.get("/api/v1/events?event=log_drop").await;
    assert_eq!(unknown.status, 400);
    assert_eq!(
        unknown.json(),
        json!({"error": "no event is called \"log_drop\""})
    );
    assert_eq!(node.get("/api/v1/events?after=x").await.status, 400);
    node.stop().await;
}

#[tokio::test]
async fn metrics_come_in_the_dialect_that_the_scraper_asks_for() {
    let node = Node::start().await;
    let plain = node.get("/metrics").await;
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(plain.header("content-type"), content_type);
    assert!(
        plain
            .text
            .contains("# TYPE mainstay_events_total counter\n")
    );
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
    let open = node.get_with("/metrics", &[("accept", accept)]).await;
    assert!(
        open.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(open.text.ends_with("# EOF\n"));
    node.stop().await;
}

#[tokio::test]
async fn every_answer_forbids_what_the_page_does_not_need() {
    let node = Node::start().await;
    for path in [
        "/",
        "/api/v1/status",
        "/assets/app.js",
        "/metrics",
        "/nothing",
    ] {
        let answer = node.get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'self';"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(node.get("/nothing").await.status, 404);
    assert_eq!(node.get("/assets/../Cargo.toml").await.status, 404);
    node.stop().await;
}

#[tokio::test]
async fn an_asset_is_sent_once_and_then_only_when_it_changed() {
    let node = Node::start().await;
    for name in ["app.css", "app.js", "theme.js", "icon.svg"] {
        let path = format!("/assets/{name}");
        let first = node.get(&path).await;
        assert_eq!(first.status, 200, "{name}");
        let etag = first.header("etag");
        let again = node.get_with(&path, &[("if-none-match", etag)]).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
        let other = node.get_with(&path, &[("if-none-match", "\"0\"")]).await;
        assert_eq!(other.text, first.text);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let node = Node::start().await;
    let source = Arc::new(MadeUp::default());
    let second = Admin::bind(node.address, Observer::new("n2"), source, Readiness::new());
    let error = second.await.expect_err("the port is taken").to_string();
    let expected = format!(
        "admin address {} is in use by another program; stop that program, or set `admin` under \
         `[node]` to a free address",
        node.address
    );
    assert_eq!(error, expected);
    node.stop().await;
}

#[tokio::test]
async fn what_is_not_http_and_endless_heads_are_turned_away() {
    let node = Node::start().await;
    let mut endless = b"GET / HTTP/1.1\r\nx: ".to_vec();
    endless.resize(256 * 1024, b'x');
    for junk in [b"\x16\x03\x01 not HTTP\r\n\r\n".to_vec(), endless] {
        let mut stream = TcpStream::connect(node.address).await.expect("it listens");
        // The node may hang up before all is sent.
        stream.write_all(&junk).await.unwrap_or_default();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let ended = tokio::time::timeout(PATIENT, read).await;
        drop(ended.expect("the connection ends"));
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert_eq!(node.get("/livez").await.status, 200);
    node.stop().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_keep_the_node_from_stopping() {
    let node = Node::start().await;
    let _silent = TcpStream::connect(node.address).await.expect("it listens");
    let mut slow = TcpStream::connect(node.address).await.expect("it listens");
    slow.write_all(b"GET / HT").await.expect("half a request");
    assert_eq!(node.get("/livez").await.status, 200);
    let address = node.address;
    node.stop().await;
    let refused = TcpStream::connect(address).await;
    assert!(refused.is_err(), "nothing listens any more");
}
