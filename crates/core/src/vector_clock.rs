//! Vector clocks: which of two events of different nodes could have caused the other.
//!
//! Prevents merged histories in an impossible order: wall clocks of two machines disagree, a
//! vector clock cannot (Fidge, "Timestamps in Message-Passing Systems That Preserve the Partial
//! Ordering", 1988; Mattern, "Virtual Time and Global States of Distributed Systems", 1989). Every
//! node stamps its events and heartbeats.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// How many nodes one clock follows; a cluster has few nodes, a hostile peer could name many.
pub const NODES_MAX: usize = 1_024;

/// For each node, how many of its events are known.
///
/// ```
/// use std::sync::Arc;
/// use mainstay_core::vector_clock::{Causality, VectorClock};
///
/// let (one, two): (Arc<str>, Arc<str>) = ("node-1".into(), "node-2".into());
/// let mut sent = VectorClock::new();
/// sent.tick(&one);
/// let mut heard = VectorClock::new();
/// heard.merge(&sent);
/// heard.tick(&two);
/// assert_eq!(sent.causality(&heard), Causality::Before, "whatever their clocks say");
///
/// let mut alone = VectorClock::new();
/// alone.tick(&two);
/// assert_eq!(sent.causality(&alone), Causality::Concurrent);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct VectorClock(BTreeMap<Arc<str>, u64>);

/// How two stamps relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Causality {
    /// The same stamp.
    Same,
    /// The first happened before the second.
    Before,
    /// The second happened before the first.
    After,
    /// Neither could have caused the other.
    Concurrent,
}

impl VectorClock {
    /// A clock that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many events of `node` are known; 0 for a node that is not.
    pub fn get(&self, node: &str) -> u64 {
        self.0.get(node).copied().unwrap_or(0)
    }

    /// Counts one event of `node`; the clock now stamps that event.
    pub fn tick(&mut self, node: &Arc<str>) {
        match self.0.get_mut(&**node) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.0.insert(Arc::clone(node), 1);
            },
        }
    }

    /// Learns all that `other` knows. Nodes beyond [`NODES_MAX`] are not learned.
    pub fn merge(&mut self, other: &Self) {
        for (node, &count) in &other.0 {
            if let Some(known) = self.0.get_mut(node) {
                *known = (*known).max(count);
            } else if self.0.len() < NODES_MAX {
                self.0.insert(Arc::clone(node), count);
            }
        }
    }

    /// How this stamp relates to `other`.
    pub fn causality(&self, other: &Self) -> Causality {
        let behind = self.0.iter().all(|(node, &count)| count <= other.get(node));
        let ahead = other.0.iter().all(|(node, &count)| count <= self.get(node));
        match (behind, ahead) {
            (true, true) => Causality::Same,
            (true, false) => Causality::Before,
            (false, true) => Causality::After,
            (false, false) => Causality::Concurrent,
        }
    }

    /// Whether what bears this stamp could have caused what bears `other`.
    pub fn happened_before(&self, other: &Self) -> bool {
        self.causality(other) == Causality::Before
    }
}

#[cfg(test)]
mod tests;
