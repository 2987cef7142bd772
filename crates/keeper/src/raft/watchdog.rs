//! Watches how long the disk takes: a leader whose disk hangs hands over.
//!
//! Prevents an ensemble that waits for one disk: a leader that answers heartbeats and makes nothing
//! durable is never replaced by the others, who see nothing wrong (hashicorp/raft#683). It leaves
//! the lead to the member that is nearest, after which openraft takes no proposals here; when the
//! disk is back, this member follows.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use openraft::Raft;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::engine::Engine;
use super::handover::hand_over;
use super::machine::Machine;
use super::store::{Flushes, Store};
use crate::disk::SharedDisk;
use crate::replica::DiskStanding;

/// After how long a leader whose disk makes nothing durable hands over: another disk is faster.
const HANDS_OVER_AFTER: Duration = Duration::from_secs(1);

/// After how long new writes are refused. A disk that is merely slow is waited for: on a machine
/// that writes back gigabytes for others a sync takes seconds, and an error helps nobody then.
const REFUSES_AFTER: Duration = Duration::from_secs(3);

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a leader tries to hand over.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// What the disk does, as the watchdog saw it last; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<AtomicU8>);

impl Seen {
    pub(super) fn disk(&self) -> DiskStanding {
        let all = [DiskStanding::Full, DiskStanding::Hangs];
        let seen = self.0.load(Ordering::Relaxed);
        all.into_iter()
            .find(|&one| one as u8 == seen)
            .unwrap_or_default()
    }

    fn note(&self, disk: DiskStanding) {
        self.0.store(disk as u8, Ordering::Relaxed);
    }
}

/// For how long a disk has made nothing durable of what it was asked.
#[derive(Debug, Default)]
struct Stall {
    done: u64,
    since: Option<Instant>,
}

impl Stall {
    /// The answer to what was asked and done by `now`.
    fn look(&mut self, now: Instant, Flushes { asked, done }: Flushes) -> Duration {
        if done != self.done || done == asked {
            *self = Self { done, since: None };
        }
        if done == asked {
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.since.get_or_insert(now))
    }
}

/// Watches the disk of `member`, and notes in `seen` what it does.
#[expect(
    clippy::infinite_loop,
    reason = "the type says that it does not end; the lint knows `!` only"
)]
pub(super) async fn watch<D: SharedDisk>(
    member: u64,
    raft: Raft<Engine, Machine<D>>,
    store: Store,
    seen: Seen,
) -> Infallible {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stall = Stall::default();
    let mut tried: Option<Instant> = None;
    loop {
        let now = look.tick().await;
        let stalled = stall.look(now, store.flushes());
        seen.note(match stalled >= REFUSES_AFTER {
            _ if store.is_full() => DiskStanding::Full,
            true => DiskStanding::Hangs,
            false => DiskStanding::Fine,
        });
        let leads = raft.metrics().borrow_watched().current_leader == Some(member);
        let is_time = tried.is_none_or(|at| now.saturating_duration_since(at) >= AGAIN_AFTER);
        let hands_over = stalled >= HANDS_OVER_AFTER;
        if hands_over && leads && is_time {
            tried = Some(now);
            hand_over(member, &raft).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_last_is_what_the_disk_does() {
        let seen = Seen::default();
        assert_eq!(seen.disk(), DiskStanding::Fine);
        for disk in [DiskStanding::Hangs, DiskStanding::Full, DiskStanding::Fine] {
            seen.note(disk);
            assert_eq!(seen.clone().disk(), disk);
        }
    }

    #[test]
    fn a_disk_hangs_while_it_does_nothing_of_what_it_was_asked() {
        let start = Instant::now();
        let mut stall = Stall::default();
        let mut look = |millis, asked, done| {
            let now = start + Duration::from_millis(millis);
            stall.look(now, Flushes { asked, done }).as_millis()
        };
        assert_eq!(look(0, 0, 0), 0, "nothing was asked");
        assert_eq!(look(500, 3, 0), 0);
        assert_eq!(look(900, 7, 0), 400, "more that is asked changes nothing");
        assert_eq!(look(1_000, 7, 1), 0, "slow is not hanging");
        assert_eq!(look(1_700, 9, 1), 700);
        assert_eq!(look(1_800, 9, 9), 0, "it is back");
        assert_eq!(look(9_000, 10, 9), 0, "and idle since");
    }
}
