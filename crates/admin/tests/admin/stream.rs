//! Claims about the event stream: resumed without gaps, bounded, and cheap for the node.

use std::sync::atomic::Ordering;

use mainstay_core::event::{Event, Observe};
use mainstay_core::health::Verdict;

use crate::node::Node;

fn stopped(cut_off: u64) -> Event {
    Event::NodeStopped { cut_off }
}

/// The numbers of the records in a stream's text.
fn numbers(text: &str) -> Vec<u64> {
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(|id| id.parse().expect("a number")).collect()
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_and_then_what_is_new() {
    let node = Node::start().await;
    for n in 0..4 {
        node.observer.observe(stopped(n));
    }
    let path = "/api/v1/stream";
    let mut resumed = node.open(path, &[("last-event-id", "2")]).await;
    let content_type = resumed.headers.get("content-type").expect("a type");
    assert_eq!(content_type, "text/event-stream");
    resumed.until("id: 4\n").await;
    node.observer.observe(stopped(4));
    resumed.until("id: 5\n").await;
    assert_eq!(numbers(&resumed.text), [3, 4, 5]);
    assert!(
        resumed
            .text
            .contains("event: record\ndata: {\"event\":\"node_stopped\",\"cut_off\":")
    );

    let mut by_query = node.open("/api/v1/stream?after=3", &[]).await;
    by_query.until("id: 5\n").await;
    assert_eq!(numbers(&by_query.text), [4, 5]);
    let mut both = node
        .open("/api/v1/stream?after=0", &[("last-event-id", "4")])
        .await;
    both.until("id: 5\n").await;
    assert_eq!(numbers(&both.text), [5], "the browser knows better");
    node.stop().await;
}

#[tokio::test]
async fn heartbeats_are_on_the_stream() {
    let node = Node::start().await;
    let mut stream = node.open("/api/v1/stream", &[]).await;
    stream.until("event: status\n").await;
    node.observer.observe(Event::Heartbeat {
        node_id: "n1".into(),
        status: Verdict::Healthy,
        timestamp: 1_634_567_890,
    });
    let format =
        r#"{"event":"heartbeat","node_id":"n1","status":"healthy","timestamp":1634567890,"#;
    stream.until(format).await;
    node.stop().await;
}

#[tokio::test]
async fn many_watchers_cost_the_services_one_question_a_second() {
    let node = Node::start().await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(node.open("/api/v1/stream", &[]).await);
    }
    for stream in &mut streams {
        stream.until("\"schema\":\"mainstay.status/v1\"").await;
    }
    let before = node.source.asked.load(Ordering::Relaxed);
    let mut last = streams.pop().expect("twenty");
    while last.text.matches("event: status\n").count() < 4 {
        last.more().await;
    }
    let asked = node.source.asked.load(Ordering::Relaxed) - before;
    assert!(
        (2..=5).contains(&asked),
        "{asked} questions for 3 snapshots"
    );
    node.stop().await;
}

#[tokio::test]
async fn there_are_places_for_so_many_watchers_and_a_place_that_is_left_is_free_again() {
    let node = Node::start().await;
    let path = "/api/v1/stream";
    let mut streams = Vec::new();
    let refused = loop {
        let stream = node.open(path, &[]).await;
        if stream.status != 200 {
            break stream;
        }
        streams.push(stream);
    };
    assert_eq!(streams.len(), 64);
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers.get("retry-after").expect("when"), "10");
    assert!(refused.rest().await.contains("64 streams are open already"));
    assert_eq!(
        node.get("/livez").await.status,
        200,
        "probes have places of their own"
    );

    streams.pop();
    while node.open(path, &[]).await.status != 200 {
        tokio::task::yield_now().await;
    }
    node.stop().await;
}

#[tokio::test]
async fn a_watcher_that_falls_behind_loses_records_is_told_and_goes_on() {
    let node = Node::start().await;
    let mut slow = node.open("/api/v1/stream", &[]).await;
    // In one go: on this one thread the stream gets no turn in between.
    let sent = 20_000;
    for n in 0..sent {
        node.observer.observe(stopped(n));
    }
    slow.until(&format!("id: {sent}\n")).await;
    let seen = numbers(&slow.text);
    assert!(seen.is_sorted());
    let lost = sent - seen.len() as u64;
    assert!(lost > 0);
    let told = format!("event: lagged\ndata: {{\"lost_max\":{lost}}}\n");
    assert!(slow.text.contains(&told), "{lost} lost");
    node.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_the_node_stops() {
    let node = Node::start().await;
    let mut stream = node.open("/api/v1/stream", &[]).await;
    stream.until("event: status\n").await;
    node.shutdown.cancel();
    stream.rest().await;
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_view_or_number_is_the_clients_mistake() {
    let node = Node::start().await;
    assert_eq!(node.get("/api/v1/stream?view=x").await.status, 400);
    assert_eq!(node.get("/api/v1/stream?after=x").await.status, 400);
    node.stop().await;
}
