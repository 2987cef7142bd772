//! How much a call matters when not all can be served.
//!
//! Prevents an overload from hitting all calls alike: what nobody waits for is shed first, and what
//! must not fail is shed last (Beyer and others, "Site Reliability Engineering", O'Reilly 2016,
//! chapter 21, "Criticality").
//!
//! ```
//! use mainstay_core::limit::priority::Priority;
//!
//! // With 60 of 100 places taken, reports no longer wait, and payments still do.
//! assert!(Priority::Low.share(100) < 60);
//! assert!(Priority::Critical.share(100) > 60);
//! ```

/// How much a call matters; the greater, the more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Nobody waits for it: prefetching, reports, crawlers.
    Low,
    /// The default.
    #[default]
    Normal,
    /// A person waits for it.
    High,
    /// The system breaks without it: health, payments, the operator.
    Critical,
}

impl Priority {
    /// All of them, the most important last: `ALL[priority as usize] == priority`.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The word in logs and configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// How much of a queue of `queue` places is open to such calls: a quarter, half, three
    /// quarters, all of it; rounded up, so that a short queue is closed to nobody.
    pub const fn share(self, queue: u32) -> u32 {
        let quarters = match self {
            Self::Low => 1,
            Self::Normal => 2,
            Self::High => 3,
            Self::Critical => 4,
        };
        // Never above `queue`, which fits.
        (queue / 4) * quarters + (queue % 4 * quarters).div_ceil(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_important_calls_have_more_of_the_queue() {
        let shares = |queue| Priority::ALL.map(|priority| priority.share(queue));
        assert_eq!(shares(100), [25, 50, 75, 100]);
        assert_eq!(shares(1), [1, 1, 1, 1]);
        assert_eq!(shares(0), [0, 0, 0, 0]);
        let quarter = u32::MAX / 4 + 1;
        assert_eq!(shares(u32::MAX)[0], quarter);
        assert_eq!(shares(u32::MAX)[3], u32::MAX);
    }

    #[test]
    fn every_priority_is_at_its_own_place_in_the_list() {
        for (index, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(priority as usize, index);
        }
        assert!(Priority::Critical > Priority::Low);
    }
}
