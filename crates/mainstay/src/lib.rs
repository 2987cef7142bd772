//! Policies that keep a service answering while its parts fail.
//!
//! | policy | the failure it prevents |
//! |---|---|
//! | [`breaker`] | calls pile up on an endpoint that only fails |
//! | [`retry`] | one lost packet becomes a lost request, or a retry storm |
//! | [`hedge`] | one slow answer in a hundred makes one page in two slow |
//! | [`timeout`], [`deadline`] | a call that never ends; work for somebody who left |
//! | [`bulkhead`] | one slow upstream uses up everything |
//! | [`rate_limit`] | one caller takes what all share |
//! | [`concurrency_limit`] | more calls than can be served in time |
//! | [`throttle`] | calls that an overloaded callee has to refuse |
//! | [`fallback`], [`cache`] | no answer, where an older or simpler one would do |
//! | [`coalesce`], [`batch`] | the same question asked a thousand times |
//! | [`adjudicate`] | one wrong answer is believed |
//! | [`detector`] | a dead peer is believed alive, or a late one dead |
//! | [`outlier`] | one bad endpoint among good ones keeps its share |
//! | [`fault`] | a protection that is first tried in an outage |
//! | [`pipeline`] | policies that work against each other |
//!
//! Each policy is a handle: cheap to clone, all clones share one state. The decisions are those
//! of `mainstay-core`, which has neither clock nor thread; this crate reads the clock, waits, and
//! hands what happened to an observer. One [`classify::Classify`] tells all of them what a failure
//! is, and all of them give one flat [`Error`].
//!
//! | feature | what it adds; none is on by default |
//! |---|---|
//! | `serde` | configurations are read from any format, in text: `"5s"`, `"50%"`, `"off"` |
//! | `tracing` | `adapter::Tracing`: events as events of `tracing` |
//! | `metrics` | `adapter::Metrics`: events as counters, circuits as gauges of the `metrics` facade |
//! | `test-util` | [`Clock`] is tokio's, so that a test that pauses the runtime pauses the policies |

pub mod adapter;
pub mod adjudicate;
mod admission;
pub mod batch;
pub mod breaker;
pub mod builder;
pub mod bulkhead;
pub mod cache;
pub mod classify;
pub mod clock;
pub mod coalesce;
pub mod concurrency_limit;
pub mod deadline;
pub mod detector;
pub mod error;
pub mod fallback;
pub mod fault;
mod gate;
#[cfg(test)]
mod heard;
pub mod hedge;
pub mod innermost;
mod lane;
mod name;
pub mod outlier;
pub mod pipeline;
pub mod rate_limit;
pub mod registry;
pub mod retry;
pub mod throttle;
pub mod timeout;
mod told;
mod waiters;

pub use mainstay_core::event::{Event, Observe};
pub use mainstay_core::outcome::{Outcome, Reason};
pub use mainstay_core::retry::Sent;
pub use mainstay_core::time::{Deadline, Instant};

pub use adjudicate::Adjudicator;
pub use batch::Batch;
pub use breaker::Breaker;
pub use bulkhead::Bulkhead;
pub use cache::Cache;
pub use classify::Classify;
pub use clock::Clock;
pub use coalesce::Coalesce;
pub use concurrency_limit::ConcurrencyLimit;
pub use detector::Detector;
pub use error::{Error, Rejection};
pub use fallback::Fallback;
pub use fault::Faults;
pub use hedge::Hedge;
pub use name::Name;
pub use outlier::Outliers;
pub use pipeline::{Config, Pipeline};
pub use rate_limit::RateLimiter;
pub use registry::Registry;
pub use retry::{Retry, RetryBudget};
pub use throttle::Throttle;
pub use timeout::Timeout;
