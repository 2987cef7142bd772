//! One locked part of the cache: entries by key, bounded in bytes.
//!
//! Prevents memory without end: when an entry does not fit, the ones longest unused go (the
//! "second chance" clock). `bytes` is always the sum of what the entries take.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use mainstay_core::freshness;
use mainstay_core::time::{Duration, Instant};

/// Answers to one key that differ by the request's fields.
const VARIANTS_MAX: usize = 4;
/// What an entry takes besides what can be counted.
const OVERHEAD_BYTES: usize = 512;

/// A stored answer.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The request's fields that it depends on.
    pub(crate) selected: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its fields.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
    /// When it was complete.
    pub(crate) stored_at: Instant,
    /// How old it was then.
    pub(crate) age: Duration,
    /// How long it is fresh.
    pub(crate) fresh_for: Duration,
    /// How long its author lets it be used past that, if it says.
    pub(crate) stale_max: Option<Duration>,
}

impl Entry {
    /// Its age at `now`.
    pub(crate) fn age_at(&self, now: Instant) -> Duration {
        self.age.saturating_add(now.since(self.stored_at))
    }

    /// How long it may be used in need: what the configuration allows, or its author if that is
    /// less.
    pub(crate) fn windows(&self, stale_max: Duration) -> freshness::Config {
        freshness::Config {
            fresh: self.fresh_for,
            stale_if_error: Some(self.stale_max.map_or(stale_max, |own| own.min(stale_max))),
            ..freshness::Config::default()
        }
    }

    fn is_for(&self, headers: &HeaderMap) -> bool {
        self.selected
            .iter()
            .all(|(name, value)| headers.get(name) == value.as_ref())
    }

    fn bytes(&self, key: &str) -> usize {
        let fields = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        let headers: usize = self.headers.iter().map(fields).sum();
        OVERHEAD_BYTES + 2 * key.len() + headers + self.body.len()
    }
}

#[derive(Debug, Default)]
struct Variants {
    entries: Vec<Entry>,
    used: bool,
}

/// A part of the cache.
#[derive(Debug)]
pub(crate) struct Shelf {
    keys: BTreeMap<Box<str>, Variants>,
    /// All keys, in the order of the clock's hand.
    clock: VecDeque<Box<str>>,
    bytes: usize,
    bytes_max: usize,
}

impl Shelf {
    /// An empty part for `bytes_max` bytes.
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self {
            keys: BTreeMap::new(),
            clock: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// The entry of `key` that a request with these fields selects.
    pub(crate) fn get(&mut self, key: &str, headers: &HeaderMap) -> Option<&Entry> {
        let variants = self.keys.get_mut(key)?;
        variants.used = true;
        variants.entries.iter().find(|entry| entry.is_for(headers))
    }

    /// Stores `entry`, in place of the one that the same requests select.
    pub(crate) fn insert(&mut self, key: &str, entry: Entry) {
        let bytes = entry.bytes(key);
        if !self.keys.contains_key(key) {
            self.clock.push_back(key.into());
        }
        let variants = self.keys.entry(key.into()).or_default();
        let same = |old: &Entry| old.selected == entry.selected;
        let replaced = match variants.entries.iter().position(same) {
            Some(index) => Some(variants.entries.swap_remove(index)),
            None if variants.entries.len() == VARIANTS_MAX => Some(variants.entries.remove(0)),
            None => None,
        };
        self.bytes -= replaced.map_or(0, |old| old.bytes(key));
        variants.entries.push(entry);
        self.bytes += bytes;
        self.evict();
    }

    /// Forgets all entries of `key`.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(variants) = self.keys.remove(key) {
            self.bytes -= variants
                .entries
                .iter()
                .map(|entry| entry.bytes(key))
                .sum::<usize>();
            self.clock.retain(|other| **other != *key);
        }
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max {
            let Some(key) = self.clock.pop_front() else {
                return;
            };
            let Some(variants) = self.keys.get_mut(&key) else {
                continue;
            };
            if variants.used {
                variants.used = false;
                self.clock.push_back(key);
                continue;
            }
            let freed: usize = variants.entries.iter().map(|entry| entry.bytes(&key)).sum();
            self.bytes -= freed;
            self.keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Entry {
        Entry {
            selected: Vec::new(),
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from(vec![0; bytes]),
            stored_at: Instant::ORIGIN,
            age: Duration::ZERO,
            fresh_for: Duration::ZERO,
            stale_max: None,
        }
    }

    #[test]
    fn a_full_shelf_drops_what_was_not_used() {
        let mut shelf = Shelf::new(10_000);
        for index in 0..8 {
            shelf.insert(&format!("k{index}"), entry(500));
        }
        assert!(shelf.get("k0", &HeaderMap::new()).is_some());
        for index in 8..12 {
            shelf.insert(&format!("k{index}"), entry(500));
        }
        assert!(shelf.bytes <= 10_000);
        assert!(shelf.get("k0", &HeaderMap::new()).is_some());
        assert!(shelf.get("k1", &HeaderMap::new()).is_none());
    }

    #[test]
    fn the_count_of_bytes_returns_to_zero() {
        let mut shelf = Shelf::new(100_000);
        for _ in 0..3 {
            shelf.insert("a", entry(10));
            shelf.insert("b", entry(20));
        }
        shelf.remove("a");
        shelf.remove("b");
        assert_eq!((shelf.bytes, shelf.clock.len()), (0, 0));
    }
}
