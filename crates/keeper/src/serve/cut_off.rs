//! A member that no leader speaks to: what its clients may still do.
//!
//! Prevents a client that is kept waiting where nothing can be agreed on: whoever comes is sent
//! away at once, so that it tries a member that has a quorum, and its session lives on there. Those
//! who said that reading will do are served what this member has, if it is set so; their sessions
//! are known here only, and end when there is a leader again, so that they come for real.
//!
//! As `ReadOnlyZooKeeperServer` of ZooKeeper 3.8 does it: the same time of grace, the same refusals.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval};

use super::desk::{Desk, lock};
use super::settings::{Settings, WithoutQuorum};
use crate::proposal::Password;
use crate::replica::Replica;

/// No shorter silence of the leader counts: an election takes a moment.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// How often is looked who leads.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Most sessions that read only: each costs memory until it was silent for its timeout.
const SESSIONS_MAX: usize = 10_000;

/// Whether this member is cut off, and who reads here all the same.
#[derive(Debug, Default)]
pub(super) struct CutOff {
    is: watch::Sender<bool>,
    sessions: Mutex<BTreeMap<i64, Reading>>,
}

/// A session that is known here only.
#[derive(Clone, Copy, Debug)]
struct Reading {
    password: Password,
    timeout_ms: i32,
    until: Instant,
}

impl Reading {
    fn touch(&mut self, now: Instant) {
        let timeout_ms = u64::try_from(self.timeout_ms).unwrap_or_default();
        self.until = now + Duration::from_millis(timeout_ms);
    }
}

impl CutOff {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<i64, Reading>> {
        lock(&self.sessions)
    }

    /// Whether nobody has led for long enough.
    pub(super) fn is(&self) -> bool {
        *self.is.borrow()
    }

    /// Waits until nobody has led for long enough.
    pub(super) async fn begins(&self) {
        // The sender is `self`, and does not go meanwhile.
        drop(self.is.subscribe().wait_for(|is| *is).await);
    }

    /// A session begins; `false` when there are too many.
    pub(super) fn open(&self, session: i64, password: Password, timeout_ms: i32) -> bool {
        let mut sessions = self.sessions();
        let has_room = sessions.len() < SESSIONS_MAX;
        if has_room {
            let mut reading = Reading {
                password,
                timeout_ms,
                until: Instant::now(),
            };
            reading.touch(Instant::now());
            sessions.insert(session, reading);
        }
        has_room
    }

    /// The timeout of a session that goes on, if there is one with this password.
    pub(super) fn attach(&self, session: i64, password: &[u8]) -> Option<i32> {
        let mut sessions = self.sessions();
        let reading = sessions.get_mut(&session)?;
        if reading.password != password {
            return None;
        }
        reading.touch(Instant::now());
        Some(reading.timeout_ms)
    }

    /// A session ends.
    pub(super) fn close(&self, session: i64) {
        self.sessions().remove(&session);
    }

    /// Looks who is still there: those who were heard, and not those who were silent for too long.
    fn step(&self, desk: &Desk, now: Instant) {
        let mut sessions = self.sessions();
        for line in desk.connections().iter().filter(|line| line.reads_only()) {
            if line.was_heard()
                && let Some(reading) = sessions.get_mut(&line.session())
            {
                reading.touch(now);
            }
        }
        sessions.retain(|_, reading| reading.until > now);
        for line in desk.connections().iter().filter(|line| line.reads_only()) {
            if !sessions.contains_key(&line.session()) {
                line.hang_up();
            }
        }
    }

    /// There is a leader.
    fn end(&self, desk: &Desk) {
        self.is.send_replace(false);
        self.sessions().clear();
        for line in desk.connections().iter().filter(|line| line.reads_only()) {
            line.hang_up();
        }
    }
}

fn grace(settings: &Settings) -> Duration {
    Duration::from_millis(settings.tick_ms.into()).max(GRACE_MIN)
}

impl Settings {
    /// Whether who only reads is served without a quorum.
    pub(super) fn serves_readers(&self) -> bool {
        self.without_quorum == WithoutQuorum::Read
    }
}

/// Watches whether somebody leads, until it is dropped.
#[expect(
    clippy::infinite_loop,
    reason = "the type says that it does not end; the lint knows `!` only"
)]
pub(super) async fn watch<R: Replica>(desk: &Desk, replica: &R) -> Infallible {
    let grace = grace(&desk.settings);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut led = Instant::now();
    loop {
        let now = looks.tick().await;
        let cut_off = &desk.cut_off;
        if replica.standing().leader.is_some() {
            led = now;
            if cut_off.is() {
                cut_off.end(desk);
            }
        } else if cut_off.is() {
            cut_off.step(desk, now);
        } else if now.saturating_duration_since(led) >= grace {
            cut_off.is.send_replace(true);
        }
    }
}
