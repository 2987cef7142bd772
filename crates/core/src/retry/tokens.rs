//! Retry throttling by tokens, as gRPC does it: failures cost, successes pay back slowly.
//!
//! Prevents a retry storm without any clock: while most calls fail, no retries are sent at all.
//! After gRFC A6, "Client Retry Design": a count of tokens begins at [`TokensConfig::max`], each
//! failed attempt takes one, each good one gives [`TokensConfig::ratio`], and nothing is sent a
//! second time while the count is at half of `max` or below.
//!
//! Always holds: the count is between 0 and `max`, and a healthy service only reads it.

use core::num::NonZeroU32;

use super::BudgetConfigError;
use crate::atomic::{AtomicU32, Ordering};

/// Most tokens there may be (gRFC A6).
pub const TOKENS_MAX: u32 = 1_000;

/// One token in the unit that the count is kept in: gRPC keeps three decimals.
const TOKEN: u32 = 1_000;

/// How many failures stop retries, and how many successes allow them again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokensConfig {
    /// Tokens at the beginning, and at most: half as many failures stop retries. At most
    /// [`TOKENS_MAX`]. Default: 10.
    pub max: NonZeroU32,
    /// Tokens that a success gives, three decimals of it: 0.1 means that ten successes make up for
    /// one failure. 0.001 to 1,000. Default: 0.1.
    pub ratio: f64,
}

impl Default for TokensConfig {
    fn default() -> Self {
        Self {
            max: const { NonZeroU32::MIN.saturating_add(9) },
            ratio: 0.1,
        }
    }
}

/// The tokens of one service. Shared by reference between threads.
///
/// ```
/// use mainstay_core::retry::{Tokens, TokensConfig};
///
/// let tokens = Tokens::new(&TokensConfig::default()).unwrap();
/// for _ in 0..5 {
///     assert!(tokens.allows());
///     tokens.failure();
/// }
/// // Half of the ten are gone: while most calls fail, nothing is sent a second time.
/// assert!(!tokens.allows());
/// tokens.success();
/// assert!(tokens.allows());
/// ```
#[derive(Debug)]
pub struct Tokens {
    /// In thousandths.
    count: AtomicU32,
    max: u32,
    gain: u32,
}

impl Tokens {
    /// All tokens.
    ///
    /// # Errors
    ///
    /// [`BudgetConfigError::TokensMax`] for more than [`TOKENS_MAX`] tokens,
    /// [`BudgetConfigError::TokensRatio`] for a `ratio` outside of 0.001 to 1,000.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ratio is checked to be between 0 and 1,000"
    )]
    pub fn new(config: &TokensConfig) -> Result<Self, BudgetConfigError> {
        let max = config.max.get();
        if max > TOKENS_MAX {
            return Err(BudgetConfigError::TokensMax(max));
        }
        // Written so that NaN fails.
        if !(config.ratio >= 0.001 && config.ratio <= f64::from(TOKENS_MAX)) {
            return Err(BudgetConfigError::TokensRatio(config.ratio));
        }
        Ok(Self {
            count: AtomicU32::new(max * TOKEN),
            max: max * TOKEN,
            // Three decimals, so that what is 0.001 stays so: 0.001 * 1,000 may be just below 1.
            gain: (config.ratio * f64::from(TOKEN) + 0.5) as u32,
        })
    }

    /// An attempt succeeded. Only a load when no token is missing. It gives [`TokensConfig::ratio`]
    /// tokens.
    pub fn success(&self) {
        self.change(|count| count.saturating_add(self.gain).min(self.max));
    }

    /// An attempt failed: it costs one token.
    pub fn failure(&self) {
        self.change(|count| count.saturating_sub(TOKEN));
    }

    /// Whether another attempt may be sent: more than half of the tokens are there.
    #[must_use = "without tokens there must be no retry"]
    pub fn allows(&self) -> bool {
        self.count.load(Ordering::Relaxed) > self.max / 2
    }

    /// How much is left: 1 when no token is missing, 0 when no retry is possible.
    pub fn level(&self) -> f64 {
        let count = self.count.load(Ordering::Relaxed);
        f64::from(count.saturating_sub(self.max / 2)) / f64::from(self.max.div_ceil(2))
    }

    fn change(&self, next: impl Fn(u32) -> u32) {
        let mut seen = self.count.load(Ordering::Relaxed);
        loop {
            let next = next(seen);
            if next == seen {
                return;
            }
            match self
                .count
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(&TokensConfig::default()).expect("the default works")
    }

    #[test]
    fn retries_stop_when_half_of_the_tokens_are_gone() {
        let tokens = tokens();
        for _ in 0..4 {
            tokens.failure();
            assert!(tokens.allows());
        }
        tokens.failure();
        assert!(!tokens.allows(), "5 of 10 is not more than half");
        tokens.success();
        assert!(tokens.allows(), "5.1 of 10 is");
    }

    #[test]
    fn tokens_never_pass_their_ends() {
        let tokens = tokens();
        for _ in 0..1_000 {
            tokens.success();
        }
        assert!((tokens.level() - 1.0).abs() < f64::EPSILON);
        for _ in 0..1_000 {
            tokens.failure();
        }
        assert!(tokens.level().abs() < f64::EPSILON);
        let needed = (1..100).find(|_| {
            tokens.success();
            tokens.allows()
        });
        assert_eq!(needed, Some(51), "5.1 tokens at 0.1 each");
    }

    // Pitfall 26: fractions are kept, three decimals of them as in gRPC.
    #[test]
    fn a_thousandth_of_a_token_is_not_lost() {
        let config = TokensConfig {
            ratio: 0.001,
            ..TokensConfig::default()
        };
        let tokens = Tokens::new(&config).expect("gRPC allows three decimals");
        (0..5).for_each(|_| tokens.failure());
        assert!(!tokens.allows());
        tokens.success();
        assert!(tokens.allows());
    }

    #[test]
    fn a_configuration_that_cannot_work_is_named() {
        for ratio in [f64::NAN, f64::INFINITY, -0.1, 0.0, 0.000_1] {
            let config = TokensConfig {
                ratio,
                ..TokensConfig::default()
            };
            assert!(
                matches!(Tokens::new(&config), Err(BudgetConfigError::TokensRatio(_))),
                "{ratio}"
            );
        }
        let config = TokensConfig {
            max: NonZeroU32::MAX,
            ..TokensConfig::default()
        };
        let error = Tokens::new(&config).expect_err("too many");
        assert_eq!(error, BudgetConfigError::TokensMax(u32::MAX));
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
        fn tokens_do_what_a_plain_count_does(
            max in 1_u32..=1_000,
            thousandths in 1_u32..=2_000,
            outcomes in prop::collection::vec(any::<bool>(), 0..500),
        ) {
            let config = TokensConfig {
                max: NonZeroU32::new(max).expect("positive"),
                ratio: f64::from(thousandths) / 1_000.0,
            };
            let tokens = Tokens::new(&config).expect("valid");
            let mut model = i64::from(max) * 1_000;
            for good in outcomes {
                if good {
                    tokens.success();
                    model = (model + i64::from(thousandths)).min(i64::from(max) * 1_000);
                } else {
                    tokens.failure();
                    model = (model - 1_000).max(0);
                }
                prop_assert_eq!(tokens.allows(), model * 2 > i64::from(max) * 1_000);
            }
        }
    }
}
