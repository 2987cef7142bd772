//! The arm with protection: users go to the gateway of a `mainstay run`, whose supervisor runs
//! the replicas.
//!
//! Prevents a proof of something else than what people run: the node is the program itself with a
//! configuration file as anybody would write it, started as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tokio::process::Child;

use crate::arm::{Arm, Places, Replica, START_MAX};
use crate::client::{ask, get};
use crate::plan::REPLICAS;
use crate::process::{self, spawn, tail};

/// Between SIGTERM and SIGKILL: the node drains and stops its replicas in this time.
const GRACE: Duration = Duration::from_secs(15);

/// How long one look at the node's status may take.
const STATUS_MAX: Duration = Duration::from_secs(2);

/// Between two looks while waiting.
const EVERY: Duration = Duration::from_millis(20);

/// A node with gateway and supervisor.
#[derive(Debug)]
pub(crate) struct Protected {
    places: Places,
    child: Child,
    admin: SocketAddr,
    listen: SocketAddr,
}

/// What the node says of itself once it is up.
#[derive(Debug, Deserialize)]
struct NodeFile {
    pid: u32,
    admin: SocketAddr,
    services: Vec<NodeService>,
}

#[derive(Debug, Deserialize)]
struct NodeService {
    listen: SocketAddr,
}

/// The part of the node's status that the drill reads.
#[derive(Debug, Deserialize)]
struct NodeStatus {
    uptime_ms: u64,
    services: Vec<ServiceStatus>,
}

/// The part of a service's status that the drill reads.
#[derive(Debug, Deserialize)]
struct ServiceStatus {
    attempts: u64,
    endpoints: Vec<EndpointStatus>,
}

/// How the node says that it is doing.
#[derive(Debug)]
pub(crate) struct Status {
    /// When it looked, milliseconds since its start.
    pub(crate) uptime_ms: u64,
    /// Attempts at endpoints since its start.
    pub(crate) attempts: u64,
    /// The endpoints.
    pub(crate) endpoints: Vec<EndpointStatus>,
}

/// The part of an endpoint's status that the drill reads.
#[derive(Debug, Deserialize)]
pub(crate) struct EndpointStatus {
    /// Its name.
    pub(crate) name: String,
    address: SocketAddr,
    pid: Option<u32>,
    health: String,
    breaker: String,
    /// Attempts since the start.
    pub(crate) attempts: u64,
}

impl EndpointStatus {
    /// Whether it gets its share of requests.
    pub(crate) fn in_rotation(&self) -> bool {
        self.health == "healthy" && matches!(self.breaker.as_str(), "closed" | "off")
    }
}

impl Protected {
    /// Starts the node and waits until all of its replicas are in rotation.
    ///
    /// # Errors
    /// The node does not start, or its replicas do not get ready in time.
    pub(crate) async fn start(places: Places) -> anyhow::Result<Self> {
        let config = places.folder.join("mainstay.toml");
        std::fs::write(&config, configuration(&places))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let args = ["run".to_owned(), config.to_string_lossy().into_owned()];
        let mut child = spawn(&places.mainstay, &args, &log(&places))?;
        let starting = async {
            let node = node_file(&places, &mut child).await?;
            all_ready(node.admin, &mut child).await?;
            anyhow::Ok(node)
        };
        let node = match tokio::time::timeout(START_MAX, starting).await {
            Ok(node) => node,
            Err(_) => Err(anyhow::anyhow!(
                "it is not ready after {} s",
                START_MAX.as_secs()
            )),
        };
        let node = node.with_context(|| {
            format!(
                "the protected node did not start; it said:\n{}",
                tail(&log(&places))
            )
        })?;
        let listen = node
            .services
            .first()
            .context("the node serves nothing")?
            .listen;
        Ok(Self {
            places,
            child,
            admin: node.admin,
            listen,
        })
    }

    /// Where its users go.
    pub(crate) fn front(&self) -> Vec<SocketAddr> {
        vec![self.listen]
    }

    /// Where it tells how it is.
    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Fails when the node is no longer running.
    ///
    /// # Errors
    /// The node ended by itself; the error says how.
    pub(crate) fn still_runs(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let said = tail(&log(&self.places));
            bail!("the protected node ended during the drill with {status}; it said:\n{said}");
        }
        Ok(())
    }

    /// Stops the node, and with it its replicas.
    pub(crate) async fn stop(&mut self) {
        process::stop(&mut self.child, GRACE).await;
    }
}

impl Arm for Protected {
    async fn replicas(&mut self) -> anyhow::Result<Vec<Replica>> {
        let service = status(self.admin).await?;
        let replica = |endpoint: EndpointStatus| Replica {
            name: endpoint.name,
            pid: endpoint.pid,
            address: endpoint.address,
        };
        let mut replicas: Vec<_> = service.endpoints.into_iter().map(replica).collect();
        replicas.sort_by(|one, two| one.name.cmp(&two.name));
        ensure!(
            replicas.len() == REPLICAS,
            "the node has {} replicas instead of {REPLICAS}",
            replicas.len()
        );
        Ok(replicas)
    }

    /// Nothing: this is what the supervisor is for.
    fn repair(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn places(&self) -> &Places {
        &self.places
    }
}

/// Asks the node at `admin` how its service is doing. What it says may be a second old.
///
/// # Errors
/// There is no answer in time, or not the one expected.
pub(crate) async fn status(admin: SocketAddr) -> anyhow::Result<Status> {
    let answer = tokio::time::timeout(STATUS_MAX, ask(admin, get("/api/v1/status"))).await;
    let answer = answer
        .ok()
        .and_then(Result::ok)
        .context("the node does not answer on /api/v1/status")?;
    ensure!(
        answer.status().is_success(),
        "the node answers {} on /api/v1/status",
        answer.status()
    );
    let status: NodeStatus = serde_json::from_slice(answer.body())
        .context("the node's status is not what was expected")?;
    let service = status.services.into_iter().next();
    let service = service.context("the node's status has no service")?;
    Ok(Status {
        uptime_ms: status.uptime_ms,
        attempts: service.attempts,
        endpoints: service.endpoints,
    })
}

/// As [`status`], but not older than this call.
///
/// # Errors
/// As [`status`]; or the node does not look again.
pub(crate) async fn fresh_status(admin: SocketAddr) -> anyhow::Result<Status> {
    let old = status(admin).await?;
    let waiting = async {
        loop {
            let new = status(admin).await?;
            if new.uptime_ms != old.uptime_ms {
                return anyhow::Ok(new);
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::time::timeout(2 * STATUS_MAX, waiting)
        .await
        .context("the node's status stands still")?
}

fn log(places: &Places) -> PathBuf {
    places.folder.join("node.log")
}

/// A configuration as an operator would write it, with shorter times because faults are short.
fn configuration(places: &Places) -> String {
    // A JSON string is a TOML string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let program = places.mainstay.to_string_lossy().into_owned();
    let args = places.replica_args("{port}", "{replica}");
    let command: Vec<_> = std::iter::once(program)
        .chain(args)
        .map(|arg| quoted(&arg))
        .collect();
    let command = command.join(", ");
    let data_dir = quoted(&places.folder.join("data").to_string_lossy());
    format!(
        r#"version = 1

[node]
name     = "drill"
data_dir = {data_dir}
admin    = "127.0.0.1:0"

[service.payment]
listen   = "127.0.0.1:0"
run      = {{ command = [{command}], replicas = {REPLICAS} }}
health   = {{ http = "/healthz", every = "250ms", timeout = "250ms" }}
breaker  = {{ error_rate = "50%", reopen = "1s" }}
retry    = {{ attempts = 3, on_status = [500, 502, 503, 504] }}
timeout  = {{ total = "900ms", attempt = "250ms" }}
fallback = ["stale 10m"]
"#
    )
}

/// Waits for the file in which the node says where it listens.
async fn node_file(places: &Places, child: &mut Child) -> anyhow::Result<NodeFile> {
    let path = places.folder.join("data").join("node.json");
    loop {
        ended(child)?;
        let bytes = std::fs::read(&path).unwrap_or_default();
        if let Ok(node) = serde_json::from_slice::<NodeFile>(&bytes)
            && Some(node.pid) == child.id()
        {
            return Ok(node);
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn all_ready(admin: SocketAddr, child: &mut Child) -> anyhow::Result<()> {
    loop {
        ended(child)?;
        if let Ok(service) = status(admin).await
            && service.endpoints.len() == REPLICAS
            && service.endpoints.iter().all(EndpointStatus::in_rotation)
        {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn ended(child: &mut Child) -> anyhow::Result<()> {
    if let Some(status) = child.try_wait()? {
        bail!("it ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_keeps_placeholders_and_quotes_paths() {
        let places = Places {
            mainstay: PathBuf::from("/opt/a \"b\"/mainstay"),
            folder: PathBuf::from("/tmp/x"),
        };
        let text = configuration(&places);
        assert!(
            text.contains(r#"["/opt/a \"b\"/mainstay", "payment", "--port", "{port}""#),
            "{text}"
        );
        assert!(text.contains(r#""--name", "{replica}""#));
        assert!(text.contains("replicas = 3 }"));
        assert!(text.contains(r#"data_dir = "/tmp/x/data""#));
    }

    #[test]
    fn an_open_or_unhealthy_endpoint_is_out_of_rotation() {
        let endpoint = |health: &str, breaker: &str| EndpointStatus {
            name: "payment-1".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            pid: None,
            health: health.to_owned(),
            breaker: breaker.to_owned(),
            attempts: 0,
        };
        assert!(endpoint("healthy", "closed").in_rotation());
        assert!(endpoint("healthy", "off").in_rotation());
        for (health, breaker) in [
            ("healthy", "open"),
            ("healthy", "half_open"),
            ("unknown", "off"),
        ] {
            assert!(
                !endpoint(health, breaker).in_rotation(),
                "{health} {breaker}"
            );
        }
    }

    #[test]
    fn the_status_of_a_node_is_read() {
        let status: NodeStatus = serde_json::from_str(
            r#"{"schema":"mainstay.status/v1","uptime_ms":5,"services":[{"name":"payment","attempts":7,
                "endpoints":[{"name":"payment-1","address":"127.0.0.1:9001","pid":12,
                "health":"healthy","breaker":"closed","attempts":7,"ewma_ms":1.5}]}]}"#,
        )
        .expect("the shape of the status");
        let endpoint = &status.services[0].endpoints[0];
        assert_eq!((endpoint.pid, endpoint.attempts), (Some(12), 7));
    }
}
