//! Claims about batches, in virtual time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::ServiceExt as _;

use super::*;

const MS: Duration = Duration::from_millis(1);

type Users = Batch<u32, u32, &'static str>;

/// The batches that were sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<Vec<u32>>>>);

impl Sent {
    fn take(&self) -> Vec<Vec<u32>> {
        std::mem::take(&mut self.0.lock().expect("no panics"))
    }

    /// Ten times each item, after 10 ms.
    fn users(&self, config: Config) -> Users {
        let sent = self.clone();
        Batch::builder("users")
            .config(config)
            .build(move |items: Vec<u32>| {
                sent.0.lock().expect("no panics").push(items.clone());
                async move {
                    sleep(MS * 10).await;
                    items.into_iter().map(|item| Ok(item * 10)).collect()
                }
            })
            .expect("valid")
    }
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("positive")
}

fn config(size_max: u32, window: Option<Duration>, in_flight: u32) -> Config {
    Config {
        size_max: count(size_max),
        window,
        in_flight: count(in_flight),
        queue: count(1_000),
    }
}

fn rejected(cause: Cause) -> Error<&'static str> {
    Error::Rejected(Rejection {
        policy: Policy::Batch,
        name: "users".into(),
        cause,
        retry_after: None,
    })
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn calls_within_the_window_go_together_and_each_gets_its_own_answer() {
    let sent = Sent::default();
    let users = sent.users(config(100, Some(MS * 4), 4));
    let clock = Clock::new();
    let answers = tokio::join!(users.call(1), users.call(2), async {
        sleep(MS * 2).await;
        users.call(3).await
    });
    assert_eq!(answers, (Ok(10), Ok(20), Ok(30)));
    assert_eq!(sent.take(), [vec![1, 2, 3]]);
    let took = clock.now().since(crate::Instant::ORIGIN);
    assert_eq!(took, MS * 14, "the window counts from the first");
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_for_the_window() {
    let sent = Sent::default();
    let users = sent.users(config(2, Some(MS * 1_000), 4));
    let clock = Clock::new();
    let answers = tokio::join!(users.call(1), users.call(2));
    assert_eq!(answers, (Ok(10), Ok(20)));
    let took = clock.now().since(crate::Instant::ORIGIN);
    assert_eq!(took, MS * 10);
}

#[tokio::test(start_paused = true)]
async fn without_a_window_a_batch_is_what_gathered_while_the_last_was_in_flight() {
    let sent = Sent::default();
    let users = sent.users(config(3, None, 1));
    let mut calls = JoinSet::new();
    for item in 1..=8 {
        calls.spawn(users.call(item));
    }
    calls.join_all().await;
    assert_eq!(
        sent.take(),
        [vec![1], vec![2, 3, 4], vec![5, 6, 7], vec![8]]
    );
    assert_eq!((users.queued(), users.in_flight()), (0, 0));
}

// Pitfalls 10, 11 and 29, for batches: who goes away is not worked for.
#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_its_item_out_of_a_batch_that_was_not_sent() {
    let sent = Sent::default();
    let users = sent.users(config(100, Some(MS), 4));
    drop(users.call(1));
    let mut oldest = Box::pin(users.call(2));
    let mut other = Box::pin(users.call(3));
    assert!(poll_once(oldest.as_mut()).is_pending());
    assert!(poll_once(other.as_mut()).is_pending());
    assert_eq!(users.queued(), 2);
    drop(oldest);
    assert_eq!(users.queued(), 1);
    assert_eq!(other.await, Ok(30));
    assert_eq!(sent.take(), [vec![3]]);
}

#[tokio::test(start_paused = true)]
async fn when_the_oldest_goes_away_the_next_minds_the_window() {
    let sent = Sent::default();
    let users = sent.users(config(100, Some(MS * 4), 4));
    let impatient = tokio::time::timeout(MS * 2, users.call(1));
    let (late, answer) = tokio::join!(impatient, users.call(2));
    assert!(late.is_err());
    assert_eq!(answer, Ok(20));
    assert_eq!(sent.take(), [vec![2]]);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_goes_away_hands_over_where_it_stopped() {
    let sent = Sent::default();
    let users = sent.users(config(2, Some(MS), 4));
    let clock = Clock::new();
    let first = users.call(1);
    // The second completes the batch, and drives it; it is gone after half of the call.
    let driver = tokio::time::timeout(MS * 5, users.call(2));
    let (answer, late) = tokio::join!(first, driver);
    assert!(late.is_err());
    assert_eq!(answer, Ok(10));
    assert_eq!(sent.take(), [vec![1, 2]], "sent once");
    let took = clock.now().since(crate::Instant::ORIGIN);
    assert_eq!(took, MS * 10, "not begun again");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_nobody_waits_for_is_dropped_and_its_place_is_free() {
    let sent = Sent::default();
    let users = sent.users(config(1, None, 1));
    let mut driver = Box::pin(users.call(1));
    let mut next = Box::pin(users.call(2));
    assert!(poll_once(driver.as_mut()).is_pending());
    assert!(poll_once(next.as_mut()).is_pending());
    assert_eq!((users.in_flight(), users.queued()), (1, 1));
    drop(driver);
    assert_eq!(users.in_flight(), 0);
    assert_eq!(next.await, Ok(20));
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_batch_that_nobody_waits_for_goes_to_who_waits() {
    let sent = Sent::default();
    let users = sent.users(config(1, None, 1));
    let clock = Clock::new();
    let mut calls = JoinSet::new();
    let (first, second) = (users.call(1), users.call(2));
    calls.spawn(async move { tokio::time::timeout(MS, first).await.is_ok() });
    calls.spawn(async move { second.await.is_ok() });
    let ended = calls.join_all().await;
    assert_eq!(ended.iter().filter(|ok| **ok).count(), 1);
    let took = clock.now().since(crate::Instant::ORIGIN);
    assert_eq!(took, MS * 11, "the second is sent when the first goes away");
}

#[tokio::test(start_paused = true)]
async fn two_places_that_become_free_at_once_are_both_taken() {
    let sent = Sent::default();
    let users = sent.users(config(1, None, 2));
    let clock = Clock::new();
    let mut calls = JoinSet::new();
    for item in 1..=4 {
        calls.spawn(users.call(item));
    }
    calls.join_all().await;
    let took = clock.now().since(crate::Instant::ORIGIN);
    assert_eq!(took, MS * 20, "two and two");
}

#[tokio::test(start_paused = true)]
async fn a_result_too_few_or_too_many_leaves_all_unanswered() {
    for results in [1, 3] {
        let users: Batch<u32, u32, &str> = Batch::builder("users")
            .build(move |_| async move { vec![Ok(7); results] })
            .expect("valid");
        let answers = tokio::join!(users.call(1), users.call(2));
        let unanswered = || Err(rejected(Cause::Unanswered));
        assert_eq!(answers, (unanswered(), unanswered()));
    }
    // Nobody knows whether it had an effect.
    let sent = rejected(Cause::Unanswered).was_sent();
    assert_eq!(sent, crate::Sent::Maybe);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_fails_fails_alone() {
    let users: Batch<u32, u32, &str> = Batch::builder("users")
        .build(|items: Vec<u32>| async move {
            let answer = |item: u32| item.checked_sub(2).ok_or("too small");
            items.into_iter().map(answer).collect()
        })
        .expect("valid");
    let answers = tokio::join!(users.call(1), users.call(2));
    assert_eq!(answers, (Err(Error::Inner("too small")), Ok(0)));
}

async fn doomed() -> Vec<Result<u32, &'static str>> {
    sleep(MS).await;
    panic!("on purpose")
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn a_batch_that_panics_leaves_nobody_waiting() {
    let users: Users = Batch::builder("users").build(|_| doomed()).expect("valid");
    let mut calls = JoinSet::new();
    for item in 0..5 {
        calls.spawn(users.call(item));
    }
    let mut panics = 0;
    while let Some(joined) = calls.join_next().await {
        match joined {
            Ok(answer) => assert_eq!(answer, Err(rejected(Cause::Unanswered))),
            Err(error) => {
                assert!(error.is_panic());
                panics += 1;
            },
        }
    }
    assert_eq!(panics, 1);
    assert_eq!((users.queued(), users.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_queue_a_call_is_turned_away() {
    let sent = Sent::default();
    let users = sent.users(Config {
        queue: count(2),
        ..config(100, Some(MS), 1)
    });
    let answers = tokio::join!(users.call(1), users.call(2), users.call(3));
    assert_eq!(answers, (Ok(10), Ok(20), Err(rejected(Cause::QueueFull))));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_batch_is_sent_keeps_the_item_out_of_it() {
    let sent = Sent::default();
    let clock = Clock::new();
    let users = sent.users(config(1, None, 1));
    let soon = Deadline::after(clock.now(), MS * 5);
    let answers = tokio::join!(
        users.call(1),
        users.call_before(2, soon),
        users.call_before(3, Deadline::at(clock.now())),
        users.call_before(4, Deadline::NEVER),
    );
    assert_eq!(
        answers,
        (
            Ok(10),
            Err(rejected(Cause::QueueWait)),
            Err(rejected(Cause::NoTime)),
            Ok(40)
        )
    );
    assert_eq!(sent.take(), [vec![1], vec![4]]);

    let now = clock.now();
    let late = users.call_before(5, Deadline::after(now, MS)).await;
    assert_eq!(
        late,
        Err(Error::Timeout {
            scope: Scope::Total,
            after: MS
        })
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_a_service_of_items() {
    let sent = Sent::default();
    let users = sent.users(Config::default());
    assert_eq!(users.oneshot(7).await, Ok(70));
}

#[test]
fn a_window_that_cannot_work_is_refused() {
    for window in [Duration::ZERO, Duration::from_hours(1)] {
        let refused = Batch::builder("users")
            .config(config(1, Some(window), 1))
            .build(|_: Vec<()>| async { Vec::<Result<(), ()>>::new() });
        assert_eq!(refused.map(drop), Err(ConfigError::Window(window)));
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn threads_that_cancel_at_random_leave_nobody_waiting() {
    let users: Users = Batch::builder("users")
        .config(config(7, None, 2))
        .build(|items: Vec<u32>| async move {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            items.into_iter().map(|item| Ok(item * 10)).collect()
        })
        .expect("valid");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| many(&users));
        }
    });
    assert_eq!((users.queued(), users.in_flight()), (0, 0));
}

fn many(users: &Users) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut callers = JoinSet::new();
    for item in 0..200 {
        callers.spawn_on(impatient(users.clone(), item), runtime.handle());
    }
    runtime.block_on(callers.join_all());
}

/// One in three is dropped after one poll.
async fn impatient(users: Users, item: u32) {
    let mut call = Box::pin(users.call(item));
    if item.is_multiple_of(3) {
        let _polled = poll_once(call.as_mut());
        tokio::task::yield_now().await;
    } else {
        assert_eq!(call.await, Ok(item * 10));
    }
}

#[derive(Clone, Debug)]
struct Caller {
    begins_ms: u64,
    gives_up_after_ms: u64,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whoever_stays_gets_its_own_answer_whoever_leaves_when(
        callers in proptest::collection::vec(
            (0_u64..30, 0_u64..60).prop_map(|(begins_ms, gives_up_after_ms)| Caller {
                begins_ms,
                gives_up_after_ms,
            }),
            1..40,
        ),
        size_max in 1_u32..6, window in 0_u64..4, in_flight in 1_u32..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let most = Arc::new(AtomicU32::new(0));
        let window = (window > 0).then(|| MS * u32::try_from(window).expect("few"));
        let (answers, queued, flying) = runtime.block_on(async {
            let users = watched(config(size_max, window, in_flight), Arc::clone(&most));
            let mut calls = JoinSet::new();
            for (number, caller) in callers.iter().cloned().enumerate() {
                calls.spawn(ask(users.clone(), u32::try_from(number).expect("few"), caller));
            }
            let answers = tokio::time::timeout(MS * 10_000, calls.join_all()).await;
            (answers, users.queued(), users.in_flight())
        });
        prop_assert!(answers.is_ok(), "somebody hangs");
        prop_assert_eq!((queued, flying), (0, 0));
        prop_assert!(most.load(Ordering::SeqCst) <= in_flight);
    }
}

/// As `Sent::users`, and counts the batches in flight; one that is dropped is not.
fn watched(config: Config, most: Arc<AtomicU32>) -> Users {
    struct Flying(Arc<AtomicU32>);
    impl Drop for Flying {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let flying = Arc::new(AtomicU32::new(0));
    let size_max = config.size_max.get() as usize;
    Batch::builder("users")
        .config(config)
        .build(move |items: Vec<u32>| {
            assert!(!items.is_empty() && items.len() <= size_max);
            let now = flying.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let flying = Flying(Arc::clone(&flying));
            async move {
                let _flying = flying;
                sleep(MS * 10).await;
                items.into_iter().map(|item| Ok(item * 10)).collect()
            }
        })
        .expect("valid")
}

async fn ask(users: Users, number: u32, caller: Caller) {
    sleep(Duration::from_millis(caller.begins_ms)).await;
    let patience = Duration::from_millis(caller.gives_up_after_ms);
    if let Ok(answer) = tokio::time::timeout(patience, users.call(number)).await {
        assert_eq!(answer, Ok(number * 10));
    }
}
