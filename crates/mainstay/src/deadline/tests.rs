//! Claims about deadlines that nobody hands on by hand.

use std::future::pending;
use std::num::NonZeroU32;

use mainstay_core::time::Instant;
use proptest::prelude::*;
use tokio::time::{advance, sleep};
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::error::{Cause, Error, Scope};
use crate::innermost::InnermostLayer;
use crate::{Bulkhead, bulkhead};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(n: u64) -> Deadline {
    Deadline::at(Instant::from_millis(n))
}

// Pitfall 41: a nested deadline is the minimum, in whatever order the futures are made.
#[tokio::test(start_paused = true)]
async fn a_nested_deadline_only_shortens() {
    let clock = Clock::new();
    let seen = |deadline| scope(clock, deadline, async move { current(clock) });
    assert_eq!(scope(clock, at(500), seen(at(900))).await, Some(at(500)));
    assert_eq!(scope(clock, at(900), seen(at(500))).await, Some(at(500)));
    assert_eq!(
        scope(clock, at(900), seen(Deadline::NEVER)).await,
        Some(at(900))
    );
    assert_eq!(seen(Deadline::NEVER).await, None);
    assert_eq!(current(clock), None);
}

#[tokio::test(start_paused = true)]
async fn two_calls_that_take_turns_on_a_thread_keep_their_deadlines_apart() {
    let clock = Clock::new();
    let keeps = async |deadline| {
        for _ in 0..3 {
            sleep(millis(1)).await;
            assert_eq!(current(clock), Some(deadline));
        }
    };
    let call = |deadline| scope(clock, deadline, keeps(deadline));
    tokio::join!(call(at(100)), call(at(200)), async {
        sleep(millis(1)).await;
        assert_eq!(current(clock), None);
    });
}

#[tokio::test(start_paused = true)]
async fn what_is_spawned_has_the_deadline_only_if_it_is_carried_there() {
    let clock = Clock::new();
    let spawned = scope(clock, at(100), async {
        let carried = carry(async move { current(clock) });
        let left = async move { current(clock) };
        let mut set = tokio::task::JoinSet::new();
        set.spawn(carried);
        let carried = set.join_next().await.expect("one").expect("no panic");
        set.spawn(left);
        let left = set.join_next().await.expect("one").expect("no panic");
        (carried, left)
    });
    assert_eq!(spawned.await, (Some(at(100)), None));
}

#[tokio::test(start_paused = true)]
async fn blocking_code_has_it_too_and_clocks_with_other_origins_agree() {
    let clock = Clock::new();
    advance(millis(50)).await;
    let later = Clock::new();
    let seen = scope_blocking(clock, at(100), || {
        scope_blocking(clock, Deadline::NEVER, || current(later))
    });
    assert_eq!(seen, Some(at(50)));
    assert_eq!(current(clock), None);
}

#[test]
fn a_panic_takes_the_deadline_back() {
    let clock = Clock::new();
    let panicked = std::panic::catch_unwind(|| {
        scope_blocking(clock, Deadline::at(clock.now()), || panic!("boom"));
    });
    assert!(panicked.is_err());
    assert_eq!(current(clock), None);
}

// Pitfall 41: waiting uses the time up, and a deadline that has passed has nothing left.
#[tokio::test(start_paused = true)]
async fn time_in_a_queue_is_counted_and_nothing_is_left_at_the_end() {
    let clock = Clock::new();
    let left = scope(clock, at(100), async {
        advance(millis(60)).await;
        let first = remaining();
        advance(millis(60)).await;
        (first, remaining())
    });
    assert_eq!(left.await, (Some(millis(40)), Some(Duration::ZERO)));
    assert_eq!(remaining(), None);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_place_can_be_held_to_it() {
    let clock = Clock::new();
    let bulkhead = Bulkhead::builder("payment")
        .config(bulkhead::Config {
            in_flight: NonZeroU32::MIN,
            queue: Some(NonZeroU32::MIN),
            queue_wait: millis(10_000),
        })
        .clock(clock)
        .build()
        .expect("valid");
    let _taken = bulkhead.try_acquire().expect("free");
    let waited = scope(clock, at(100), async {
        let deadline = earlier(clock, Deadline::NEVER);
        bulkhead.acquire(deadline).await.map(drop)
    });
    assert_eq!(waited.await.expect_err("no place").cause, Cause::QueueWait);
    assert_eq!(clock.now(), Instant::from_millis(100));
}

// Pitfall 41: each side subtracts its own time once; the network's is nobody's.
#[tokio::test(start_paused = true)]
async fn a_header_carries_what_is_left_and_nothing_is_subtracted_twice() {
    let caller = Clock::new();
    let header = scope(caller, at(1_000), async {
        advance(millis(200)).await; // in a queue
        to_header(remaining().expect("a deadline")).to_string()
    })
    .await;
    assert_eq!(header, "800m");

    // Another machine, whose clock has another origin.
    let callee = Clock::new();
    let received = from_header(&header).expect("a header");
    let deadline = Deadline::after(callee.now(), received);
    let onwards = scope(callee, deadline, async {
        advance(millis(100)).await; // in its queue
        to_header(remaining().expect("a deadline")).to_string()
    });
    assert_eq!(onwards.await, "700m");
}

#[test]
fn zero_and_negative_are_over_and_garbage_is_no_deadline() {
    for text in ["0", "0m", "-1", "-5m", " 0S "] {
        assert_eq!(from_header(text), Some(Duration::ZERO), "{text:?}");
    }
    for text in [
        "",
        " ",
        "m",
        "-",
        "-m",
        "1.5S",
        "+5m",
        "5x",
        "5 m",
        "5mm",
        "123456789m",
        "１m",
        "S5",
    ] {
        assert_eq!(from_header(text), None, "{text:?}");
    }
    assert_eq!(
        from_header("99999999H").map(|it| it.as_secs()),
        Some(359_999_996_400)
    );
    assert_eq!(from_header("5n"), Some(Duration::from_nanos(5)));
    assert_eq!(from_header("7M"), Some(Duration::from_mins(7)));
}

#[test]
fn every_size_of_time_fits_eight_digits() {
    let text = |duration| to_header(duration).to_string();
    assert_eq!(text(Duration::ZERO), "0m");
    assert_eq!(text(Duration::from_nanos(999)), "0m");
    assert_eq!(text(Duration::from_micros(999)), "999u");
    assert_eq!(text(Duration::from_micros(1_999)), "1m");
    assert_eq!(text(millis(99_999_999)), "99999999m");
    assert_eq!(text(millis(100_000_000)), "100000S");
    assert_eq!(text(Duration::MAX), "99999999H");
}

proptest! {
    #[test]
    fn a_header_is_read_back_and_never_grows(nanos in 0..u64::MAX) {
        let sent = Duration::from_nanos(nanos);
        let received = from_header(&to_header(sent).to_string()).expect("our own text");
        prop_assert!(received <= sent);
        prop_assert!(sent.abs_diff(received) < millis(1) || sent > millis(99_999_999));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,20}") {
        let _ = from_header(&text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_ends_each_call_when_its_caller_stops_waiting() {
    let clock = Clock::new();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new("payment", |left: &u64| {
            (*left > 0).then(|| millis(*left))
        }))
        .layer(InnermostLayer)
        .service_fn(async |_| pending::<Result<(), &str>>().await);
    let result = service.clone().oneshot(300).await;
    assert_eq!(
        result,
        Err(Error::Timeout {
            scope: Scope::Total,
            after: millis(300)
        })
    );
    // Without a word of its own, it is held to what is around it; and not begun when that is over.
    let result = scope(clock, at(400), service.clone().oneshot(0)).await;
    assert!(matches!(result, Err(Error::Timeout { .. })));
    assert_eq!(clock.now(), Instant::from_millis(400));
    let result = scope(clock, at(400), service.oneshot(0)).await;
    let Err(Error::Rejected(rejection)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(rejection.cause, Cause::NoTime);
}
