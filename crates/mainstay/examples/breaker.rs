//! A service goes down and comes back: the breaker turns calls away meanwhile, and finds out by
//! itself. `cargo run -p mainstay --example breaker`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::io::{Error, ErrorKind};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mainstay::breaker::Config;
use mainstay::{Breaker, Event, Observe};
use tokio::time::{Instant, sleep};

/// Prints each transition.
struct Printer;

impl Observe for Printer {
    fn observe(&self, event: Event) {
        println!("    {event:?}");
    }
}

/// Answers, except in the second after the first 200 ms.
async fn pay(start: Instant) -> Result<&'static str, Error> {
    sleep(Duration::from_millis(2)).await;
    match start.elapsed().as_millis() {
        200..1_200 => Err(Error::from(ErrorKind::ConnectionRefused)),
        _ => Ok("paid"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), mainstay::breaker::ConfigError> {
    let breaker = Breaker::builder("payment")
        .config(Config {
            consecutive: NonZeroU32::new(3),
            reopen: Duration::from_millis(200),
            ..Config::default()
        })
        .observer(Arc::new(Printer))
        .build()?;

    let start = Instant::now();
    for _ in 0..40 {
        // The future is lazy: an open circuit never starts it.
        let answer = breaker.call(pay(start)).await;
        match answer {
            Ok(answer) => println!("{:>5} ms {answer}", start.elapsed().as_millis()),
            Err(error) => println!("{:>5} ms {error}", start.elapsed().as_millis()),
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
