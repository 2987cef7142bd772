//! Claims about the rate limit's handles, in virtual time.

use std::future::pending;
use std::pin::pin;
use std::task::Context;

use mainstay_core::time::Instant;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{advance, sleep};
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::clock::Clock;
use crate::heard::Heard;
use crate::innermost::InnermostLayer;

const TENTH: Duration = Duration::from_millis(100);

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive counts")
}

/// Ten per second.
fn config(burst: u32, queue: u32) -> Config {
    Config {
        per_period: count(10),
        period: Duration::from_secs(1),
        burst: count(burst),
        queue: NonZeroU32::new(queue),
        queue_wait: Duration::from_secs(10),
    }
}

fn limiter(burst: u32, queue: u32) -> RateLimiter {
    RateLimiter::builder("mail")
        .config(config(burst, queue))
        .build()
        .expect("valid")
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_burst_passes_and_what_comes_too_fast_is_told_when_to_come_back() {
    let limiter = limiter(2, 0);
    assert!(limiter.try_acquire().is_ok());
    assert!(limiter.try_acquire().is_ok());
    let rejection = limiter.try_acquire().expect_err("too fast");
    assert_eq!(rejection.policy, Policy::RateLimit);
    assert_eq!(rejection.cause, Cause::RateReached);
    assert_eq!(rejection.retry_after, Some(TENTH));
    advance(TENTH).await;
    assert!(limiter.try_acquire().is_ok());
    assert!(limiter.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn more_than_the_burst_is_not_told_to_come_back() {
    let limiter = limiter(2, 0);
    let rejection = limiter.try_acquire_n(count(3)).expect_err("never");
    assert_eq!(rejection.retry_after, None);
    assert!(limiter.try_acquire_n(count(2)).is_ok());
    let rejection = limiter.try_acquire_n(count(2)).expect_err("too fast");
    assert_eq!(rejection.retry_after, Some(TENTH * 2));
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_go_first_come_first_served_at_the_rate() {
    let limiter = limiter(1, 8);
    let clock = Clock::new();
    assert!(limiter.try_acquire().is_ok());
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for number in 0..5 {
        let (limiter, order) = (limiter.clone(), Arc::clone(&order));
        tasks.spawn(async move {
            limiter.acquire(Deadline::NEVER).await.expect("its turn");
            let millis = clock.now().as_nanos() / 1_000_000;
            order.lock().expect("no panics").push((number, millis));
        });
        yield_now().await;
    }
    assert_eq!(limiter.queued(), 5);
    let rejection = limiter.try_acquire().expect_err("nobody jumps the queue");
    assert_eq!(rejection.retry_after, Some(TENTH * 6));
    tasks.join_all().await;
    let expected = [(0, 100), (1, 200), (2, 300), (3, 400), (4, 500)];
    assert_eq!(*order.lock().expect("no panics"), expected);
    assert_eq!(limiter.queued(), 0);
}

// Pitfall 35: a waiter that goes away burns its token in limiters that take it when it lines up.
#[tokio::test(start_paused = true)]
async fn a_waiting_call_that_goes_away_uses_nothing_up() {
    let limiter = limiter(1, 8);
    let clock = Clock::new();
    assert!(limiter.try_acquire().is_ok());
    {
        let mut first = pin!(limiter.acquire(Deadline::NEVER));
        let mut second = pin!(limiter.acquire(Deadline::NEVER));
        assert!(poll_once(first.as_mut()).is_pending());
        assert!(poll_once(second.as_mut()).is_pending());
        assert_eq!(limiter.queued(), 2);
    }
    assert_eq!(limiter.queued(), 0);
    limiter.acquire(Deadline::NEVER).await.expect("its turn");
    assert_eq!(clock.now(), Instant::ORIGIN + TENTH, "the first turn");
}

#[tokio::test(start_paused = true)]
async fn when_the_first_goes_away_the_second_sets_its_timer() {
    let limiter = limiter(1, 8);
    let clock = Clock::new();
    assert!(limiter.try_acquire().is_ok());
    let first = tokio::time::timeout(TENTH / 2, limiter.acquire(Deadline::NEVER));
    let second = async {
        yield_now().await;
        limiter.acquire(Deadline::NEVER).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err(), "went away");
    assert!(second.is_ok());
    assert_eq!(clock.now(), Instant::ORIGIN + TENTH);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_would_come_too_late_is_refused_at_once() {
    let limiter = limiter(1, 8);
    let clock = Clock::new();
    assert!(limiter.try_acquire().is_ok());
    let deadline = Deadline::after(clock.now(), TENTH / 2);
    let rejection = limiter.acquire(deadline).await.expect_err("too late");
    assert_eq!(rejection.cause, Cause::RateReached);
    assert_eq!(rejection.retry_after, Some(TENTH));
    assert_eq!(clock.now(), Instant::ORIGIN, "nobody waited");
}

#[tokio::test(start_paused = true)]
async fn exactly_the_limit_waits() {
    let limiter = limiter(1, 1);
    assert!(limiter.try_acquire().is_ok());
    let mut waiting = pin!(limiter.acquire(Deadline::NEVER));
    assert!(poll_once(waiting.as_mut()).is_pending());
    let rejection = limiter.acquire(Deadline::NEVER).await.expect_err("full");
    assert_eq!(rejection.cause, Cause::QueueFull);
    assert!(waiting.await.is_ok());
}

#[test]
fn a_blocking_caller_waits_its_turn() {
    let limiter = RateLimiter::builder("mail")
        .config(Config {
            per_period: count(1_000),
            burst: count(1),
            ..config(1, 8)
        })
        .build()
        .expect("valid");
    for _ in 0..3 {
        assert!(limiter.acquire_blocking(Deadline::NEVER).is_ok());
    }
    let answer = limiter.call_blocking(Deadline::NEVER, || Ok::<_, ()>("sent"));
    assert_eq!(answer, Ok("sent"));
    assert_eq!(limiter.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_first_poll_takes_nothing() {
    let limiter = limiter(1, 1);
    drop(limiter.acquire(Deadline::NEVER));
    drop(limiter.call(Deadline::NEVER, pending::<Result<(), ()>>()));
    assert!(limiter.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_overload_is_told_with_one_pair_of_events() {
    let heard = Heard::new();
    let limiter = RateLimiter::builder("mail")
        .config(config(1, 0))
        .observer(heard.clone())
        .build()
        .expect("valid");
    for _ in 0..100 {
        let _any = limiter.try_acquire().is_ok();
        advance(Duration::from_millis(5)).await;
    }
    assert_eq!(heard.names(), ["rate_limit_reached"]);
    advance(Duration::from_secs(1)).await;
    assert!(limiter.try_acquire().is_ok());
    let events = heard.take();
    assert!(
        matches!(events[..], [Event::RateLimitRecovered { rejected: 95, .. }]),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_behind_a_layer_starts_its_calls_at_the_rate() {
    let clock = Clock::new();
    let limiter = limiter(1, 1);
    let service = ServiceBuilder::new()
        .layer(limiter.layer())
        .layer(InnermostLayer)
        .service_fn(move |name: &'static str| async move {
            Ok::<_, &str>((name, clock.now().as_nanos() / 1_000_000))
        });
    let calls = ["first", "second", "third"].map(|name| service.clone().oneshot(name));
    let [first, second, third] = calls;
    let (first, second, third) = tokio::join!(first, second, third);
    assert_eq!(first, Ok(("first", 0)));
    assert_eq!(second, Ok(("second", 100)));
    assert!(
        matches!(&third, Err(Error::Rejected(rejection)) if rejection.cause == Cause::QueueFull),
        "{third:?}"
    );
}

fn keyed(keys: usize, burst: u32) -> KeyedRateLimiter<u64> {
    RateLimiter::builder("api")
        .config(config(burst, 0))
        .build_keyed(NonZeroUsize::new(keys).expect("positive"))
        .expect("valid")
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_rate_of_its_own() {
    let limiter = keyed(100, 2);
    for key in 0..10 {
        assert!(limiter.try_acquire(&key).is_ok());
        assert!(limiter.try_acquire(&key).is_ok());
        assert!(limiter.try_acquire(&key).is_err());
    }
    advance(TENTH).await;
    assert!(limiter.try_acquire(&3).is_ok());
    assert!(limiter.try_acquire(&3).is_err());
    let answer = limiter.call(&4, async { Ok::<_, ()>("served") }).await;
    assert_eq!(answer, Ok("served"));
}

/// Ten million in a build that is made to be fast.
const FLOOD: u64 = if cfg!(debug_assertions) {
    1_000_000
} else {
    10_000_000
};

// Pitfall 37: keyed limiters whose map grows with the keys (governor #171, actix-governor PR #60).
#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn a_flood_of_keys_takes_no_more_room_and_no_key_that_is_limited_is_forgotten() {
    let limiter = keyed(1_000, 1);
    for key in 0..100 {
        assert!(limiter.try_acquire(&key).is_ok());
    }
    let mut passed = 0;
    for key in 1_000..1_000 + FLOOD {
        passed += u64::from(limiter.try_acquire(&key).is_ok());
    }
    assert!(limiter.keys() <= 1_000, "{} keys", limiter.keys());
    assert!(passed <= 1_001, "the flood is limited: {passed} passed");
    for key in 0..100 {
        assert!(limiter.try_acquire(&key).is_err(), "{key} is still limited");
    }
    // What nobody is limited by is forgotten, and others have room.
    sleep(Duration::from_secs(1)).await;
    let fresh = (0..500).filter(|key| limiter.try_acquire(key).is_ok());
    assert_eq!(fresh.count(), 500);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_forgotten_was_as_good_as_new() {
    let limiter = keyed(1, 2);
    assert!(limiter.try_acquire(&1).is_ok());
    advance(Duration::from_secs(1)).await;
    assert!(limiter.try_acquire(&2).is_ok());
    assert_eq!(limiter.keys(), 1);
    assert!(limiter.try_acquire(&2).is_ok());
    assert!(limiter.try_acquire(&2).is_err());
    // There is no room for it now: it shares the bucket of all such keys.
    assert!(limiter.try_acquire(&3).is_ok());
    assert!(limiter.try_acquire(&4).is_ok());
    assert!(limiter.try_acquire(&5).is_err());
}

#[test]
fn a_queue_without_time_to_wait_in_it_is_refused() {
    let built = |queue, queue_wait| {
        let config = Config {
            queue_wait,
            ..config(1, queue)
        };
        RateLimiter::builder("mail")
            .config(config)
            .build()
            .map(drop)
    };
    assert_eq!(built(1, Duration::ZERO), Err(NoQueueWait.into()));
    assert_eq!(built(0, Duration::ZERO), Ok(()), "nobody waits");
    assert_eq!(built(1, Duration::from_nanos(1)), Ok(()));
}
