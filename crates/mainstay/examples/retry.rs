//! A call that often fails, tried again within a deadline and a budget that all calls share.
//! `cargo run -p mainstay --example retry`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::cell::Cell;
use std::time::Duration;

use mainstay::retry::{Backoff, BackoffConfig, BudgetConfig, retry_after};
use mainstay::{Outcome, Reason, Retry, RetryBudget, classify};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One budget per service: a fifth of the requests may be retried, and one per second.
    let budget = RetryBudget::builder("payment")
        .config(BudgetConfig {
            floor: 1,
            ..BudgetConfig::default()
        })
        .build()?;
    let retry = Retry::builder(budget.clone())
        .backoff(Backoff::new(&BackoffConfig {
            base: Duration::from_millis(5),
            max: Duration::from_millis(50),
            ..BackoffConfig::default()
        })?)
        .total(Duration::from_secs(1))
        .seed(1)
        .build()?;

    let attempts = Cell::new(0_u32);
    let every_second_fails = async |attempt: mainstay::retry::Attempt| {
        attempts.set(attempts.get() + 1);
        match attempts.get() % 2 {
            0 => Ok(attempt.number),
            _ => Err("connection reset"),
        }
    };
    for call in 1..=40 {
        match retry.call(every_second_fails).await {
            Ok(number) => println!("call {call}: answered at attempt {number}"),
            // With the budget used up, failures are no longer multiplied.
            Err(error) => println!("call {call}: {error}"),
        }
    }
    println!("40 calls, {} attempts", attempts.get());
    println!("{:.0} % of the budget left", budget.level() * 100.0);

    // A payment must not be made twice: what may have arrived is not sent again.
    let payments = retry.idempotent(false);
    let result = payments
        .call(async |_| Err::<(), _>("connection reset"))
        .await;
    println!("payment: {result:?}");

    // The callee says when to come back, here after longer than the call may take.
    let by_header = classify::by(|answer: Result<&&str, &&str>| match answer {
        Ok(header) => Outcome::Throttled {
            retry_after: retry_after(header, 0),
        },
        Err(_) => Outcome::Failure(Reason::Reset),
    });
    let busy = async |_| Ok::<_, &str>("120");
    let answer = retry.call_with(busy, by_header).await;
    println!("asked to wait for {answer:?} s, longer than the call may take: no retry");
    Ok(())
}
