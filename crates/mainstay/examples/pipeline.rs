//! All policies around one call, from one table of configuration's defaults: a callee that fails,
//! then hangs, then recovers. `cargo run -p mainstay --example pipeline`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use mainstay::pipeline::{ConfigError, TimeoutConfig};
use mainstay::{Clock, Config, Event, Observe, breaker};
use tokio::time::sleep;

/// Prints what the policies tell.
struct Story;

impl Observe for Story {
    fn observe(&self, event: Event) {
        println!("  > {}: {}", event.kind().name, event.kind().summary.trim());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    // With the feature `serde`, the same from a file: `breaker = { reopen = "200ms" }`.
    let config = Config {
        timeout: TimeoutConfig {
            total: Some(Duration::from_millis(400)),
            attempt: Some(Duration::from_millis(50)),
        },
        breaker: Some(breaker::Config {
            reopen: Duration::from_millis(200),
            ..breaker::Config::default()
        }),
        ..Config::default()
    };
    let pipeline = config.build_on("payment", Clock::new(), Arc::new(Story))?;

    for phase in ["one reset", "hangs", "hangs", "well", "well", "well"] {
        println!("the callee: {phase}");
        let attempts = Cell::new(0);
        let result = pipeline
            .call(async |attempt| {
                attempts.set(attempt.number);
                pay(phase, attempt.number).await
            })
            .await;
        match result {
            Ok(answer) => println!("  {answer} at attempt {}", attempts.get()),
            Err(error) => println!("  {error}, {} attempts", attempts.get()),
        }
    }
    Ok(())
}

async fn pay(phase: &str, attempt: u32) -> Result<&'static str, &'static str> {
    match (phase, attempt) {
        ("one reset", 1) => return Err("connection reset"),
        ("hangs", _) => sleep(Duration::from_mins(1)).await,
        _ => {},
    }
    Ok("paid")
}
