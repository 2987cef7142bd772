//! SIGSTOP of one replica, SIGCONT at the end.
//!
//! A stopped process keeps its port and its connections, and the kernel goes on accepting for it:
//! the failure that looks most like a slow network. Evidence: /proc says that it is stopped.

use anyhow::ensure;
use rustix::process::Signal;

use super::{Bitten, EVIDENCE_MAX, process};
use crate::arm::Replica;
use crate::clock::Clock;
use crate::plan::PlannedFault;
use crate::process::{Process, State, comes_true};

/// Wakes the process when dropped: at the end of the fault, and on every way out before it.
struct Asleep(Process);

impl Drop for Asleep {
    fn drop(&mut self) {
        // It may have been killed meanwhile; then there is nobody to wake.
        self.0.signal(Signal::CONT).ok();
    }
}

/// Stops the replica's process until the fault ends.
pub(super) async fn inflict(
    replica: &Replica,
    fault: &PlannedFault,
    clock: Clock,
) -> anyhow::Result<Bitten> {
    let asleep = Asleep(process(replica)?);
    clock.until_ms(fault.at_ms).await;
    let began_us = clock.now_us();
    asleep.0.signal(Signal::STOP)?;
    let stopped = comes_true(EVIDENCE_MAX, || asleep.0.state() == State::Stopped).await;
    ensure!(stopped, "process {} was not stopped", asleep.0.id());
    clock.until_ms(fault.ends_ms()).await;
    let until = match asleep.0.state() {
        State::Stopped => "until the end",
        State::Alive => "until somebody woke it",
        State::Gone => "until it was killed",
    };
    Ok(Bitten {
        began_us,
        evidence: format!("process {} in state T, {until}", asleep.0.id()),
    })
}
