//! A second copy of slow calls, and what it does to the slowest of them.
//! `cargo run -p mainstay --example hedge`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::time::Duration;

use mainstay::hedge::{Config, Delay, Idempotent};
use mainstay::retry::Attempt;
use mainstay::{Clock, Hedge, RetryBudget};
use tokio::time::sleep;

const CALLS: u32 = 200;

/// One of two replicas is slow for one call in twenty; the other, which gets the copy, is not.
async fn look_up(call: u32, attempt: Attempt) -> Result<u32, std::io::Error> {
    let is_slow = call % 20 == 7 && attempt.number == 1;
    sleep(Duration::from_millis(if is_slow { 60 } else { 1 })).await;
    Ok(attempt.number)
}

// Time stands still except where all wait: the story is the same each time it is told.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let budget = RetryBudget::builder("catalog").build()?;
    let hedge = Hedge::builder(budget.clone())
        .config(Config {
            // As long as nine of ten calls take, and never less than 5 ms.
            delay: Delay::Quantile {
                quantile: 0.9,
                min: Duration::from_millis(5),
                max: Duration::from_millis(100),
            },
            ..Config::default()
        })
        .build()?;
    let clock = Clock::new();
    println!(
        "before: a copy after {:?}, for nothing is known",
        hedge.delay()
    );

    let mut slow = [0; 2];
    for call in 0..CALLS {
        let start = clock.now();
        hedge
            .call(Idempotent(|attempt| look_up(call, attempt)))
            .await?;
        if clock.now().since(start) > Duration::from_millis(40) {
            slow[usize::from(call >= CALLS / 2)] += 1;
        }
    }
    println!("calls   1 to 100, nothing learnt: {} were slow", slow[0]);
    println!(
        "calls 101 to 200, slow ones sent twice: {} were slow",
        slow[1]
    );
    println!("{} copies sent, {} of them won", hedge.sent(), hedge.won());
    println!("{:.0} % of the budget left", budget.level() * 100.0);

    // A payment is not idempotent: it is sent once, however slow it is.
    let payment = async {
        sleep(Duration::from_millis(60)).await;
        Ok::<_, std::io::Error>("paid")
    };
    println!("{}, once", hedge.call_once(payment).await?);
    Ok(())
}
