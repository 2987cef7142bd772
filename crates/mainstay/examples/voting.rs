//! Three replicas answer, one of them wrongly, one slowly, one not at all: who is believed?
//! Time is virtual, so the example takes none. `cargo run -p mainstay --example voting`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::future::pending;
use std::time::Duration;

use mainstay::Adjudicator;
use mainstay::adjudicate::{Config, ConfigError, Judge, Rule};
use tokio::time::{Instant, sleep};

/// What a replica does.
#[derive(Clone, Copy)]
enum Replica {
    Good,
    Slow,
    Lying,
    Failing,
    Silent,
}

async fn balance(replica: Replica) -> Result<u32, &'static str> {
    sleep(Duration::from_millis(10)).await;
    match replica {
        Replica::Good => Ok(100),
        Replica::Slow => {
            sleep(Duration::from_secs(9)).await;
            Ok(100)
        },
        Replica::Lying => Ok(1_000_000),
        Replica::Failing => Err("disk full"),
        Replica::Silent => pending().await,
    }
}

async fn ask(title: &str, rule: Rule, replicas: &[Replica]) -> Result<(), ConfigError> {
    let adjudicator = Adjudicator::builder("balance")
        .config(Config {
            judge: Judge {
                rule,
                ..Judge::default()
            },
            total: Some(Duration::from_secs(1)),
        })
        .build()?;
    let start = Instant::now();
    let verdict = adjudicator
        .call(replicas.iter().map(|replica| balance(*replica)))
        .await;
    let took = start.elapsed().as_millis();
    println!("{title} ({rule:?}), after {took} ms:");
    match verdict {
        Ok(verdict) => println!("    {} {:?}", verdict.answer, verdict.tally),
        Err(error) => println!("    {error}"),
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), ConfigError> {
    use Replica::{Failing, Good, Lying, Silent, Slow};
    ask("two good, one lying", Rule::Majority, &[Good, Lying, Good]).await?;
    ask(
        "the slow one does not matter",
        Rule::Majority,
        &[Good, Slow, Good],
    )
    .await?;
    ask("now it does", Rule::Majority, &[Good, Slow, Lying]).await?;
    ask("one left", Rule::Plurality, &[Good, Failing, Silent]).await?;
    ask(
        "a lie is enough",
        Rule::Unanimous,
        &[Good, Good, Good, Lying],
    )
    .await
}
