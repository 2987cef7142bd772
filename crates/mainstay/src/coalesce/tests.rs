//! Claims about coalescing, in virtual time.

use std::cell::Cell;
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::innermost::InnermostLayer;

const SECOND: Duration = Duration::from_secs(1);

type Shared = Coalesce<u32, u32, &'static str>;

fn coalesce(keys: u32, waiters: u32) -> Shared {
    Coalesce::builder("users")
        .config(Config {
            keys: NonZeroU32::new(keys).expect("positive"),
            waiters: NonZeroU32::new(waiters).expect("positive"),
        })
        .build()
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn rejected(cause: Cause) -> Error<&'static str> {
    Error::Rejected(Rejection {
        policy: Policy::Coalesce,
        name: "users".into(),
        cause,
        retry_after: None,
    })
}

/// Counts the calls that begin and those in flight, as a future that is dropped is not.
#[derive(Default)]
struct Calls {
    begun: AtomicU32,
    flying: AtomicU32,
    most: AtomicU32,
}

struct Flying<'a>(&'a Calls);

impl Calls {
    async fn answer(self: Arc<Self>, after: Duration) -> Result<u32, &'static str> {
        let begun = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let flying = self.flying.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(flying, Ordering::SeqCst);
        let _flying = Flying(&self);
        sleep(after).await;
        Ok(begun)
    }

    fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.flying.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn a_thousand_callers_of_one_key_make_one_call() {
    let (shared, calls) = (coalesce(10, 1_000), Arc::new(Calls::default()));
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let (shared, calls) = (shared.clone(), Arc::clone(&calls));
        callers.spawn(async move { shared.call(1, calls.answer(SECOND)).await });
    }
    let answers = callers.join_all().await;
    assert!(answers.iter().all(|answer| *answer == Ok(1)));
    assert_eq!((calls.begun(), shared.in_flight()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn different_keys_and_later_calls_are_made_for_themselves() {
    let (shared, calls) = (coalesce(10, 10), Arc::new(Calls::default()));
    let (one, two) = tokio::join!(
        shared.call(1, Arc::clone(&calls).answer(SECOND)),
        shared.call(2, Arc::clone(&calls).answer(SECOND)),
    );
    assert_eq!((one, two), (Ok(1), Ok(2)));
    let later = shared.call(1, Arc::clone(&calls).answer(SECOND)).await;
    assert_eq!(later, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_as_well() {
    let shared = coalesce(10, 10);
    let fail = || async {
        sleep(SECOND).await;
        Err("reset")
    };
    let (one, two) = tokio::join!(shared.call(1, fail()), shared.call(1, fail()));
    assert_eq!(one, Err(Error::Inner("reset")));
    assert_eq!(two, Err(Error::Inner("reset")));
}

// Pitfall 44: tower-resilience (at 1882067) fails all who wait when their leader is dropped.
#[tokio::test(start_paused = true)]
async fn a_cancelled_leader_promotes_the_caller_that_has_waited_longest() {
    let (shared, calls) = (coalesce(10, 10), Arc::new(Calls::default()));
    let call = || Box::pin(shared.call(1, Arc::clone(&calls).answer(SECOND)));
    let (mut leader, mut second, mut third) = (call(), call(), call());
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(poll_once(third.as_mut()).is_pending());
    assert_eq!(calls.begun(), 1, "who waits has not begun");

    drop(leader);
    let (second, third) = tokio::join!(second, third);
    assert_eq!((second, third), (Ok(2), Ok(2)));
    assert_eq!(calls.begun(), 2);
    assert_eq!(calls.most.load(Ordering::SeqCst), 1, "one at a time");
}

// Pitfall 44, and 11: the one that is promoted may be dropped before it knows.
#[tokio::test(start_paused = true)]
async fn a_promoted_caller_that_is_dropped_before_it_is_polled_hands_over() {
    let (shared, calls) = (coalesce(10, 10), Arc::new(Calls::default()));
    let call = || Box::pin(shared.call(1, Arc::clone(&calls).answer(SECOND)));
    let (mut leader, mut second, mut third) = (call(), call(), call());
    for call in [&mut leader, &mut second, &mut third] {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    drop(leader);
    drop(second);
    assert_eq!(third.await, Ok(2));
    assert_eq!(shared.in_flight(), 0);
}

// Pitfall 11: what was never polled never took part.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_before_its_first_poll_leaves_nothing_behind() {
    let shared = coalesce(10, 10);
    drop(shared.call_nested(1, pending()));
    assert_eq!(shared.in_flight(), 0);
}

// Pitfall 44: key removed exactly once, also when all go away.
#[tokio::test(start_paused = true)]
async fn the_key_is_gone_when_all_callers_are() {
    let shared = coalesce(10, 10);
    let call = || Box::pin(shared.call_nested(1, pending()));
    let (mut leader, mut second) = (call(), call());
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert_eq!(shared.in_flight(), 1);
    drop(second);
    assert_eq!(shared.in_flight(), 1);
    drop(leader);
    assert_eq!(shared.in_flight(), 0);
    // Not only not counted: who comes next leads, and waits for nobody.
    assert_eq!(shared.call(1, async { Ok(7) }).await, Ok(7));
}

/// Looks, in the moment of being woken, how many calls are in flight.
struct Witness(Arc<Calls>, AtomicU32);

impl std::task::Wake for Witness {
    fn wake(self: Arc<Self>) {
        let flying = self.0.flying.load(Ordering::SeqCst);
        self.1.store(flying, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_is_promoted_when_the_call_of_the_last_is_dropped_and_not_before() {
    const NOT_WOKEN: u32 = u32::MAX;
    let (shared, calls) = (coalesce(10, 10), Arc::new(Calls::default()));
    let mut leader = Box::pin(shared.call(1, Arc::clone(&calls).answer(SECOND)));
    let mut second = Box::pin(shared.call(1, Arc::clone(&calls).answer(SECOND)));
    let witness = Arc::new(Witness(Arc::clone(&calls), AtomicU32::new(NOT_WOKEN)));
    let waker = Waker::from(Arc::clone(&witness));
    assert!(poll_once(leader.as_mut()).is_pending());
    let polled = second.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    assert_eq!(calls.flying.load(Ordering::SeqCst), 1);
    drop(leader);
    assert_eq!(
        witness.1.load(Ordering::SeqCst),
        0,
        "woken, with none in flight"
    );
}

async fn doomed() -> Result<u32, &'static str> {
    sleep(SECOND).await;
    panic!("on purpose")
}

// Pitfall 44: a panic wakes all, each with an error that says so.
#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn a_panic_of_the_leader_is_an_error_of_all_who_wait() {
    let shared = coalesce(10, 10);
    let mut callers = JoinSet::new();
    for _ in 0..5 {
        let shared = shared.clone();
        callers.spawn(async move { shared.call(1, doomed()).await });
    }
    let mut panics = 0;
    while let Some(joined) = callers.join_next().await {
        match joined {
            Ok(answer) => assert_eq!(answer, Err(rejected(Cause::Unanswered))),
            Err(error) => {
                assert!(error.is_panic());
                panics += 1;
            },
        }
    }
    assert_eq!((panics, shared.in_flight()), (1, 0));
    assert_eq!(shared.call(1, async { Ok(7) }).await, Ok(7));
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn a_leader_dropped_by_a_foreign_panic_is_merely_cancelled() {
    let (shared, calls) = (coalesce(10, 10), Arc::new(Calls::default()));
    let mut leader = Box::pin(shared.call(1, Arc::clone(&calls).answer(SECOND)));
    let mut second = Box::pin(shared.call(1, Arc::clone(&calls).answer(SECOND)));
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _leader = leader;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(second.await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_keys_a_call_is_made_by_itself() {
    let (shared, calls) = (coalesce(1, 10), Arc::new(Calls::default()));
    let mut first = Box::pin(shared.call_nested(1, pending()));
    assert!(poll_once(first.as_mut()).is_pending());
    let (one, two) = tokio::join!(
        shared.call(2, Arc::clone(&calls).answer(SECOND)),
        shared.call(2, Arc::clone(&calls).answer(SECOND)),
    );
    assert_eq!((one, two), (Ok(1), Ok(2)));
    assert_eq!(shared.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_waiters_a_caller_is_refused() {
    let shared = coalesce(1, 1);
    let call = || Box::pin(shared.call_nested(1, pending()));
    let (mut leader, mut second, mut third) = (call(), call(), call());
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert_eq!(
        poll_once(third.as_mut()),
        Poll::Ready(Err(rejected(Cause::QueueFull)))
    );
    drop(second);
    assert!(poll_once(call().as_mut()).is_pending());
}

#[tokio::test(start_paused = true)]
async fn neither_send_nor_static_is_needed() {
    let count = Rc::new(Cell::new(0));
    let shared: Coalesce<&str, Rc<str>, ()> = Coalesce::builder("local").build();
    let call = shared.call("key", async {
        count.set(count.get() + 1);
        Ok(Rc::from("answer"))
    });
    assert_eq!(call.await.as_deref(), Ok("answer"));
    assert_eq!(count.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_layer_calls_the_service_once_for_all_and_never_for_those_who_wait() {
    let begun = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&begun);
    let shared: Shared = coalesce(10, 10);
    let service = ServiceBuilder::new()
        .layer(shared.layer(|request: &u32| (*request != 0).then_some(*request)))
        .layer(InnermostLayer)
        .service_fn(move |request: u32| {
            // Begins in `call`, not in the future: a service may.
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(SECOND).await;
                Ok::<_, &str>(request)
            }
        });
    let call = |request| service.clone().oneshot(request);
    let (one, two, other) = tokio::join!(call(7), call(7), call(8));
    assert_eq!((one, two, other), (Ok(7), Ok(7), Ok(8)));
    assert_eq!(begun.load(Ordering::SeqCst), 2);
    // Without a key, nothing is shared.
    let (one, two) = tokio::join!(call(0), call(0));
    assert_eq!((one, two), (Ok(0), Ok(0)));
    assert_eq!(begun.load(Ordering::SeqCst), 4);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn threads_that_cancel_at_random_leave_nobody_waiting() {
    let shared: Coalesce<u32, u32, ()> = Coalesce::builder("stress").build();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let shared = shared.clone();
            scope.spawn(move || many(&shared, thread));
        }
    });
    assert_eq!(shared.in_flight(), 0);
}

#[test]
fn blocking_callers_share_one_call() {
    let shared = coalesce(10, 10);
    let begun = AtomicU32::new(0);
    let begin = std::sync::Barrier::new(2);
    let work = || {
        begun.fetch_add(1, Ordering::SeqCst);
        begin.wait();
        // Ends only when the other waits for it.
        while !shared.has_waiters() {
            std::thread::yield_now();
        }
        Ok(7)
    };
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| shared.call_blocking(1, work));
        begin.wait();
        assert_eq!(shared.call_blocking(1, || panic!("waits")), Ok(7));
        assert_eq!(leader.join().expect("no panic"), Ok(7));
    });
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

impl Shared {
    fn has_waiters(&self) -> bool {
        self.flights().waiting(&1) > 0
    }
}

fn many(shared: &Coalesce<u32, u32, ()>, thread: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut callers = JoinSet::new();
    for number in 0..1_000 {
        callers.spawn_on(impatient(shared.clone(), number + thread), runtime.handle());
    }
    runtime.block_on(callers.join_all());
}

/// One in two is dropped after at most two polls.
async fn impatient(shared: Coalesce<u32, u32, ()>, number: u32) {
    let call = shared.call(number % 3, async {
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        Ok(number)
    });
    if number.is_multiple_of(2) {
        let mut call = Box::pin(call);
        let _polled = poll_once(call.as_mut());
        tokio::task::yield_now().await;
    } else {
        call.await.expect("nobody fails");
    }
}

#[derive(Clone, Debug)]
struct Caller {
    begins_ms: u64,
    gives_up_after_ms: u64,
    key: u32,
}

/// Whether `caller` was answered before it gave up.
async fn ask(shared: Shared, calls: Arc<Calls>, caller: Caller) -> (Caller, bool) {
    const CALL: Duration = Duration::from_millis(20);
    sleep(Duration::from_millis(caller.begins_ms)).await;
    let call = shared.call(caller.key, calls.answer(CALL));
    let patience = Duration::from_millis(caller.gives_up_after_ms);
    let answered = tokio::time::timeout(patience, call).await.is_ok();
    (caller, answered)
}

/// Longer than all callers together can lead.
const PATIENT_MS: u64 = 30 * 21;

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let patience = prop_oneof![4 => 0_u64..60, 1 => Just(PATIENT_MS)];
    let caller =
        (0_u64..60, patience, 0_u32..2).prop_map(|(begins_ms, gives_up_after_ms, key)| Caller {
            begins_ms,
            gives_up_after_ms,
            key,
        });
    proptest::collection::vec(caller, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whoever_stays_gets_an_answer_and_one_call_flies_per_key(callers in callers()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let shared = coalesce(100, 100);
        let calls = [Arc::new(Calls::default()), Arc::new(Calls::default())];
        let answered = runtime.block_on(async {
            let mut running = JoinSet::new();
            for caller in callers.clone() {
                let calls = Arc::clone(&calls[caller.key as usize]);
                running.spawn(ask(shared.clone(), calls, caller));
            }
            // Nobody hangs: a hang would wait for ever, in no time at all.
            tokio::time::timeout(SECOND, running.join_all()).await
        });
        let answered = answered.expect("nobody hangs");
        prop_assert_eq!(shared.in_flight(), 0);
        for calls in &calls {
            prop_assert!(calls.most.load(Ordering::SeqCst) <= 1);
            prop_assert_eq!(calls.flying.load(Ordering::SeqCst), 0);
        }
        // Each that came before may lead for the length of a call, and go away without a result.
        for (caller, was_answered) in answered {
            let patient = caller.gives_up_after_ms == PATIENT_MS;
            prop_assert!(was_answered || !patient, "{:?} of {:?}", caller, callers);
        }
    }
}
