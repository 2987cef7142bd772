//! Claims about the asynchronous half of the bulkhead, in virtual time.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use mainstay_core::random::Random;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{advance, sleep};
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::heard::Heard;
use crate::innermost::InnermostLayer;

const WAIT: Duration = Duration::from_millis(200);

fn bulkhead<O: Observe>(in_flight: u32, queue: u32, observer: O) -> Bulkhead<O> {
    Bulkhead::builder("payment")
        .config(Config {
            in_flight: NonZeroU32::new(in_flight).expect("tests use positive limits"),
            queue: NonZeroU32::new(queue),
            queue_wait: WAIT,
        })
        .observer(observer)
        .build()
        .expect("valid")
}

fn silent(in_flight: u32, queue: u32) -> Bulkhead {
    bulkhead(in_flight, queue, ())
}

fn counts(bulkhead: &Bulkhead<impl Observe>) -> (u32, u32) {
    (bulkhead.in_flight(), bulkhead.queued())
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn take<O: Observe>(bulkhead: &Bulkhead<O>) -> BulkheadPermit<O> {
    bulkhead
        .acquire(Deadline::NEVER)
        .await
        .expect("there is a place")
}

#[tokio::test(start_paused = true)]
async fn exactly_the_limit_is_in_flight_and_exactly_the_limit_waits() {
    let bulkhead = silent(2, 1);
    let held = (take(&bulkhead).await, take(&bulkhead).await);
    let mut waiting = pin!(bulkhead.acquire(Deadline::NEVER));
    assert!(poll_once(waiting.as_mut()).is_pending());
    assert_eq!(counts(&bulkhead), (2, 1));

    let rejection = bulkhead.acquire(Deadline::NEVER).await.expect_err("full");
    assert_eq!(rejection.cause, Cause::QueueFull);

    drop(held.0);
    let granted = waiting.await.expect("its turn");
    assert_eq!(counts(&bulkhead), (2, 0));
    drop((granted, held.1));
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_go_first_come_first_served() {
    let bulkhead = silent(1, 8);
    let held = take(&bulkhead).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let (bulkhead, order) = (bulkhead.clone(), Arc::clone(&order));
        tasks.spawn(async move {
            let _place = take(&bulkhead).await;
            order.lock().expect("no panics").push(number);
        });
        yield_now().await;
    }
    assert_eq!(bulkhead.queued(), 8);
    drop(held);
    assert!(bulkhead.try_acquire().is_none(), "nobody jumps the queue");
    tasks.join_all().await;
    assert_eq!(*order.lock().expect("no panics"), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_as_long_as_it_may_and_leaves_the_queue_then() {
    let bulkhead = silent(1, 1);
    let clock = Clock::new();
    let _held = take(&bulkhead).await;
    let rejection = bulkhead.acquire(Deadline::NEVER).await.expect_err("full");
    assert_eq!(rejection.cause, Cause::QueueWait);
    assert_eq!(
        clock.now().since(mainstay_core::time::Instant::ORIGIN),
        WAIT
    );
    assert_eq!(counts(&bulkhead), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_end_of_the_wait_ends_it() {
    let clock = Clock::new();
    let bulkhead = Bulkhead::builder("payment")
        .config(Config {
            in_flight: NonZeroU32::MIN,
            ..Config::default()
        })
        .clock(clock)
        .build()
        .expect("valid");
    let _held = take(&bulkhead).await;
    let deadline = Deadline::after(clock.now(), WAIT / 4);
    assert!(bulkhead.acquire(deadline).await.is_err());
    assert_eq!(clock.now(), deadline.instant());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_that_is_dropped_leaves_the_queue() {
    let bulkhead = silent(1, 1);
    let held = take(&bulkhead).await;
    {
        let mut waiting = pin!(bulkhead.acquire(Deadline::NEVER));
        assert!(poll_once(waiting.as_mut()).is_pending());
        assert_eq!(counts(&bulkhead), (1, 1));
    }
    assert_eq!(counts(&bulkhead), (1, 0));
    drop(held);
    assert!(bulkhead.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_that_is_dropped_in_the_moment_it_is_granted_hands_its_place_on() {
    let bulkhead = silent(1, 2);
    let held = take(&bulkhead).await;
    let mut second = pin!(bulkhead.acquire(Deadline::NEVER));
    {
        let mut first = pin!(bulkhead.acquire(Deadline::NEVER));
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        // Grants the place to the first, which never gets to see it.
        drop(held);
    }
    let place = second.await.expect("handed on");
    assert_eq!(counts(&bulkhead), (1, 0));
    drop(place);
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_comes_free_in_the_tick_of_the_timer_is_not_lost() {
    let bulkhead = silent(1, 1);
    let held = take(&bulkhead).await;
    let mut waiting = pin!(bulkhead.acquire(Deadline::NEVER));
    assert!(poll_once(waiting.as_mut()).is_pending());
    advance(WAIT).await;
    drop(held);
    assert!(waiting.await.is_ok(), "the place wins over the timer");
    assert_eq!(counts(&bulkhead), (0, 0));
    assert!(bulkhead.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_first_poll_takes_nothing() {
    let bulkhead = silent(1, 1);
    drop(bulkhead.acquire(Deadline::NEVER));
    drop(bulkhead.call(Deadline::NEVER, pending::<Result<(), ()>>()));
    assert_eq!(counts(&bulkhead), (0, 0));
    assert!(bulkhead.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn a_call_that_panics_gives_its_place_back() {
    let bulkhead = silent(1, 1);
    let mut tasks = JoinSet::new();
    let shared = bulkhead.clone();
    tasks.spawn(async move {
        let bug = async { panic!("a bug of the caller") };
        shared.call::<(), ()>(Deadline::NEVER, bug).await
    });
    assert!(
        tasks
            .join_next()
            .await
            .is_some_and(|joined| joined.is_err())
    );
    assert!(bulkhead.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_permit_outlives_its_caller_where_the_work_does() {
    let bulkhead = silent(1, 1);
    let permit = take(&bulkhead).await;
    let mut work = JoinSet::new();
    work.spawn(async move {
        sleep(WAIT * 10).await;
        drop(permit);
    });
    assert!(bulkhead.acquire(Deadline::NEVER).await.is_err());
    work.join_all().await;
    assert!(bulkhead.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_overload_is_told_with_one_pair_of_events() {
    let heard = Heard::new();
    let bulkhead = bulkhead(1, 0, heard.clone());
    let held = take(&bulkhead).await;
    for _ in 0..50 {
        assert!(bulkhead.acquire(Deadline::NEVER).await.is_err());
        advance(Duration::from_millis(10)).await;
    }
    drop(held);
    drop(take(&bulkhead).await);
    assert_eq!(heard.names(), ["bulkhead_full"]);
    advance(Duration::from_secs(1)).await;
    drop(take(&bulkhead).await);
    let events = heard.take();
    assert!(
        matches!(events[..], [Event::BulkheadRecovered { rejected: 50, .. }]),
        "{events:?}"
    );
}

/// Works for a while in a place of `bulkhead`; whether there was one.
async fn visit(bulkhead: Bulkhead, work: Duration) -> bool {
    let place = bulkhead.acquire(Deadline::NEVER).await;
    assert!(bulkhead.in_flight() <= 4 && bulkhead.queued() <= 8);
    if place.is_ok() {
        sleep(work).await;
    }
    place.is_ok()
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn after_a_thousand_calls_of_which_many_are_cancelled_every_place_is_free() {
    let seed = 11;
    println!("seed {seed}");
    let mut random = Random::seeded(seed);
    let bulkhead = silent(4, 8);
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        let (work, patience) = (random.below(40), random.below(60));
        let call = visit(bulkhead.clone(), Duration::from_millis(work));
        tasks.spawn(tokio::time::timeout(Duration::from_millis(patience), call));
        sleep(Duration::from_millis(random.below(6))).await;
    }
    let ends = tasks.join_all().await;
    assert!(ends.iter().any(Result::is_err), "some were cancelled");
    assert!(ends.contains(&Ok(false)), "some rejected");
    assert_eq!(counts(&bulkhead), (0, 0));
    let places: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire()).collect();
    assert_eq!(places.len(), 4);
}

// Pitfall 32: a limit that is changed while calls are in flight loses or invents places
// (resilience4j and failsafe build a new semaphore).
#[tokio::test(start_paused = true)]
async fn a_lower_limit_holds_as_soon_as_enough_calls_have_left() {
    let bulkhead = silent(3, 4);
    let held = [
        take(&bulkhead).await,
        take(&bulkhead).await,
        take(&bulkhead).await,
    ];
    bulkhead.resize(NonZeroU32::MIN, NonZeroU32::new(4));
    let mut waiting = pin!(bulkhead.acquire(Deadline::NEVER));
    assert!(poll_once(waiting.as_mut()).is_pending());
    let [first, second, third] = held;
    drop((first, second));
    assert!(poll_once(waiting.as_mut()).is_pending(), "one is in flight");
    assert_eq!(counts(&bulkhead), (1, 1));
    drop(third);
    let granted = waiting.await.expect("its turn");
    assert!(bulkhead.try_acquire().is_none());
    drop(granted);
    assert_eq!(counts(&bulkhead), (0, 0));
}

// Pitfall 32.
#[tokio::test(start_paused = true)]
async fn a_higher_limit_lets_those_who_wait_in_at_once_in_their_order() {
    let bulkhead = silent(1, 8);
    let _held = take(&bulkhead).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let (bulkhead, order) = (bulkhead.clone(), Arc::clone(&order));
        tasks.spawn(async move {
            let place = take(&bulkhead).await;
            order.lock().expect("no panics").push(number);
            sleep(WAIT / 2).await;
            drop(place);
        });
        yield_now().await;
    }
    bulkhead.resize(NonZeroU32::MIN.saturating_add(2), None);
    assert_eq!(counts(&bulkhead), (3, 2));
    yield_now().await;
    assert_eq!(*order.lock().expect("no panics"), [0, 1]);
    let rejection = bulkhead.acquire(Deadline::NEVER).await.expect_err("full");
    assert_eq!(rejection.cause, Cause::QueueFull, "nobody new may wait");
    tasks.join_all().await;
    assert_eq!(*order.lock().expect("no panics"), [0, 1, 2, 3]);
    assert_eq!(counts(&bulkhead), (1, 0));
}

// Pitfall 33: resilience4j #263 and #1569 give one place back twice. Here that does not compile; see
// the example of `Held`.
#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_once() {
    let bulkhead = silent(2, 0);
    let (first, second) = (take(&bulkhead).await, take(&bulkhead).await);
    drop(first);
    assert_eq!(bulkhead.in_flight(), 1);
    drop(second);
    assert_eq!(bulkhead.in_flight(), 0);
}

// Pitfall 34: xberg #1641 frees the place when the caller goes away, while the blocking work runs on.
#[tokio::test]
async fn a_place_is_taken_as_long_as_blocking_work_runs_whether_or_not_its_caller_waits() {
    let bulkhead = silent(1, 0);
    let (finish, work) = std::sync::mpsc::channel::<()>();
    let permit = take(&bulkhead).await;
    let running = tokio::task::spawn_blocking(move || {
        let _place = permit;
        work.recv()
    });
    {
        // The caller waits for a while, and goes away.
        let mut caller = pin!(running);
        assert!(poll_once(caller.as_mut()).is_pending());
    }
    assert!(bulkhead.try_acquire().is_none(), "the work runs");
    finish.send(()).expect("the work runs");
    while bulkhead.in_flight() > 0 {
        yield_now().await;
    }
    assert!(bulkhead.try_acquire().is_some());
}

#[test]
fn blocking_callers_wait_in_the_same_queue() {
    let bulkhead = Bulkhead::builder("payment")
        .config(Config {
            in_flight: NonZeroU32::MIN,
            queue: NonZeroU32::new(2),
            queue_wait: Duration::from_mins(1),
        })
        .build()
        .expect("valid");
    let held = bulkhead.try_acquire().expect("free");
    std::thread::scope(|scope| {
        let call = || bulkhead.call_blocking(Deadline::NEVER, || Ok::<_, ()>("paid"));
        let waits = scope.spawn(call);
        let acquires = scope.spawn(|| bulkhead.acquire_blocking(Deadline::NEVER).is_ok());
        while bulkhead.queued() < 2 {
            std::thread::yield_now();
        }
        drop(held);
        assert_eq!(waits.join().expect("no panics"), Ok("paid"));
        assert!(acquires.join().expect("no panics"));
    });
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn a_blocking_caller_whose_time_is_up_leaves_the_queue() {
    let bulkhead = silent(1, 1);
    let _held = bulkhead.try_acquire().expect("free");
    let deadline = Deadline::at(mainstay_core::time::Instant::ORIGIN);
    let rejection = bulkhead.acquire_blocking(deadline).expect_err("no time");
    assert_eq!(rejection.cause, Cause::QueueWait);
    assert_eq!(counts(&bulkhead), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_borrowed_is_a_place() {
    let bulkhead = silent(1, 1);
    let place = bulkhead.enter(Deadline::NEVER).await.expect("free");
    assert!(bulkhead.try_enter().is_none());
    let mut waiting = pin!(bulkhead.enter(Deadline::NEVER));
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(place);
    assert!(waiting.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_service_in_a_layer_starts_nothing_without_a_place() {
    let bulkhead = silent(1, 1);
    let started = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&started);
    let service = ServiceBuilder::new()
        .layer(bulkhead.layer())
        .layer(InnermostLayer)
        .service_fn(move |name: &'static str| {
            log.lock().expect("no panics").push(name);
            async move {
                sleep(WAIT / 2).await;
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
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_a_layer_that_is_dropped_leaves_the_queue_or_gives_its_place_back() {
    let bulkhead = silent(1, 1);
    let service = ServiceBuilder::new()
        .layer(bulkhead.layer())
        .layer(InnermostLayer)
        .service_fn(|()| pending::<Result<(), &str>>());
    {
        let mut running = pin!(service.clone().oneshot(()));
        let mut waiting = pin!(service.clone().oneshot(()));
        assert!(poll_once(running.as_mut()).is_pending());
        assert!(poll_once(waiting.as_mut()).is_pending());
        assert_eq!(counts(&bulkhead), (1, 1));
    }
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn limits_that_cannot_work_are_refused_when_it_is_built() {
    let count = |limit| NonZeroU32::new(limit).expect("positive");
    let built = |in_flight, queue, queue_wait| {
        let config = Config {
            in_flight: count(in_flight),
            queue: NonZeroU32::new(queue),
            queue_wait,
        };
        Bulkhead::builder("payment")
            .config(config)
            .build()
            .map(drop)
    };
    let wait = Duration::from_nanos(1);
    assert_eq!(
        built(bulkhead::IN_FLIGHT_MAX, bulkhead::QUEUE_MAX, wait),
        Ok(())
    );
    let above = bulkhead::IN_FLIGHT_MAX + 1;
    let refused = built(above, 0, wait);
    assert_eq!(refused, Err(LimitsError::InFlight(count(above)).into()));
    let above = bulkhead::QUEUE_MAX + 1;
    assert_eq!(
        built(1, above, wait),
        Err(LimitsError::Queue(count(above)).into())
    );
    assert_eq!(built(1, 1, Duration::ZERO), Err(NoQueueWait.into()));
    assert_eq!(built(1, 0, Duration::ZERO), Ok(()), "nobody waits");
    assert_eq!(built(1, 1, Duration::MAX), Ok(()), "as long as it takes");
}
