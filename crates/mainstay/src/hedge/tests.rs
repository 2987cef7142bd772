//! Claims about second copies, in virtual time.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll};

use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::time::Deadline;
use tokio::time::sleep;
use tower::{Service, ServiceBuilder, ServiceExt as _};

use super::*;
use crate::innermost::InnermostLayer;
use crate::retry::{Backoff, BudgetConfig, TokensConfig};
use crate::{Retry, Timeout, classify, deadline};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn budget(clock: Clock) -> RetryBudget {
    RetryBudget::builder("catalog")
        .clock(clock)
        .build()
        .expect("valid")
}

/// A budget without room for anything.
fn empty(clock: Clock) -> RetryBudget {
    let config = BudgetConfig {
        ratio: 0.001,
        floor: 0,
        ..BudgetConfig::default()
    };
    RetryBudget::builder("catalog")
        .config(config)
        .clock(clock)
        .build()
        .expect("valid")
}

fn fixed(delay: u64) -> Config {
    Config {
        delay: Delay::Fixed(millis(delay)),
        ..Config::default()
    }
}

fn hedge(config: Config) -> Hedge {
    Hedge::builder(budget(Clock::new()))
        .config(config)
        .build()
        .expect("valid")
}

/// Takes so long, then answers with its number or fails with it.
async fn copy(number: u32, takes: u64, fails: bool) -> Result<u32, u32> {
    sleep(millis(takes)).await;
    if fails { Err(number) } else { Ok(number) }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_slower_than_the_delay_is_sent_twice_and_the_first_answer_wins() {
    let clock = Clock::new();
    let hedge = hedge(fixed(10));
    let call =
        |attempt: Attempt| copy(attempt.number, [100, 5][attempt.number as usize - 1], false);
    assert_eq!(hedge.call(Idempotent(call)).await, Ok(2));
    assert_eq!((hedge.sent(), hedge.won(), hedge.denied()), (1, 1, 0));
    assert!(clock.now() <= Instant::from_millis(16));

    let call = |attempt: Attempt| copy(attempt.number, 15, false);
    assert_eq!(hedge.call(Idempotent(call)).await, Ok(1));
    assert_eq!((hedge.sent(), hedge.won()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_fast_enough_is_sent_once() {
    let hedge = hedge(fixed(10));
    let call = |attempt: Attempt| copy(attempt.number, 5, false);
    assert_eq!(hedge.call(Idempotent(call)).await, Ok(1));
    assert_eq!(hedge.sent(), 0);
}

// Pitfall 39: what must not be done twice is sent once, however slow it is.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_idempotent_is_sent_once() {
    let budget = budget(Clock::new());
    let hedge = Hedge::builder(budget.clone()).config(fixed(10)).build();
    let hedge = hedge.expect("valid");
    assert_eq!(hedge.call_once(copy(1, 10_000, false)).await, Ok(1));
    assert_eq!((hedge.sent(), hedge.denied()), (0, 0));
    let left = budget.level();
    assert!((left - 1.0).abs() < f64::EPSILON, "nor paid for: {left}");
}

/// Notes its end, by whatever.
struct Noted<'a>(u32, &'a RefCell<Vec<u32>>);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

async fn noted_copy(noted: Noted<'_>, takes: u64) -> Result<u32, u32> {
    let result = copy(noted.0, takes, false).await;
    drop(noted);
    result
}

// Pitfall 39: TRS returned the winner while the losers still ran, until its change 369.
#[tokio::test(start_paused = true)]
async fn the_losers_are_dropped_before_the_winner_is_returned() {
    let config = Config {
        copies: NonZeroU32::new(4).expect("positive"),
        ..fixed(10)
    };
    let hedge = hedge(config);
    let dropped = RefCell::new(Vec::new());
    let call = |attempt: Attempt| {
        let takes = [1_000, 1_000, 15, 1_000][attempt.number as usize - 1];
        noted_copy(Noted(attempt.number, &dropped), takes)
    };
    let mut call = std::pin::pin!(hedge.call(Idempotent(call)));
    let at_return = std::future::poll_fn(|cx| {
        call.as_mut()
            .poll(cx)
            .map(|result| (result, dropped.borrow().len()))
    });
    // Copies are sent at 10, 20 and 30 ms; the third answers at 35.
    assert_eq!(at_return.await, (Ok(3), 4));
    assert_eq!((hedge.sent(), hedge.won()), (3, 1));
}

// Pitfall 39: in failsafe-go (issue 141) a budget that was used up failed the call with all copies.
#[tokio::test(start_paused = true)]
async fn without_budget_the_call_goes_on_alone() {
    let hedge = Hedge::builder(empty(Clock::new()))
        .config(fixed(10))
        .build()
        .expect("valid");
    let call = |attempt: Attempt| copy(attempt.number, 100, false);
    assert_eq!(hedge.call(Idempotent(call)).await, Ok(1));
    assert_eq!((hedge.sent(), hedge.denied()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn hedges_and_retries_share_one_budget_and_count_a_request_once() {
    let clock = Clock::new();
    let config = BudgetConfig {
        ratio: 1.0,
        floor: 0,
        ..BudgetConfig::default()
    };
    let budget = RetryBudget::builder("catalog")
        .config(config)
        .clock(clock)
        .build()
        .expect("valid");
    let hedge = Hedge::builder(budget.clone())
        .config(fixed(10))
        .build()
        .expect("valid");
    let retry = Retry::builder(budget)
        .backoff(Backoff::IMMEDIATE)
        .build()
        .expect("valid");
    let calls = Cell::new(0);
    let slow_and_bad = |attempt: Attempt| {
        calls.set(calls.get() + 1);
        copy(attempt.number, 15, true)
    };
    let result = retry
        .call_flat(
            async |_| hedge.call(Idempotent(&slow_and_bad)).await,
            Nested(ErrorsFail),
        )
        .await;
    // One request pays for one hedge, and then there is none for a retry.
    assert_eq!(result, Err(Error::BudgetExhausted(1)));
    assert_eq!((calls.get(), hedge.sent()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_taken_once_for_each_copy_that_fails() {
    let clock = Clock::new();
    let tokens = |max| TokensConfig {
        max: NonZeroU32::new(max).expect("positive"),
        ratio: 0.001,
    };
    for (max, is_left) in [(5, true), (4, false)] {
        let budget = RetryBudget::builder("catalog")
            .tokens(tokens(max))
            .clock(clock)
            .build()
            .expect("valid");
        let hedge = Hedge::builder(budget.clone())
            .config(fixed(10))
            .build()
            .expect("valid");
        let retry = Retry::builder(budget.clone())
            .attempts(NonZeroU32::MIN)
            .build()
            .expect("valid");
        let bad = |attempt: Attempt| copy(attempt.number, 15, true);
        let result = retry
            .call_flat(
                async |_| hedge.call(Idempotent(bad)).await,
                Nested(ErrorsFail),
            )
            .await;
        assert_eq!(result, Err(Error::Inner(1)));
        assert_eq!(budget.withdraw(), is_left, "2 of {max} are gone");
    }
}

// Pitfall 40: a fast error is no answer as long as a copy may give one.
#[tokio::test(start_paused = true)]
async fn the_first_success_wins_over_an_earlier_error() {
    let call = |attempt: Attempt| match attempt.number {
        1 => copy(1, 30, false),
        number => copy(number, 5, true),
    };
    let patient = hedge(fixed(10));
    assert_eq!(patient.call(Idempotent(call)).await, Ok(1));
    assert_eq!((patient.sent(), patient.won()), (1, 0));

    let hasty = hedge(Config {
        accept: Accept::FirstAnswer,
        ..fixed(10)
    });
    assert_eq!(hasty.call(Idempotent(call)).await, Err(Error::Inner(2)));
}

// Pitfall 40: when all fail, the error is that of the call itself.
#[tokio::test(start_paused = true)]
async fn when_all_copies_fail_the_error_is_that_of_the_first() {
    for takes in [[100, 5], [15, 50]] {
        let hedge = hedge(fixed(10));
        let call =
            |attempt: Attempt| copy(attempt.number, takes[attempt.number as usize - 1], true);
        assert_eq!(hedge.call(Idempotent(call)).await, Err(Error::Inner(1)));
        assert_eq!((hedge.sent(), hedge.won()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_delay_is_returned_at_once_and_an_answer_may_be_one() {
    let clock = Clock::new();
    let hedge = hedge(fixed(10));
    let call = |attempt: Attempt| copy(attempt.number, 5, true);
    assert_eq!(hedge.call(Idempotent(call)).await, Err(Error::Inner(1)));
    assert!(clock.now() < Instant::from_millis(10));
    assert_eq!(hedge.sent(), 0);

    let status = classify::by(|status: Result<&u32, &u32>| match status {
        Ok(_) => Outcome::Failure(Reason::Status),
        Err(_) => Outcome::Permanent,
    });
    let call = |attempt: Attempt| match attempt.number {
        1 => copy(503, 15, false),
        _ => copy(404, 20, true),
    };
    let result = hedge.call_with(Idempotent(call), status).await;
    assert_eq!(result, Err(Error::Inner(404)), "permanent, so an answer");
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_asks_for_less_gets_no_further_copies() {
    let config = Config {
        copies: NonZeroU32::new(3).expect("positive"),
        ..fixed(10)
    };
    let hedge = hedge(config);
    let throttled = classify::by(|result: Result<&u32, &u32>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Throttled { retry_after: None },
    });
    let call = |attempt: Attempt| match attempt.number {
        1 => copy(1, 100, false),
        number => copy(number, 5, true),
    };
    assert_eq!(hedge.call_with(Idempotent(call), throttled).await, Ok(1));
    assert_eq!(hedge.sent(), 1);
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn the_delay_follows_the_latency_between_its_ends() {
    let config = Config {
        delay: Delay::Quantile {
            quantile: 0.9,
            min: millis(5),
            max: millis(500),
        },
        ..Config::default()
    };
    let hedge = hedge(config);
    assert_eq!(hedge.delay(), millis(500), "nothing is known yet");
    for call in 0..200 {
        let takes = if call % 10 == 9 { 200 } else { 20 };
        assert_eq!(hedge.call_once(copy(1, takes, false)).await, Ok(1));
    }
    let delay = hedge.delay().as_millis();
    assert!((19..=22).contains(&delay), "{delay} ms");
    assert_eq!(hedge.sent(), 0);
    for _ in 0..3_000 {
        assert_eq!(hedge.call_once(copy(1, 1, false)).await, Ok(1));
    }
    sleep(QUANTILE_REMEMBERED).await;
    assert_eq!(hedge.delay(), millis(5), "not below its floor");
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn a_quantile_does_not_sink_because_its_slow_calls_were_cut_short() {
    let config = Config {
        delay: Delay::Quantile {
            quantile: 0.95,
            min: millis(1),
            max: millis(500),
        },
        span: Duration::from_hours(1),
        ..Config::default()
    };
    let hedge = hedge(config);
    // One in ten is slow, and its copy is as fast as all the others.
    for call in 0..3_000 {
        let is_slow = call % 10 == 9;
        let call = |attempt: Attempt| match attempt.number {
            1 if is_slow => copy(1, 1_000, false),
            number => copy(number, 20, false),
        };
        assert!(hedge.call(Idempotent(call)).await.is_ok());
    }
    // The 95th of a hundred is a slow one: what was cut short at least took longer than the others.
    assert!(hedge.delay() > millis(22), "{:?}", hedge.delay());
    assert!(hedge.sent() <= 300, "{} of 300 slow calls", hedge.sent());
}

#[tokio::test(start_paused = true)]
async fn no_copy_is_sent_when_the_deadline_leaves_less_than_the_median() {
    let clock = Clock::new();
    let hedge = hedge(fixed(50));
    for _ in 0..200 {
        assert_eq!(hedge.call_once(copy(1, 40, false)).await, Ok(1));
    }
    let stuck = |_| pending::<Result<u32, u32>>();
    for (left, sent) in [(millis(80), 0), (millis(120), 1)] {
        let result = Timeout::total(left)
            .call_flat(hedge.call(Idempotent(stuck)))
            .await;
        assert!(matches!(result, Err(Error::Timeout { .. })));
        assert_eq!(hedge.sent(), sent, "{left:?}");
    }
    let over = Deadline::after(clock.now(), millis(50));
    let never_known = self::hedge(fixed(50));
    let call = |attempt: Attempt| copy(attempt.number, 60, false);
    let result = deadline::scope(clock, over, never_known.call(Idempotent(call))).await;
    assert_eq!((result, never_known.sent()), (Ok(1), 0), "nothing was left");
}

#[test]
fn values_that_cannot_work_are_refused() {
    let build = |config| {
        let budget = RetryBudget::builder("catalog").build().expect("valid");
        Hedge::builder(budget).config(config).build().map(drop)
    };
    let quantile = |quantile, min, max| Config {
        delay: Delay::Quantile { quantile, min, max },
        ..Config::default()
    };
    for share in [f64::NAN, f64::INFINITY, -0.5, 0.0, 1.0] {
        let error = build(quantile(share, millis(1), millis(2)));
        assert!(matches!(error, Err(ConfigError::Quantile(_))), "{share}");
    }
    assert!(matches!(
        build(quantile(0.5, millis(2), millis(1))),
        Err(ConfigError::Range { .. })
    ));
    for delay in [Duration::ZERO, Duration::MAX] {
        let config = Config {
            delay: Delay::Fixed(delay),
            ..Config::default()
        };
        assert!(matches!(build(config), Err(ConfigError::Delay { .. })));
    }
    for copies in [1, 6, u32::MAX] {
        let config = Config {
            copies: NonZeroU32::new(copies).expect("positive"),
            ..Config::default()
        };
        assert_eq!(build(config), Err(ConfigError::Copies(copies)));
    }
    let config = Config {
        span: Duration::ZERO,
        ..Config::default()
    };
    assert!(matches!(build(config), Err(ConfigError::Span(_))));
    assert_eq!(build(Config::default()), Ok(()));
}

// There is no runtime here: a timer could not even be made.
#[test]
fn a_call_that_is_ready_at_once_needs_no_timer() {
    let budget = RetryBudget::builder("catalog").build().expect("valid");
    let hedge = Hedge::builder(budget).build().expect("valid");
    let call = |_| std::future::ready(Ok::<_, ()>("found"));
    let mut call = std::pin::pin!(hedge.call(Idempotent(call)));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(Ok("found")));
}

#[tokio::test(start_paused = true)]
async fn calls_can_be_sent_to_other_threads() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let hedge = hedge(fixed(10));
    let call = |attempt: Attempt| copy(attempt.number, 5, false);
    assert_eq!(assert_send(hedge.call(Idempotent(call))).await, Ok(1));
}

/// Is stuck when first called; each clone has to be made ready for itself.
#[derive(Default)]
struct Stuck {
    is_ready: bool,
    calls: Rc<AtomicU32>,
}

impl Clone for Stuck {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            calls: Rc::clone(&self.calls),
        }
    }
}

impl Service<&'static str> for Stuck {
    type Response = &'static str;
    type Error = &'static str;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<&'static str, &'static str>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        // Ready at the second time of asking.
        if std::mem::replace(&mut self.is_ready, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: &'static str) -> Self::Future {
        assert!(self.is_ready, "called without being asked");
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        Box::pin(async move {
            if number == 1 {
                sleep(millis(1_000)).await;
            }
            Ok(request)
        })
    }
}

// Pitfall 39: a clone of a service that is ready is not ready.
#[tokio::test(start_paused = true)]
async fn a_layer_makes_the_clone_ready_before_it_sends_it_the_copy() {
    let clock = Clock::new();
    let stuck = Stuck::default();
    let hedge = hedge(fixed(10));
    let service = ServiceBuilder::new()
        .layer(hedge.layer(|request: &&'static str| (*request == "GET").then_some(*request)))
        .layer(InnermostLayer)
        .service(stuck.clone());
    assert_eq!(service.clone().oneshot("GET").await, Ok("GET"));
    assert!(clock.now() < Instant::from_millis(20));
    assert_eq!((hedge.sent(), hedge.won()), (1, 1));

    // Pitfall 39: and what is not marked is sent once.
    stuck.calls.store(0, Ordering::Relaxed);
    assert_eq!(service.oneshot("POST").await, Ok("POST"));
    assert_eq!(stuck.calls.load(Ordering::Relaxed), 1);
    assert_eq!(hedge.sent(), 1);
}
