//! `kill -9` of one replica.
//!
//! Evidence: the very process is gone, and the kernel refuses connections to its port (unless its
//! supervisor was faster).

use anyhow::ensure;
use rustix::process::Signal;
use tokio::net::TcpStream;

use super::{Bitten, EVIDENCE_MAX, process};
use crate::arm::Replica;
use crate::clock::Clock;
use crate::plan::PlannedFault;
use crate::process::{State, comes_true};

/// Kills the replica's process. Nothing to undo here: whoever runs it starts another one.
pub(super) async fn inflict(
    replica: &Replica,
    fault: &PlannedFault,
    clock: Clock,
) -> anyhow::Result<Bitten> {
    let process = process(replica)?;
    clock.until_ms(fault.at_ms).await;
    let began_us = clock.now_us();
    process.signal(Signal::KILL)?;
    let gone = comes_true(EVIDENCE_MAX, || process.state() == State::Gone).await;
    ensure!(gone, "process {} survived signal 9", process.id());
    let connect = match TcpStream::connect(replica.address).await {
        Ok(_) => "its successor already listens",
        Err(_) => "connections refused",
    };
    Ok(Bitten {
        began_us,
        evidence: format!("process {} gone, {connect}", process.id()),
    })
}
