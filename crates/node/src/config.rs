//! The configuration file: TOML in, validated types out, every mistake at once.
//!
//! Prevents a node that starts half-configured: either the whole file is right, or nothing is
//! changed and all its mistakes are told with their places. Behind [`Config`] nobody checks again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_core::event::Severity;
use mainstay_gateway::config::Limits;
use mainstay_keeper::server::ServerConfig;
use toml::de::DeTable;

mod keeper;
pub mod key;
pub mod problem;
mod reader;
pub mod reference;
pub mod service;

use problem::{Problem, Problems};
pub use reader::Effective;
use reader::{Reader, Section};
use service::{Service, Source};

/// The format that this version reads.
const VERSION: u32 = 1;

/// A file larger than this is not a configuration.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, or what stands for it.
    pub path: String,
    /// The node's name.
    pub name: String,
    /// Where the node keeps what outlives it.
    pub data_dir: PathBuf,
    /// Dashboard, metrics, probes, API.
    pub admin: SocketAddr,
    /// The least severity that is logged.
    pub log: Severity,
    /// Worker threads of the gateway.
    pub workers: NonZeroUsize,
    /// What clients may send.
    pub limits: Limits,
    /// How long a stop waits for requests in flight.
    pub drain: Duration,
    /// The member of a keeper that runs here.
    pub keeper: Option<ServerConfig>,
    /// The services.
    pub services: Vec<Service>,
    /// Every value in force, with its origin.
    pub effective: Vec<Effective>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read {path}: {source}; give the path of a configuration file, or run without one to see the built-in example"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

/// What the file leaves to the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The host's name.
    pub name: String,
    /// How many cores there are.
    pub cores: NonZeroUsize,
}

impl Machine {
    /// The machine that this process runs on.
    pub fn here() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        Self {
            name: if name.is_empty() {
                "localhost".to_owned()
            } else {
                name.to_owned()
            },
            cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or is wrong; then all its mistakes are in the error.
    pub fn read(path: &Path, machine: &Machine) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let unreadable = |source| ConfigError::Unreadable {
            path: name.clone(),
            source,
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > FILE_BYTES_MAX {
            return Err(unreadable(std::io::Error::other("larger than 4 MiB")));
        }
        let source = std::fs::read_to_string(path).map_err(unreadable)?;
        Ok(Self::parse(&name, &source, machine)?)
    }

    /// Reads the text `source` of the file called `path`.
    ///
    /// # Errors
    /// All mistakes of the text.
    pub fn parse(path: &str, source: &str, machine: &Machine) -> Result<Self, Problems> {
        let (document, syntax) = DeTable::parse_recoverable(source);
        let reader = Reader::new(source);
        for error in &syntax {
            reader.problem(Problem {
                message: "this is not TOML".to_owned(),
                span: error.span().unwrap_or(0..0),
                label: error.message().to_owned(),
                help: None,
            });
        }
        let config = read(path, &reader.root(&document), machine);
        let (problems, effective) = reader.finish();
        match config {
            Some(config) if problems.is_empty() => Ok(Self {
                effective,
                ..config
            }),
            _ => Err(Problems::new(path, source, problems)),
        }
    }
}

fn read(path: &str, root: &Section<'_, '_>, machine: &Machine) -> Option<Config> {
    version(root);
    let node = root.table("node");
    let name = node.text("name").unwrap_or_else(|| {
        node.record("name", machine.name.clone());
        machine.name.clone()
    });
    let data_dir = node.text("data_dir");
    let admin = node.address("admin");
    let log = severity(&node);
    let gateway = root.table("gateway");
    let workers = if gateway.has("workers") {
        gateway
            .count("workers")
            .and_then(|count| usize::try_from(count.get()).ok())
    } else {
        gateway.record("workers", machine.cores.to_string());
        Some(machine.cores.get())
    };
    let limits = limits(&gateway);
    let drain = gateway.duration("drain");
    let keeper = root.has("keeper").then(|| {
        let section = root.table("keeper");
        keeper::read(&section, Path::new(data_dir.as_deref().unwrap_or_default()))
    });
    let sections = root.named("service");
    if sections.is_empty() && !root.has("service") && keeper.is_none() {
        root.problem(
            "service",
            "there is no service".to_owned(),
            "nothing to run",
            Some(
                "add a table [service.NAME] with `listen` and `endpoints` or `run`, or a [keeper]",
            ),
        );
    }
    let services: Vec<Option<Service>> = sections
        .iter()
        .map(|(name, section)| service::read(name, section))
        .collect();
    conflicts(admin, &sections, &services);
    Some(Config {
        path: path.to_owned(),
        name,
        data_dir: PathBuf::from(data_dir?),
        admin: admin?,
        log: log?,
        workers: NonZeroUsize::new(workers?)?,
        limits: limits?,
        drain: drain?,
        keeper: match keeper {
            Some(keeper) => Some(keeper?),
            None => None,
        },
        services: services.into_iter().collect::<Option<_>>()?,
        effective: Vec::new(),
    })
}

fn version(root: &Section<'_, '_>) {
    if !root.has("version") {
        root.problem(
            "version",
            "the file does not say its version".to_owned(),
            "add at the top: version = 1",
            None,
        );
    } else if root
        .count("version")
        .is_some_and(|version| version.get() != VERSION)
    {
        let message = "this version of the file's format is not known".to_owned();
        root.problem("version", message, "this program reads version 1", None);
    }
}

fn severity(node: &Section<'_, '_>) -> Option<Severity> {
    let log = node.text("log")?;
    let all = [
        Severity::Debug,
        Severity::Info,
        Severity::Warn,
        Severity::Error,
    ];
    let severity = all.into_iter().find(|severity| severity.as_str() == log);
    if severity.is_none() {
        let message = format!("`node.log` is not a severity: {log:?}");
        node.problem("log", message, "expected debug, info, warn or error", None);
    }
    severity
}

fn limits(gateway: &Section<'_, '_>) -> Option<Limits> {
    let connections_max = gateway.count("connections_max");
    let head_bytes_max = gateway.size("head_bytes_max");
    let headers_max = gateway.count("headers_max");
    let head_timeout = gateway.duration("head_timeout");
    let body_timeout = gateway.duration("body_timeout");
    Some(Limits {
        connections_max: usize::try_from(connections_max?.get()).ok()?,
        head_bytes_max: head_bytes_max?,
        headers_max: usize::try_from(headers_max?.get()).ok()?,
        head_timeout: head_timeout?,
        body_timeout: body_timeout?,
    })
}

/// Reports addresses that are used twice, and services that call themselves.
fn conflicts(
    admin: Option<SocketAddr>,
    sections: &[(&str, Section<'_, '_>)],
    services: &[Option<Service>],
) {
    let mut taken: BTreeMap<SocketAddr, String> = BTreeMap::new();
    if let Some(admin) = admin.filter(|admin| admin.port() != 0) {
        taken.insert(admin, "node.admin".to_owned());
    }
    for (section, service) in sections.iter().zip(services) {
        let (Some(service), (name, section)) = (service, section) else {
            continue;
        };
        if service.listen.port() == 0 {
            continue;
        }
        if let Some(other) = taken.get(&service.listen) {
            let message = format!("`service.{name}.listen` is already taken by `{other}`");
            section.problem("listen", message, "give it an address of its own", None);
        }
        taken.insert(service.listen, format!("service.{name}.listen"));
        if let Source::Endpoints(endpoints) = &service.source
            && endpoints.contains(&service.listen)
        {
            let message = format!("`service.{name}` has its own `listen` among its endpoints");
            section.problem("endpoints", message, "it would call itself for ever", None);
        }
    }
}

#[cfg(test)]
mod tests;
