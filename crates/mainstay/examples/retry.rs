//! A call that often fails, tried again within a deadline and a budget that all calls share.
//! `cargo run -p mainstay --example retry`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::cell::Cell;
use std::time::Duration;

use mainstay::retry::{Again, BudgetConfig, BudgetConfigError};
use mainstay::{Retry, RetryBudget};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BudgetConfigError> {
    // One budget per service: a fifth of the requests may be retried, and one per second.
    let budget = RetryBudget::builder("payment")
        .config(BudgetConfig {
            floor: 1,
            ..BudgetConfig::default()
        })
        .build()?;
    let retry = Retry::builder(budget.clone())
        .backoff(Duration::from_millis(5), Duration::from_millis(50))
        .total(Duration::from_secs(1))
        .build();

    let attempts = Cell::new(0_u32);
    for call in 1..=40 {
        let result = retry
            .call_with(
                async |attempt| {
                    attempts.set(attempts.get() + 1);
                    match attempts.get() % 2 {
                        0 => Ok(attempt.number),
                        _ => Err("connection reset"),
                    }
                },
                // A read may be repeated; for a payment this would be `Again::No`.
                |_error| Again::Yes,
            )
            .await;
        match result {
            Ok(number) => println!("call {call}: answered at attempt {number}"),
            // With the budget used up, failures are no longer multiplied.
            Err(error) => println!("call {call}: {error}"),
        }
    }
    println!("40 calls, {} attempts", attempts.get());
    println!("{:.0} % of the budget left", budget.level() * 100.0);
    Ok(())
}
