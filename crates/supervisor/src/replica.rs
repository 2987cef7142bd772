//! One replica as a state machine: what happened goes in, what to do comes out.
//!
//! Prevents the races of supervision (a stop during a backoff, a probe that answers for a dead
//! process, a kill of a process that just ended) by deciding them in one place, without a clock
//! or a process, where a table of inputs can test them.
//!
//! ```text
//! Waiting ─▶ Spawning ─▶ Starting ─▶ Running ──▶ Clearing ─▶ Waiting
//!    ▲                      │  └────────┴─▶ Killing ─┘  │
//!    └───────────────────── any ─▶ Stopping ────────────┴─▶ Stopped
//! ```
//!
//! Always: at most one process is alive; a ready replica is announced unready, or exited, before
//! anything else is done about it; a stop ends in `Stopped` from every state.

mod probing;
mod running;
mod transition;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::event::Event;
use mainstay_core::health::Verdict;
use mainstay_core::random::Random;
use mainstay_core::restart::{self, Restart};
use mainstay_core::time::Instant;
use mainstay_observe::probe::{Checked, Probe};

use crate::config::{Service, Startup};
use probing::Probing;
use running::Running;

/// How long a killed process may take to end before a stop gives up on it. Only one that is stuck
/// in the kernel, or belongs to another user, takes longer than an instant.
const UNKILLABLE_AFTER: Duration = Duration::from_secs(10);
/// How often a crash loop that goes on is reported again.
const CRASH_LOOP_REPEAT: Duration = Duration::from_mins(5);

/// What routing needs to know of a replica, told the moment it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A process was started; it is not ready yet.
    Started {
        /// The service.
        service: Arc<str>,
        /// The replica.
        replica: Arc<str>,
        /// Its process.
        pid: u32,
    },
    /// Requests may be routed to it.
    Ready {
        /// The service.
        service: Arc<str>,
        /// The replica.
        replica: Arc<str>,
    },
    /// It runs, but requests must not be routed to it.
    Unready {
        /// The service.
        service: Arc<str>,
        /// The replica.
        replica: Arc<str>,
    },
    /// Its process ended; whatever was connected to it is gone.
    Exited {
        /// The service.
        service: Arc<str>,
        /// The replica.
        replica: Arc<str>,
        /// The process that ended.
        pid: u32,
    },
}

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not running; its next start is due soon.
    Waiting,
    /// Not running; it ended so often that its next start is far off.
    CrashLoop,
    /// Running, its startup probe did not succeed yet.
    Starting,
    /// Running.
    Running,
    /// Ended for a failed probe: asked, then killed.
    Killing,
    /// Asked to stop, about to end.
    Stopping,
    /// Stopped for good.
    Stopped,
}

impl Phase {
    /// The word on the page and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::CrashLoop => "crash_loop",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Killing => "killing",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// What a replica is and how it is cared for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) service: Arc<str>,
    pub(crate) replica: Arc<str>,
    pub(crate) port: u16,
    pub(crate) grace: Duration,
    pub(crate) restart: restart::Policy,
    pub(crate) startup: Option<Startup>,
    pub(crate) readiness: Option<Probe>,
    pub(crate) liveness: Option<Probe>,
}

impl Plan {
    /// The replicas of `service`, in the order of their ports.
    pub(crate) fn of(service: &Service) -> impl Iterator<Item = Self> {
        service.ports.iter().enumerate().map(|(index, port)| Self {
            service: Arc::clone(&service.name),
            replica: format!("{}-{}", service.name, index + 1).into(),
            port: *port,
            grace: service.grace,
            restart: service.restart,
            startup: service.startup.clone(),
            readiness: service.readiness.clone(),
            liveness: service.liveness.clone(),
        })
    }

    /// The probe of this kind, if one is configured.
    pub(crate) fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref().map(|startup| &startup.probe),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }
}

/// Which question a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    /// Did it come up?
    Startup,
    /// May requests be routed to it?
    Readiness,
    /// Does it have to be started again?
    Liveness,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// [`Replica::timer`] has come.
    Timer,
    /// The process was started.
    Spawned { pid: u32 },
    /// The process could not be started, for this reason.
    SpawnFailed { detail: String },
    /// The process ended, in this way.
    Exited { detail: String },
    /// What was left of the process is gone.
    Cleared,
    /// A probe was answered.
    Probed { kind: ProbeKind, checked: Checked },
    /// The replica is to stop, with grace.
    Stop,
    /// The replica is to stop at once.
    KillNow,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Start a process; answer with `Spawned` or `SpawnFailed`.
    Spawn,
    /// Ask the process group to end.
    Terminate,
    /// End the process group.
    Kill,
    /// Kill what is left of the group, reap, forget its probes; answer with `Cleared`.
    Clear,
    /// Forget the process: it cannot be ended.
    Abandon,
    /// Ask; answer with `Probed`.
    Probe(ProbeKind),
    /// Tell routing.
    Tell(Change),
    /// Tell everybody else.
    Observe(Event),
}

/// How a replica stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, or when asked.
    Graceful,
    /// It had to be killed.
    Killed,
    /// Even that did not end it.
    Left,
}

/// A process that is alive as far as anybody knows.
#[derive(Clone, Copy, Debug)]
struct Life {
    pid: u32,
    started: Instant,
}

#[derive(Debug)]
enum State {
    Waiting {
        at: Instant,
        crash_loop: bool,
    },
    Spawning {
        stop: Option<Stop>,
    },
    Starting {
        life: Life,
        probing: Probing,
        /// When to report that it is not up; `None` once that was said.
        late_at: Option<Instant>,
        until: Instant,
    },
    Running {
        life: Life,
        running: Running,
    },
    Killing {
        life: Life,
        /// When it is no longer asked; `None` once it was killed.
        kill_at: Option<Instant>,
    },
    Stopping {
        life: Life,
        next: Patience,
    },
    Clearing {
        then: Then,
    },
    Stopped {
        end: End,
    },
}

/// How fast a stop has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Graceful,
    AtOnce,
}

/// What a stop waits for.
#[derive(Clone, Copy, Debug)]
enum Patience {
    /// It was asked; it is killed at this instant.
    KillAt(Instant),
    /// It was killed; nobody waits beyond this instant.
    GiveUpAt(Instant),
}

/// What follows once a process is gone.
#[derive(Clone, Copy, Debug)]
enum Then {
    Restart { at: Instant, crash_loop: bool },
    Stop { end: End },
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Replica {
    plan: Plan,
    state: State,
    restart: Restart,
    random: Random,
    starts: u32,
    crash_loop_told: Option<Instant>,
    last_check: Option<(Instant, String)>,
}

impl Replica {
    /// A replica whose first start is due at `now`.
    pub(crate) fn new(plan: Plan, random: Random, now: Instant) -> Self {
        Self {
            restart: Restart::new(plan.restart),
            plan,
            state: State::Waiting {
                at: now,
                crash_loop: false,
            },
            random,
            starts: 0,
            crash_loop_told: None,
            last_check: None,
        }
    }

    /// Takes what happened at `now`; returns what to do about it.
    pub(crate) fn on(&mut self, input: Input, now: Instant) -> Vec<Action> {
        let mut out = Vec::new();
        let resting = State::Clearing {
            then: Then::Stop { end: End::Graceful },
        };
        let state = mem::replace(&mut self.state, resting);
        self.state = match input {
            Input::Timer => self.timer_came(state, now, &mut out),
            Input::Spawned { pid } => self.spawned(state, Life { pid, started: now }, &mut out),
            Input::SpawnFailed { detail } => self.spawn_failed(state, detail, now, &mut out),
            Input::Exited { detail } => self.exited(state, detail, now, &mut out),
            Input::Cleared => self.cleared(state, &mut out),
            Input::Probed { kind, checked } => self.probed(state, (kind, checked), now, &mut out),
            Input::Stop => self.stop(state, Stop::Graceful, now, &mut out),
            Input::KillNow => self.stop(state, Stop::AtOnce, now, &mut out),
        };
        out
    }

    /// When [`Input::Timer`] is due; may be in the past.
    pub(crate) fn timer(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting { at, .. } => Some(*at),
            State::Starting {
                probing,
                late_at,
                until,
                ..
            } => [probing.due(), *late_at, Some(*until)]
                .into_iter()
                .flatten()
                .min(),
            State::Running { running, .. } => running.timer(),
            State::Stopping { next, .. } => Some(match next {
                Patience::KillAt(at) | Patience::GiveUpAt(at) => *at,
            }),
            State::Killing { kill_at, .. } => *kill_at,
            State::Spawning { .. } | State::Clearing { .. } | State::Stopped { .. } => None,
        }
    }

    /// Where it is in its life.
    pub(crate) const fn phase(&self) -> Phase {
        match &self.state {
            State::Waiting { crash_loop, .. }
            | State::Clearing {
                then: Then::Restart { crash_loop, .. },
            } => {
                if *crash_loop {
                    Phase::CrashLoop
                } else {
                    Phase::Waiting
                }
            },
            State::Spawning { stop: None } => Phase::Waiting,
            State::Starting { .. } => Phase::Starting,
            State::Running { .. } => Phase::Running,
            State::Killing { .. } => Phase::Killing,
            State::Spawning { stop: Some(_) }
            | State::Stopping { .. }
            | State::Clearing {
                then: Then::Stop { .. },
            } => Phase::Stopping,
            State::Stopped { .. } => Phase::Stopped,
        }
    }

    /// Whether requests may be routed to it.
    pub(crate) fn ready(&self) -> bool {
        matches!(&self.state, State::Running { running, .. } if running.ready())
    }

    /// What its heartbeat says: `unknown` while nothing has decided, `unhealthy` without a
    /// process or with a failed probe.
    pub(crate) fn verdict(&self) -> Verdict {
        match &self.state {
            State::Starting { .. } => Verdict::Unknown,
            State::Running { running, .. } => running.verdict(),
            State::Waiting { .. }
            | State::Spawning { .. }
            | State::Killing { .. }
            | State::Stopping { .. }
            | State::Clearing { .. }
            | State::Stopped { .. } => Verdict::Unhealthy,
        }
    }

    /// Its process.
    pub(crate) const fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Starting { life, .. }
            | State::Running { life, .. }
            | State::Killing { life, .. }
            | State::Stopping { life, .. } => Some(life.pid),
            State::Waiting { .. }
            | State::Spawning { .. }
            | State::Clearing { .. }
            | State::Stopped { .. } => None,
        }
    }

    /// Starts after the first.
    pub(crate) const fn restarts(&self) -> u32 {
        self.starts.saturating_sub(1)
    }

    /// When the last probe was answered, and what it found, in words.
    pub(crate) const fn last_check(&self) -> Option<&(Instant, String)> {
        self.last_check.as_ref()
    }

    /// What it is.
    pub(crate) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How it stopped, once it has.
    pub(crate) const fn end(&self) -> Option<End> {
        match &self.state {
            State::Stopped { end } => Some(*end),
            State::Waiting { .. }
            | State::Spawning { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Killing { .. }
            | State::Stopping { .. }
            | State::Clearing { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
