//! The cache against a slow, obvious model, driven by random operations in virtual time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Insert { key: u32, value: u32 },
    Load { key: u32, value: u32 },
    Fail { key: u32 },
    Missing { key: u32 },
    Invalidate { key: u32 },
    Get { key: u32 },
    Wait { seconds: u64 },
}

fn step(keys: u32) -> impl Strategy<Value = Step> {
    let key = 0..keys;
    prop_oneof![
        (key.clone(), 0_u32..5).prop_map(|(key, value)| Step::Insert { key, value }),
        (key.clone(), 0_u32..5).prop_map(|(key, value)| Step::Load { key, value }),
        key.clone().prop_map(|key| Step::Fail { key }),
        key.clone().prop_map(|key| Step::Missing { key }),
        key.clone().prop_map(|key| Step::Invalidate { key }),
        key.prop_map(|key| Step::Get { key }),
        (0_u64..30).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A list of what was said last about each key, and when.
struct Model {
    now: u64,
    /// Whether the cache has room for all keys, and no excuse to forget one.
    roomy: bool,
    known: BTreeMap<u32, (Option<u32>, u64)>,
}

const FRESH: u64 = 10;
const STALE: u64 = 10 + 60;
const NEGATIVE: u64 = 3;

impl Model {
    fn age(&self, key: u32) -> Option<(Option<u32>, u64)> {
        let (value, at) = *self.known.get(&key)?;
        Some((value, self.now - at))
    }

    fn tell(&mut self, key: u32, value: Option<u32>) {
        self.known.insert(key, (value, self.now));
    }

    /// What a reader gets whose load gives `loaded`; keeps what it brings.
    fn get_or(
        &mut self,
        key: u32,
        loaded: Result<u32, &'static str>,
    ) -> Result<(u32, Kind), &'static str> {
        match self.age(key) {
            Some((Some(value), age)) if age < FRESH => return Ok((value, Kind::Fresh)),
            Some((None, age)) if age < NEGATIVE => return Err("not found"),
            Some(_) | None => {},
        }
        match loaded {
            Ok(value) => {
                self.tell(key, Some(value));
                Ok((value, Kind::Loaded))
            },
            Err("not found") => {
                self.tell(key, None);
                Err("not found")
            },
            Err(error) => match self.age(key) {
                Some((Some(value), age)) if age < STALE => Ok((value, Kind::InNeed)),
                Some(_) | None => Err(error),
            },
        }
    }
}

fn run(steps: &[Step], entries_max: u32, weight_max: Option<u64>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let cache: Users = Cache::builder("model")
            .config(Config {
                entries_max: NonZeroU32::new(entries_max).expect("positive"),
                weight_max: weight_max.and_then(NonZeroU64::new),
                freshness: freshness::Config {
                    negative: Some(SECOND * 3),
                    ..rules()
                },
            })
            .weigh(|_, value| u64::from(*value))
            .build()
            .expect("valid");
        let mut model = Model {
            now: 0,
            roomy: weight_max.is_none(),
            known: BTreeMap::new(),
        };
        for step in steps {
            take(step, &cache, &mut model).await?;
            prop_assert!(cache.len() <= entries_max as usize);
            prop_assert!(cache.weight() <= weight_max.unwrap_or(u64::MAX));
        }
        Ok(())
    })
}

async fn take(step: &Step, cache: &Users, model: &mut Model) -> Result<(), TestCaseError> {
    let (key, loaded) = match *step {
        Step::Wait { seconds } => {
            model.now += seconds;
            advance(SECOND * u32::try_from(seconds).expect("few")).await;
            return Ok(());
        },
        Step::Insert { key, value } => {
            cache.insert(key, value);
            model.tell(key, Some(value));
            return forgotten(cache, model, key);
        },
        Step::Invalidate { key } => {
            cache.invalidate(&key);
            model.known.remove(&key);
            return forgotten(cache, model, key);
        },
        Step::Get { key } => return forgotten(cache, model, key),
        Step::Load { key, value } => (key, Ok(value)),
        Step::Fail { key } => (key, Err("reset")),
        Step::Missing { key } => (key, Err("not found")),
    };
    // The cache may have thrown the key out for want of room; the model is told so first.
    forgotten(cache, model, key)?;
    let served = cache.get_or_with(key, ready(loaded), lookups()).await;
    let served = match served {
        Ok(served) => Ok((served.value, served.kind)),
        Err(Error::Inner(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    };
    prop_assert_eq!(served, model.get_or(key, loaded));
    Ok(())
}

/// What the cache has of `key` is what the model says, or nothing.
fn forgotten(cache: &Users, model: &mut Model, key: u32) -> Result<(), TestCaseError> {
    let refusal = matches!(model.age(key), Some((None, age)) if age < NEGATIVE);
    if refusal && !model.roomy && cache.newer(&key, None).is_none() {
        model.known.remove(&key);
    }
    let kept = cache
        .get_in_need(&key)
        .map(|kept| (kept.value, kept.age.as_secs()));
    let expected = match model.age(key) {
        Some((Some(value), age)) if age < STALE => Some((value, age)),
        Some(_) | None => None,
    };
    if kept.is_none() && expected.is_some() && !model.roomy {
        model.known.remove(&key);
        return Ok(());
    }
    prop_assert_eq!(kept, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_large_cache_is_a_map_that_forgets_in_time(
        steps in proptest::collection::vec(step(8), 1..120),
    ) {
        run(&steps, 63, None)?;
    }

    #[test]
    fn a_small_cache_forgets_more_but_never_lies(
        steps in proptest::collection::vec(step(12), 1..120),
        entries_max in 1_u32..6, weight_max in 1_u64..12,
    ) {
        run(&steps, entries_max, Some(weight_max))?;
    }
}
