//! Claims about the handle that ejects.

use mainstay_core::outcome::Reason;
use tokio::time::advance;
use tower::{Service as _, ServiceBuilder, ServiceExt as _};

use super::*;
use crate::heard::Heard;
use crate::innermost::InnermostLayer;

const RTT: Duration = Duration::from_millis(3);
const FAILED: Outcome = Outcome::Failure(Reason::Reset);

fn outliers(heard: &Arc<Heard>, config: Config) -> Outliers<Arc<Heard>> {
    Outliers::builder("payment", ["payment-1", "payment-2"])
        .config(config)
        .observer(Arc::clone(heard))
        .seed(1)
        .build()
        .expect("valid")
}

fn call(outliers: &Outliers<impl Observe>, calls: u32) {
    for _ in 0..calls {
        outliers.record(0, Outcome::Success, RTT);
        outliers.record(1, FAILED, RTT);
    }
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn two_endpoints_with_one_dead_converge_to_the_one_that_works() {
    let heard = Heard::new();
    let outliers = outliers(&heard, Config::default());
    // Callers take turns and skip the one that is left out: so many calls fail in ten minutes.
    let mut failed = 0;
    for _ in 0..6_000 {
        advance(Duration::from_millis(100)).await;
        outliers.record(0, Outcome::Success, RTT);
        if !outliers.is_ejected(1) {
            outliers.record(1, FAILED, RTT);
            failed += 1;
        }
    }
    assert!(!outliers.is_ejected(0));
    // Five failures, and five each time it comes back: after 30 s, 60 s, 2 min, 4 min at most.
    assert!((20..=40).contains(&failed), "{failed}");
    let names = heard.names();
    assert_eq!(names[..2], ["endpoint_ejected", "endpoint_returned"]);
}

#[tokio::test(start_paused = true)]
async fn an_ejection_says_who_why_and_for_how_long() {
    let heard = Heard::new();
    let outliers = outliers(&heard, Config::default());
    call(&outliers, 5);
    let events = heard.take();
    let [
        Event::EndpointEjected {
            service,
            endpoint,
            reason,
            ejected_ms,
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((&**service, &**endpoint), ("payment", "payment-2"));
    assert_eq!(*reason, Reason::Reset);
    assert!((15_000..=30_000).contains(ejected_ms), "{ejected_ms}");
    assert_eq!(outliers.ejected(), 1);
    assert!(outliers.share(1) <= 0.0 && outliers.share(0) >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_noticed_by_the_call_that_ends_the_interval() {
    let heard = Heard::new();
    let by_rate = Config {
        consecutive: None,
        ..Config::default()
    };
    let outliers = outliers(&heard, by_rate);
    call(&outliers, 100);
    assert_eq!(outliers.ejected(), 0);
    advance(Duration::from_secs(1)).await;
    outliers.record(0, Outcome::Success, RTT);
    assert!(outliers.is_ejected(1));
}

#[tokio::test(start_paused = true)]
async fn a_return_is_told_by_whoever_evaluates_and_needs_nobody() {
    let heard = Heard::new();
    let outliers = outliers(&heard, Config::default());
    call(&outliers, 5);
    heard.take();
    advance(Duration::from_secs(31)).await;
    assert!(!outliers.is_ejected(1));
    assert_eq!(heard.names(), Vec::<&str>::new());
    outliers.evaluate();
    assert_eq!(heard.names(), ["endpoint_returned"]);
    assert!(outliers.share(1) < 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_endpoint_takes_calls_at_once() {
    let heard = Heard::new();
    let outliers = outliers(&heard, Config::default());
    call(&outliers, 5);
    outliers.forget(1);
    assert_eq!(heard.names(), ["endpoint_ejected", "endpoint_returned"]);
    assert!(!outliers.is_ejected(1) && outliers.share(1) >= 1.0);
}

/// An observer that calls back.
struct Asks(Mutex<Option<Outliers<Arc<Self>>>>);

impl Observe for Asks {
    fn observe(&self, _: Event) {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outliers = asked.as_ref().expect("it was told whom to ask");
        outliers.record(0, Outcome::Success, RTT);
        outliers.evaluate();
        outliers.forget(0);
    }
}

// Pitfall 18: gobreaker, sentinel-rust and tower-resilience call back under their lock.
#[tokio::test(start_paused = true)]
async fn an_observer_may_ask_and_record() {
    let observer = Arc::new(Asks(Mutex::new(None)));
    let outliers = Outliers::builder("payment", ["a", "b"])
        .observer(Arc::clone(&observer))
        .build()
        .expect("valid");
    *observer.0.lock().expect("no panic") = Some(outliers.clone());
    call(&outliers, 5);
    assert!(outliers.is_ejected(1));
    *observer.0.lock().expect("no panic") = None;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_on_the_list_is_nothing() {
    let heard = Heard::new();
    let outliers = outliers(&heard, Config::default());
    (0..9).for_each(|_| outliers.record(2, FAILED, RTT));
    outliers.forget(2);
    assert!(!outliers.is_ejected(2) && outliers.share(2) <= 0.0);
    assert_eq!(outliers.ejected(), 0);
}

// Pitfall 8: exactly one thread makes a transition, and it is told once.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn threads_that_record_together_eject_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let heard = Heard::new();
    let outliers = runtime.block_on(async { outliers(&heard, Config::default()) });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| call(&outliers, 10_000));
        }
    });
    outliers.evaluate();
    assert!(outliers.is_ejected(1) && !outliers.is_ejected(0));
    assert_eq!(heard.names(), ["endpoint_ejected"]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_reports_the_calls_of_its_endpoint_and_those_of_no_other() {
    let heard = Heard::new();
    let outliers = outliers(&heard, Config::default());
    let service = |endpoint: usize, answer: Result<(), &'static str>| {
        ServiceBuilder::new()
            .layer(outliers.layer(endpoint))
            .layer(InnermostLayer)
            .service_fn(move |()| async move {
                tokio::time::sleep(RTT).await;
                answer
            })
    };
    let (mut good, mut bad) = (service(0, Ok(())), service(1, Err("reset")));
    for _ in 0..5 {
        let ready = good.ready().await.expect("always ready");
        assert!(ready.call(()).await.is_ok());
        let ready = bad.ready().await.expect("always ready");
        assert!(ready.call(()).await.is_err());
    }
    assert!(outliers.is_ejected(1) && !outliers.is_ejected(0));
    assert_eq!(heard.names(), ["endpoint_ejected"]);

    // It lets calls pass: who picks endpoints leaves this one out.
    let ready = bad.ready().await.expect("always ready");
    assert_eq!(ready.call(()).await, Err(crate::Error::Inner("reset")));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_says_nothing_of_its_endpoint() {
    let heard = Heard::new();
    let outliers = outliers(&heard, Config::default());
    let mut service = ServiceBuilder::new()
        .layer(outliers.layer(1))
        .layer(InnermostLayer)
        .service_fn(|()| std::future::pending::<Result<(), &str>>());
    for _ in 0..50 {
        drop(service.ready().await.expect("always ready").call(()));
        outliers.record(0, Outcome::Success, RTT);
    }
    outliers.evaluate();
    assert_eq!(outliers.ejected(), 0);
}
