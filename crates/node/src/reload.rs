//! What a new configuration may change in a running node, and what has to wait for a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mainstay_core::event::{Event, Observe};
use mainstay_gateway::Handle;
use mainstay_observe::Observer;

use crate::config::{Config, Effective, Machine};
use crate::port::Ports;
use crate::replicas;

/// Keys of a service that take effect at once.
const LIVE: &[&str] = &[
    "endpoints",
    "health",
    "breaker",
    "retry",
    "timeout",
    "bulkhead",
    "fallback",
];

/// Reads the file again when asked, and applies it as a whole or not at all.
#[derive(Debug)]
pub(crate) struct Reloader {
    config: Config,
    ports: Ports,
    gateway: Handle,
    observer: Observer,
}

impl Reloader {
    /// A reloader of the node that runs `config`.
    pub(crate) const fn new(
        config: Config,
        ports: Ports,
        gateway: Handle,
        observer: Observer,
    ) -> Self {
        Self {
            config,
            ports,
            gateway,
            observer,
        }
    }

    /// Reads the file; a wrong one changes nothing and is told as an event.
    pub(crate) fn reload(&mut self) {
        let path = self.config.path.clone();
        let event = match self.apply() {
            Ok(restart_needed) => Event::ConfigReloaded {
                path,
                restart_needed: restart_needed.join(", "),
            },
            Err(detail) => Event::ConfigRejected { path, detail },
        };
        self.observer.observe(event);
    }

    fn apply(&mut self) -> Result<Vec<String>, String> {
        let read = Config::read(Path::new(&self.config.path), &Machine::here());
        let new = read.map_err(|error| error.to_string())?;
        let waiting = restart_needed(&self.config.effective, &new.effective);
        // What has to wait stays as it is, so that the next reload still reports it.
        let mut merged = self.config.clone();
        for service in &mut merged.services {
            if let Some(changed) = new.services.iter().find(|other| other.name == service.name) {
                service.take_live(changed);
            }
        }
        self.gateway
            .reload(&replicas::gateway(&merged, &self.ports).services)
            .map_err(|error| error.to_string())?;
        let waits = |path: &String| waiting.contains(path);
        merged.effective = new
            .effective
            .iter()
            .filter(|value| !waits(&value.path))
            .chain(
                self.config
                    .effective
                    .iter()
                    .filter(|value| waits(&value.path)),
            )
            .cloned()
            .collect();
        self.config = merged;
        Ok(waiting)
    }
}

/// The keys that differ between two configurations and take effect only after a restart.
pub(crate) fn restart_needed(old: &[Effective], new: &[Effective]) -> Vec<String> {
    let values = |effective: &[Effective]| -> BTreeMap<String, String> {
        effective
            .iter()
            .map(|value| (value.path.clone(), value.value.clone()))
            .collect()
    };
    let (old, new) = (values(old), values(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let runs = |service: &str| {
        let prefix = format!("service.{service}.run.");
        old.keys().any(|path| path.starts_with(&prefix))
    };
    let known = |service: &str| {
        let listen = format!("service.{service}.listen");
        old.contains_key(&listen) && new.contains_key(&listen)
    };
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .filter(|path| !is_live(path, known, runs))
        .cloned()
        .collect()
}

fn is_live(path: &str, known: impl Fn(&str) -> bool, runs: impl Fn(&str) -> bool) -> bool {
    let mut parts = path.split('.');
    let (Some("service"), Some(service), Some(key)) = (parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    // The health check of a replica belongs to the supervisor, which reads it at start.
    let of_supervisor = key == "health" && runs(service);
    LIVE.contains(&key) && known(service) && !of_supervisor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Machine};

    fn effective(lines: &str) -> Vec<Effective> {
        let source = format!("version = 1\n{lines}");
        Config::parse("t", &source, &Machine::here())
            .expect("a valid file")
            .effective
    }

    const SERVICE: &str = "[service.a]\nlisten = \"127.0.0.1:1\"\nendpoints = [\"127.0.0.1:2\"]\n";
    const RUN: &str = "[service.a]\nlisten = \"127.0.0.1:1\"\nrun = { command = [\"x\"] }\n";

    #[test]
    fn policies_take_effect_at_once() {
        let old = effective(SERVICE);
        let new = effective(&format!(
            "{SERVICE}retry = {{ attempts = 2 }}\nbreaker = \"off\"\n"
        ));
        assert_eq!(restart_needed(&old, &new), [] as [&str; 0]);
    }

    #[test]
    fn addresses_workers_and_replicas_need_a_restart() {
        let old = effective(&format!("{RUN}[gateway]\nworkers = 1\n"));
        let new = effective(
            &format!("{RUN}health = {{ every = \"7s\" }}\n[gateway]\nworkers = 2\n")
                .replace("127.0.0.1:1", "127.0.0.1:9"),
        );
        assert_eq!(
            restart_needed(&old, &new),
            [
                "gateway.workers",
                "service.a.health.every",
                "service.a.listen"
            ]
        );
    }

    #[test]
    fn a_new_service_needs_a_restart() {
        let old = effective(SERVICE);
        let other = SERVICE
            .replace("service.a", "service.b")
            .replace(":1", ":3");
        let new = effective(&format!("{SERVICE}{other}"));
        let needed = restart_needed(&old, &new);
        assert!(
            needed.contains(&"service.b.listen".to_owned()),
            "{needed:?}"
        );
        assert!(
            needed.contains(&"service.b.retry.attempts".to_owned()),
            "{needed:?}"
        );
    }
}
