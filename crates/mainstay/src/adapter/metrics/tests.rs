//! Claims about what a recorder of `metrics` gets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_core::outcome::Reason;
use metrics::{
    Counter, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder,
};
use tokio::time::advance;

use super::*;
use crate::clock::Clock;
use crate::name::Name as Named;

/// A recorder that keeps each series under its written form.
#[derive(Default)]
struct Recording(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recording {
    fn series(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let written = format!("{}{{{}}}", key.name(), labels.join(","));
        let mut series = self.0.lock().expect("no test panics with it");
        Arc::clone(series.entry(written).or_default())
    }

    /// The series whose value is not zero, and their values.
    fn shown(&self, name: &str) -> Vec<String> {
        let series = self.0.lock().expect("no test panics with it");
        series
            .iter()
            .filter(|(written, value)| {
                written.starts_with(name) && value.load(Ordering::Relaxed) != 0
            })
            .map(|(written, _)| written.clone())
            .collect()
    }

    fn count(&self, written: &str) -> u64 {
        let series = self.0.lock().expect("no test panics with it");
        series
            .get(written)
            .map_or(0, |value| value.load(Ordering::Relaxed))
    }

    fn states(&self) -> Vec<String> {
        self.shown(STATE.0)
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn series(service: &str, state: &str) -> String {
    let name = STATE.0;
    format!("{name}{{service={service},endpoint=,state={state}}}")
}

fn breaker(
    service: impl Into<Named>,
    metrics: &Arc<Metrics>,
    clock: Clock,
) -> Breaker<Arc<Metrics>> {
    Breaker::builder(service)
        .observer(Arc::<Metrics>::clone(metrics))
        .clock(clock)
        .seed(3)
        .build()
        .expect("the defaults are valid")
}

// Pitfall 21: tower-resilience leaves the gauge of the state before at 1.
#[tokio::test(start_paused = true)]
async fn exactly_one_state_of_a_circuit_is_shown_through_all_transitions() {
    let recording = Recording::default();
    let clock = Clock::new();
    let (metrics, breaker) = with_local_recorder(&recording, || {
        let metrics = Arc::new(Metrics::new());
        let breaker = breaker("payment", &metrics, clock);
        metrics.watch(&breaker);
        (metrics, breaker)
    });
    assert_eq!(recording.states(), [series("payment", "closed")]);
    with_local_recorder(&recording, || {
        for _ in 0..5 {
            let permit = breaker.try_acquire().expect("the circuit is closed");
            permit.failure(Reason::Error);
        }
    });
    assert_eq!(recording.states(), [series("payment", "open")]);
    advance(Duration::from_mins(1)).await;
    with_local_recorder(&recording, || {
        let probe = breaker.try_acquire().expect("the cooldown is over");
        assert_eq!(recording.states(), [series("payment", "half_open")]);
        probe.success();
        for _ in 0..2 {
            let probe = breaker.try_acquire().expect("probes may pass");
            probe.success();
        }
    });
    assert_eq!(recording.states(), [series("payment", "closed")]);
    assert_eq!(
        recording.count("mainstay_events_total{event=circuit_open}"),
        1
    );
    assert_eq!(
        recording.count("mainstay_events_total{event=circuit_closed}"),
        1
    );
    drop(metrics);
}

// Pitfall 21: Resilience4j #1020 and #2243 show breakers that are gone.
#[tokio::test(start_paused = true)]
async fn a_forgotten_circuit_is_in_no_state_and_the_others_stay() {
    let recording = Recording::default();
    let clock = Clock::new();
    with_local_recorder(&recording, || {
        let metrics = Arc::new(Metrics::new());
        let payment = breaker("payment", &metrics, clock);
        let stock = breaker("stock", &metrics, clock);
        metrics.watch(&payment);
        metrics.watch(&stock);
        metrics.forget(&payment);
        assert_eq!(recording.states(), [series("stock", "closed")]);
        drop((payment, stock, metrics));
        assert!(recording.states().is_empty());
    });
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn circuits_without_end_have_a_bounded_number_of_series() {
    let recording = Recording::default();
    let clock = Clock::new();
    with_local_recorder(&recording, || {
        let metrics = Arc::new(Metrics::new());
        for n in 0..CIRCUITS_MAX + 7 {
            metrics.watch(&breaker(n.to_string(), &metrics, clock));
        }
        assert_eq!(recording.states().len(), CIRCUITS_MAX);
        assert_eq!(recording.count("mainstay_circuits_untracked_total{}"), 7);
    });
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn transitions_at_once_never_leave_two_states() {
    let recording = Recording::default();
    let metrics = with_local_recorder(&recording, || {
        let metrics = Metrics::new();
        metrics.show(&Arc::from("payment"), &Arc::from(""), Shown::Closed);
        metrics
    });
    let (service, endpoint) = (Arc::from("payment"), Arc::from(""));
    let show = |shown| metrics.show(&service, &endpoint, shown);
    for _ in 0..100 {
        std::thread::scope(|threads| {
            threads.spawn(|| show(Shown::Open));
            threads.spawn(|| show(Shown::HalfOpen));
            threads.spawn(|| show(Shown::Closed));
        });
        assert_eq!(recording.states().len(), 1);
    }
}
