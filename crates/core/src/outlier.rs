//! Which endpoint of a service stands out among its equals, and is left out for a while.
//!
//! Prevents one bad endpoint among good ones from keeping its share of the calls: a breaker asks
//! whether an endpoint is bad, this asks whether it is worse than the others, and so finds the one
//! that fails a tenth of its calls or takes five times as long. What all endpoints do alike is the
//! service's fault, and no reason to leave one out.
//!
//! **It works with two endpoints.** Envoy's method takes the mean of all endpoints' success rates
//! and leaves out who is 1.9 standard deviations below it. Of two endpoints, each is one deviation
//! from the mean, whatever they do; of `n`, one that fails alone is `√(n−1)` deviations away, so
//! that fewer than five can never be told apart (Envoy asks for five, `success_rate_minimum_hosts`).
//! Here each endpoint is compared with the calls of all others together:
//!
//! - **Streak**: so many failures in a row, while another endpoint answers.
//! - **Failure rate**: a two-proportion z-test of its failures against the rest's, and a difference
//!   that matters, so that neither chance nor a big number of calls alone ejects anybody. (Fisher's
//!   exact test would serve with fewer than ten calls; the streak is there for those.)
//! - **Latency**: the median of its good answers is a multiple of the rest's median.
//!
//! The worst goes first, and the rest is pooled again without it: two bad endpoints of five do not
//! hide each other.
//!
//! Always holds:
//! - At least one endpoint stays, and never more than [`Config::ejected_max`] are out: counts and
//!   not percentages, as 10 % of two is none.
//! - Nobody is ejected for being as bad as the rest, and when all that are left fail, the ejected
//!   ones return: they can be no worse (Envoy's panic mode, without its threshold).
//! - An ejection ends by the clock alone, in the [`Cell`], whether or not anybody evaluates.
//!
//! Calls write to the [`Cell`] of their endpoint, lock-free; whoever owns the [`Outliers`]
//! evaluates now and then.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::time::Duration;

use crate::outcome::Reason;
use crate::random::Random;
use crate::time::{Instant, nanos};

mod cell;
mod config;
mod evidence;

pub use cell::{Cell, SHARE_MIN};
pub use config::{Config, ConfigError, DURATION_MAX, DURATION_MIN, ENDPOINTS_MAX};
pub use evidence::{BUCKETS, LATENCY_MAX};

use evidence::{Evidence, Pool};

/// Where the rest fails more than this, nobody is ejected for failing yet more: the calls would
/// have nowhere to go.
const REST_FAILED_MAX: f64 = 0.5;

/// Most ejections of one evaluation; the next one goes on. A caller may be waiting for it to end,
/// and each ejection compares all that are left anew.
pub const EJECTIONS_MAX: usize = 16;

/// What was decided about an endpoint, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// It is left out.
    Ejected {
        /// Which endpoint, by its place from 0.
        endpoint: usize,
        /// What it stands out by.
        by: Evident,
        /// The same in the words of events.
        reason: Reason,
        /// For how long: half to all of [`Config::eject`], doubled for each ejection in a row, at
        /// most [`Config::eject_max`].
        duration: Duration,
        /// Ejections in a row, this one included, without a time of [`Config::stable_after`] in
        /// between.
        ejections: u32,
    },
    /// It may take calls again.
    Returned {
        /// Which endpoint, by its place from 0.
        endpoint: usize,
    },
}

/// What an endpoint stands out by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evident {
    /// So many failures in a row, while others answered.
    Streak(u32),
    /// The share of its calls that failed, and that of the rest.
    FailureRate {
        /// Its own, 0 to 1.
        own: f64,
        /// That of all others together, 0 to 1.
        rest: f64,
    },
    /// The median of its latency, and that of the rest.
    Latency {
        /// Its own.
        own: Duration,
        /// That of all others together.
        rest: Duration,
    },
}

/// The endpoints of one service. Owned by one evaluator.
///
/// ```
/// use mainstay_core::outcome::{Outcome, Reason};
/// use mainstay_core::outlier::{Cell, Config, Decision, Outliers};
/// use mainstay_core::time::{Duration, Instant};
///
/// let config = Config { consecutive: None, ..Config::default() };
/// let cells = [Cell::new(&config), Cell::new(&config)];
/// let mut outliers = Outliers::new(&config, cells.len(), 7, Instant::ORIGIN).unwrap();
/// let (now, rtt) = (Instant::from_millis(1), Duration::from_millis(3));
/// for call in 0..100 {
///     cells[0].record(Outcome::Success, rtt, now);
///     let fails = call % 4 == 0;
///     let ended = if fails { Outcome::Failure(Reason::Status) } else { Outcome::Success };
///     cells[1].record(ended, rtt, now);
/// }
/// // A breaker that opens at half of the calls would let it be; its equals show it up.
/// let decisions = outliers.evaluate(&cells, now);
/// assert!(matches!(decisions[..], [Decision::Ejected { endpoint: 1, .. }]));
/// assert!(cells[1].is_ejected(now));
/// ```
#[derive(Clone, Debug)]
pub struct Outliers {
    config: Config,
    members: Vec<Member>,
    random: Random,
    /// When evidence was gathered last.
    gathered: Instant,
}

#[derive(Clone, Debug)]
struct Member {
    state: State,
    /// In a row.
    ejections: u32,
    evidence: Evidence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    In { since: Instant },
    Ejected { until: Instant },
}

impl Member {
    fn new(now: Instant) -> Self {
        Self {
            state: State::In { since: now },
            ejections: 0,
            evidence: Evidence::new(),
        }
    }

    fn is_in(&self) -> bool {
        matches!(self.state, State::In { .. })
    }
}

impl Outliers {
    /// So many endpoints, all in. Give each group a `seed` of its own, or ejections end in step.
    ///
    /// # Errors
    ///
    /// As [`Config::validate`], and [`ConfigError::Endpoints`] for more than [`ENDPOINTS_MAX`]
    /// endpoints.
    pub fn new(
        config: &Config,
        endpoints: usize,
        seed: u64,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        if endpoints > ENDPOINTS_MAX {
            return Err(ConfigError::Endpoints(endpoints));
        }
        Ok(Self {
            config: *config,
            members: (0..endpoints).map(|_| Member::new(now)).collect(),
            random: Random::seeded(seed),
            gathered: now,
        })
    }

    /// Takes what the endpoints' cells have counted, in the endpoints' order, and decides. Call it
    /// once in [`Config::interval`], and when [`Cell::record`] says so. At most [`EJECTIONS_MAX`]
    /// endpoints are ejected at a time; what is decided is for the observer.
    pub fn evaluate<C: Borrow<Cell>>(&mut self, cells: &[C], now: Instant) -> Vec<Decision> {
        let mut decisions = Vec::new();
        self.end_ejections(cells, now, &mut decisions);
        self.gather(cells, now);
        for _ in 0..EJECTIONS_MAX {
            let worst = self.may_eject().then(|| self.worst(cells)).flatten();
            let Some((endpoint, by)) = worst else {
                break;
            };
            let Some(cell) = cells.get(endpoint) else {
                break;
            };
            decisions.push(self.eject(endpoint, by, cell.borrow(), now));
        }
        decisions
    }

    /// Another callee stands behind the endpoint now: it is in, and nothing is known of it. The
    /// decision, if it was out, is for the observer.
    pub fn forget(&mut self, endpoint: usize, cell: &Cell, now: Instant) -> Option<Decision> {
        let member = self.members.get_mut(endpoint)?;
        let was_in = member.is_in();
        *member = Member::new(now);
        cell.readmit();
        (!was_in).then_some(Decision::Returned { endpoint })
    }

    /// Endpoints that are left out, as of the last evaluation.
    pub fn ejected(&self) -> usize {
        self.members.iter().filter(|member| !member.is_in()).count()
    }

    /// Old evidence counts less: half of it after [`Config::half_life`].
    fn gather<C: Borrow<Cell>>(&mut self, cells: &[C], now: Instant) {
        let passed = nanos(now.since(self.gathered)) as f64;
        let weight = libm::exp2(-passed / nanos(self.config.half_life) as f64);
        self.gathered = self.gathered.max(now);
        for (member, cell) in self.members.iter_mut().zip(cells) {
            member.evidence.gather(cell.borrow(), weight);
        }
    }

    fn end_ejections<C: Borrow<Cell>>(
        &mut self,
        cells: &[C],
        now: Instant,
        decisions: &mut Vec<Decision>,
    ) {
        let nobody_works = self.nobody_works(cells);
        for (endpoint, (member, cell)) in self.members.iter_mut().zip(cells).enumerate() {
            let State::Ejected { until } = member.state else {
                continue;
            };
            if now >= until {
                member.state = State::In { since: until };
            } else if nobody_works {
                member.state = State::In { since: now };
                cell.borrow().readmit();
            } else {
                continue;
            }
            decisions.push(Decision::Returned { endpoint });
        }
    }

    /// Whether all endpoints that are in fail call after call.
    fn nobody_works<C: Borrow<Cell>>(&self, cells: &[C]) -> bool {
        let mut streaks = self.in_service(cells).map(|(_, _, cell)| cell.streak());
        self.config
            .consecutive
            .is_some_and(|limit| streaks.all(|streak| streak >= limit.get()))
    }

    fn may_eject(&self) -> bool {
        let all_but_one = self.members.len().saturating_sub(1);
        let max = self
            .config
            .ejected_max
            .map_or(all_but_one, |max| all_but_one.min(max.get() as usize));
        self.ejected() < max
    }

    /// The endpoint that stands out most: by its streak, else by its failures, else by its latency.
    fn worst<C: Borrow<Cell>>(&self, cells: &[C]) -> Option<(usize, Evident)> {
        let pool = Pool::of(
            self.in_service(cells)
                .map(|(_, member, _)| &member.evidence),
        );
        self.worst_streak(cells)
            .or_else(|| self.worst_failure_rate(cells, &pool))
            .or_else(|| self.worst_latency(cells, &pool))
    }

    fn worst_streak<C: Borrow<Cell>>(&self, cells: &[C]) -> Option<(usize, Evident)> {
        let limit = self.config.consecutive?.get();
        let another_works = self
            .in_service(cells)
            .any(|(_, member, cell)| cell.streak() == 0 && member.evidence.has_success());
        if !another_works {
            return None;
        }
        self.in_service(cells)
            .map(|(endpoint, _, cell)| (endpoint, cell.streak()))
            .filter(|&(_, streak)| streak >= limit)
            .max_by_key(|&(_, streak)| streak)
            .map(|(endpoint, streak)| (endpoint, Evident::Streak(streak)))
    }

    fn worst_failure_rate<C: Borrow<Cell>>(
        &self,
        cells: &[C],
        pool: &Pool,
    ) -> Option<(usize, Evident)> {
        let gap = self.config.failure_gap?;
        let calls_min = f64::from(self.config.calls_min.get());
        let compared = self.in_service(cells).filter_map(|(endpoint, member, _)| {
            let (own, rest) = (member.evidence.calls(), pool.rest(&member.evidence));
            if own.total < calls_min || rest.total < calls_min {
                return None;
            }
            let stands_out = own.rate() - rest.rate() >= gap
                && rest.rate() <= REST_FAILED_MAX
                && own.is_above(rest, self.config.deviations);
            stands_out.then_some((endpoint, own.rate(), rest.rate()))
        });
        compared
            .max_by(|left, right| (left.1 - left.2).total_cmp(&(right.1 - right.2)))
            .map(|(endpoint, own, rest)| (endpoint, Evident::FailureRate { own, rest }))
    }

    fn worst_latency<C: Borrow<Cell>>(&self, cells: &[C], pool: &Pool) -> Option<(usize, Evident)> {
        let ratio = self.config.latency_ratio?;
        let calls_min = f64::from(self.config.calls_min.get());
        let compared = self.in_service(cells).filter_map(|(endpoint, member, _)| {
            let own = member.evidence.median(calls_min)?;
            let rest = pool.median_of_rest(&member.evidence, calls_min)?;
            let stands_out = nanos(own) as f64 >= nanos(rest) as f64 * ratio
                && own.saturating_sub(rest) >= self.config.latency_gap;
            stands_out.then_some((endpoint, own, rest))
        });
        compared
            .max_by_key(|&(_, own, _)| own)
            .map(|(endpoint, own, rest)| (endpoint, Evident::Latency { own, rest }))
    }

    fn in_service<'a, C: Borrow<Cell>>(
        &'a self,
        cells: &'a [C],
    ) -> impl Iterator<Item = (usize, &'a Member, &'a Cell)> {
        let pairs = self.members.iter().zip(cells).enumerate();
        pairs
            .filter(|(_, (member, _))| member.is_in())
            .map(|(endpoint, (member, cell))| (endpoint, member, cell.borrow()))
    }

    fn eject(&mut self, endpoint: usize, by: Evident, cell: &Cell, now: Instant) -> Decision {
        let reason = match by {
            Evident::Streak(_) | Evident::FailureRate { .. } => cell.last_reason(),
            Evident::Latency { .. } => Reason::Slow,
        };
        let mut ejections = 1;
        let mut duration = self.config.eject;
        if let Some(member) = self.members.get_mut(endpoint) {
            if let State::In { since } = member.state
                && now.since(since) >= self.config.stable_after
            {
                member.ejections = 0;
            }
            duration = time_out(&self.config, member.ejections, &mut self.random);
            member.ejections = member.ejections.saturating_add(1);
            ejections = member.ejections;
            member.state = State::Ejected {
                until: now + duration,
            };
            member.evidence = Evidence::new();
        }
        cell.eject(now + duration);
        Decision::Ejected {
            endpoint,
            by,
            reason,
            duration,
            ejections,
        }
    }
}

/// Between half of the doubled time and all of it: callers must not try an endpoint in step, and
/// one that stays bad must be tried less often.
fn time_out(config: &Config, past: u32, random: &mut Random) -> Duration {
    let whole = config
        .eject
        .saturating_mul(1 << past.min(31))
        .min(config.eject_max);
    let half = whole / 2;
    half + random.up_to(whole.saturating_sub(half))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
