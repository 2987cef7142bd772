//! What users saw, slot by slot: the picture of a run.
//!
//! Prevents averages that hide when it hurt. Requests are put into the slot in which they were
//! due.

use std::ops::Range;

use hdrhistogram::Histogram;

use crate::availability::{LATENCY_US_MAX, is_excused};
use crate::load::{End, Sample};

/// Length of a slot.
pub(crate) const SLOT_MS: u64 = 250;

/// The requests that were due in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slot {
    /// Good and fresh answers.
    pub good: u32,
    /// Good answers that were stale.
    pub stale: u32,
    /// Failed requests, without the excused ones.
    pub failed: u32,
    /// Writes that failed while no replica lived.
    pub excused: u32,
    /// 99th percentile of latency from when they were due, milliseconds; 0 when none was due.
    pub p99_ms: f64,
}

/// The slots of a run of `length_ms`.
///
/// # Errors
/// The histogram cannot be made, which does not happen.
pub(crate) fn slots(
    samples: &[Sample],
    dark: &[Range<u64>],
    length_ms: u64,
) -> anyhow::Result<Vec<Slot>> {
    let count = usize::try_from(length_ms.div_ceil(SLOT_MS))?;
    let mut slots = vec![Slot::default(); count];
    let mut by_slot: Vec<Vec<&Sample>> = vec![Vec::new(); count];
    for sample in samples {
        let index = usize::try_from(sample.due_us / (SLOT_MS * 1_000))?;
        if let Some(slot) = by_slot.get_mut(index) {
            slot.push(sample);
        }
    }
    let mut latency = Histogram::<u64>::new_with_max(LATENCY_US_MAX, 3)?;
    for (slot, samples) in slots.iter_mut().zip(by_slot) {
        latency.reset();
        for sample in samples {
            latency.saturating_record(sample.latency_us);
            let counter = match sample.end {
                End::Good => &mut slot.good,
                End::Stale => &mut slot.stale,
                End::Failed(_) if is_excused(sample, dark) => &mut slot.excused,
                End::Failed(_) => &mut slot.failed,
            };
            *counter += 1;
        }
        slot.p99_ms = latency.value_at_quantile(0.99) as f64 / 1_000.0;
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::availability::tests::{READ, WRITE, failed, sample};

    #[test]
    fn requests_are_counted_in_the_slot_they_were_due_in() {
        let samples = [
            sample(0, READ, End::Good),
            sample(249, READ, End::Stale),
            sample(250, READ, failed()),
            sample(251, WRITE, failed()),
            sample(260, WRITE, End::Good),
        ];
        let dark = vec![251_000..252_000; 1];
        let slots = slots(&samples, &dark, 600).expect("valid bounds");
        let counts: Vec<_> = slots
            .iter()
            .map(|slot| (slot.good, slot.stale, slot.failed, slot.excused))
            .collect();
        assert_eq!(counts, [(1, 1, 0, 0), (1, 0, 1, 1), (0, 0, 0, 0)]);
        assert!((slots[0].p99_ms - 5.0).abs() < 0.1);
        assert!(slots[2].p99_ms.abs() < f64::EPSILON);
    }
}
