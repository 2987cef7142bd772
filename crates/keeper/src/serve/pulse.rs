//! Who was heard here, told to the leader; and connections that go when that is not possible.
//!
//! Prevents a client that holds a lock which others hold as well: a session ends at the leader
//! after its whole timeout in silence, and a client whose member cannot tell the leader that it
//! lives loses its connection before, so that it knows that it knows nothing.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

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

/// Tellings that are not answered yet: a slow answer is waited for while others are told of as well,
/// since a leader that is gone gives none, and the next one is to be told soon.
const TELLINGS_MAX: usize = 4;

/// Tells the leader, who may be this member, until it is dropped.
pub(super) async fn tell<R: Replica>(desk: &Desk, replica: &R) -> Infallible {
    let mut ticks = interval(every(&desk.settings));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // All whom no leader is known to count with; each telling names all of them.
    let mut untold = Arc::<BTreeSet<i64>>::default();
    let mut tellings = FuturesUnordered::new();
    let mut told = Instant::now();
    loop {
        tokio::select! {
            now = ticks.tick() => if tellings.len() < TELLINGS_MAX {
                Arc::make_mut(&mut untold).append(&mut desk.heard());
                let those = Arc::clone(&untold);
                tellings.push(async move {
                    let taken = replica.touch(&those).await;
                    (now, taken, those)
                });
            },
            Some((begun, taken, those)) = tellings.next() => if taken.is_ok() {
                told = told.max(begun);
                // Otherwise somebody was heard since.
                if Arc::ptr_eq(&those, &untold) {
                    untold = Arc::default();
                }
            },
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
