//! The atomics of this crate: `core`'s, or loom's when a model checker drives them.
//!
//! Prevents a lock-free protocol that is verified in one form and shipped in another: under
//! `--cfg loom` the very same code runs on atomics whose every interleaving is explored.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
