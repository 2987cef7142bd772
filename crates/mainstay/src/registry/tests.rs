//! Claims about the registry, in virtual time.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::thread::ScopedJoinHandle;

use mainstay_core::outcome::Reason;
use tokio::time::advance;

use super::*;
use crate::breaker::{Breaker, Config, State};

const MINUTE: Duration = Duration::from_mins(1);

fn size(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("tests use positive sizes")
}

/// Opens with the first failure, for an hour.
fn breakers(capacity: usize) -> Registry<u64, Breaker> {
    let hour = Duration::from_hours(1);
    let family = Breaker::builder("shop")
        .config(Config {
            consecutive: NonZeroU32::new(1),
            reopen: hour,
            reopen_max: hour,
            ..Config::default()
        })
        .family()
        .expect("valid");
    let overflow = family.breaker("others");
    let make = move |key: &u64| family.breaker(key.to_string());
    Registry::builder(make, overflow)
        .capacity(size(capacity))
        .idle(MINUTE)
        .build()
}

fn open(breaker: &Breaker) {
    let permit = breaker.try_acquire().expect("closed");
    permit.failure(Reason::Error);
}

fn is_open(breaker: &Breaker) -> bool {
    matches!(breaker.state(), State::Open { .. })
}

#[tokio::test(start_paused = true)]
async fn a_key_gets_the_same_policy_each_time() {
    let registry = breakers(10);
    open(&registry.get(&1));
    assert!(is_open(&registry.get(&1)));
    assert!(!is_open(&registry.get(&2)));
    assert_eq!((registry.len(), registry.overflowed()), (2, 0));
    assert_eq!(registry.get(&2).endpoint().as_ref(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_full_registry_of_used_entries_answers_new_keys_with_one_policy_and_counts_them() {
    let registry = breakers(10);
    for key in 0..10 {
        open(&registry.get(&key));
    }
    advance(MINUTE * 10).await;
    for key in 10..30 {
        assert_eq!(registry.get(&key).endpoint().as_ref(), "others");
    }
    assert_eq!((registry.len(), registry.overflowed()), (10, 20));
    assert!((0..10).all(|key| is_open(&registry.get(&key))));
}

// Pitfall 37: maps that grow with every key (governor #171), or forget what they know.
#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn a_flood_of_keys_takes_no_more_memory_than_the_capacity_and_forgets_no_open_circuit() {
    let registry = breakers(1_000);
    // Those that came last are moved to where others made room.
    let known = || (0..250).chain(750..1_000);
    for key in 0..1_000 {
        let breaker = registry.get(&key);
        if known().any(|known| known == key) {
            open(&breaker);
        }
    }
    // The claim is about ten million; a tenth of a million shows the same in a test.
    for key in 1_000..101_000 {
        drop(registry.get(&key));
        if key % 1_000 == 0 {
            advance(MINUTE).await;
        }
        assert!(registry.len() <= 1_000);
    }
    assert!(known().all(|key| is_open(&registry.get(&key))));
    assert_eq!(registry.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn only_idle_entries_that_know_nothing_and_that_nobody_holds_make_room() {
    let registry = breakers(3);
    let held = registry.get(&1);
    open(&registry.get(&2));
    drop(registry.get(&3));
    assert_eq!(
        registry.get(&4).endpoint().as_ref(),
        "others",
        "not idle yet"
    );
    advance(MINUTE).await;
    // Chance picks eight times among three: now and then it misses the one.
    let took_over = (0..100).any(|_| registry.get(&5).endpoint().as_ref() == "5");
    assert!(took_over);
    advance(MINUTE).await;
    assert!(is_open(&registry.get(&2)));
    open(&held);
    assert!(is_open(&registry.get(&1)), "still one circuit");
    assert_eq!(registry.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn many_threads_that_ask_for_one_key_get_one_policy() {
    let registry = breakers(100_000);
    // Threads of their own read the clock that the runtime does not pause for them.
    let ask = || (0..500).map(|key| registry.get(&key)).collect();
    let answers: Vec<Vec<Breaker>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect()
    });
    assert_eq!(registry.len(), 500);
    for key in 0..500 {
        open(&answers[0][key]);
        assert!(answers.iter().all(|breakers| is_open(&breakers[key])));
    }
}

struct Known(Arc<AtomicBool>);

impl Clone for Known {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Forgettable for Known {
    fn is_forgettable(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_maker_may_ask_the_registry_and_one_that_panics_takes_no_place() {
    let known = Known(Arc::default());
    let panics = known.clone();
    let make = move |_: &u64| {
        assert!(!panics.0.load(Ordering::Relaxed), "a bug of the maker");
        panics.clone()
    };
    let registry = Registry::builder(make, known.clone())
        .capacity(size(2))
        .build();
    known.0.store(true, Ordering::Relaxed);
    for key in 0..10 {
        assert!(catch_unwind(AssertUnwindSafe(|| registry.get(&key))).is_err());
    }
    assert!(registry.is_empty());
    known.0.store(false, Ordering::Relaxed);
    drop(registry.get(&1));
    assert_eq!(registry.len(), 1);
}

#[test]
fn two_registries_place_keys_differently() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let _guard = runtime.expect("a runtime");
    let hashes: BTreeSet<u64> = (0..10)
        .map(|_| RandomState::new().hash_one(7_u64))
        .collect();
    assert_eq!(hashes.len(), 10, "nobody outside can choose keys that meet");
}
