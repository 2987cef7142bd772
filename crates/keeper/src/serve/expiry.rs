//! When sessions are over: the leader's account of who was silent for how long.
//!
//! Prevents sessions that end because the server slept: time passes here by steps, and a step that
//! came late counts as if it had come in time. So a paused process, a stopped machine or a slow
//! disk gives every session the time back that nobody could be heard in (etcd revoked all leases
//! in that case: etcd#15247, #12528). Prevents a leader that was replaced without knowing it from
//! ending anything: without a quorum that confirmed it lately it forgets whom it counted, and
//! begins anew when it leads again.
//!
//! Always holds: a session is in the table and in the queue, or in neither; nobody is due before
//! the whole timeout went by without a sign of life, under one leader.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::{Duration, Instant};

/// Most sessions that are over in a second: their ends are writes, and clients wait behind them.
const PER_SECOND_MAX: u32 = 1_000;

/// When more than this share of all sessions is due at once, and so many at least, it is told: as
/// likely as the clients, it is the network or this member.
const CROWD_SHARE: usize = 4;
const CROWD_MIN: usize = 10;

/// Who was heard when. Times are those of its own clock, which stands still while nobody steps.
#[derive(Debug)]
pub struct Expiry {
    /// Own time.
    time: Duration,
    stepped: Instant,
    step_max: Duration,
    /// The term that this member leads in.
    leads: Option<u64>,
    /// How many may be ended now.
    room: u32,
    of: BTreeMap<i64, Silence>,
    queue: BTreeSet<(Duration, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    allowed: Duration,
    until: Duration,
    attached: i64,
}

/// What is to be done after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nobody is counted: this member does not lead.
    Rest,
    /// It leads since now: the sessions are to be told to [`begin`](Expiry::begin).
    Begin,
    /// It still leads.
    GoOn,
}

/// A session that was silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// Which.
    pub session: i64,
    /// The transaction by which it had come to the member where it was silent.
    pub attached: i64,
}

/// More sessions were due at once than clients are likely to fail at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// How many.
    pub due: usize,
    /// Of how many.
    pub of: usize,
}

impl Expiry {
    /// Nobody yet. A step that takes longer than `step_max` counts as that.
    pub const fn new(now: Instant, step_max: Duration) -> Self {
        Self {
            time: Duration::ZERO,
            stepped: now,
            step_max,
            leads: None,
            room: PER_SECOND_MAX,
            of: BTreeMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// Time goes on. `term` is the one in which this member leads, as a quorum confirmed lately.
    pub fn step(&mut self, now: Instant, term: Option<u64>) -> Turn {
        let passed = now.saturating_duration_since(self.stepped);
        let counted = passed.min(self.step_max);
        self.stepped = now;
        self.time += counted;
        let refill = counted.as_millis() * u128::from(PER_SECOND_MAX) / 1_000;
        let refill = u32::try_from(refill).unwrap_or(PER_SECOND_MAX);
        self.room = self.room.saturating_add(refill).min(PER_SECOND_MAX);
        let led = std::mem::replace(&mut self.leads, term);
        match term {
            None => {
                self.of.clear();
                self.queue.clear();
                Turn::Rest
            },
            Some(_) if led == term => Turn::GoOn,
            Some(_) => Turn::Begin,
        }
    }

    /// As long ago as the wall clock says: a bug to plant.
    pub(super) fn follow_wall_clock(&mut self, wall_ms: i64) {
        self.time = self
            .time
            .max(Duration::from_millis(wall_ms.cast_unsigned()));
    }

    /// Forgets all, and begins with `sessions`, their timeouts and how they came where they are: a
    /// new leader gives everybody the whole time.
    pub fn begin(&mut self, sessions: impl Iterator<Item = (i64, i32, i64)>) {
        self.of.clear();
        self.queue.clear();
        for (session, timeout_ms, attached) in sessions {
            self.open(session, timeout_ms, attached);
        }
    }

    /// A session came to where it is by the transaction `attached`, and may be silent for its whole
    /// timeout from now on.
    pub fn open(&mut self, session: i64, timeout_ms: i32, attached: i64) {
        self.close(session);
        let allowed = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        let silence = Silence {
            allowed,
            until: self.time + allowed,
            attached,
        };
        self.of.insert(session, silence);
        self.queue.insert((silence.until, session));
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

    /// Sessions that were silent for too long, as many as may end now. Whoever is still there after
    /// another timeout is named again: their end may have got lost with a leader.
    pub fn due(&mut self) -> (Vec<Overdue>, Option<Crowd>) {
        let is_due = |&&(until, _): &&(Duration, i64)| until <= self.time;
        let (due, of) = (self.queue.iter().take_while(is_due).count(), self.of.len());
        let crowd = (due >= CROWD_MIN && due * CROWD_SHARE > of).then_some(Crowd { due, of });
        let named = due.min(self.room as usize);
        self.room -= u32::try_from(named).unwrap_or(self.room);
        let overdue = self.queue.iter().take(named).filter_map(|&(_, session)| {
            let attached = self.of.get(&session)?.attached;
            Some(Overdue { session, attached })
        });
        let overdue: Vec<Overdue> = overdue.collect();
        for named in &overdue {
            self.touch(named.session);
        }
        (overdue, crowd)
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
    const LEADS: Option<u64> = Some(3);

    fn start() -> (Instant, Expiry) {
        let now = Instant::now();
        let mut expiry = Expiry::new(now, STEP);
        assert_eq!(expiry.step(now, LEADS), Turn::Begin);
        (now, expiry)
    }

    fn due(expiry: &mut Expiry) -> Vec<i64> {
        let (overdue, _) = expiry.due();
        overdue.iter().map(|named| named.session).collect()
    }

    fn run(expiry: &mut Expiry, now: &mut Instant, steps: u32) -> Vec<i64> {
        let mut all = Vec::new();
        for _ in 0..steps {
            *now += STEP;
            assert_eq!(expiry.step(*now, LEADS), Turn::GoOn);
            all.extend(due(expiry));
        }
        all
    }

    #[test]
    fn a_session_is_over_after_its_whole_timeout_in_silence() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 4_000, 0);
        expiry.open(2, 4_000, 0);
        assert_eq!(run(&mut expiry, &mut now, 3), [0; 0]);
        expiry.touch(2);
        assert_eq!(run(&mut expiry, &mut now, 1), [1]);
        expiry.close(1);
        assert_eq!(run(&mut expiry, &mut now, 3), [2]);
    }

    #[test]
    fn a_server_that_slept_ends_no_session_for_it() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 4_000, 0);
        now += Duration::from_hours(1);
        assert_eq!(expiry.step(now, LEADS), Turn::GoOn);
        assert_eq!(due(&mut expiry), [0; 0]);
        assert_eq!(
            run(&mut expiry, &mut now, 3),
            [1],
            "but its own silence counts"
        );
    }

    #[test]
    fn steps_that_all_come_late_count_each_as_one() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 4_000, 0);
        let mut steps = 0;
        while due(&mut expiry).is_empty() {
            now += Duration::from_secs(7);
            expiry.step(now, LEADS);
            steps += 1;
        }
        assert_eq!(steps, 4);
    }

    #[test]
    fn without_a_quorum_nobody_is_due_and_who_leads_again_begins_anew() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 4_000, 0);
        run(&mut expiry, &mut now, 3);
        for _ in 0..10 {
            now += STEP;
            assert_eq!(expiry.step(now, None), Turn::Rest);
            assert_eq!(due(&mut expiry), [0; 0]);
        }
        now += STEP;
        assert_eq!(expiry.step(now, LEADS), Turn::Begin, "in the same term");
        expiry.begin([(1, 4_000, 0)].into_iter());
        assert_eq!(run(&mut expiry, &mut now, 3), [0; 0]);
        assert_eq!(run(&mut expiry, &mut now, 1), [1]);
        now += STEP;
        assert_eq!(expiry.step(now, Some(4)), Turn::Begin, "in another term");
    }

    #[test]
    fn an_end_that_got_lost_is_asked_for_again() {
        let (mut now, mut expiry) = start();
        expiry.open(1, 2_000, 0);
        assert_eq!(run(&mut expiry, &mut now, 5), [1, 1]);
    }

    #[test]
    fn not_everybody_is_ended_at_once_and_it_is_told() {
        let (mut now, mut expiry) = start();
        for session in 0..2_500 {
            expiry.open(session, 1_000, session + 7);
        }
        let mut told = Vec::new();
        let mut ended = Vec::new();
        for _ in 0..3 {
            now += STEP;
            expiry.step(now, LEADS);
            let (overdue, crowd) = expiry.due();
            told.push((overdue.len(), crowd));
            for named in overdue {
                assert_eq!(named.attached, named.session + 7);
                expiry.close(named.session);
                ended.push(named.session);
            }
        }
        let crowd = |due, of| Some(Crowd { due, of });
        let expected = [
            (1_000, crowd(2_500, 2_500)),
            (1_000, crowd(1_500, 1_500)),
            (500, crowd(500, 500)),
        ];
        assert_eq!(told, expected);
        ended.sort_unstable();
        assert_eq!(ended, (0..2_500).collect::<Vec<i64>>());
    }

    #[test]
    fn a_few_of_many_are_no_crowd() {
        let (mut now, mut expiry) = start();
        for session in 0..100 {
            expiry.open(session, if session < 25 { 1_000 } else { 9_000 }, 0);
        }
        now += STEP;
        expiry.step(now, LEADS);
        let (overdue, crowd) = expiry.due();
        assert_eq!((overdue.len(), crowd), (25, None));
    }
}
