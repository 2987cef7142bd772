//! When the protected node noticed a fault, and when it was whole again.
//!
//! Prevents credit for luck: only what names the target counts. Users who saw nothing do not
//! prove that anything was noticed.

use std::fmt;

use crate::plan::{PlannedFault, REPLICAS, Target, replica_name};

/// Events that say that something is wrong with the endpoint or replica they name.
const TELLING: [&str; 6] = [
    "replica_exited",
    "replica_killed",
    "replica_unready",
    "replica_crash_loop",
    "endpoint_unhealthy",
    "circuit_open",
];

/// Events that say that an endpoint or replica they name is well again.
const RECOVERING: [&str; 3] = ["endpoint_healthy", "circuit_closed", "replica_ready"];

/// How old a look may be: the node takes a snapshot once a second.
const SNAPSHOT_MS: u64 = 1_000;

/// How far back the balancer's shares are compared; long enough for about a hundred attempts.
const SHARE_WINDOW_MS: u64 = 500;

/// Attempts below which a share says nothing.
const SHARE_ATTEMPTS_MIN: u64 = 30;

/// An endpoint as one look at the node's status found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointState {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is healthy and its circuit closed.
    pub(crate) in_rotation: bool,
    /// Attempts since the start.
    pub(crate) attempts: u64,
}

/// One look at the node's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// When, milliseconds.
    pub(crate) at_ms: u64,
    /// The endpoints.
    pub(crate) endpoints: Vec<EndpointState>,
}

/// One event of the node, when it arrived here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// When it arrived, milliseconds.
    pub(crate) at_ms: u64,
    /// Its name.
    pub(crate) event: String,
    /// The endpoint or replica that it names.
    pub(crate) subject: String,
}

/// All that was seen of the node.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Looks at its status, in order.
    pub(crate) looks: Vec<Look>,
    /// Its events, in order of arrival.
    pub(crate) heard: Vec<Heard>,
}

/// A moment at which the node showed that it knew, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detection {
    /// Milliseconds after the fault began.
    pub(crate) after_ms: Option<u64>,
    /// What showed it, or why nothing did.
    pub(crate) by: String,
}

impl fmt::Display for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after_ms {
            Some(ms) => write!(f, "{ms} ms, {}", self.by),
            None => write!(f, "never, {}", self.by),
        }
    }
}

impl Watched {
    /// The first sign from `began_ms` on that the node knew of `fault`. Later than its end a sign
    /// is of the recovery, so it does not count.
    pub(crate) fn detection(&self, fault: &PlannedFault, began_ms: u64) -> Detection {
        let during = began_ms..=fault.ends_ms();
        let heard = self
            .heard
            .iter()
            .filter(|heard| during.contains(&heard.at_ms) && is_hit(fault.target, &heard.subject))
            .find(|heard| TELLING.contains(&heard.event.as_str()))
            .map(|heard| (heard.at_ms, heard.event.clone()));
        let looked = self
            .looks
            .iter()
            .filter(|look| during.contains(&look.at_ms))
            .find(|look| {
                look.endpoints
                    .iter()
                    .any(|e| !e.in_rotation && is_hit(fault.target, &e.name))
            })
            .map(|look| (look.at_ms, "out of rotation".to_owned()));
        let shifted = match fault.target {
            Target::Replica(index) => self
                .share_fell(&replica_name(index), began_ms, fault.ends_ms())
                .map(|at_ms| (at_ms, "less than half its fair share".to_owned())),
            Target::All => None,
        };
        let first = [heard, looked, shifted]
            .into_iter()
            .flatten()
            .min_by_key(|(at_ms, _)| *at_ms);
        first.map_or_else(
            || Detection {
                after_ms: None,
                by: self.unseen(fault, began_ms),
            },
            |(at_ms, by)| Detection {
                after_ms: Some(at_ms - began_ms),
                by,
            },
        )
    }

    /// Why there is no sign.
    fn unseen(&self, fault: &PlannedFault, began_ms: u64) -> String {
        let nothing = "no event and no state named the target while the fault lasted";
        let Target::Replica(index) = fault.target else {
            return nothing.to_owned();
        };
        let mut during = self.during(began_ms, fault.ends_ms());
        let (Some(first), Some(last)) = (during.next(), during.last()) else {
            return nothing.to_owned();
        };
        let (mine, all) = shares(first, last, &replica_name(index));
        let percent = mine * 100 / all.max(1);
        let fair = 100 / REPLICAS;
        format!("{nothing}, and it got {percent} % of attempts where a fair share is {fair} %")
    }

    /// The looks of a time.
    fn during(&self, from_ms: u64, to_ms: u64) -> impl Iterator<Item = &Look> {
        let looks = self.looks.iter();
        looks.filter(move |look| (from_ms..=to_ms).contains(&look.at_ms))
    }

    /// When the balancer first gave the endpoint called `name` less than half its fair share of
    /// attempts, over a window that began after `began_ms`.
    fn share_fell(&self, name: &str, began_ms: u64, ends_ms: u64) -> Option<u64> {
        let during: Vec<_> = self.during(began_ms, ends_ms).collect();
        let fell = |(index, look): (usize, &&Look)| {
            let before = during[..index]
                .iter()
                .rev()
                .find(|before| before.at_ms + SHARE_WINDOW_MS <= look.at_ms)?;
            let (mine, all) = shares(before, look, name);
            let fell = all >= SHARE_ATTEMPTS_MIN && mine * 2 * REPLICAS as u64 <= all;
            fell.then_some(look.at_ms)
        };
        during.iter().enumerate().find_map(fell)
    }

    /// How long after `began_ms` all replicas were in rotation again, as far as `until_ms`; zero
    /// when nothing said that one was out of it, `None` when they were not back by then.
    ///
    /// A look tells that they are back, up to a second late; the last event of a recovery before
    /// it tells since when.
    pub(crate) fn whole_ms(&self, began_ms: u64, until_ms: u64) -> Option<u64> {
        let is_whole = |look: &Look| {
            look.endpoints.len() == REPLICAS && look.endpoints.iter().all(|e| e.in_rotation)
        };
        let last_heard = |names: &[&str], before_ms: u64| {
            let heard = self
                .heard
                .iter()
                .rev()
                .filter(|heard| heard.at_ms <= before_ms);
            let mut heard = heard.filter(|heard| names.contains(&heard.event.as_str()));
            heard
                .next()
                .map(|heard| heard.at_ms)
                .filter(|at_ms| *at_ms >= began_ms)
        };
        let window: Vec<_> = self.during(began_ms, until_ms).collect();
        let last_broken = window.iter().rposition(|look| !is_whole(look));
        let after_broken = last_broken.map_or(0, |index| index + 1);
        let broken_ms = last_heard(&TELLING, until_ms);
        // The first look that can know: the node takes a snapshot once a second.
        let whole = window[after_broken..]
            .iter()
            .find(|look| broken_ms.is_none_or(|ms| look.at_ms > ms + SNAPSHOT_MS))?;
        if last_broken.is_none() && broken_ms.is_none() {
            return Some(0);
        }
        let recovered_ms = last_heard(&RECOVERING, whole.at_ms);
        let since_ms = recovered_ms.filter(|ms| broken_ms.is_none_or(|broken| *ms >= broken));
        Some(since_ms.unwrap_or(whole.at_ms) - began_ms)
    }
}

fn is_hit(target: Target, subject: &str) -> bool {
    match target {
        Target::Replica(index) => subject == replica_name(index),
        Target::All => (0..REPLICAS).any(|index| subject == replica_name(index)),
    }
}

/// Attempts between two looks: at the endpoint called `name`, and at all.
fn shares(before: &Look, after: &Look, name: &str) -> (u64, u64) {
    let mut mine = 0;
    let mut all = 0;
    for endpoint in &after.endpoints {
        let earlier = before.endpoints.iter().find(|e| e.name == endpoint.name);
        let earlier = earlier.map_or(0, |endpoint| endpoint.attempts);
        let made = endpoint.attempts.saturating_sub(earlier);
        all += made;
        if endpoint.name == name {
            mine = made;
        }
    }
    (mine, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Kind;

    fn fault(kind: Kind, target: Target) -> PlannedFault {
        PlannedFault {
            kind,
            target,
            at_ms: 1_000,
            for_ms: 4_000,
        }
    }

    fn heard(at_ms: u64, event: &str, subject: &str) -> Heard {
        Heard {
            at_ms,
            event: event.to_owned(),
            subject: subject.to_owned(),
        }
    }

    fn look(at_ms: u64, attempts: [u64; 3], out: Option<usize>) -> Look {
        let state = |index: usize| EndpointState {
            name: replica_name(index),
            in_rotation: out != Some(index),
            attempts: attempts[index],
        };
        Look {
            at_ms,
            endpoints: (0..3).map(state).collect(),
        }
    }

    const SECOND: Target = Target::Replica(1);

    #[test]
    fn the_first_telling_event_that_names_the_target_counts() {
        let watched = Watched {
            heard: vec![
                heard(900, "circuit_open", "payment-2"),
                heard(1_010, "circuit_open", "payment-1"),
                heard(1_020, "circuit_half_open", "payment-2"),
                heard(1_030, "replica_exited", "payment-2"),
                heard(1_040, "circuit_open", "payment-2"),
            ],
            looks: vec![look(1_100, [0; 3], Some(1))],
        };
        let detection = watched.detection(&fault(Kind::Kill, SECOND), 1_002);
        assert_eq!(detection.to_string(), "28 ms, replica_exited");
    }

    #[test]
    fn a_look_counts_when_no_event_came_before_it() {
        let watched = Watched {
            heard: Vec::new(),
            looks: vec![look(1_100, [0; 3], Some(0)), look(1_200, [0; 3], Some(1))],
        };
        let detection = watched.detection(&fault(Kind::Pause, SECOND), 1_000);
        assert_eq!(detection.to_string(), "200 ms, out of rotation");
        let all = watched.detection(&fault(Kind::Outage, Target::All), 1_000);
        assert_eq!(all.after_ms, Some(100));
    }

    #[test]
    fn a_fault_that_nothing_named_was_not_detected() {
        let watched = Watched {
            heard: vec![heard(5_001, "circuit_open", "payment-2")],
            looks: vec![look(1_100, [0; 3], None)],
        };
        let detection = watched.detection(&fault(Kind::Error, SECOND), 1_000);
        assert_eq!(detection.after_ms, None);
        assert!(detection.by.contains("no event"));
    }

    #[test]
    fn a_slow_replica_is_detected_when_its_share_falls_below_half() {
        let steps = [
            look(1_000, [0, 0, 0], None),
            look(1_500, [40, 40, 40], None),
            look(2_000, [90, 58, 92], None),
            look(2_500, [150, 60, 150], None),
        ];
        let watched = Watched {
            heard: Vec::new(),
            looks: steps.to_vec(),
        };
        let slow = watched.detection(&fault(Kind::Slow, SECOND), 1_000);
        assert_eq!(slow.after_ms, Some(1_000));
        let other = watched.detection(&fault(Kind::Slow, Target::Replica(0)), 1_000);
        assert_eq!(other.after_ms, None);
        assert!(other.by.contains("fair share"));
    }

    #[test]
    fn whole_is_the_first_look_after_the_last_broken_one() {
        let looks = |broken: [bool; 4]| {
            let steps = broken.iter().zip([1_000, 2_000, 3_000, 4_000]);
            let looks = steps.map(|(out, at)| look(at, [0; 3], out.then_some(2)));
            Watched {
                heard: Vec::new(),
                looks: looks.collect(),
            }
        };
        let whole = |broken| looks(broken).whole_ms(1_000, 5_000);
        assert_eq!(whole([true, false, true, false]), Some(3_000));
        assert_eq!(whole([false; 4]), Some(0));
        assert_eq!(whole([true; 4]), None);
        assert_eq!(Watched::default().whole_ms(0, 9_000), None);
    }

    #[test]
    fn the_event_of_the_recovery_says_since_when_all_are_back() {
        let watched = Watched {
            heard: vec![
                heard(1_010, "replica_exited", "payment-2"),
                heard(1_300, "endpoint_healthy", "payment-2"),
            ],
            // Looks are up to a second old, so the second one still shows what was.
            looks: vec![
                look(1_000, [0; 3], None),
                look(2_000, [0; 3], Some(1)),
                look(3_000, [0; 3], None),
            ],
        };
        assert_eq!(watched.whole_ms(1_000, 5_000), Some(300));
        // Back and out again between two looks: the looks alone would have missed it.
        let unseen = Watched {
            looks: vec![look(2_900, [0; 3], None)],
            ..watched
        };
        assert_eq!(unseen.whole_ms(1_000, 5_000), Some(300));
        assert_eq!(unseen.whole_ms(1_000, 2_500), None);
    }
}
