//! The call that all subjects make, and the smallest thing that can run a future.
//!
//! Prevents a benchmark of an executor: futures here are ready when they are first asked.

use std::fmt;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failure {}

/// The answer to the call `number`.
pub(crate) const fn answer(number: u64, fails: bool) -> Result<u64, Failure> {
    if fails { Err(Failure) } else { Ok(number) }
}

/// [`answer`] as a future that is ready.
pub(crate) fn answered(number: u64, fails: bool) -> Ready<Result<u64, Failure>> {
    ready(answer(number, fails))
}

/// Polls once.
#[inline]
pub fn once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// How often [`now`] asks: some seconds.
const POLLS_MAX: u32 = 100_000_000;

/// The output of a future that is ready, or that waits for another thread which is about to leave:
/// asks again at once, which for so short a wait costs less than sleeping.
///
/// # Panics
///
/// When it keeps waiting: then there is nothing to measure.
#[expect(
    clippy::inline_always,
    reason = "as `await` is: a future that is moved into a function costs as much as some policies"
)]
#[inline(always)]
pub fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = once(future.as_mut()) {
            return output;
        }
        std::hint::spin_loop();
    }
    panic!("a future that was to be ready waits");
}
