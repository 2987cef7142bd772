//! Atomics that count the writes of a thread.
//!
//! Prevents a claim that something is only read from being checked by its results: a store of the
//! value that is there already changes nothing, and takes the cache line from all other cores all
//! the same.

extern crate std;

use core::cell::Cell;
use core::sync::atomic::{self, Ordering};

std::thread_local! {
    static WRITES: Cell<u64> = const { Cell::new(0) };
}

/// Writes of this thread so far. An exchange that fails counts: it takes the cache line too.
pub(crate) fn writes() -> u64 {
    WRITES.get()
}

fn wrote() {
    WRITES.set(WRITES.get() + 1);
}

/// An atomic with the methods that this crate asks it for: those that change the value, and those
/// that change it if it is the expected one.
macro_rules! counted {
    ($name:ident, $value:ty, [$($change:ident),*], [$($exchange:ident),*]) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                wrote();
                self.0.store(value, order);
            }

            $(pub(crate) fn $change(&self, value: $value, order: Ordering) -> $value {
                wrote();
                self.0.$change(value, order)
            })*

            $(pub(crate) fn $exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                wrote();
                self.0.$exchange(current, new, success, failure)
            })*
        }
    };
}

counted!(
    AtomicU32,
    u32,
    [swap, fetch_add, fetch_sub, fetch_max],
    [compare_exchange_weak]
);
counted!(
    AtomicU64,
    u64,
    [swap, fetch_add, fetch_or],
    [compare_exchange, compare_exchange_weak]
);
