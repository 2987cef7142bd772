//! How an adaptive limit moves: three algorithms, as functions of what a window has seen.
//!
//! Prevents a limit that swings, one that grows without load, and one that a single call moves: the
//! sample is the mean of a window, and moves are bounded. All three begin with slow start: the
//! limit doubles with each window until the first sign of queueing, and takes the last step back.
//!
//! After Netflix's concurrency-limits, with three changes. A drop lowers the limit in all of them
//! (there, the gradient ignores drops). The latency without queueing is measured again with half
//! the limit when the limit was reached for many windows (there, the gradient's long mean follows
//! the queueing and the limit grows with it; Vegas takes the latency of just then). And Vegas moves
//! that latency a quarter of the way, so that one lucky window does not set it.

use core::num::NonZeroU32;
use core::time::Duration;

use super::AdaptiveConfig;
use crate::time::nanos;

/// What a drop leaves of a limit that is moved by latency.
const BACKOFF: f64 = 0.9;

/// The least that is left of a limit in one move, however slow the calls were: one bad window must
/// not shed most of the load.
const GRADIENT_MIN: f64 = 0.5;

/// Calls that may queue at the callee without harm, at least: room to grow.
const QUEUE_MIN: u32 = 4;

/// How a limit moves.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Algorithm {
    /// By the ratio of the long-term latency to that of the window (Netflix's Gradient2). For most
    /// callees.
    Gradient(Gradient),
    /// Up by one, down by a share when calls are dropped, as TCP Reno (Chiu and Jain, "Analysis of
    /// the Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989).
    /// Where the callee says when it has too much to do, and latency says little.
    Aimd(Aimd),
    /// By an estimate of how many calls queue at the callee (Brakmo and Peterson, "TCP Vegas: End
    /// to End Congestion Avoidance on a Global Internet", IEEE JSAC 1995). Where latency without
    /// queueing hardly varies.
    Vegas(Vegas),
}

/// The gradient of concurrency-limits, `Gradient2Limit` there: the limit follows how much longer
/// calls take than they did for long.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Gradient {
    /// How many times the long-term latency is still no queueing, 1 to 10. Default: 1.5.
    pub tolerance: f64,
    /// How much of a move is made at once, 0.01 to 1. Default: 0.2.
    pub smoothing: f64,
    /// Windows that the long-term latency is the (exponential) mean of. Default: 600.
    pub long: NonZeroU32,
}

impl Default for Gradient {
    fn default() -> Self {
        Self {
            tolerance: 1.5,
            smoothing: 0.2,
            long: const { NonZeroU32::MIN.saturating_add(599) },
        }
    }
}

impl Gradient {
    /// The long-term latency after a window of `latency`.
    fn long_term(&self, known: f64, latency: f64) -> f64 {
        let weight = 2.0 / (f64::from(self.long.get()) + 1.0);
        let long = known + (latency - known) * weight;
        // After a time of much higher latency it comes down faster.
        if long > latency * 2.0 {
            long * 0.95
        } else {
            long
        }
    }
}

/// Additive increase, multiplicative decrease: the limit grows by one with each window that went
/// well.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Aimd {
    /// What a drop leaves of the limit, 0.5 to 0.99. Default: 0.9.
    pub backoff: f64,
    /// A window with a higher mean latency counts as one with a drop. Above zero; `None`: no
    /// latency does. Default: `None`.
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "crate::unit::text::duration_or_off")
    )]
    pub latency_max: Option<Duration>,
}

impl Default for Aimd {
    fn default() -> Self {
        Self {
            backoff: 0.9,
            latency_max: None,
        }
    }
}

/// TCP Vegas: the limit follows the number of calls that queue at the callee, which is the limit
/// times the share of the latency that is waiting.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Vegas {
    /// Fewer calls queueing raise the limit; times the decimal logarithm of the limit. At most
    /// `beta`. Default: 3.
    pub alpha: u32,
    /// More calls queueing lower the limit; times the decimal logarithm of the limit. Default: 6.
    pub beta: u32,
    /// How much of a move is made at once, 0.01 to 1. Default: 1.
    pub smoothing: f64,
}

impl Default for Vegas {
    fn default() -> Self {
        Self {
            alpha: 3,
            beta: 6,
            smoothing: 1.0,
        }
    }
}

/// What a window has seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// The mean latency in nanoseconds, at least 1; none when all calls were dropped.
    pub latency: Option<f64>,
    /// Whether a call was dropped.
    pub dropped: bool,
    /// Most calls in flight at a time.
    pub in_flight: u32,
}

/// What is remembered from window to window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    /// The limit, with its fraction.
    pub estimate: f64,
    /// The latency without queueing in nanoseconds, as far as known; 0 before the first window.
    pub base: f64,
    pub phase: Phase,
}

/// What the present window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To find the limit's magnitude.
    SlowStart,
    /// To move it; the limit was reached in so many windows in a row.
    Steady { reached: u32 },
    /// To learn the latency without queueing, with half the limit.
    Relearn,
}

impl Phase {
    const SLOW_START: u64 = 1 << 32;
    const RELEARN: u64 = 1 << 33;

    #[expect(clippy::cast_possible_truncation, reason = "the low half of the word")]
    pub(super) const fn decode(word: u64) -> Self {
        match word {
            Self::SLOW_START => Self::SlowStart,
            Self::RELEARN => Self::Relearn,
            reached => Self::Steady {
                reached: reached as u32,
            },
        }
    }

    pub(super) const fn encode(self) -> u64 {
        match self {
            Self::SlowStart => Self::SLOW_START,
            Self::Relearn => Self::RELEARN,
            Self::Steady { reached } => reached as u64,
        }
    }
}

/// What a window says about the limit.
enum Verdict {
    /// No queueing: it may rise.
    Room,
    /// Calls queue, or were dropped: slow start is over.
    Queueing,
}

impl State {
    pub(super) fn new(initial: NonZeroU32) -> Self {
        Self {
            estimate: f64::from(initial.get()),
            base: 0.0,
            phase: Phase::SlowStart,
        }
    }

    /// The limit that this stands for.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the whole part, between min and max"
    )]
    pub(super) fn limit(self, config: &AdaptiveConfig) -> NonZeroU32 {
        let estimate = match self.phase {
            Phase::Relearn => self.estimate / 2.0,
            Phase::SlowStart | Phase::Steady { .. } => self.estimate,
        };
        let limit = NonZeroU32::new(estimate as u32).unwrap_or(NonZeroU32::MIN);
        limit.clamp(config.min, config.max)
    }

    /// The state after a window that has seen `sample`.
    pub(super) fn after(self, config: &AdaptiveConfig, sample: &Sample) -> Self {
        let limit = self.limit(config).get();
        let next = if self.phase == Phase::Relearn {
            self.relearned(sample)
        } else if u64::from(sample.in_flight) * 2 < u64::from(limit) && !sample.dropped {
            // Too little load to learn anything of the limit.
            self.with_base(&config.algorithm, sample)
                .reached(config, false)
        } else {
            let reached = sample.in_flight >= limit;
            self.with_base(&config.algorithm, sample)
                .moved(config, sample)
                .reached(config, reached)
        };
        let (min, max) = (f64::from(config.min.get()), f64::from(config.max.get()));
        Self {
            estimate: next.estimate.clamp(min, max),
            ..next
        }
    }

    /// After a window with half the limit: its latency is the one without queueing.
    fn relearned(self, sample: &Sample) -> Self {
        let dropped = if sample.dropped { BACKOFF } else { 1.0 };
        Self {
            estimate: self.estimate * dropped,
            base: sample.latency.unwrap_or(self.base),
            phase: Phase::Steady { reached: 0 },
        }
    }

    /// Learns of the latency without queueing.
    fn with_base(self, algorithm: &Algorithm, sample: &Sample) -> Self {
        let Some(latency) = sample.latency else {
            return self;
        };
        let known = self.base;
        if known == 0.0 {
            return Self {
                base: latency,
                ..self
            };
        }
        let base = match algorithm {
            _ if self.phase == Phase::SlowStart => known.min(latency),
            Algorithm::Gradient(gradient) => gradient.long_term(known, latency),
            Algorithm::Vegas(_) if latency < known => known + (latency - known) / 4.0,
            Algorithm::Vegas(_) | Algorithm::Aimd(_) => known,
        };
        Self { base, ..self }
    }

    /// Counts windows in which the limit was reached.
    fn reached(self, config: &AdaptiveConfig, reached: bool) -> Self {
        let Phase::Steady { reached: before } = self.phase else {
            return self;
        };
        let count = if reached { before.saturating_add(1) } else { 0 };
        let learns = !matches!(config.algorithm, Algorithm::Aimd(_));
        let relearns = config.relearn.is_some_and(|windows| count >= windows.get());
        let phase = if learns && relearns {
            Phase::Relearn
        } else {
            Phase::Steady { reached: count }
        };
        Self { phase, ..self }
    }

    /// Moves the limit, and ends slow start at the first sign of queueing.
    fn moved(self, config: &AdaptiveConfig, sample: &Sample) -> Self {
        let (verdict, estimate) = match &config.algorithm {
            Algorithm::Gradient(gradient) => self.by_gradient(gradient, sample),
            Algorithm::Aimd(aimd) => self.by_drops(aimd, sample),
            Algorithm::Vegas(vegas) => self.by_queue(vegas, sample),
        };
        let max = f64::from(config.max.get());
        let (estimate, phase) = match (self.phase, verdict) {
            (Phase::SlowStart, Verdict::Room) if self.estimate < max => {
                (self.estimate * 2.0, Phase::SlowStart)
            },
            (Phase::SlowStart, Verdict::Queueing) => {
                (self.estimate / 2.0, Phase::Steady { reached: 0 })
            },
            (Phase::SlowStart, Verdict::Room) => (self.estimate, Phase::Steady { reached: 0 }),
            (phase @ (Phase::Steady { .. } | Phase::Relearn), _) => (estimate, phase),
        };
        Self {
            estimate,
            phase,
            ..self
        }
    }

    fn by_gradient(self, gradient: &Gradient, sample: &Sample) -> (Verdict, f64) {
        let Some(latency) = sample.latency.filter(|_| !sample.dropped) else {
            return (Verdict::Queueing, self.estimate * BACKOFF);
        };
        let slope = (gradient.tolerance * self.base / latency).clamp(GRADIENT_MIN, 1.0);
        let target = self.estimate * slope + f64::from(whole(self.estimate).isqrt().max(QUEUE_MIN));
        let verdict = if slope < 1.0 {
            Verdict::Queueing
        } else {
            Verdict::Room
        };
        (verdict, self.towards(target, gradient.smoothing))
    }

    fn by_drops(self, aimd: &Aimd, sample: &Sample) -> (Verdict, f64) {
        let late = match (aimd.latency_max, sample.latency) {
            (Some(max), Some(latency)) => latency > nanos(max) as f64,
            (Some(_), None) | (None, _) => false,
        };
        if sample.dropped || late {
            return (Verdict::Queueing, self.estimate * aimd.backoff);
        }
        (Verdict::Room, self.estimate + 1.0)
    }

    fn by_queue(self, vegas: &Vegas, sample: &Sample) -> (Verdict, f64) {
        let step = f64::from(whole(self.estimate).checked_ilog10().unwrap_or(0).max(1));
        let Some(latency) = sample.latency.filter(|_| !sample.dropped) else {
            return (Verdict::Queueing, self.estimate * BACKOFF);
        };
        let (alpha, beta) = (f64::from(vegas.alpha) * step, f64::from(vegas.beta) * step);
        let queue = self.estimate * (1.0 - (self.base / latency).min(1.0));
        let (verdict, target) = if queue <= step {
            (Verdict::Room, self.estimate + beta)
        } else if queue < alpha {
            (Verdict::Room, self.estimate + step)
        } else if queue <= beta {
            (Verdict::Queueing, self.estimate)
        } else {
            (Verdict::Queueing, self.estimate - step)
        };
        (verdict, self.towards(target, vegas.smoothing))
    }

    fn towards(self, target: f64, smoothing: f64) -> f64 {
        self.estimate + (target - self.estimate) * smoothing
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a limit, which is positive and below 2^22"
)]
const fn whole(estimate: f64) -> u32 {
    estimate as u32
}
