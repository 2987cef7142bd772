//! What users saw of an arm, in figures: availability, outage seconds, latency.
//!
//! Prevents flattering figures: each request of the plan counts once, in the arm it was sent to,
//! at the moment it was due. A stale answer is a good answer, but is counted apart. A write that
//! failed while no replica lived is excused (nobody could have taken it), is counted apart, and
//! stays in `failed`.

use std::collections::BTreeMap;
use std::ops::Range;

use hdrhistogram::Histogram;

use crate::arm::LATENCY;
use crate::load::{End, Sample};
use crate::plan::Ask;

/// Length of a slot of outage time.
pub(crate) const OUTAGE_SLOT_US: u64 = 100_000;

/// Longest latency that is told apart; patience ends long before.
pub(crate) const LATENCY_US_MAX: u64 = 60_000_000;

/// Reasons of failure that are told apart; a service cannot make the report grow.
const FAILURES_MAX: usize = 24;

/// Requests of one sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// How many count.
    pub(crate) asked: u64,
    /// How many of them got a good answer.
    pub(crate) good: u64,
}

impl Share {
    const fn count(&mut self, good: bool) {
        self.asked += 1;
        if good {
            self.good += 1;
        }
    }

    /// The good ones of all, 0 to 1; 0 when nothing was asked, because nothing was shown.
    pub(crate) fn ratio(self) -> f64 {
        if self.asked == 0 {
            return 0.0;
        }
        self.good as f64 / self.asked as f64
    }
}

/// What users saw.
#[derive(Debug)]
pub(crate) struct Availability {
    /// All reads.
    pub(crate) reads: Share,
    /// Good reads that were answered stale.
    pub(crate) stale: u64,
    /// The writes that are not excused.
    pub(crate) writes: Share,
    /// Writes that failed while no replica lived.
    pub(crate) excused: u64,
    /// Time in slots of 100 ms in which at least one read, or one write that is not excused, was
    /// due and then failed.
    pub(crate) outage_us: u64,
    /// Latency of all requests from when they were due, failed ones included, microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Failed requests by the word why.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Availability {
    /// The figures of `samples`, where no replica lived during the times in `dark`
    /// (microseconds).
    ///
    /// # Errors
    /// The histogram cannot be made, which does not happen.
    pub(crate) fn of(samples: &[Sample], dark: &[Range<u64>]) -> anyhow::Result<Self> {
        let mut figures = Self {
            reads: Share::default(),
            stale: 0,
            writes: Share::default(),
            excused: 0,
            outage_us: outage_us(samples, dark),
            latency: Histogram::new_with_max(LATENCY_US_MAX, 3)?,
            failures: BTreeMap::new(),
        };
        for sample in samples {
            figures.count(sample, dark);
        }
        Ok(figures)
    }

    fn count(&mut self, sample: &Sample, dark: &[Range<u64>]) {
        self.latency.saturating_record(sample.latency_us);
        match sample.ask {
            Ask::Read { .. } => self.reads.count(sample.is_good()),
            Ask::Write { .. } if is_excused(sample, dark) => self.excused += 1,
            Ask::Write { .. } => self.writes.count(sample.is_good()),
        }
        match &sample.end {
            End::Good => {},
            End::Stale => self.stale += 1,
            End::Failed(why) => self.count_failure(why),
        }
    }

    fn count_failure(&mut self, why: &str) {
        let is_new = !self.failures.contains_key(why);
        let why = if is_new && self.failures.len() >= FAILURES_MAX {
            "other"
        } else {
            why
        };
        *self.failures.entry(why.to_owned()).or_default() += 1;
    }

    /// All requests.
    pub(crate) const fn requests(&self) -> u64 {
        self.reads.asked + self.writes.asked + self.excused
    }

    /// All good answers, stale ones included.
    pub(crate) const fn good(&self) -> u64 {
        self.reads.good + self.writes.good
    }

    /// Good answers of all requests that are not excused, 0 to 1.
    pub(crate) fn overall(&self) -> f64 {
        let all = Share {
            asked: self.reads.asked + self.writes.asked,
            good: self.good(),
        };
        all.ratio()
    }

    /// A quantile of latency in milliseconds.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// A write that failed and was due while no replica lived, or so shortly before that the last of
/// them died before it could have answered.
pub(crate) fn is_excused(sample: &Sample, dark: &[Range<u64>]) -> bool {
    let answer_us = u64::try_from(LATENCY.as_micros()).unwrap_or(0);
    let unanswerable =
        |dark: &Range<u64>| sample.due_us + answer_us > dark.start && sample.due_us < dark.end;
    matches!(sample.ask, Ask::Write { .. }) && !sample.is_good() && dark.iter().any(unanswerable)
}

fn outage_us(samples: &[Sample], dark: &[Range<u64>]) -> u64 {
    let failed = samples
        .iter()
        .filter(|sample| !sample.is_good() && !is_excused(sample, dark));
    let slots: std::collections::BTreeSet<u64> = failed
        .map(|sample| sample.due_us / OUTAGE_SLOT_US)
        .collect();
    slots.len() as u64 * OUTAGE_SLOT_US
}

/// How long after `from_us` users saw the last of a fault, in milliseconds, rounded up: the end of
/// the last failed request that ended after the fault began and before the next one did, at
/// `until_us`. A request in flight when a fault begins belongs to that fault. Zero when none
/// failed. Excused writes count: users saw them.
pub(crate) fn restored_ms(samples: &[Sample], from_us: u64, until_us: u64) -> u64 {
    samples
        .iter()
        .filter(|sample| !sample.is_good())
        .map(|sample| sample.due_us + sample.latency_us)
        .filter(|end_us| (from_us + 1..=until_us).contains(end_us))
        .max()
        .map_or(0, |end_us| (end_us - from_us).div_ceil(1_000))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A sample that took 5 ms.
    pub(crate) fn sample(due_ms: u64, ask: Ask, end: End) -> Sample {
        Sample {
            due_us: due_ms * 1_000,
            latency_us: 5_000,
            ask,
            end,
        }
    }

    pub(crate) const READ: Ask = Ask::Read { account: 1 };
    pub(crate) const WRITE: Ask = Ask::Write { number: 1 };

    pub(crate) fn failed() -> End {
        End::Failed("timeout".to_owned())
    }

    fn of(samples: &[Sample], dark: &[Range<u64>]) -> Availability {
        Availability::of(samples, dark).expect("the bounds are valid")
    }

    #[test]
    fn stale_answers_are_good_and_counted_apart() {
        let figures = of(
            &[
                sample(0, READ, End::Good),
                sample(1, READ, End::Stale),
                sample(2, READ, failed()),
                sample(3, WRITE, End::Good),
            ],
            &[],
        );
        assert_eq!(figures.reads, Share { asked: 3, good: 2 });
        assert_eq!(
            (figures.stale, figures.requests(), figures.good()),
            (1, 4, 3)
        );
        assert!((figures.overall() - 0.75).abs() < 1e-9);
        assert_eq!(
            figures.failures,
            BTreeMap::from([("timeout".to_owned(), 1)])
        );
    }

    #[test]
    fn outage_is_counted_in_slots_of_the_time_requests_were_due() {
        let figures = of(
            &[
                sample(10, READ, failed()),
                sample(99, READ, failed()),
                sample(100, READ, failed()),
                sample(200, READ, End::Good),
                sample(350, WRITE, failed()),
            ],
            &[],
        );
        assert_eq!(figures.outage_us, 3 * OUTAGE_SLOT_US);
    }

    #[test]
    fn only_failed_writes_due_while_no_replica_lived_are_excused() {
        let dark = vec![1_000_000..2_000_000; 1];
        let figures = of(
            &[
                sample(989, WRITE, failed()),
                sample(999, WRITE, failed()),
                sample(1_000, WRITE, failed()),
                sample(1_500, WRITE, End::Good),
                sample(2_000, WRITE, failed()),
                sample(1_500, READ, End::Stale),
            ],
            &dark,
        );
        assert_eq!(figures.excused, 2, "an answer takes 10 ms");
        assert_eq!(figures.writes, Share { asked: 3, good: 1 });
        assert_eq!(figures.outage_us, 2 * OUTAGE_SLOT_US);
    }

    #[test]
    fn a_failed_read_is_never_excused() {
        let figures = of(&[sample(1_500, READ, failed())], &vec![0..9_000_000; 1]);
        assert_eq!((figures.excused, figures.outage_us), (0, OUTAGE_SLOT_US));
    }

    #[test]
    fn nothing_asked_is_no_availability() {
        assert!(of(&[], &[]).overall().abs() < f64::EPSILON);
    }

    #[test]
    fn latency_counts_failed_requests_too() {
        let mut slow = sample(0, READ, failed());
        slow.latency_us = 1_000_000;
        let figures = of(&[slow], &[]);
        assert!(figures.latency_ms(0.5) >= 999.0);
    }

    #[test]
    fn restored_is_the_end_of_the_last_failed_request() {
        let samples = [
            // Failed before the fault began.
            sample(900, READ, failed()),
            // In flight when it began.
            sample(997, READ, failed()),
            sample(1_800, READ, failed()),
            sample(2_500, READ, End::Stale),
            // In flight when the next fault began: belongs to that one.
            sample(4_997, READ, failed()),
        ];
        assert_eq!(restored_ms(&samples, 1_000_000, 5_000_000), 805);
        assert_eq!(restored_ms(&samples[..2], 1_000_000, 5_000_000), 2);
        assert_eq!(restored_ms(&samples[..1], 1_000_000, 5_000_000), 0);
    }

    #[test]
    fn a_service_cannot_make_the_list_of_failures_grow() {
        let samples: Vec<_> = (0..1_000)
            .map(|n| sample(n, READ, End::Failed(format!("503 {n}"))))
            .collect();
        let figures = of(&samples, &[]);
        assert_eq!(figures.failures.len(), FAILURES_MAX + 1);
        assert_eq!(figures.failures.values().sum::<u64>(), 1_000);
    }
}
