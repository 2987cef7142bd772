//! The probes of a running replica: readiness routes, liveness restarts.
//!
//! Prevents a slow replica from being killed because it is not ready, and a hung one from being
//! kept because it once was: the two questions have separate answers, as in Kubernetes.

use std::time::Duration;

use mainstay_core::health::{Health, Verdict};
use mainstay_core::random::Random;
use mainstay_core::time::Instant;
use mainstay_observe::probe::{Checked, Probe};

use super::probing::Probing;
use super::{Plan, ProbeKind};

/// A replica that is not up, or not ready, this long after it may be asked is reported, once.
pub(super) const LATE_AFTER: Duration = Duration::from_secs(10);

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Nothing changes.
    None,
    /// Route to it.
    Ready,
    /// Do not route to it.
    Unready,
    /// Start it again.
    Kill,
}

/// The probes of one process.
#[derive(Debug)]
pub(super) struct Running {
    readiness: Option<Readiness>,
    liveness: Option<Liveness>,
}

#[derive(Debug)]
struct Readiness {
    probing: Probing,
    health: Health,
    /// When to report that it is not ready; `None` once it was, or that was said.
    late_at: Option<Instant>,
}

#[derive(Debug)]
struct Liveness {
    probing: Probing,
    health: Health,
}

impl Running {
    /// A process that came up at `now`.
    pub(super) fn new(plan: &Plan, now: Instant, random: &mut Random) -> Self {
        Self {
            readiness: plan.readiness.as_ref().map(|probe| Readiness {
                probing: Probing::eager(probe.every, now),
                health: Health::new(probe.hysteresis),
                late_at: Some(now + LATE_AFTER),
            }),
            liveness: plan
                .liveness
                .as_ref()
                .map(|probe| Liveness::new(probe, now, random)),
        }
    }

    /// Whether requests may be routed to it.
    pub(super) fn ready(&self) -> bool {
        self.verdict() == Verdict::Healthy
    }

    /// What the readiness probe says. Without one, a running process is well.
    pub(super) fn verdict(&self) -> Verdict {
        self.readiness
            .as_ref()
            .map_or(Verdict::Healthy, |readiness| readiness.health.verdict())
    }

    /// When something is due.
    pub(super) fn timer(&self) -> Option<Instant> {
        let readiness = self.readiness.as_ref();
        let liveness = self.liveness.as_ref();
        [
            readiness.and_then(|readiness| readiness.probing.due()),
            readiness.and_then(|readiness| readiness.late_at),
            liveness.and_then(|liveness| liveness.probing.due()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The probes that are due at `now`; answers are awaited from now on.
    pub(super) fn asks(&mut self, now: Instant) -> impl Iterator<Item = ProbeKind> {
        let readiness = self.readiness.as_mut().is_some_and(|r| r.probing.asks(now));
        let liveness = self.liveness.as_mut().is_some_and(|l| l.probing.asks(now));
        let readiness = readiness.then_some(ProbeKind::Readiness);
        readiness
            .into_iter()
            .chain(liveness.then_some(ProbeKind::Liveness))
    }

    /// Whether it is time to say that the process is not ready; only once.
    pub(super) fn is_late(&mut self, now: Instant) -> bool {
        let late = |readiness: &mut Readiness| readiness.late_at.take_if(|at| *at <= now).is_some();
        self.readiness.as_mut().is_some_and(late)
    }

    /// Takes an answer of the readiness or the liveness probe.
    pub(super) fn probed(
        &mut self,
        (kind, checked): (ProbeKind, &Checked),
        now: Instant,
        random: &mut Random,
    ) -> Advice {
        let ok = checked.result.is_ok();
        match (kind, &mut self.readiness, &mut self.liveness) {
            (ProbeKind::Readiness, Some(readiness), _) => readiness.probed(ok, now, random),
            (ProbeKind::Liveness, _, Some(liveness)) => liveness.probed(ok, now, random),
            (ProbeKind::Startup | ProbeKind::Readiness | ProbeKind::Liveness, _, _) => Advice::None,
        }
    }
}

impl Readiness {
    /// A process that was never ready cannot become unready: until the first success only that
    /// success counts, and it is asked for eagerly.
    fn probed(&mut self, ok: bool, now: Instant, random: &mut Random) -> Advice {
        let fresh = self.health.verdict() == Verdict::Unknown;
        if ok {
            self.probing.settle();
            self.late_at = None;
        }
        self.probing.answered(now, random);
        if fresh && !ok {
            return Advice::None;
        }
        match self.health.probed(ok) {
            Some(Verdict::Healthy) => Advice::Ready,
            Some(Verdict::Unhealthy) => Advice::Unready,
            Some(Verdict::Unknown) | None => Advice::None,
        }
    }
}

impl Liveness {
    fn new(probe: &Probe, now: Instant, random: &mut Random) -> Self {
        let mut health = Health::new(probe.hysteresis);
        // A process is taken to live until `fall` probes in a row say otherwise; without this
        // the first probe alone would decide.
        health.probed(true);
        Self {
            probing: Probing::steady(probe.every, now, random),
            health,
        }
    }

    fn probed(&mut self, ok: bool, now: Instant, random: &mut Random) -> Advice {
        self.probing.answered(now, random);
        match self.health.probed(ok) {
            Some(Verdict::Unhealthy) => Advice::Kill,
            Some(Verdict::Healthy | Verdict::Unknown) | None => Advice::None,
        }
    }
}
