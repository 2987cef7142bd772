//! Claims about the detector over the clock.

use std::time::Duration;

use tokio::time::{advance, sleep};

use super::*;
use crate::heard::Heard;

const SECOND: Duration = Duration::from_secs(1);

fn detector(heard: &Arc<Heard>) -> Detector<Arc<Heard>> {
    Detector::builder("replicas")
        .observer(Arc::clone(heard))
        .build()
        .expect("valid")
}

async fn beat(detector: &Detector<impl Observe>, seconds: u32) {
    for _ in 0..seconds {
        detector.heartbeat("r1");
        detector.heartbeat("r2");
        sleep(SECOND).await;
        detector.check();
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_of_a_verdict_is_told_once() {
    let heard = Heard::new();
    let detector = detector(&heard);
    beat(&detector, 30).await;
    assert_eq!(heard.names(), ["endpoint_healthy", "endpoint_healthy"]);

    for _ in 0..20 {
        detector.heartbeat("r2");
        sleep(SECOND).await;
        detector.check();
    }
    let events = heard.take();
    assert!(
        matches!(
            &events[..],
            [Event::EndpointUnhealthy { service, endpoint, reason: Reason::Timeout, .. }]
            if &**service == "replicas" && &**endpoint == "r1"
        ),
        "{events:?}"
    );
    assert_eq!(detector.verdict("r2"), Some(Verdict::Healthy));
    assert!(detector.suspicion("r1").is_some_and(Suspicion::is_reached));

    beat(&detector, 3).await;
    assert_eq!(heard.names(), ["endpoint_healthy"]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_paused_for_ten_seconds_accuses_nobody() {
    let heard = Heard::new();
    let detector = detector(&heard);
    beat(&detector, 30).await;
    heard.take();

    // Time passes, and nothing of this process runs.
    advance(10 * SECOND).await;
    detector.check();
    assert!(detector.local_score() > 0);
    beat(&detector, 30).await;
    assert_eq!(heard.names(), Vec::<&str>::new());
    assert_eq!(detector.local_score(), 0);
}

#[tokio::test(start_paused = true)]
async fn run_finds_a_peer_that_never_beats() {
    let heard = Heard::new();
    let detector = detector(&heard);
    detector.watch("r1").expect("room");
    let ended = tokio::time::timeout(20 * SECOND, detector.run()).await;
    assert!(ended.is_err());
    assert_eq!(heard.names(), ["endpoint_unhealthy"]);
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn peers_are_bounded_and_can_be_forgotten() {
    let detector = Detector::builder("replicas").build().expect("valid");
    for n in 0..PEERS_MAX {
        detector.watch(n.to_string()).expect("room");
    }
    assert!(!detector.heartbeat("one more"));
    assert_eq!(detector.watch("one more"), Err(TooManyPeers));
    assert!(detector.heartbeat("7"));
    detector.forget("7");
    assert_eq!(detector.verdict("7"), None);
    assert!(detector.heartbeat("one more"));
    assert_eq!(detector.verdicts().len(), PEERS_MAX);
}

// Pitfall 18: gobreaker, sentinel-rust and tower-resilience call back under their lock.
#[tokio::test(start_paused = true)]
async fn an_observer_may_ask_the_detector() {
    struct Asks(Mutex<Option<Detector<Arc<Self>>>>);
    impl Observe for Asks {
        fn observe(&self, _: Event) {
            let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(
                asked
                    .as_ref()
                    .is_some_and(|detector| detector.heartbeat("r1"))
            );
        }
    }
    let observer = Arc::new(Asks(Mutex::new(None)));
    let detector = Detector::builder("replicas")
        .observer(Arc::clone(&observer))
        .build()
        .expect("valid");
    *observer.0.lock().expect("no panic") = Some(detector.clone());
    beat(&detector, 3).await;
    assert_eq!(detector.verdict("r1"), Some(Verdict::Healthy));
    *observer.0.lock().expect("no panic") = None;
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let config = Config {
        method: Method::Phi(PhiConfig {
            threshold: f64::NAN,
            ..PhiConfig::default()
        }),
        ..Config::default()
    };
    let refused = Detector::builder("replicas").config(config).build();
    assert!(matches!(refused, Err(ConfigError::Threshold(_))));
}
