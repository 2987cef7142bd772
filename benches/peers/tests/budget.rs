//! Retry budgets that round, in time and in shares.
//!
//! Prevents claims in docs/comparison.md that nobody saw.

use std::time::Duration;

use mainstay::RetryBudget;
use mainstay::retry::BudgetConfig;
use tower::retry::budget::{Budget as _, TpsBudget};

const TTL: Duration = Duration::from_secs(10);
/// A bit more than one of the ten slots of a budget.
const STEP: Duration = Duration::from_millis(1_100);

fn ours(ratio: f64) -> RetryBudget {
    let config = BudgetConfig {
        ratio,
        floor: 0,
        ttl: TTL,
    };
    let budget = RetryBudget::builder("payment").config(config).build();
    budget.expect("a configuration that works")
}

/// How many retries are let through at once after so many requests.
fn retries(requests: usize, deposit: impl Fn(), withdraw: impl Fn() -> bool) -> usize {
    (0..requests).for_each(|_| deposit());
    (0..10 * requests).take_while(|_| withdraw()).count()
}

// Pitfall 26: tower 0.5 rounds what a retry costs down to whole requests.
#[tokio::test(start_paused = true)]
async fn pitfall_26_a_budget_of_60_percent_of_tower_lets_100_percent_through() {
    for (percent, expected) in [(0.6, 1_000), (0.3, 333), (0.2, 200)] {
        let budget = TpsBudget::new(TTL, 0, percent);
        let retries = retries(1_000, || budget.deposit(), || budget.withdraw());
        assert_eq!(
            retries, expected,
            "{percent}: another fraction now: correct docs/comparison.md"
        );
    }
}

// Pitfall 26: tower 0.5 begins a slot when it is asked instead of when it is due.
#[tokio::test(start_paused = true)]
async fn pitfall_26_tower_forgets_requests_after_two_thirds_of_their_time() {
    let budget = TpsBudget::new(TTL, 0, 1.0);
    (0..1_000).for_each(|_| budget.deposit());
    // Asked for a retry now and then, as in a service with few failures: six of a thousand.
    for _ in 0..6 {
        tokio::time::advance(STEP).await;
        let _retried = budget.withdraw();
    }
    assert!(
        !budget.withdraw(),
        "it remembers them now: correct docs/comparison.md"
    );
}

// Pitfall 26.
#[tokio::test(start_paused = true)]
async fn pitfall_26_ours_lets_exactly_its_share_through() {
    for (ratio, expected) in [(0.6, 600), (0.3, 300), (0.2, 200)] {
        let budget = ours(ratio);
        let retries = retries(1_000, || budget.deposit(), || budget.withdraw());
        assert_eq!(retries, expected, "{ratio}");
    }
}

// Pitfall 26.
#[tokio::test(start_paused = true)]
async fn pitfall_26_ours_remembers_requests_for_the_time_that_was_asked_for() {
    let budget = ours(1.0);
    (0..1_000).for_each(|_| budget.deposit());
    for _ in 0..8 {
        tokio::time::advance(STEP).await;
        assert!(budget.withdraw());
    }
}
