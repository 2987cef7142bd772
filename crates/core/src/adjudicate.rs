//! Chooses among redundant answers: majority, plurality, unanimity, weights.
//!
//! Prevents one wrong answer from being believed: the adjudicator of N-version programming
//! (Avizienis, "The N-Version Approach to Fault-Tolerant Software", IEEE TSE 1985). A replica that
//! fails abstains. The decision falls as soon as the answers still to come cannot change it, so
//! that the slowest replica is waited for only when its answer matters.
//!
//! How many replicas: 2f+1 outvote f wrong ones when the one who asks also counts. Where replicas
//! have to agree among each other on what they were asked, and liars sign nothing, it takes 3f+1
//! (Lamport, Shostak and Pease, "The Byzantine Generals Problem", ACM TOPLAS 1982).
//!
//! Always holds: no decision is ever different from the one that all answers together would give.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU32;

/// Most replicas that are asked at once: one bit each in [`Replicas`].
pub const REPLICAS_MAX: usize = 64;

/// What it takes to choose an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// All answers are alike.
    Unanimous,
    /// More than half of all replicas, by weight, gave it; a replica without an answer counts
    /// among them.
    #[default]
    Majority,
    /// More replicas, by weight, gave it than any other; a tie chooses nothing.
    Plurality,
}

/// How answers are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What it takes. Default: [`Rule::Majority`].
    pub rule: Rule,
    /// Fewest answers, whatever their weight, that a choice may rest on. At least 1, at most the
    /// number of replicas. Default: 1.
    pub quorum: NonZeroU32,
}

impl Config {
    /// Says whether so many replicas can be judged like this.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Replicas`] for none or more than [`REPLICAS_MAX`], and
    /// [`ConfigError::Quorum`] for a quorum above their number.
    pub fn check(self, replicas: usize) -> Result<(), ConfigError> {
        if replicas == 0 || replicas > REPLICAS_MAX {
            return Err(ConfigError::Replicas(replicas));
        }
        let quorum = self.quorum.get();
        if quorum as usize > replicas {
            return Err(ConfigError::Quorum { quorum, replicas });
        }
        Ok(())
    }
}

impl Default for Config {
    /// The majority, of however few.
    fn default() -> Self {
        Self {
            rule: Rule::Majority,
            quorum: NonZeroU32::MIN,
        }
    }
}

/// Replicas that cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There are so many: none, or more than [`REPLICAS_MAX`].
    Replicas(usize),
    /// The quorum is above the number of replicas: nothing could ever be chosen.
    Quorum {
        /// The quorum.
        quorum: u32,
        /// The replicas.
        replicas: usize,
    },
    /// There are not as many weights as replicas.
    Weights {
        /// The weights.
        weights: usize,
        /// The replicas.
        replicas: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas(replicas) => {
                write!(f, "{replicas} replicas; ask at least 1 and at most 64")
            },
            Self::Quorum { quorum, replicas } => write!(
                f,
                "the quorum is {quorum}; set at most the number of replicas, which is {replicas}"
            ),
            Self::Weights { weights, replicas } => {
                write!(f, "{weights} weights for {replicas} replicas; set one each")
            },
        }
    }
}

impl core::error::Error for ConfigError {}

/// Some of the replicas, by their number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Replicas(u64);

impl Replicas {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// How many they are.
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `replica` is one of them. Numbers begin with 0; one of [`REPLICAS_MAX`] or above
    /// never is.
    pub const fn contains(self, replica: usize) -> bool {
        replica < REPLICAS_MAX && self.0 >> replica & 1 == 1
    }

    /// Their numbers, rising. From 0.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..REPLICAS_MAX).filter(move |&replica| self.contains(replica))
    }

    const fn first(count: usize) -> Self {
        match count {
            0 => Self(0),
            count => Self(u64::MAX >> (REPLICAS_MAX - count)),
        }
    }

    const fn insert(&mut self, replica: usize) {
        self.0 |= 1 << replica;
    }

    const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Why no answer was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// Fewer replicas answered than [`Config::quorum`] asks for.
    Quorum,
    /// Answers differ where all should be alike ([`Rule::Unanimous`]).
    Disagreement,
    /// No answer has more than half of all replicas, by weight ([`Rule::Majority`]).
    NoMajority,
    /// Two answers have equally many ([`Rule::Plurality`]).
    Tie,
}

impl Why {
    /// The words in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "too few replicas answered",
            Self::Disagreement => "the replicas disagree",
            Self::NoMajority => "no answer has a majority",
            Self::Tie => "the answers tie",
        }
    }
}

/// Who said what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Gave the chosen answer; none when none was chosen.
    pub agreed: Replicas,
    /// Gave another: suspects, while those who agreed are the majority. When nothing was chosen,
    /// all who answered.
    pub differed: Replicas,
    /// Gave none.
    pub abstained: Replicas,
    /// Were not heard before the decision fell.
    pub unheard: Replicas,
}

/// What the answers so far decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The answers still to come may change it.
    Pending,
    /// An answer is chosen, whatever is still to come.
    Chosen,
    /// None is, for this reason, and none will be.
    Undecided(Why),
}

/// The answers to one question. `Q` says which of them are alike.
///
/// With a tolerance, which is not transitive, an answer belongs to the first group whose first
/// answer it is like; the limits of that are known (Brilliant, Knight and Leveson, "The Consistent
/// Comparison Problem in N-Version Software", IEEE TSE 1989).
///
/// ```
/// use mainstay_core::adjudicate::{Adjudicator, Config, Decision};
///
/// let mut answers = Adjudicator::new(Config::default(), 3, |a, b| a == b).unwrap();
/// answers.answer(0, "4");
/// answers.answer(2, "5");
/// assert_eq!(answers.decision(), Decision::Pending);
/// answers.answer(1, "4");
/// assert_eq!(answers.decision(), Decision::Chosen);
///
/// let (answer, tally) = answers.finish();
/// assert_eq!(answer.unwrap(), "4");
/// assert!(tally.differed.contains(2));
/// ```
#[derive(Clone, Debug)]
pub struct Adjudicator<A, Q> {
    config: Config,
    /// One each, or empty when all weigh the same.
    weights: Vec<NonZeroU32>,
    total: u64,
    replicas: Replicas,
    abstained: Replicas,
    groups: Vec<Group<A>>,
    alike: Q,
}

#[derive(Clone, Debug)]
struct Group<A> {
    answer: A,
    members: Replicas,
    weight: u64,
}

impl<A, Q: Fn(&A, &A) -> bool> Adjudicator<A, Q> {
    /// A question to `replicas` replicas of equal weight.
    ///
    /// # Errors
    ///
    /// As [`Config::check`].
    pub fn new(config: Config, replicas: usize, alike: Q) -> Result<Self, ConfigError> {
        Self::make(config, replicas, Vec::new(), alike)
    }

    /// A question to as many replicas as there are weights: what the more reliable one says counts
    /// for more.
    ///
    /// # Errors
    ///
    /// As [`Config::check`]. [`ConfigError::Weights`] is for callers that know both numbers.
    pub fn weighted(config: Config, weights: &[NonZeroU32], alike: Q) -> Result<Self, ConfigError> {
        Self::make(config, weights.len(), weights.to_vec(), alike)
    }

    fn make(
        config: Config,
        replicas: usize,
        weights: Vec<NonZeroU32>,
        alike: Q,
    ) -> Result<Self, ConfigError> {
        config.check(replicas)?;
        let all = Replicas::first(replicas);
        let mut adjudicator = Self {
            config,
            weights,
            total: 0,
            replicas: all,
            abstained: Replicas::NONE,
            groups: Vec::new(),
            alike,
        };
        adjudicator.total = adjudicator.weight_of(all);
        Ok(adjudicator)
    }

    /// `replica`, numbered from 0, gave `answer`. A second answer of the same replica, and a
    /// replica that is not asked, do not count.
    pub fn answer(&mut self, replica: usize, answer: A) {
        if !self.unheard().contains(replica) {
            return;
        }
        let weight = self.weight(replica);
        let alike = &self.alike;
        let mut groups = self.groups.iter_mut();
        if let Some(group) = groups.find(|group| alike(&group.answer, &answer)) {
            group.members.insert(replica);
            group.weight += weight;
            return;
        }
        let mut members = Replicas::NONE;
        members.insert(replica);
        self.groups.push(Group {
            answer,
            members,
            weight,
        });
    }

    /// `replica` failed, and has no say.
    pub fn abstain(&mut self, replica: usize) {
        if self.unheard().contains(replica) {
            self.abstained.insert(replica);
        }
    }

    /// All who were not heard yet have no say: the time is up.
    pub fn close(&mut self) {
        self.abstained = self.abstained.and(self.unheard());
    }

    /// What the answers so far decide.
    pub fn decision(&self) -> Decision {
        let unheard = self.unheard();
        let answers = self.answered().count();
        let quorum = self.config.quorum.get();
        if answers + unheard.count() < quorum {
            return Decision::Undecided(Why::Quorum);
        }
        let decision = self.by_rule(self.weight_of(unheard));
        match decision {
            // A choice stands only on a quorum; those to come may still bring it about.
            Decision::Chosen if answers < quorum => Decision::Pending,
            Decision::Chosen | Decision::Pending | Decision::Undecided(_) => decision,
        }
    }

    /// What the rule says while answers of the weight `left` are still to come.
    fn by_rule(&self, left: u64) -> Decision {
        let (best, second) = self.lead();
        match self.config.rule {
            Rule::Unanimous if second > 0 => Decision::Undecided(Why::Disagreement),
            Rule::Unanimous if left == 0 => Decision::Chosen,
            Rule::Majority if 2 * best > self.total => Decision::Chosen,
            Rule::Majority if 2 * (best + left) <= self.total => {
                Decision::Undecided(Why::NoMajority)
            },
            // An unassailable lead: even if all the rest went to the second, or to a new one.
            Rule::Plurality if best > second + left => Decision::Chosen,
            Rule::Plurality if left == 0 => Decision::Undecided(Why::Tie),
            Rule::Unanimous | Rule::Majority | Rule::Plurality => Decision::Pending,
        }
    }

    /// The chosen answer, or why there is none, and who said what.
    ///
    /// # Errors
    ///
    /// [`Why`] no answer is chosen. Replicas that were not heard have no say.
    pub fn finish(mut self) -> (Result<A, Why>, Tally) {
        let unheard = self.unheard();
        let abstained = self.abstained;
        let answered = self.answered();
        let mut decision = self.decision();
        if decision == Decision::Pending {
            self.close();
            decision = self.decision();
        }
        let best = self.best();
        let (result, agreed) = match (decision, best) {
            (Decision::Chosen, Some(best)) => {
                let group = self.groups.swap_remove(best);
                (Ok(group.answer), group.members)
            },
            (Decision::Undecided(why), _) => (Err(why), Replicas::NONE),
            // With all heard nothing is pending, and what is chosen was given by somebody.
            (Decision::Pending | Decision::Chosen, _) => (Err(Why::Quorum), Replicas::NONE),
        };
        let tally = Tally {
            agreed,
            differed: answered.without(agreed),
            abstained,
            unheard,
        };
        (result, tally)
    }

    /// Whether answers differ, chosen or not: at least one replica is wrong.
    pub const fn disagrees(&self) -> bool {
        self.groups.len() > 1
    }

    /// The replicas that have neither answered nor abstained.
    pub fn unheard(&self) -> Replicas {
        self.replicas
            .without(self.answered())
            .without(self.abstained)
    }

    fn answered(&self) -> Replicas {
        let members = self.groups.iter().map(|group| group.members);
        members.fold(Replicas::NONE, Replicas::and)
    }

    fn best(&self) -> Option<usize> {
        (0..self.groups.len()).max_by_key(|&index| self.groups[index].weight)
    }

    /// The weights of the two heaviest answers; 0 where there is none.
    fn lead(&self) -> (u64, u64) {
        let mut lead = (0, 0);
        for group in &self.groups {
            if group.weight > lead.0 {
                lead = (group.weight, lead.0);
            } else {
                lead.1 = lead.1.max(group.weight);
            }
        }
        lead
    }

    fn weight(&self, replica: usize) -> u64 {
        self.weights
            .get(replica)
            .map_or(1, |weight| u64::from(weight.get()))
    }

    fn weight_of(&self, replicas: Replicas) -> u64 {
        replicas.iter().map(|replica| self.weight(replica)).sum()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
