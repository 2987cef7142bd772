//! The arm without protection: users go round-robin straight to the replicas.
//!
//! Prevents a straw man: the client has a timeout and fresh connections, and an operator starts
//! dead replicas again as soon as a fault has ended. What is missing is exactly what Mainstay
//! adds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Child;

use crate::arm::{Arm, Places, Replica, START_MAX};
use crate::plan::{REPLICAS, replica_name};
use crate::port;
use crate::process::{self, spawn, tail};

/// Between SIGTERM and SIGKILL; a replica drains for at most two seconds.
const GRACE: Duration = Duration::from_secs(4);

/// Three replicas that the drill itself started.
#[derive(Debug)]
pub(crate) struct Baseline {
    places: Places,
    replicas: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    name: String,
    child: Child,
    address: SocketAddr,
}

impl Baseline {
    /// Starts the replicas and waits until they listen.
    ///
    /// # Errors
    /// A replica does not start.
    pub(crate) async fn start(places: Places) -> anyhow::Result<Self> {
        let mut replicas = Vec::with_capacity(REPLICAS);
        for name in (0..REPLICAS).map(replica_name) {
            let port = port::free().context("no free port for the baseline")?;
            let mut child = start_replica(&places, &name, port)?;
            let address = listening(&mut child, &log(&places, &name)).await;
            let address = address.with_context(|| format!("{name} of the baseline"))?;
            replicas.push(Running {
                name,
                child,
                address,
            });
        }
        Ok(Self { places, replicas })
    }

    /// Where its users go.
    pub(crate) fn front(&self) -> Vec<SocketAddr> {
        self.replicas
            .iter()
            .map(|replica| replica.address)
            .collect()
    }

    /// Stops the replicas.
    pub(crate) async fn stop(&mut self) {
        for replica in &mut self.replicas {
            process::stop(&mut replica.child, GRACE).await;
        }
    }
}

impl Arm for Baseline {
    async fn replicas(&mut self) -> anyhow::Result<Vec<Replica>> {
        let replica = |running: &Running| Replica {
            name: running.name.clone(),
            pid: running.child.id(),
            address: running.address,
        };
        Ok(self.replicas.iter().map(replica).collect())
    }

    /// Starts dead replicas again, as an operator would, on the ports they had.
    fn repair(&mut self) -> anyhow::Result<()> {
        for replica in &mut self.replicas {
            if replica.child.try_wait()?.is_some() {
                let port = replica.address.port();
                replica.child = start_replica(&self.places, &replica.name, port)?;
            }
        }
        Ok(())
    }

    fn places(&self) -> &Places {
        &self.places
    }
}

fn log(places: &Places, name: &str) -> PathBuf {
    places.folder.join(format!("{name}.log"))
}

fn start_replica(places: &Places, name: &str, port: u16) -> anyhow::Result<Child> {
    let args = places.replica_args(&port.to_string(), name);
    spawn(&places.mainstay, &args, &log(places, name))
}

/// Waits for the line in which a replica says where it listens.
async fn listening(child: &mut Child, log: &std::path::Path) -> anyhow::Result<SocketAddr> {
    const EVERY: Duration = Duration::from_millis(5);
    let waiting = async {
        loop {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            if let Some(address) = said(&text) {
                return Ok(address);
            }
            if let Some(status) = child.try_wait()? {
                bail!("it ended with {status}:\n{}", tail(log));
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::time::timeout(START_MAX, waiting)
        .await
        .with_context(|| format!("it does not say where it listens:\n{}", tail(log)))?
}

/// The address in `payment-1 listens on 127.0.0.1:9001`, once the line is whole.
fn said(text: &str) -> Option<SocketAddr> {
    let (_, rest) = text.split_once(" listens on ")?;
    let (address, _) = rest.split_once('\n')?;
    address.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_only_from_a_whole_line() {
        let address = "127.0.0.1:9001".parse().ok();
        assert_eq!(said("payment-1 listens on 127.0.0.1:9001\nmore"), address);
        assert_eq!(said("payment-1 listens on 127.0.0.1:90"), None);
        assert_eq!(said(""), None);
    }
}
