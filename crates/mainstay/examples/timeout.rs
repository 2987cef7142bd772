//! A limit per attempt inside a limit for the whole call, which all below it see.
//! `cargo run -p mainstay --example timeout`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::time::Duration;

use mainstay::classify::{ErrorsFail, Nested};
use mainstay::deadline::{from_header, remaining, to_header};
use mainstay::retry::Backoff;
use mainstay::{Error, Retry, RetryBudget, Timeout};
use tokio::time::sleep;

async fn work(is_slow: bool) -> Result<&'static str, std::io::Error> {
    sleep(Duration::from_millis(if is_slow { 500 } else { 1 })).await;
    Ok("paid")
}

// Time stands still except where all wait: the story is the same each time it is told.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let attempt = Timeout::attempt(Duration::from_millis(100));
    let total = Timeout::total(Duration::from_millis(250));
    let retry = Retry::builder(RetryBudget::builder("payment").build()?)
        .backoff(Backoff::IMMEDIATE)
        .build()?;

    for slow_attempts in [0, 1, 9] {
        println!("{slow_attempts} slow attempts:");
        let call = retry.call_flat(
            async |this| {
                // Each attempt has 100 ms, or what the others left of the 250.
                let left = remaining().unwrap_or_default().as_millis() / 10 * 10;
                println!("  attempt {} has about {left} ms left", this.number);
                attempt.call(work(this.number <= slow_attempts)).await
            },
            Nested(ErrorsFail),
        );
        match total.call_flat(call).await {
            Ok(answer) => println!("  {answer}"),
            Err(Error::Timeout { scope, .. }) => println!("  the {} time was up", scope.as_str()),
            Err(error) => println!("  {error}"),
        }
    }

    // To another process the time that is left travels as text.
    let header = to_header(Duration::from_millis(180)).to_string();
    println!("grpc-timeout: {header} is {:?} there", from_header(&header));
    Ok(())
}
