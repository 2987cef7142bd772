//! What each input does in each state.
//!
//! Prevents forgotten combinations: one method per input, and each matches every state by name.

use std::sync::Arc;

use mainstay_core::event::Event;
use mainstay_core::outcome::Reason;
use mainstay_core::time::Instant;
use mainstay_observe::probe::Checked;

use super::probing::Probing;
use super::running::{Advice, LATE_AFTER, Running};
use super::{
    Action, CRASH_LOOP_REPEAT, Change, End, Life, Patience, ProbeKind, Replica, State, Stop, Then,
    UNKILLABLE_AFTER,
};

type Actions = Vec<Action>;

impl Replica {
    pub(super) fn timer_came(&mut self, state: State, now: Instant, out: &mut Actions) -> State {
        match state {
            State::Waiting { at, .. } if at <= now => {
                out.push(Action::Spawn);
                State::Spawning { stop: None }
            },
            State::Starting { life, until, .. } if until <= now => {
                let found = self.last_check_since(life.started);
                let within = until.since(life.started);
                let detail =
                    format!("the startup probe did not succeed within {within:?}: {found}");
                self.kill(life, (now, detail), out)
            },
            State::Starting {
                life,
                mut probing,
                mut late_at,
                until,
            } => {
                if probing.asks(now) {
                    out.push(Action::Probe(ProbeKind::Startup));
                }
                if late_at.take_if(|at| *at <= now).is_some() {
                    out.push(self.late(&life, "startup", now));
                }
                State::Starting {
                    life,
                    probing,
                    late_at,
                    until,
                }
            },
            State::Running { life, mut running } => {
                out.extend(running.asks(now).map(Action::Probe));
                if running.is_late(now) {
                    out.push(self.late(&life, "readiness", now));
                }
                State::Running { life, running }
            },
            State::Stopping { life, next } => self.patience_ends(life, next, now, out),
            State::Killing {
                life,
                kill_at: Some(at),
            } if at <= now => {
                out.push(Action::Kill);
                State::Killing {
                    life,
                    kill_at: None,
                }
            },
            State::Waiting { .. }
            | State::Spawning { .. }
            | State::Killing { .. }
            | State::Clearing { .. }
            | State::Stopped { .. } => state,
        }
    }

    pub(super) fn spawned(&mut self, state: State, life: Life, out: &mut Actions) -> State {
        let State::Spawning { stop } = state else {
            return state;
        };
        self.starts = self.starts.saturating_add(1);
        let (service, replica) = self.names();
        out.push(Action::Tell(Change::Started {
            service: Arc::clone(&service),
            replica: Arc::clone(&replica),
            pid: life.pid,
        }));
        out.push(Action::Observe(Event::ReplicaStarted {
            service,
            replica,
            pid: life.pid,
            port: self.plan.port,
        }));
        if let Some(stop) = stop {
            return self.begin_stop(life, stop, life.started, out);
        }
        match &self.plan.startup {
            Some(startup) => State::Starting {
                life,
                probing: Probing::eager(startup.probe.every, life.started),
                late_at: Some(life.started + LATE_AFTER),
                until: life.started + startup.within,
            },
            None => self.run(life, life.started, out),
        }
    }

    pub(super) fn spawn_failed(
        &mut self,
        state: State,
        detail: String,
        now: Instant,
        out: &mut Actions,
    ) -> State {
        match state {
            State::Spawning { stop: None } => match self.backoff(now, (now, detail), out) {
                Then::Restart { at, crash_loop } => State::Waiting { at, crash_loop },
                Then::Stop { end } => self.stopped(end, out),
            },
            State::Spawning { stop: Some(_) } => self.stopped(End::Graceful, out),
            State::Waiting { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Killing { .. }
            | State::Stopping { .. }
            | State::Clearing { .. }
            | State::Stopped { .. } => state,
        }
    }

    /// Routing hears of it before anything else is done.
    pub(super) fn exited(
        &mut self,
        state: State,
        detail: String,
        now: Instant,
        out: &mut Actions,
    ) -> State {
        let (life, end) = match state {
            State::Starting { life, .. }
            | State::Running { life, .. }
            | State::Killing { life, .. } => (life, None),
            State::Stopping { life, next } => {
                let end = match next {
                    Patience::KillAt(_) => End::Graceful,
                    Patience::GiveUpAt(_) => End::Killed,
                };
                (life, Some(end))
            },
            State::Waiting { .. }
            | State::Spawning { .. }
            | State::Clearing { .. }
            | State::Stopped { .. } => return state,
        };
        let (service, replica) = self.names();
        out.push(Action::Tell(Change::Exited {
            service,
            replica,
            pid: life.pid,
        }));
        out.push(Action::Clear);
        let then = match end {
            Some(end) => Then::Stop { end },
            None => self.backoff(life.started, (now, detail), out),
        };
        State::Clearing { then }
    }

    pub(super) fn cleared(&mut self, state: State, out: &mut Actions) -> State {
        match state {
            State::Clearing {
                then: Then::Restart { at, crash_loop },
            } => State::Waiting { at, crash_loop },
            State::Clearing {
                then: Then::Stop { end },
            } => self.stopped(end, out),
            State::Waiting { .. }
            | State::Spawning { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Killing { .. }
            | State::Stopping { .. }
            | State::Stopped { .. } => state,
        }
    }

    pub(super) fn probed(
        &mut self,
        state: State,
        (kind, checked): (ProbeKind, Checked),
        now: Instant,
        out: &mut Actions,
    ) -> State {
        self.last_check = Some((now, checked.detail.clone()));
        match state {
            State::Starting { life, .. } if checked.result.is_ok() => self.run(life, now, out),
            State::Starting {
                life,
                mut probing,
                late_at,
                until,
            } => {
                probing.answered(now, &mut self.random);
                State::Starting {
                    life,
                    probing,
                    late_at,
                    until,
                }
            },
            State::Running { life, mut running } => {
                let advice = running.probed((kind, &checked), now, &mut self.random);
                self.follow(advice, (life, running), (now, checked.detail), out)
            },
            State::Waiting { .. }
            | State::Spawning { .. }
            | State::Killing { .. }
            | State::Stopping { .. }
            | State::Clearing { .. }
            | State::Stopped { .. } => state,
        }
    }

    pub(super) fn stop(
        &mut self,
        state: State,
        stop: Stop,
        now: Instant,
        out: &mut Actions,
    ) -> State {
        match state {
            State::Waiting { .. } => self.stopped(End::Graceful, out),
            State::Spawning { .. } => State::Spawning { stop: Some(stop) },
            // It is on its way out already; the stop only makes sure that it stays so.
            State::Killing {
                life,
                kill_at: Some(at),
            } if stop == Stop::Graceful => State::Stopping {
                life,
                next: Patience::KillAt(at),
            },
            State::Starting { life, .. }
            | State::Killing {
                life,
                kill_at: Some(_),
            } => self.begin_stop(life, stop, now, out),
            State::Running { life, running } => {
                if running.ready() {
                    out.push(self.unready());
                }
                self.begin_stop(life, stop, now, out)
            },
            State::Killing {
                life,
                kill_at: None,
            } => State::Stopping {
                life,
                next: Patience::GiveUpAt(now + UNKILLABLE_AFTER),
            },
            State::Stopping {
                life,
                next: Patience::KillAt(_),
            } if stop == Stop::AtOnce => self.begin_stop(life, stop, now, out),
            State::Clearing {
                then: Then::Restart { .. },
            } => State::Clearing {
                then: Then::Stop { end: End::Graceful },
            },
            State::Stopping { .. } | State::Clearing { .. } | State::Stopped { .. } => state,
        }
    }

    /// Says that a replica keeps everybody waiting, and what to look at.
    fn late(&self, life: &Life, probe: &str, now: Instant) -> Action {
        let waited = now.since(life.started);
        let found = self.last_check_since(life.started);
        let port = self.plan.port;
        self.unready_event(format!(
            "not ready {waited:.0?} after its start: {found}; check that it answers its {probe} \
             probe on port {port}"
        ))
    }

    /// The process is up: from now on readiness and liveness decide.
    fn run(&mut self, life: Life, now: Instant, out: &mut Actions) -> State {
        let running = Running::new(&self.plan, now, &mut self.random);
        if running.ready() {
            self.ready_now(out);
        }
        State::Running { life, running }
    }

    fn follow(
        &mut self,
        advice: Advice,
        (life, running): (Life, Running),
        (now, detail): (Instant, String),
        out: &mut Actions,
    ) -> State {
        match advice {
            Advice::None => {},
            Advice::Ready => self.ready_now(out),
            Advice::Unready => {
                out.push(self.unready());
                out.push(self.unready_event(detail));
            },
            Advice::Kill => {
                if running.ready() {
                    out.push(self.unready());
                }
                let detail = format!("the liveness probe failed: {detail}");
                return self.kill(life, (now, detail), out);
            },
        }
        State::Running { life, running }
    }

    /// As in Kubernetes: SIGTERM, the grace period, SIGKILL. A process that is only overloaded can
    /// still put its affairs in order; requests go elsewhere meanwhile.
    fn kill(&self, life: Life, (now, detail): (Instant, String), out: &mut Actions) -> State {
        let (service, replica) = self.names();
        out.push(Action::Terminate);
        out.push(Action::Observe(Event::ReplicaKilled {
            service,
            replica,
            detail,
        }));
        let kill_at = Some(now + self.plan.grace);
        State::Killing { life, kill_at }
    }

    fn begin_stop(&self, life: Life, stop: Stop, now: Instant, out: &mut Actions) -> State {
        let next = match stop {
            Stop::Graceful => {
                out.push(Action::Terminate);
                Patience::KillAt(now + self.plan.grace)
            },
            Stop::AtOnce => {
                out.push(Action::Kill);
                Patience::GiveUpAt(now + UNKILLABLE_AFTER)
            },
        };
        State::Stopping { life, next }
    }

    fn patience_ends(&self, life: Life, next: Patience, now: Instant, out: &mut Actions) -> State {
        match next {
            Patience::KillAt(at) if at <= now => self.begin_stop(life, Stop::AtOnce, now, out),
            Patience::GiveUpAt(at) if at <= now => {
                out.push(Action::Abandon);
                self.stopped(End::Left, out)
            },
            Patience::KillAt(_) | Patience::GiveUpAt(_) => State::Stopping { life, next },
        }
    }

    fn stopped(&self, end: End, out: &mut Actions) -> State {
        let (service, replica) = self.names();
        out.push(Action::Observe(Event::ReplicaStopped {
            service,
            replica,
            killed: end != End::Graceful,
        }));
        State::Stopped { end }
    }

    /// An end that nobody asked for: tells of it, and when the next start is due.
    fn backoff(
        &mut self,
        started: Instant,
        (now, detail): (Instant, String),
        out: &mut Actions,
    ) -> Then {
        let decision = self.restart.exited(started, now, &mut self.random);
        let (service, replica) = self.names();
        let (exits, crash_loop) = (decision.exits, decision.crash_loop);
        out.push(Action::Observe(Event::ReplicaExited {
            service: Arc::clone(&service),
            replica: Arc::clone(&replica),
            reason: Reason::Exited,
            detail: detail.clone(),
        }));
        let told = self.crash_loop_told.take_if(|_| crash_loop);
        self.crash_loop_told = told.filter(|told| now.since(*told) < CRASH_LOOP_REPEAT);
        if crash_loop && self.crash_loop_told.is_none() {
            self.crash_loop_told = Some(now);
            out.push(Action::Observe(Event::ReplicaCrashLoop {
                service: Arc::clone(&service),
                replica: Arc::clone(&replica),
                exits,
                detail,
            }));
        }
        out.push(Action::Observe(Event::ReplicaRestarting {
            service,
            replica,
            delay_ms: u64::try_from(decision.delay.as_millis()).unwrap_or(u64::MAX),
            exits,
        }));
        Then::Restart {
            at: now + decision.delay,
            crash_loop,
        }
    }

    fn ready_now(&self, out: &mut Actions) {
        let (service, replica) = self.names();
        out.push(Action::Tell(Change::Ready {
            service: Arc::clone(&service),
            replica: Arc::clone(&replica),
        }));
        out.push(Action::Observe(Event::ReplicaReady { service, replica }));
    }

    fn unready(&self) -> Action {
        let (service, replica) = self.names();
        Action::Tell(Change::Unready { service, replica })
    }

    fn unready_event(&self, detail: String) -> Action {
        let (service, replica) = self.names();
        Action::Observe(Event::ReplicaUnready {
            service,
            replica,
            detail,
        })
    }

    fn last_check_since(&self, started: Instant) -> &str {
        self.last_check
            .as_ref()
            .filter(|(at, _)| *at >= started)
            .map_or("no probe was answered", |(_, detail)| detail)
    }

    fn names(&self) -> (Arc<str>, Arc<str>) {
        (
            Arc::clone(&self.plan.service),
            Arc::clone(&self.plan.replica),
        )
    }
}
