//! Who was heard here, told to the leader; and connections that go when that is not possible.
//!
//! Prevents a client that holds a lock which others hold as well: a session ends at the leader
//! after its whole timeout in silence, and a client whose member cannot tell the leader that it
//! lives loses its connection before, so that it knows that it knows nothing.

use std::collections::BTreeSet;
use std::convert::Infallible;

use tokio::time::{Duration, Instant, MissedTickBehavior, interval, timeout};

use super::desk::Desk;
use super::settings::Settings;
use crate::replica::Replica;

/// How often the leader is told: a sixth of the shortest timeout, within these.
const EVERY_MIN: Duration = Duration::from_millis(200);
const EVERY_MAX: Duration = Duration::from_secs(1);

/// How often the leader is told.
fn every(settings: &Settings) -> Duration {
    let timeout_ms = u64::try_from(settings.timeout_min_ms).unwrap_or(0);
    Duration::from_millis(timeout_ms / 6).clamp(EVERY_MIN, EVERY_MAX)
}

/// Tells the leader, who may be this member, until it is dropped.
#[expect(
    clippy::infinite_loop,
    reason = "the type says that it does not end; the lint knows `!` only"
)]
pub(super) async fn tell<R: Replica>(desk: &Desk, replica: &R) -> Infallible {
    let every = every(&desk.settings);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut untold = BTreeSet::new();
    let mut told = Instant::now();
    loop {
        let now = ticks.tick().await;
        untold.append(&mut desk.heard());
        let tells = timeout(every, replica.touch(&untold)).await;
        if tells.is_ok_and(|told| told.is_ok()) {
            untold.clear();
            told = now;
        }
        desk.let_go(told.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_told_often_enough_for_the_shortest_timeout() {
        let every_of = |timeout_min_ms| {
            every(&Settings {
                timeout_min_ms,
                ..Settings::default()
            })
        };
        assert_eq!(every_of(4_000), Duration::from_millis(666));
        assert_eq!(every_of(300), EVERY_MIN);
        assert_eq!(every_of(40_000), EVERY_MAX);
    }
}
