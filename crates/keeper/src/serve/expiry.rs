//! When sessions are over: the leader's account of who was silent for how long.
//!
//! Prevents sessions that end because the server slept: time passes here by steps, and a step that
//! came late counts as if it had come in time. So a paused process, a stopped machine or a slow
//! disk gives every session the time back that nobody could be heard in (etcd revoked all leases
//! in that case: etcd#15247, #12528).
//!
//! Always holds: a session is in the table and in the queue, or in neither; nobody is due before
//! the whole timeout went by without a sign of life.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::{Duration, Instant};

/// Most sessions that are over in one step: their ends are writes, and clients wait behind them.
const EXPIRED_MAX: usize = 1_000;

/// Who was heard when. Times are those of its own clock, which stands still while nobody steps.
#[derive(Debug)]
pub struct Expiry {
    /// Own time.
    time: Duration,
    stepped: Instant,
    step_max: Duration,
    of: BTreeMap<i64, Silence>,
    queue: BTreeSet<(Duration, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    allowed: Duration,
    until: Duration,
}

impl Expiry {
    /// Nobody yet. A step that takes longer than `step_max` counts as that.
    pub const fn new(now: Instant, step_max: Duration) -> Self {
        Self {
            time: Duration::ZERO,
            stepped: now,
            step_max,
            of: BTreeMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// Time goes on; returns by how much the step was late.
    pub fn step(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.stepped);
        self.stepped = now;
        self.time += passed.min(self.step_max);
        passed.saturating_sub(self.step_max)
    }

    /// A session is there, and may be silent for its whole timeout from now on.
    pub fn open(&mut self, session: i64, timeout_ms: i32) {
        self.close(session);
        let allowed = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        let until = self.time + allowed;
        self.of.insert(session, Silence { allowed, until });
        self.queue.insert((until, session));
    }

    /// A session was heard; one that is not known is not.
    pub fn touch(&mut self, session: i64) {
        let Some(silence) = self.of.get_mut(&session) else {
            return;
        };
        self.queue.remove(&(silence.until, session));
        silence.until = self.time + silence.allowed;
        self.queue.insert((silence.until, session));
    }

    /// A session is over.
    pub fn close(&mut self, session: i64) {
        if let Some(silence) = self.of.remove(&session) {
            self.queue.remove(&(silence.until, session));
        }
    }

    /// Sessions that were silent for too long. Whoever is still there after another timeout is
    /// named again: their end may have got lost with a leader.
    pub fn due(&mut self) -> Vec<i64> {
        let due = self
            .queue
            .iter()
            .take_while(|(until, _)| *until <= self.time);
        let due: Vec<i64> = due.take(EXPIRED_MAX).map(|&(_, session)| session).collect();
        for &session in &due {
            self.touch(session);
        }
        due
    }

    /// Forgets all, and begins with `sessions` and their timeouts: a new leader gives everybody
    /// the whole time.
    pub fn begin(&mut self, sessions: impl Iterator<Item = (i64, i32)>) {
        self.of.clear();
        self.queue.clear();
        for (session, timeout_ms) in sessions {
            self.open(session, timeout_ms);
        }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    fn start() -> (Instant, Expiry) {
        let now = Instant::now();
        (now, Expiry::new(now, STEP))
    }

    fn run(expiry: &mut Expiry, now: &mut Instant, steps: u32) -> Vec<i64> {
        let mut due = Vec::new();
        for _ in 0..steps {
            *now += STEP;
            expiry.step(*now);
            due.extend(expiry.due());
        }
        due
    }

    #[test]
    fn a_session_is_over_after_its_whole_timeout_in_silence() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 4_000);
        expiry.open(2, 4_000);
        assert_eq!(run(&mut expiry, &mut now, 3), [0; 0]);
        expiry.touch(2);
        assert_eq!(run(&mut expiry, &mut now, 1), [1]);
        expiry.close(1);
        assert_eq!(run(&mut expiry, &mut now, 3), [2]);
    }

    #[test]
    fn a_server_that_slept_ends_no_session_for_it() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 4_000);
        now += Duration::from_hours(1);
        assert_eq!(expiry.step(now), Duration::from_secs(3_599));
        assert_eq!(expiry.due(), [0; 0]);
        assert_eq!(
            run(&mut expiry, &mut now, 3),
            [1],
            "but its own silence counts"
        );
    }

    #[test]
    fn an_end_that_got_lost_is_asked_for_again() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 2_000);
        assert_eq!(run(&mut expiry, &mut now, 5), [1, 1]);
    }

    #[test]
    fn not_everybody_is_ended_at_once() {
        let (mut now, mut expiry) = start();
        for session in 0..1_500 {
            expiry.open(session, 1_000);
        }
        assert_eq!(run(&mut expiry, &mut now, 1).len(), EXPIRED_MAX);
        assert_eq!(expiry.len(), 1_500);
    }

    #[test]
    fn a_new_leader_gives_everybody_the_whole_time() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 4_000);
        run(&mut expiry, &mut now, 3);
        expiry.begin([(1, 4_000), (2, 4_000)].into_iter());
        assert_eq!(run(&mut expiry, &mut now, 3), [0; 0]);
        assert_eq!(run(&mut expiry, &mut now, 1), [1, 2]);
    }
}
