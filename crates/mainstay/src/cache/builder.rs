//! What a cache is told before it begins.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::num::{NonZeroU32, NonZeroU64};
use std::pin::Pin;
use std::sync::Arc;

use mainstay_core::freshness::{self, ConfigError};
use mainstay_core::random::SharedRandom;

use super::shelf::Shelf;
use super::{Cache, Store};
use crate::builder;
use crate::coalesce::Coalesce;
use crate::name::Name;

/// How much is kept, and how long it may be used.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Config {
    /// Most entries. A large cache is split into up to 16 parts, each with its share of them.
    /// Default: 10,000.
    pub entries_max: NonZeroU32,
    /// Most weight in all, in the unit of [`Builder::weigh`]; `None` is no limit. Each part of the
    /// cache has its share, and an entry must fit into one. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "mainstay_core::unit::text::or_off")
    )]
    pub weight_max: Option<NonZeroU64>,
    /// How long an answer may be used, and for what. Default: fresh for a minute, and nothing else.
    pub freshness: freshness::Config,
}

impl Default for Config {
    /// 10,000 entries, fresh for a minute.
    fn default() -> Self {
        Self {
            entries_max: const { NonZeroU32::MIN.saturating_add(9_999) },
            weight_max: None,
            freshness: freshness::Config::default(),
        }
    }
}

/// A refresh that is to run in the background; ends by itself.
pub type Refresh = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) type Weigh<K, T> = Box<dyn Fn(&K, &T) -> u64 + Send + Sync>;
pub(super) type Spawn = Box<dyn Fn(Refresh) + Send + Sync>;

/// Makes a [`Cache`]. Its observer hears that answers are served in need, and that they no longer
/// are: one pair per episode, not one per call.
pub type Builder<K, T, E, O = ()> = builder::Builder<Config, Extra<K, T, E>, O>;

/// What a cache is told besides.
pub struct Extra<K, T, E> {
    weigh: Option<Weigh<K, T>>,
    spawn: Option<Spawn>,
    seed: Option<u64>,
    error: PhantomData<fn() -> E>,
}

impl<K, T, E> Cache<K, T, E> {
    /// A cache for the service called `name`.
    pub fn builder(name: impl Into<Name>) -> Builder<K, T, E> {
        let extra = Extra {
            weigh: None,
            spawn: None,
            seed: None,
            error: PhantomData,
        };
        Builder::new(name.into(), extra)
    }
}

impl<K, T, E, O> Builder<K, T, E, O> {
    /// What an answer weighs, for [`Config::weight_max`]. Without it, each weighs 1.
    pub fn weigh(mut self, weigh: impl Fn(&K, &T) -> u64 + Send + Sync + 'static) -> Self {
        self.extra.weigh = Some(Box::new(weigh));
        self
    }

    /// Where refreshes of [`Cache::get_or_revalidate`] run: `|refresh| drop(tokio::spawn(refresh))`
    /// where nobody has to wait for them at the end, a group that is joined where somebody does. A refresh
    /// that is dropped is begun by the next reader.
    pub fn revalidate_with(mut self, spawn: impl Fn(Refresh) + Send + Sync + 'static) -> Self {
        self.extra.spawn = Some(Box::new(spawn));
        self
    }

    /// The seed of early refreshes. Without one, each cache has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.extra.seed = Some(seed);
        self
    }

    /// The cache, empty.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Duration`] for a duration that is zero or above a year,
    /// [`ConfigError::Early`] for an `early` outside of its bounds.
    pub fn build(self) -> Result<Cache<K, T, E, O>, ConfigError> {
        let (config, extra, told) = self.into_parts();
        config.freshness.validate()?;
        let seed = extra
            .seed
            .unwrap_or_else(|| RandomState::new().hash_one(&*told.name));
        Ok(Cache {
            store: Arc::new(Store {
                shelf: Shelf::new(config.entries_max, config.weight_max),
                coalesce: Coalesce::builder(told.name.clone()).build(),
                rules: config.freshness,
                random: SharedRandom::seeded(seed),
                weigh: extra.weigh,
                spawn: extra.spawn,
                told,
            }),
        })
    }
}

impl<K, T, E> fmt::Debug for Extra<K, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extra")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
