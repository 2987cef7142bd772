//! The atomics of this crate: `core`'s, or loom's when a model checker drives them.
//!
//! Prevents a lock-free protocol that is verified in one form and shipped in another: under
//! `--cfg loom` the very same code runs on atomics whose every interleaving is explored. In this
//! crate's own tests each also counts its writes.

#[cfg(all(test, not(loom)))]
pub(crate) use self::counted::{AtomicU32, AtomicU64, writes};
#[cfg(not(any(test, loom)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(all(test, not(loom)))]
mod counted;
