//! Claims about the concurrency limit's handles, in virtual time.

use std::future::pending;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mainstay_core::outcome::Reason;
use mainstay_core::random::Random;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{advance, sleep};
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::heard::Heard;
use crate::innermost::InnermostLayer;

const TARGET: Duration = Duration::from_millis(5);
const INTERVAL: Duration = Duration::from_millis(100);

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive counts")
}

fn config(limit: u32, queue: u32) -> Config {
    Config {
        limit: AdaptiveConfig {
            initial: count(limit),
            ..AdaptiveConfig::default()
        },
        queue: NonZeroU32::new(queue),
        ..Config::default()
    }
}

fn limit(limit: u32, queue: u32) -> ConcurrencyLimit {
    let built = ConcurrencyLimit::builder("search").config(config(limit, queue));
    built.build().expect("valid")
}

fn counts(limit: &ConcurrencyLimit) -> (u32, u32) {
    (limit.in_flight(), limit.queued())
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Works for a while in a place of `limit`; whether there was one.
async fn visit(limit: ConcurrencyLimit, priority: Priority, work_ms: u64) -> bool {
    let call = async {
        sleep(Duration::from_millis(work_ms)).await;
        Ok::<_, ()>(())
    };
    limit.call(Deadline::NEVER, priority, call).await.is_ok()
}

/// Who got a place, in order.
type Order = Arc<Mutex<Vec<&'static str>>>;

/// A call that waits, and says when it was let in.
fn spawn(
    tasks: &mut JoinSet<Option<Cause>>,
    limit: &ConcurrencyLimit,
    priority: Priority,
    name: &'static str,
    order: &Order,
) {
    let (limit, order) = (limit.clone(), Arc::clone(order));
    tasks.spawn(async move {
        match limit.acquire(Deadline::NEVER, priority).await {
            Ok(_permit) => {
                order.lock().expect("no panics").push(name);
                sleep(Duration::from_millis(1)).await;
                None
            },
            Err(rejection) => Some(rejection.cause),
        }
    });
}

#[tokio::test(start_paused = true)]
async fn exactly_the_limit_is_in_flight_and_a_burst_waits_first_come_first_served() {
    let limit = limit(1, 8);
    let held = limit.try_acquire().expect("free");
    let (order, mut tasks) = (Order::default(), JoinSet::new());
    for name in ["first", "second", "third"] {
        spawn(&mut tasks, &limit, Priority::Normal, name, &order);
        yield_now().await;
    }
    assert_eq!(counts(&limit), (1, 3));
    assert!(limit.try_acquire().is_err(), "nobody jumps the queue");
    drop(held);
    tasks.join_all().await;
    assert_eq!(
        *order.lock().expect("no panics"),
        ["first", "second", "third"]
    );
    assert_eq!(counts(&limit), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_interval_in_a_burst_and_for_the_target_in_a_queue_that_stands() {
    let limit = limit(1, 8);
    let clock = Clock::new();
    let _held = limit.try_acquire().expect("free");
    let rejection = limit.acquire(Deadline::NEVER, Priority::Normal).await;
    assert_eq!(rejection.expect_err("held").cause, Cause::QueueWait);
    assert_eq!(clock.now(), Instant::ORIGIN + INTERVAL);

    // Somebody always waits from now on.
    let (order, mut tasks) = (Order::default(), JoinSet::new());
    for _ in 0..4 {
        spawn(&mut tasks, &limit, Priority::Normal, "standing", &order);
        sleep(INTERVAL * 2 / 5).await;
    }
    let before = clock.now();
    let rejection = limit.acquire(Deadline::NEVER, Priority::Normal).await;
    assert_eq!(rejection.expect_err("held").cause, Cause::QueueWait);
    assert_eq!(clock.now().since(before), TARGET);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_stands_is_served_newest_first() {
    let limit = limit(1, 8);
    let held = limit.try_acquire().expect("free");
    let (order, mut tasks) = (Order::default(), JoinSet::new());
    for name in ["first", "second", "third"] {
        spawn(&mut tasks, &limit, Priority::Normal, name, &order);
        sleep(INTERVAL * 9 / 20).await;
    }
    // The first has just been waiting for 90 ms and gives up; the queue was never empty.
    sleep(INTERVAL / 4).await;
    for name in ["fourth", "fifth"] {
        spawn(&mut tasks, &limit, Priority::Normal, name, &order);
        yield_now().await;
    }
    drop(held);
    tasks.join_all().await;
    let order = order.lock().expect("no panics");
    assert_eq!(order[..2], ["fifth", "fourth"], "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn more_important_calls_are_served_first() {
    let limit = limit(1, 16);
    let held = limit.try_acquire().expect("free");
    let (order, mut tasks) = (Order::default(), JoinSet::new());
    for (priority, name) in [
        (Priority::Low, "low"),
        (Priority::Normal, "normal"),
        (Priority::Critical, "critical"),
        (Priority::High, "high"),
    ] {
        spawn(&mut tasks, &limit, priority, name, &order);
        yield_now().await;
    }
    drop(held);
    tasks.join_all().await;
    let expected = ["critical", "high", "normal", "low"];
    assert_eq!(*order.lock().expect("no panics"), expected);
}

#[tokio::test(start_paused = true)]
async fn less_important_calls_are_shed_first_as_the_queue_fills() {
    let limit = limit(1, 4);
    let _held = limit.try_acquire().expect("free");
    let (order, mut tasks) = (Order::default(), JoinSet::new());
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        spawn(&mut tasks, &limit, priority, "waits", &order);
        yield_now().await;
    }
    assert_eq!(limit.queued(), 3);
    for priority in [Priority::Low, Priority::Normal] {
        let shed = limit.acquire(Deadline::NEVER, priority);
        let shed = tokio::time::timeout(Duration::ZERO, shed).await;
        let normal = priority == Priority::Normal;
        let cause = shed.ok().and_then(Result::err).map(|shed| shed.cause);
        // A normal call has taken the place of the low one, and waits.
        assert_eq!(cause, (!normal).then_some(Cause::Shed), "{priority:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_more_important_call_takes_the_place_of_the_least_important_in_a_full_queue() {
    let limit = limit(1, 2);
    let held = limit.try_acquire().expect("free");
    let (order, mut tasks) = (Order::default(), JoinSet::new());
    spawn(&mut tasks, &limit, Priority::Normal, "normal", &order);
    yield_now().await;
    spawn(&mut tasks, &limit, Priority::High, "high", &order);
    yield_now().await;
    assert_eq!(limit.queued(), 2);
    spawn(&mut tasks, &limit, Priority::Critical, "critical", &order);
    yield_now().await;
    assert_eq!(limit.queued(), 2, "one came, one went");
    let displaced = tasks.join_next().await.and_then(Result::ok).flatten();
    assert_eq!(displaced, Some(Cause::Shed));
    let full = limit.acquire(Deadline::NEVER, Priority::High).await;
    assert_eq!(full.expect_err("full").cause, Cause::QueueFull);
    drop(held);
    tasks.join_all().await;
    assert_eq!(*order.lock().expect("no panics"), ["critical", "high"]);
    assert_eq!(counts(&limit), (0, 0));
}

// Pitfall 32: a waiter that is cancelled in the moment when it is granted takes the place with it
// (failsafe-go #393, resilience4j #332).
#[tokio::test(start_paused = true)]
async fn a_waiting_call_that_is_dropped_in_the_moment_it_is_granted_hands_its_place_on() {
    let limit = limit(1, 8);
    let held = limit.try_acquire().expect("free");
    let mut second = pin!(limit.acquire(Deadline::NEVER, Priority::Normal));
    {
        let mut first = pin!(limit.acquire(Deadline::NEVER, Priority::High));
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        drop(held);
    }
    let permit = second.await.expect("handed on");
    assert_eq!(counts(&limit), (1, 0));
    permit.success();
    assert_eq!(counts(&limit), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_rises_lets_in_as_many_as_it_has_room_for() {
    let limit = ConcurrencyLimit::builder("search")
        .config(Config {
            limit: AdaptiveConfig {
                initial: count(2),
                samples_min: NonZeroU32::MIN,
                ..AdaptiveConfig::default()
            },
            ..Config::default()
        })
        .build()
        .expect("valid");
    advance(Duration::from_secs(1)).await;
    let (first, _second) = (limit.try_acquire(), limit.try_acquire());
    let mut waiting: Vec<_> = (0..4)
        .map(|_| Box::pin(limit.acquire(Deadline::NEVER, Priority::Critical)))
        .collect();
    let mut let_in = || {
        let polled = waiting.iter_mut().map(|call| poll_once(call.as_mut()));
        // All at first: a permit that is dropped lets in the next.
        let polled: Vec<_> = polled.collect();
        polled.iter().filter(|polled| polled.is_ready()).count()
    };
    assert_eq!(let_in(), 0);
    first.expect("free").success();
    assert_eq!(limit.limit(), count(4));
    assert_eq!(counts(&limit), (4, 1));
    assert_eq!(let_in(), 3);
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn calls_that_wait_are_served_while_the_limit_moves() {
    let limit = limit(2, 50);
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        tasks.spawn(visit(limit.clone(), Priority::Critical, 10));
        sleep(Duration::from_millis(2)).await;
    }
    let ends = tasks.join_all().await;
    assert!(limit.limit().get() > 5, "{:?}", limit.limit());
    let served = ends.iter().filter(|&&served| served).count();
    assert!(served > 700, "{served}");
    assert_eq!(counts(&limit), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn timeouts_lower_the_limit_and_failures_that_come_at_once_do_not_raise_it() {
    let limit = limit(20, 0);
    for _ in 0..10 {
        for _ in 0..20 {
            let permit = limit.try_acquire().expect("free");
            permit.record(Outcome::Failure(Reason::Connect));
        }
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(limit.limit(), count(20));
    for _ in 0..10 {
        let permits: Vec<_> = (0..10)
            .filter_map(|_| limit.try_acquire_owned().ok())
            .collect();
        advance(Duration::from_secs(1)).await;
        for permit in permits {
            permit.record(Outcome::Failure(Reason::Timeout));
        }
    }
    assert!(limit.limit() < count(10), "{:?}", limit.limit());
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_says_nothing_and_frees_its_place() {
    let limit = limit(1, 0);
    for _ in 0..1_000 {
        let permit = limit.try_acquire().expect("free");
        advance(Duration::from_millis(10)).await;
        drop(permit);
    }
    assert_eq!(limit.limit(), count(1));
    assert_eq!(counts(&limit), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_first_poll_takes_nothing() {
    let limit = limit(1, 1);
    drop(limit.acquire(Deadline::NEVER, Priority::Normal));
    let call = pending::<Result<(), ()>>();
    drop(limit.call(Deadline::NEVER, Priority::Normal, call));
    assert_eq!(counts(&limit), (0, 0));
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn a_call_that_panics_gives_its_place_back() {
    let limit = limit(1, 0);
    let shared = limit.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let bug = async { panic!("a bug of the caller") };
        let call = shared.call::<(), ()>(Deadline::NEVER, Priority::Normal, bug);
        call.await
    });
    assert!(
        tasks
            .join_next()
            .await
            .is_some_and(|joined| joined.is_err())
    );
    assert!(limit.try_acquire().is_ok());
}

#[test]
fn a_blocking_call_is_let_in_when_another_thread_leaves() {
    let limit = ConcurrencyLimit::builder("search")
        .config(Config {
            delay: DelayConfig {
                target: Duration::from_mins(1),
                interval: Duration::from_mins(1),
            },
            ..config(1, 1)
        })
        .build()
        .expect("valid");
    let held = limit.try_acquire_owned().expect("free");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let work = || Ok::<_, ()>("found");
            limit.call_blocking(Deadline::NEVER, Priority::Normal, work, ErrorsFail)
        });
        while limit.queued() == 0 {
            std::thread::yield_now();
        }
        drop(held);
        assert_eq!(waits.join().expect("no panics"), Ok("found"));
    });
    assert_eq!(counts(&limit), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_overload_is_told_with_one_pair_of_events() {
    let heard = Heard::new();
    let limit = ConcurrencyLimit::builder("search")
        .config(config(1, 0))
        .observer(heard.clone())
        .build()
        .expect("valid");
    let held = limit.try_acquire().expect("free");
    for _ in 0..50 {
        assert!(limit.try_acquire().is_err());
        advance(Duration::from_millis(10)).await;
    }
    assert_eq!(heard.names(), ["load_shed_started"]);
    drop(held);
    advance(Duration::from_secs(1)).await;
    drop(limit.try_acquire());
    let events = heard.take();
    assert!(
        matches!(events[..], [Event::LoadShedEnded { rejected: 50, .. }]),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_behind_a_layer_starts_nothing_without_a_place() {
    let limit = limit(1, 1);
    let started = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&started);
    let service = ServiceBuilder::new()
        .layer(limit.layer().priority(Priority::Critical))
        .layer(InnermostLayer)
        .service_fn(move |name: &'static str| {
            log.lock().expect("no panics").push(name);
            async move {
                sleep(Duration::from_millis(10)).await;
                Ok::<_, &str>(name)
            }
        });
    let mut first = pin!(service.clone().oneshot("first"));
    let mut second = pin!(service.clone().oneshot("second"));
    let mut third = pin!(service.clone().oneshot("third"));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(poll_once(third.as_mut()).is_ready(), "rejected");
    assert_eq!(*started.lock().expect("no panics"), ["first"]);
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second), (Ok("first"), Ok("second")));
    assert_eq!(counts(&limit), (0, 0));
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn after_a_thousand_calls_of_which_many_are_cancelled_every_place_is_free() {
    let seed = 32;
    println!("seed {seed}");
    let mut random = Random::seeded(seed);
    let limit = limit(4, 8);
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        let (work, patience) = (random.below(40), random.below(60));
        let priority = if random.below(2) == 0 {
            Priority::Low
        } else {
            Priority::High
        };
        let call = visit(limit.clone(), priority, work);
        tasks.spawn(tokio::time::timeout(Duration::from_millis(patience), call));
        sleep(Duration::from_millis(random.below(6))).await;
    }
    let ends = tasks.join_all().await;
    assert!(ends.iter().any(Result::is_err), "some were cancelled");
    assert!(ends.contains(&Ok(true)), "some were served");
    assert_eq!(counts(&limit), (0, 0));
}

#[test]
fn values_that_cannot_work_are_refused() {
    let builder = || ConcurrencyLimit::builder("search");
    let wrong = config(1_000, 0);
    let error = builder().config(wrong).build().expect_err("above max");
    assert!(matches!(error, ConfigError::Limit(_)), "{error}");
    let delay = DelayConfig {
        target: Duration::ZERO,
        ..DelayConfig::default()
    };
    let wrong = Config {
        delay,
        ..Config::default()
    };
    let error = builder().config(wrong).build().expect_err("no target");
    assert!(matches!(error, ConfigError::Delay(_)), "{error}");
}
