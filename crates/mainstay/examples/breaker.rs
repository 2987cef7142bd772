//! A service goes down and comes back: the breaker turns calls away meanwhile, finds out by itself,
//! and lets calls come back little by little. `cargo run -p mainstay --example breaker`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::io::{Error, ErrorKind};
use std::num::NonZeroU32;
use std::time::Duration;

use mainstay::breaker::{Config, State};
use mainstay::{Breaker, Event, Observe};
use tokio::time::{Instant, sleep};

/// Prints each transition.
struct Printer;

impl Observe for Printer {
    fn observe(&self, event: Event) {
        println!("         {event:?}");
    }
}

/// Answers, except in the half second after the first 100 ms.
async fn pay(start: Instant) -> Result<&'static str, Error> {
    sleep(Duration::from_millis(2)).await;
    match start.elapsed().as_millis() {
        100..600 => Err(Error::from(ErrorKind::ConnectionRefused)),
        _ => Ok("paid"),
    }
}

/// The state in a word.
fn word(breaker: &Breaker<Printer>) -> String {
    match breaker.state() {
        State::Closed => "closed".to_owned(),
        State::Open { retry_after } => format!("open for {} ms", retry_after.as_millis()),
        State::HalfOpen => "half-open".to_owned(),
        State::Ramp { share } => format!("{:.0} % of calls pass", share * 100.0),
        State::ForcedOpen => "open by hand".to_owned(),
        State::Disabled => "disabled".to_owned(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), mainstay::breaker::ConfigError> {
    let breaker = Breaker::builder("payment")
        .config(Config {
            consecutive: NonZeroU32::new(3),
            reopen: Duration::from_millis(150),
            probes: NonZeroU32::MIN,
            ramp: Some(Duration::from_millis(400)),
            ..Config::default()
        })
        .observer(Printer)
        .seed(1)
        .build()?;

    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1_400) {
        // The future is lazy: an open circuit never starts it.
        let answer = match breaker.call(pay(start)).await {
            Ok(answer) => answer.to_owned(),
            Err(error) => error.to_string(),
        };
        let now = start.elapsed().as_millis();
        println!("{now:>5} ms {answer:<40} {}", word(&breaker));
        sleep(Duration::from_millis(40)).await;
    }

    breaker.force_open();
    println!("         an operator says no: {}", word(&breaker));
    breaker.auto();
    println!("         and yes again: {}", word(&breaker));
    Ok(())
}
