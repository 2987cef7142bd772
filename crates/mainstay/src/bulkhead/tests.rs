//! Claims about the asynchronous half of the bulkhead, in virtual time.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use mainstay_core::random::Random;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{advance, sleep};

use super::*;
use crate::heard::Heard;

const WAIT: Duration = Duration::from_millis(200);

fn bulkhead(in_flight: u32, queue: u32, observer: Arc<dyn Observe>) -> Bulkhead {
    Bulkhead::builder("payment")
        .config(Config {
            in_flight: NonZeroU32::new(in_flight).expect("tests use positive limits"),
            queue: NonZeroU32::new(queue),
            queue_wait: WAIT,
        })
        .observer(observer)
        .build()
}

fn silent(in_flight: u32, queue: u32) -> Bulkhead {
    bulkhead(in_flight, queue, Arc::new(()))
}

fn counts(bulkhead: &Bulkhead) -> (u32, u32) {
    (bulkhead.in_flight(), bulkhead.queued())
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn take(bulkhead: &Bulkhead) -> BulkheadPermit {
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
        .build();
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
