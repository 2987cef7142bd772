//! Claims about the hub: one order of events, nothing lost without a word, nothing kept for ever.

use mainstay_core::health::Verdict;

use super::*;
use crate::history::HISTORY_MAX;
use crate::subscription::Delivery;

fn event(cut_off: u64) -> Event {
    Event::NodeStopped { cut_off }
}

fn heartbeat() -> Event {
    Event::Heartbeat {
        node_id: "n1".into(),
        status: Verdict::Healthy,
        timestamp: 0,
    }
}

fn numbers(records: &[Arc<Record>]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

async fn next(subscription: &mut Subscription) -> u64 {
    match subscription.next().await {
        Some(Delivery::Record(record)) => record.seq,
        other => panic!("a record, not {other:?}"),
    }
}

#[test]
fn events_are_numbered_and_stamped_in_the_order_they_came() {
    let observer = Observer::new("n1");
    for n in 0..3 {
        observer.observe(event(n));
    }
    let records = observer.recent(0, 10);
    assert_eq!(numbers(&records), [1, 2, 3]);
    for pair in records.windows(2) {
        assert!(pair[0].clock.happened_before(&pair[1].clock));
        assert!(pair[0].time <= pair[1].time);
    }
    assert_eq!(numbers(&observer.recent(1, 10)), [2, 3]);
    assert_eq!(numbers(&observer.recent(0, 2)), [2, 3]);
    assert_eq!(numbers(&observer.recent(9, 2)), [0; 0]);
}

#[test]
fn an_event_comes_after_what_its_node_had_heard_of() {
    let (n1, n2) = (Observer::new("n1"), Observer::new("n2"));
    n1.observe(event(0));
    n2.observe(event(0));
    n2.merge(&n1.replication_state().clock);
    n2.observe(event(1));
    let first = &n1.recent(0, 1)[0];
    let [before, after] = &n2.recent(0, 2)[..] else {
        panic!("two records");
    };
    assert!(first.clock.happened_before(&after.clock));
    assert!(!first.clock.happened_before(&before.clock));
    let state = serde_json::to_value(n2.replication_state()).expect("plain data");
    assert_eq!(
        state,
        serde_json::json!({"node": "n2", "clock": {"n1": 1, "n2": 2}})
    );
}

#[test]
fn the_history_is_bounded_and_heartbeats_do_not_push_it_out() {
    let observer = Observer::new("n1");
    observer.observe(event(0));
    for _ in 0..2 * HISTORY_MAX {
        observer.observe(heartbeat());
    }
    assert_eq!(numbers(&observer.recent(0, usize::MAX)), [1]);
    for n in 0..2 * HISTORY_MAX as u64 {
        observer.observe(event(n));
    }
    assert_eq!(observer.recent(0, usize::MAX).len(), HISTORY_MAX);
}

#[tokio::test]
async fn a_subscriber_resumes_where_it_stopped_without_gap_or_repetition() {
    let observer = Observer::new("n1");
    for n in 0..3 {
        observer.observe(event(n));
    }
    let mut subscription = observer.subscribe(Some(1));
    observer.observe(heartbeat());
    for seq in [2, 3, 4] {
        assert_eq!(next(&mut subscription).await, seq);
    }
    let mut fresh = observer.subscribe(None);
    observer.observe(event(3));
    assert_eq!(next(&mut fresh).await, 5);
}

#[tokio::test]
async fn a_number_from_before_a_restart_brings_the_whole_history() {
    let observer = Observer::new("n1");
    observer.observe(event(0));
    let mut subscription = observer.subscribe(Some(5_000));
    assert_eq!(next(&mut subscription).await, 1);
}

#[tokio::test]
async fn who_asks_for_forgotten_records_is_told() {
    let observer = Observer::new("n1");
    for n in 0..HISTORY_MAX as u64 + 10 {
        observer.observe(event(n));
    }
    let mut subscription = observer.subscribe(Some(3));
    let lost = subscription.next().await;
    assert!(matches!(lost, Some(Delivery::Lagged(7))), "{lost:?}");
    assert_eq!(next(&mut subscription).await, 11);
}

#[tokio::test]
async fn a_slow_subscriber_loses_records_is_told_and_goes_on() {
    let observer = Observer::new("n1");
    let mut subscription = observer.subscribe(None);
    let sent = 10_000;
    for n in 0..sent {
        observer.observe(event(n));
    }
    let Some(Delivery::Lagged(lost)) = subscription.next().await else {
        panic!("the subscriber lagged");
    };
    assert!(lost > 0);
    for seq in lost + 1..=sent {
        assert_eq!(next(&mut subscription).await, seq);
    }
    drop(observer);
    assert!(subscription.next().await.is_none());
}

#[test]
fn events_of_many_threads_get_one_order() {
    let observer = Observer::new("n1");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|n| observer.observe(event(n))));
        }
    });
    let records = observer.recent(0, usize::MAX);
    let expected: Vec<u64> = (1..=2_000).collect();
    assert_eq!(numbers(&records), expected);
    let ordered = |pair: &[Arc<Record>]| pair[0].clock.happened_before(&pair[1].clock);
    assert!(records.windows(2).all(ordered));
}
