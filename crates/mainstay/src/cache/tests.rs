//! Claims about the cache, in virtual time.

use std::future::{pending, ready};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::task::JoinSet;
use tokio::time::{advance, sleep};
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::classify;
use crate::error::{Cause, Policy, Rejection};
use crate::heard::Heard;
use crate::innermost::InnermostLayer;

mod model;

const SECOND: Duration = Duration::from_secs(1);

type Users = Cache<u32, u32, &'static str>;

fn rules() -> freshness::Config {
    freshness::Config {
        fresh: SECOND * 10,
        stale_while_revalidate: None,
        stale_if_error: Some(SECOND * 60),
        negative: None,
        early: None,
    }
}

fn revalidating() -> freshness::Config {
    freshness::Config {
        stale_while_revalidate: Some(SECOND * 10),
        ..rules()
    }
}

fn users(freshness: freshness::Config) -> Users {
    Cache::builder("users")
        .config(Config {
            freshness,
            ..Config::default()
        })
        .build()
        .expect("valid")
}

/// Counts loads; each takes a second and gives its number.
#[derive(Clone, Default)]
struct Callee(Arc<AtomicU32>);

impl Callee {
    async fn load(self) -> Result<u32, &'static str> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        sleep(SECOND).await;
        Ok(number)
    }

    fn loads(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

fn brief(served: Result<Served<u32>, Error<&'static str>>) -> (u32, u64, Kind) {
    let served = served.expect("there is an answer");
    (served.value, served.age.as_secs(), served.kind)
}

fn fail() -> impl Future<Output = Result<u32, &'static str>> {
    ready(Err("reset"))
}

/// Not found is for good.
fn lookups() -> impl Classify<u32, &'static str> + Copy {
    classify::by(|result: Result<&u32, &&'static str>| match result {
        Ok(_) => Outcome::Success,
        Err(&"not found") => Outcome::Permanent,
        Err(_) => Outcome::Failure(Reason::Error),
    })
}

#[tokio::test(start_paused = true)]
async fn a_fresh_answer_is_served_without_a_load() {
    let (users, callee) = (users(rules()), Callee::default());
    let loaded = users.get_or(1, callee.clone().load()).await;
    assert_eq!(brief(loaded), (1, 0, Kind::Loaded));
    advance(SECOND * 9).await;
    let fresh = users.get_or(1, callee.clone().load()).await;
    assert_eq!(brief(fresh), (1, 9, Kind::Fresh));
    advance(SECOND).await;
    let loaded = users.get_or(1, callee.clone().load()).await;
    assert_eq!(brief(loaded), (2, 0, Kind::Loaded));
}

// Pitfall 45: tower-resilience has nothing to serve in need; without a bound, one would for ever.
#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_served_in_need_up_to_its_age_bound_and_not_beyond() {
    let (users, callee) = (users(rules()), Callee::default());
    users.get_or(1, callee.load()).await.expect("loads");
    advance(SECOND * 69).await;
    let in_need = users.get_or(1, fail()).await;
    assert_eq!(brief(in_need), (1, 69, Kind::InNeed));
    assert_eq!(users.get(&1), None);
    assert!(users.get_in_need(&1).is_some());

    advance(SECOND).await;
    assert_eq!(users.get_or(1, fail()).await, Err(Error::Inner("reset")));
    assert_eq!(users.get_in_need(&1), None);
}

#[tokio::test(start_paused = true)]
async fn the_age_that_counts_is_the_one_when_the_load_has_failed() {
    let (users, callee) = (users(rules()), Callee::default());
    users.get_or(1, callee.load()).await.expect("loads");
    advance(SECOND * 69).await;
    let slow = async {
        sleep(SECOND * 2).await;
        Err("reset")
    };
    assert_eq!(users.get_or(1, slow).await, Err(Error::Inner("reset")));
}

#[tokio::test(start_paused = true)]
async fn what_other_policies_refuse_or_end_is_a_need_too() {
    let (users, callee) = (users(rules()), Callee::default());
    users.get_or(1, callee.load()).await.expect("loads");
    advance(SECOND * 20).await;
    let rejected = Error::Rejected(Rejection {
        policy: Policy::Breaker,
        name: "users".into(),
        cause: Cause::CircuitOpen,
        retry_after: None,
    });
    let served = users
        .get_or_nested_with(1, ready(Err(rejected)), ErrorsFail)
        .await;
    assert_eq!(brief(served), (1, 20, Kind::InNeed));
}

// Pitfall 45: stampede; tower-resilience's cache loads once per caller.
#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn a_thousand_readers_of_a_missing_key_make_one_load() {
    let (users, callee) = (users(rules()), Callee::default());
    let mut readers = JoinSet::new();
    for _ in 0..1_000 {
        let (users, callee) = (users.clone(), callee.clone());
        readers.spawn(async move { users.get_or(1, callee.load()).await });
    }
    for served in readers.join_all().await {
        assert_eq!(brief(served), (1, 0, Kind::Loaded));
    }
    assert_eq!(callee.loads(), 1);
}

// Pitfall 45: stampede, of a reader who looked before the load ended and joins after it.
#[tokio::test(start_paused = true)]
async fn a_reader_whose_turn_comes_after_a_load_takes_what_it_brought() {
    let (users, callee) = (users(rules()), Callee::default());
    let mut leader = Box::pin(users.get_or(1, pending()));
    let mut second = Box::pin(users.get_or(1, callee.clone().load()));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(leader.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    users.insert(1, 77);
    drop(leader);
    assert_eq!(brief(second.await).0, 77);
    assert_eq!(callee.loads(), 0);
}

#[tokio::test(start_paused = true)]
async fn while_one_caller_refreshes_the_others_are_served_the_stale_answer() {
    let (users, callee) = (users(revalidating()), Callee::default());
    users.get_or(1, callee.clone().load()).await.expect("loads");
    advance(SECOND * 10).await;
    let (first, second, third) = tokio::join!(
        users.get_or(1, callee.clone().load()),
        users.get_or(1, callee.clone().load()),
        users.get_or(1, callee.clone().load()),
    );
    assert_eq!(brief(first), (2, 0, Kind::Loaded));
    assert_eq!(brief(second), (1, 10, Kind::Stale));
    assert_eq!(brief(third), (1, 10, Kind::Stale));
    assert_eq!(callee.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresher_that_is_dropped_leaves_the_refresh_to_the_next() {
    let (users, callee) = (users(revalidating()), Callee::default());
    users.get_or(1, callee.clone().load()).await.expect("loads");
    advance(SECOND * 10).await;
    let mut first = Box::pin(users.get_or(1, callee.clone().load()));
    let polled = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    let stale = users.get_or(1, callee.clone().load()).await;
    assert_eq!(brief(stale).2, Kind::Stale);
    drop(first);
    let loaded = users.get_or(1, callee.clone().load()).await;
    assert_eq!(brief(loaded), (3, 0, Kind::Loaded));
}

/// Keeps refreshes for the test to run.
#[derive(Clone, Default)]
struct Background(Arc<Mutex<Vec<Refresh>>>);

impl Background {
    fn users(&self) -> Users {
        let background = self.clone();
        Cache::builder("users")
            .config(Config {
                freshness: revalidating(),
                ..Config::default()
            })
            .revalidate_with(move |refresh| {
                background.0.lock().expect("no panics").push(refresh);
            })
            .build()
            .expect("valid")
    }

    fn take(&self) -> Vec<Refresh> {
        std::mem::take(&mut self.0.lock().expect("no panics"))
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_background_nobody_waits_and_one_refresh_runs() {
    let (background, callee) = (Background::default(), Callee::default());
    let users = background.users();
    let get = || users.get_or_revalidate(1, callee.clone().load(), ErrorsFail);
    assert_eq!(brief(get().await), (1, 0, Kind::Loaded));
    advance(SECOND * 12).await;
    for _ in 0..100 {
        assert_eq!(brief(get().await), (1, 12, Kind::Stale));
    }
    let mut refreshes = background.take();
    assert_eq!((refreshes.len(), callee.loads()), (1, 1));
    refreshes.pop().expect("one").await;
    assert_eq!(brief(get().await), (2, 0, Kind::Fresh));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_the_background_drops_is_begun_again() {
    let (background, callee) = (Background::default(), Callee::default());
    let users = background.users();
    let get = || users.get_or_revalidate(1, callee.clone().load(), ErrorsFail);
    assert_eq!(brief(get().await).2, Kind::Loaded);
    advance(SECOND * 12).await;
    assert_eq!(brief(get().await).2, Kind::Stale);
    drop(background.take());
    assert_eq!(brief(get().await).2, Kind::Stale);
    assert_eq!(background.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_in_its_window_keeps_the_old_answer() {
    let (users, callee) = (users(revalidating()), Callee::default());
    users.get_or(1, callee.load()).await.expect("loads");
    advance(SECOND * 15).await;
    assert_eq!(brief(users.get_or(1, fail()).await), (1, 15, Kind::InNeed));
}

// Pitfall 45: negative caching, with a life of its own.
#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_is_remembered_for_its_own_short_time() {
    let users = users(freshness::Config {
        negative: Some(SECOND * 2),
        ..rules()
    });
    let asked = AtomicU32::new(0);
    let missing = async || {
        asked.fetch_add(1, Ordering::SeqCst);
        Err::<u32, _>("not found")
    };
    for _ in 0..5 {
        let refused = users.get_or_with(1, missing(), lookups()).await;
        assert_eq!(refused, Err(Error::Inner("not found")));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(users.get(&1), None, "a refusal is no answer");
    advance(SECOND * 2).await;
    let found = users.get_or_with(1, ready(Ok(7)), lookups()).await;
    assert_eq!(brief(found), (7, 0, Kind::Loaded));
}

// Pitfall 45: a failure is not a refusal: remembered, it would make a short outage a long one.
#[tokio::test(start_paused = true)]
async fn a_failure_is_never_remembered() {
    let users = users(freshness::Config {
        negative: Some(SECOND * 2),
        ..rules()
    });
    let failed = users.get_or_with(1, fail(), lookups()).await;
    assert_eq!(failed, Err(Error::Inner("reset")));
    let loaded = users.get_or_with(1, ready(Ok(7)), lookups()).await;
    assert_eq!(brief(loaded), (7, 0, Kind::Loaded));
}

#[tokio::test(start_paused = true)]
async fn what_the_callee_has_no_more_is_not_served_in_need_later() {
    let users = users(rules());
    users.insert(1, 7);
    advance(SECOND * 20).await;
    let gone = users
        .get_or_with(1, ready(Err("not found")), lookups())
        .await;
    assert_eq!(gone, Err(Error::Inner("not found")));
    let failed = users.get_or_with(1, fail(), lookups()).await;
    assert_eq!(failed, Err(Error::Inner("reset")));
}

#[tokio::test(start_paused = true)]
async fn what_was_invalidated_during_its_load_is_not_kept() {
    let (users, callee) = (users(rules()), Callee::default());
    let (served, ()) = tokio::join!(users.get_or(1, callee.load()), async {
        sleep(SECOND / 2).await;
        users.invalidate(&1);
    });
    assert_eq!(brief(served).2, Kind::Loaded);
    assert_eq!(users.get(&1), None);
}

#[tokio::test(start_paused = true)]
async fn an_early_refresh_is_one_callers_and_the_others_stay_fresh() {
    let users: Users = Cache::builder("users")
        .config(Config {
            freshness: freshness::Config {
                early: Some(1.0),
                ..rules()
            },
            ..Config::default()
        })
        .seed(1)
        .build()
        .expect("valid");
    let callee = Callee::default();
    users.get_or(1, callee.clone().load()).await.expect("loads");
    // A load took a second; with 10 ms left nearly every reader would be drawn.
    advance(Duration::from_millis(9_990)).await;
    let mut readers = JoinSet::new();
    for _ in 0..50 {
        let (users, callee) = (users.clone(), callee.clone());
        readers.spawn(async move { brief(users.get_or(1, callee.load()).await).2 });
    }
    let kinds = readers.join_all().await;
    let loaded = kinds.iter().filter(|kind| **kind == Kind::Loaded).count();
    assert_eq!((loaded, callee.loads()), (1, 2));
    assert!(kinds.iter().all(|kind| *kind != Kind::Stale));
}

#[tokio::test(start_paused = true)]
async fn serving_in_need_has_one_beginning_and_one_end() {
    let heard = Heard::new();
    let users = Cache::builder("users")
        .config(Config {
            freshness: rules(),
            ..Config::default()
        })
        .observer(Arc::<Heard>::clone(&heard))
        .build()
        .expect("valid");
    users.insert(1, 7);
    advance(SECOND * 20).await;
    for _ in 0..3 {
        assert_eq!(brief(users.get_or(1, fail()).await).2, Kind::InNeed);
    }
    assert_eq!(heard.names(), ["fallback_started"]);
    advance(SECOND * 2).await;
    assert_eq!(brief(users.get_or(1, ready(Ok(8))).await).0, 8);
    let ended = Event::FallbackEnded {
        service: Arc::from("users"),
        served: 3,
    };
    assert_eq!(heard.take(), [ended]);
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn a_flood_of_keys_stays_within_the_limits() {
    let cache: Cache<u32, u32, ()> = Cache::builder("flood")
        .config(Config {
            entries_max: const { NonZeroU32::MIN.saturating_add(999) },
            weight_max: NonZeroU64::new(3_200),
            freshness: rules(),
        })
        .weigh(|_, weight| u64::from(*weight))
        .build()
        .expect("valid");
    for key in 0..100_000 {
        cache.insert(key, key % 10);
        assert!(cache.len() <= 1_000 && cache.weight() <= 3_200);
    }
    assert!(cache.len() > 500);
    // What can never fit is not kept, and throws nothing else out.
    let before = cache.len();
    cache.insert(100_000, 5_000);
    assert_eq!(cache.get(&100_000), None);
    assert_eq!(cache.len(), before);
    cache.clear();
    assert_eq!((cache.len(), cache.weight()), (0, 0));
}

#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
async fn what_is_read_survives_a_scan_of_what_is_not() {
    let cache: Cache<u32, u32, ()> = Cache::builder("scan")
        .config(Config {
            entries_max: const { NonZeroU32::MIN.saturating_add(63) },
            ..Config::default()
        })
        .build()
        .expect("valid");
    for key in 0..8 {
        cache.insert(key, key);
    }
    for key in 1_000..2_000 {
        cache.insert(key, key);
        for hot in 0..8 {
            assert!(cache.get(&hot).is_some(), "{hot} was thrown out by {key}");
        }
    }
}

#[test]
fn the_blocking_form_loads_once_and_serves_after() {
    let cache: Cache<String, u32, ()> = Cache::builder("blocking").build().expect("valid");
    let key = || String::from("key");
    let loaded = cache.get_or_blocking(key(), || Ok(7)).expect("loads");
    assert_eq!((loaded.value, loaded.kind), (7, Kind::Loaded));
    let fresh = cache.get_or_blocking(key(), || panic!("is there"));
    assert_eq!(fresh.expect("is there").kind, Kind::Fresh);
    assert_eq!(cache.get("key").map(|served| served.value), Some(7));
}

#[tokio::test(start_paused = true)]
async fn every_form_may_be_spawned() {
    let users = users(rules());
    let mut calls = JoinSet::new();
    let theirs = users.clone();
    let by_word = classify::by(|result: Result<&u32, &&'static str>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Permanent,
    });
    calls.spawn(async move { theirs.get_or_with(1, ready(Ok(7)), by_word).await });
    let theirs = users.clone();
    let load = async { Ok(7) };
    calls.spawn(async move { theirs.get_or_revalidate(2, load, by_word).await });
    calls.spawn(users.get_or_nested_with(3, ready(Ok(7)), by_word));
    for served in calls.join_all().await {
        assert_eq!(brief(served), (7, 0, Kind::Loaded));
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_serves_from_the_cache_even_when_the_service_is_not_ready() {
    let users: Users = users(rules());
    users.insert(1, 7);
    let never_ready = tower::service_fn(|_: u32| async { Ok::<u32, Error<&str>>(0) });
    let never_ready = NeverReady(never_ready);
    let service = ServiceBuilder::new()
        .layer(users.layer(|key: &u32| Some(*key)))
        .service(never_ready);
    assert_eq!(service.oneshot(1).await, Ok(7));
}

#[derive(Clone)]
struct NeverReady<S>(S);

impl<S: tower::Service<u32>> tower::Service<u32> for NeverReady<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Pending
    }

    fn call(&mut self, request: u32) -> S::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_keeps_what_has_a_key_and_calls_for_what_has_none() {
    let calls = Callee::default();
    let counted = calls.clone();
    let service = ServiceBuilder::new()
        .layer(users(rules()).layer(|key: &u32| (*key != 0).then_some(*key)))
        .layer(InnermostLayer)
        .service_fn(move |_: u32| counted.clone().load());
    let call = |key| service.clone().oneshot(key);
    assert_eq!((call(1).await, call(1).await), (Ok(1), Ok(1)));
    assert_eq!((call(0).await, call(0).await), (Ok(2), Ok(3)));
}
