//! A drill: faults are switched on for one of two endpoints, and the retry and the timeout show
//! what they are worth. Time is virtual, and the seed fixed: each run is the same.
//! `cargo run -p mainstay --example fault`
#![expect(
    clippy::print_stdout,
    reason = "an example shows what it does on the terminal"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay::fault::{Config, falsify};
use mainstay::{Error, Faults, Retry, RetryBudget, Timeout};

const CALLS: u32 = 1_000;

/// One call through the timeout, and the faults innermost, where they would come from.
async fn pay(faults: &Faults, endpoint: &str) -> Result<u32, Error<&'static str>> {
    let forge = falsify(|| "connection reset", |amount: u32| amount + 1);
    let call = faults.call_for(Some(endpoint), async { Ok(100) }, forge);
    let limited = Timeout::attempt(Duration::from_millis(50)).call(call);
    limited.await.map_err(Error::flatten)
}

async fn run(title: &str, faults: &Faults, endpoint: &str, retry: Option<&Retry>) {
    let mut results = BTreeMap::new();
    for _ in 0..CALLS {
        let result = match retry {
            Some(retry) => retry
                .call(async |_attempt| pay(faults, endpoint).await)
                .await
                .map_err(Error::flatten),
            None => pay(faults, endpoint).await,
        };
        let result = match result {
            Ok(amount) => format!("paid {amount}"),
            Err(error) => error.to_string(),
        };
        *results.entry(result).or_insert(0) += 1;
    }
    println!("{title}");
    for (result, count) in results {
        println!("{count:>8} {result}");
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let faults = Faults::builder("payment")
        .config(Config {
            error: 0.05,
            latency: 0.05,
            latency_min: Duration::from_millis(10),
            latency_max: Duration::from_millis(100),
            hang: 0.02,
            reject: 0.03,
            wrong: 0.01,
        })
        .seed(7)
        .build()?;
    run("before the drill", &faults, "payment-1", None).await;

    faults.enable_for(["payment-1"]);
    run(
        "payment-1 in the drill, no retries",
        &faults,
        "payment-1",
        None,
    )
    .await;
    run("payment-2, which is out of it", &faults, "payment-2", None).await;
    let budget = RetryBudget::builder("payment").build()?;
    let retry = Retry::builder(budget).seed(7).build()?;
    run("payment-1 with retries", &faults, "payment-1", Some(&retry)).await;

    faults.disable();
    run("after the drill", &faults, "payment-1", None).await;
    Ok(())
}
