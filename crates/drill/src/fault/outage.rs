//! All replicas dead, and none can be started, until the fault ends.
//!
//! The hold file keeps a supervisor from healing what is meant to be broken: a replica that finds
//! it ends at once. Evidence: connections to every replica are refused, at the start and halfway.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use tokio::net::TcpStream;

use super::{Inflicted, process};
use crate::arm::{Arm, Replica};
use crate::client::{ask, get};
use crate::clock::Clock;
use crate::plan::PlannedFault;

/// How long after the end of the fault writes are still excused when no replica lives. A
/// supervisor that needs longer than this to bring one back has failed its users.
const REVIVAL_EXCUSED_MS: u64 = 2_000;

/// Rounds of killing whatever still listens.
const ROUNDS_MAX: usize = 20;

/// Between two rounds or two looks.
const EVERY: Duration = Duration::from_millis(10);

/// How long one look at a replica may take.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// Removes the hold file when dropped: at the end of the fault, and on every way out before it.
struct Held(PathBuf);

impl Drop for Held {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Kills all replicas and holds them down until the fault ends; returns once one lives again.
pub(super) async fn inflict(arm: &mut impl Arm, fault: &PlannedFault, clock: Clock) -> Inflicted {
    let known = arm.replicas().await.unwrap_or_default();
    clock.until_ms(fault.at_ms).await;
    let began_us = clock.now_us();
    let evidence = hold_down(arm, &known, fault, clock).await;
    let addresses: Vec<_> = known.iter().map(|replica| replica.address).collect();
    // The operator acts at the end of the fault; until then only the dead were counted.
    let repaired = arm.repair();
    let excused_until_ms = fault.ends_ms() + REVIVAL_EXCUSED_MS;
    let revived_us = revival_us(&addresses, clock, excused_until_ms).await;
    let evidence = repaired
        .and(evidence)
        .map_err(|missing| format!("{missing:#}"));
    Inflicted {
        began_us,
        // Without proof nothing is excused.
        dark: evidence.is_ok().then_some(began_us..revived_us),
        evidence,
    }
}

/// Keeps all replicas dead until the fault ends.
async fn hold_down(
    arm: &mut impl Arm,
    known: &[Replica],
    fault: &PlannedFault,
    clock: Clock,
) -> anyhow::Result<String> {
    let hold = arm.places().hold();
    let held = Held(hold.clone());
    std::fs::write(&hold, "held down by the drill\n").context("cannot write the hold file")?;
    kill(known);
    let mut refused = all_refused(known).await;
    for _ in 0..ROUNDS_MAX {
        if refused {
            break;
        }
        // A replica that was just being started when the file was written is not known yet.
        tokio::time::sleep(EVERY).await;
        kill(&arm.replicas().await.unwrap_or_default());
        refused = all_refused(known).await;
    }
    clock.until_ms(fault.at_ms + fault.for_ms / 2).await;
    let halfway = all_refused(known).await;
    clock.until_ms(fault.ends_ms()).await;
    drop(held);
    ensure!(refused, "not all replicas could be killed");
    ensure!(halfway, "a replica came back although it was held down");
    let killed: Vec<_> = known.iter().filter_map(|replica| replica.pid).collect();
    Ok(format!(
        "processes {killed:?} killed, all connections refused, also halfway"
    ))
}

fn kill(replicas: &[Replica]) {
    for replica in replicas {
        // One that is gone already is what we want.
        if let Ok(process) = process(replica) {
            process.signal(Signal::KILL).ok();
        }
    }
}

async fn all_refused(replicas: &[Replica]) -> bool {
    for replica in replicas {
        let connected = tokio::time::timeout(LOOK_MAX, TcpStream::connect(replica.address)).await;
        if !matches!(connected, Ok(Err(_))) {
            return false;
        }
    }
    !replicas.is_empty()
}

/// When the first replica answered its health check again, at most `until_ms`.
async fn revival_us(addresses: &[SocketAddr], clock: Clock, until_ms: u64) -> u64 {
    while clock.now_ms() < until_ms {
        for address in addresses {
            let look = tokio::time::timeout(LOOK_MAX, ask(*address, get("/healthz"))).await;
            if matches!(look, Ok(Ok(answer)) if answer.status().is_success()) {
                return clock.now_us();
            }
        }
        tokio::time::sleep(EVERY).await;
    }
    clock.now_us()
}
