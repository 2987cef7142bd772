//! Policies that keep a service answering while its parts fail.
//!
//! | policy | the failure it prevents |
//! |---|---|
//! | [`breaker`] | calls pile up on an endpoint that only fails |
//! | [`retry`] | one lost packet becomes a lost request, or a retry storm |
//! | [`bulkhead`] | one slow upstream uses up everything |
//! | [`timeout`] | a call that never ends |
//!
//! Each policy is a handle: cheap to clone, all clones share one state. The decisions are those
//! of `mainstay-core`, which has neither clock nor thread; this crate reads the clock, waits, and
//! hands what happened to an observer.

pub mod breaker;
pub mod bulkhead;
pub mod clock;
pub mod error;
#[cfg(test)]
mod heard;
pub mod retry;
pub mod timeout;

pub use mainstay_core::event::{Event, Observe};
pub use mainstay_core::outcome::{Outcome, Reason};
pub use mainstay_core::retry::Sent;
pub use mainstay_core::time::{Deadline, Instant};

pub use breaker::Breaker;
pub use bulkhead::Bulkhead;
pub use clock::Clock;
pub use error::{Error, Rejection};
pub use retry::{Retry, RetryBudget};
pub use timeout::Timeout;
