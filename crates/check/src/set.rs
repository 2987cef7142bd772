//! A set that is only added to, and read at the end: was anything lost, doubled or invented?
//!
//! Prevents losing an acknowledged write unseen. The workload is Jepsen's: every element is
//! unique and is added once. What always holds: an element whose add was acknowledged must be
//! there, one whose end nobody knows may be, and nothing else is.

use std::collections::BTreeMap;
use std::fmt;

/// How an add ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Add {
    /// The store said that it is in.
    Acknowledged,
    /// Nobody knows.
    Unknown,
    /// The store said, for certain, that it is not in and never will be.
    Failed,
}

/// What the set checker says. Elements are in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Acknowledged, and not there.
    pub lost: Vec<u64>,
    /// There more than once.
    pub duplicated: Vec<u64>,
    /// There, though never added or certain to have failed.
    pub unexpected: Vec<u64>,
    /// Unknown, and there. That is allowed.
    pub recovered: Vec<u64>,
    /// How many adds were acknowledged.
    pub acknowledged: usize,
}

impl Report {
    /// Whether nothing was lost, doubled or invented.
    pub const fn is_kept(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty() && self.unexpected.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged adds: {} lost, {} duplicated, {} unexpected, {} recovered",
            self.acknowledged,
            self.lost.len(),
            self.duplicated.len(),
            self.unexpected.len(),
            self.recovered.len()
        )
    }
}

/// Compares the adds with the last read of the set.
pub fn check(adds: &[(u64, Add)], last_read: &[u64]) -> Report {
    let mut known: BTreeMap<u64, Add> = BTreeMap::new();
    for (element, add) in adds {
        // If an element was added twice against the rule, the firmest answer counts.
        let known = known.entry(*element).or_insert(*add);
        if firmness(*add) > firmness(*known) {
            *known = *add;
        }
    }
    let mut there: BTreeMap<u64, usize> = BTreeMap::new();
    for element in last_read {
        *there.entry(*element).or_default() += 1;
    }
    let mut report = Report::default();
    for (element, count) in &there {
        if *count > 1 {
            report.duplicated.push(*element);
        }
        match known.get(element) {
            Some(Add::Acknowledged) => {},
            Some(Add::Unknown) => report.recovered.push(*element),
            Some(Add::Failed) | None => report.unexpected.push(*element),
        }
    }
    for (element, add) in &known {
        if *add == Add::Acknowledged {
            report.acknowledged += 1;
            if !there.contains_key(element) {
                report.lost.push(*element);
            }
        }
    }
    report
}

const fn firmness(add: Add) -> u8 {
    match add {
        Add::Failed => 0,
        Add::Unknown => 1,
        Add::Acknowledged => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_element_must_be_there_and_an_unknown_one_may() {
        let adds = [
            (1, Add::Acknowledged),
            (2, Add::Unknown),
            (3, Add::Unknown),
            (4, Add::Failed),
        ];
        let report = check(&adds, &[1, 2]);
        assert!(report.is_kept());
        assert_eq!(report.recovered, [2]);
    }

    #[test]
    fn what_is_lost_doubled_or_invented_is_named() {
        let adds = [
            (1, Add::Acknowledged),
            (2, Add::Acknowledged),
            (4, Add::Failed),
        ];
        let report = check(&adds, &[2, 4, 9, 2]);
        assert!(!report.is_kept());
        assert_eq!(
            (&*report.lost, &*report.duplicated, &*report.unexpected),
            (&[1][..], &[2][..], &[4, 9][..])
        );
        assert_eq!(
            report.to_string(),
            "2 acknowledged adds: 1 lost, 1 duplicated, 2 unexpected, 0 recovered"
        );
    }
}
