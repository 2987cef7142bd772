//! `kill -9` of one replica.
//!
//! Evidence: the very process is gone, and the kernel refuses connections to its port (unless its
//! supervisor was faster).

use std::net::SocketAddr;
use std::time::Duration;

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
    let connect = if comes_to_refuse(replica.address).await {
        "connections refused"
    } else {
        "its successor already listens"
    };
    Ok(Bitten {
        began_us,
        evidence: format!("process {} gone, {connect}", process.id()),
    })
}

/// Whether connections to `address` are refused soon. The first thread of a process can be gone a
/// moment before the last one lets go of the port.
async fn comes_to_refuse(address: SocketAddr) -> bool {
    const LOOKS: usize = 20;
    const EVERY: Duration = Duration::from_millis(2);
    for _ in 0..LOOKS {
        if TcpStream::connect(address).await.is_err() {
            return true;
        }
        tokio::time::sleep(EVERY).await;
    }
    false
}
