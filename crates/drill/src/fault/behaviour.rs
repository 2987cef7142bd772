//! A replica that lives and misbehaves: it answers 500, never, or slowly.
//!
//! Grey failures: the process is there, and for errors even its health check is good. Evidence
//! comes from requests straight to the replica, past whatever protects it.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use tokio::time::Instant;

use super::{Bitten, process};
use crate::arm::Replica;
use crate::client::{NoAnswer, ask, get, post};
use crate::clock::Clock;
use crate::plan::{Kind, PlannedFault};
use crate::process::{Process, State};

/// Requests that a latency is the median of.
const SAMPLES: usize = 7;

/// How many times the healthy median a slow replica must take.
const SLOWDOWN_MIN: f64 = 5.0;

/// A replica that is silent for this long hangs: twenty times what an answer takes. Short enough
/// to be shown before a supervisor loses patience.
const SILENCE: Duration = Duration::from_millis(200);

/// How long the replica may take to accept an order.
const ORDER_MAX: Duration = Duration::from_secs(1);

/// Makes the replica misbehave until the fault ends.
pub(super) async fn inflict(
    replica: &Replica,
    fault: &PlannedFault,
    clock: Clock,
) -> anyhow::Result<Bitten> {
    let process = process(replica)?;
    let healthy_ms = match fault.kind {
        Kind::Slow => median_ms(replica).await?,
        Kind::Kill | Kind::Pause | Kind::Error | Kind::Hang | Kind::Outage => 0.0,
    };
    clock.until_ms(fault.at_ms).await;
    let began_us = clock.now_us();
    let evidence = match order(replica, fault.kind.as_str()).await {
        Ok(()) => evidence(replica, fault.kind, healthy_ms).await,
        Err(error) => Err(error),
    };
    clock.until_ms(fault.ends_ms()).await;
    // Undone whether there was evidence or not: an order without an answer may have arrived.
    let ended = end(replica, &process).await?;
    let evidence = format!("{}, {ended}", evidence?);
    Ok(Bitten { began_us, evidence })
}

async fn order(replica: &Replica, kind: &str) -> anyhow::Result<()> {
    let order = ask(replica.address, post("/fault", &json!({"kind": kind})));
    let answer = tokio::time::timeout(ORDER_MAX, order).await;
    let accepted = matches!(answer, Ok(Ok(answer)) if answer.status().is_success());
    ensure!(
        accepted,
        "{} does not accept the fault {kind}",
        replica.name
    );
    Ok(())
}

/// Ends the fault, unless the process is gone and the fault with it.
async fn end(replica: &Replica, process: &Process) -> anyhow::Result<&'static str> {
    if process.state() == State::Gone {
        return Ok("until it was killed");
    }
    match order(replica, "none").await {
        Ok(()) => Ok("until the end"),
        Err(_) if process.state() == State::Gone => Ok("until it was killed"),
        Err(error) => Err(error),
    }
}

async fn evidence(replica: &Replica, kind: Kind, healthy_ms: f64) -> anyhow::Result<String> {
    match kind {
        Kind::Error => answers_errors(replica).await,
        Kind::Hang => is_silent(replica).await,
        Kind::Slow => is_slower(replica, healthy_ms).await,
        Kind::Kill | Kind::Pause | Kind::Outage => bail!("{} is no behaviour", kind.as_str()),
    }
}

/// A direct request, bounded by a second.
async fn direct(replica: &Replica, path: &str) -> anyhow::Result<u16> {
    let asked = tokio::time::timeout(ORDER_MAX, ask(replica.address, get(path))).await;
    let answer = asked.ok().and_then(Result::ok);
    let answer = answer.with_context(|| format!("{} does not answer {path}", replica.name))?;
    Ok(answer.status().as_u16())
}

async fn answers_errors(replica: &Replica) -> anyhow::Result<String> {
    let (business, health) = (
        direct(replica, "/accounts/1/balance").await?,
        direct(replica, "/healthz").await?,
    );
    ensure!(
        business == 500,
        "a direct request was answered {business} instead of 500"
    );
    Ok(format!(
        "a direct request was answered {business}, its health check {health}"
    ))
}

async fn is_silent(replica: &Replica) -> anyhow::Result<String> {
    let asked = tokio::time::timeout(SILENCE, ask(replica.address, get("/healthz"))).await;
    match asked {
        Err(_) => Ok(format!(
            "accepted and silent for {} ms",
            SILENCE.as_millis()
        )),
        Ok(Err(NoAnswer::Connect)) => bail!("{} refuses connections", replica.name),
        Ok(Err(NoAnswer::Broken)) => bail!("{} closes connections", replica.name),
        Ok(Ok(answer)) => bail!("{} answered {}", replica.name, answer.status()),
    }
}

async fn is_slower(replica: &Replica, healthy_ms: f64) -> anyhow::Result<String> {
    let slow_ms = median_ms(replica).await?;
    let found = format!("a direct request takes {slow_ms:.0} ms instead of {healthy_ms:.0} ms");
    ensure!(
        slow_ms >= SLOWDOWN_MIN * healthy_ms,
        "{found}: less than 5 times as long"
    );
    Ok(found)
}

async fn median_ms(replica: &Replica) -> anyhow::Result<f64> {
    let mut took = [Duration::ZERO; SAMPLES];
    for took in &mut took {
        let start = Instant::now();
        direct(replica, "/healthz").await?;
        *took = start.elapsed();
    }
    took.sort_unstable();
    Ok(took[SAMPLES / 2].as_secs_f64() * 1_000.0)
}
