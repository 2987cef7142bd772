//! governor 0.10: GCRA in one word, asked directly.

use std::num::NonZeroU32;
use std::sync::Arc;

use ::governor::{Quota, RateLimiter};

use crate::case::Case;
use crate::subject::{Subject, Worker, worker, workers};

const NAME: &str = "governor";

pub(crate) const SUBJECTS: &[Subject] = &[Subject::new(Case::LimiterAcquire, NAME, acquire)];

/// A quota that is never used up: one call per nanosecond, and as many at once.
fn acquire(case: Case) -> Vec<Worker> {
    let limiter = Arc::new(RateLimiter::direct(Quota::per_second(QUOTA)));
    workers(case, &limiter, |limiter| {
        worker(move |_| limiter.check().is_ok())
    })
}

const QUOTA: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");
