//! Steering a running gateway, and asking how it is.
//!
//! Prevents requests to a dead process: [`Handle::set_endpoint`] is one atomic store, and the
//! next request on any worker obeys it.

use std::sync::{Arc, Mutex, PoisonError};

use mainstay_observe::Observer;
use mainstay_observe::status::{ServiceStatus, StatusSource};

use crate::clock::Clock;
use crate::config::Config;
use crate::service::{Plan, Service};
use crate::upstream::endpoint::Rotation;

/// Why a new configuration is not in force; the old one still is.
#[derive(Debug, thiserror::Error)]
#[error("service `{service}`: {reason}")]
pub struct ReloadError {
    /// The service.
    pub service: Arc<str>,
    /// What is wrong with it.
    pub reason: String,
}

/// A running gateway, from outside. All clones are the same gateway's.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    services: Vec<Arc<Service>>,
    clock: Clock,
    config: Mutex<Config>,
    observer: Observer,
}

impl Handle {
    pub(crate) fn new(
        services: Vec<Arc<Service>>,
        clock: Clock,
        config: Config,
        observer: Observer,
    ) -> Self {
        Self(Arc::new(Inner {
            services,
            clock,
            config: Mutex::new(config),
            observer,
        }))
    }

    pub(crate) fn shared(&self) -> &[Arc<Service>] {
        &self.0.services
    }

    /// Takes an endpoint in or out of rotation, by the names of the configuration. Returns
    /// whether there is such an endpoint. At once and without waiting: may be called from
    /// anywhere.
    pub fn set_endpoint(&self, service: &str, endpoint: &str, rotation: Rotation) -> bool {
        let known = self.0.services.iter().find(|one| *one.name == *service);
        known.is_some_and(|known| known.rotate(endpoint, rotation))
    }

    /// Puts policies, endpoints and fallbacks of `config` in force, all of them or none. What
    /// unchanged endpoints have learned stays. Returns the changed keys that need a restart.
    ///
    /// # Errors
    ///
    /// [`ReloadError`] when a policy cannot work; nothing has changed then.
    pub fn reload(&self, config: &Config) -> Result<Vec<String>, ReloadError> {
        let mut current = self.0.config.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plans = Vec::new();
        let mut restart = restart_keys(&current, config);
        for wanted in &config.services {
            let Some(service) = self.0.services.iter().find(|one| one.name == wanted.name) else {
                restart.push(format!("service.{}", wanted.name));
                continue;
            };
            let plan = Plan::new(
                wanted,
                Some(&service.plan()),
                self.0.clock,
                &self.0.observer,
            );
            let plan = plan.map_err(|reason| ReloadError {
                service: Arc::clone(&wanted.name),
                reason,
            })?;
            plans.push((service, plan));
        }
        for service in &self.0.services {
            if !config.services.iter().any(|one| one.name == service.name) {
                restart.push(format!("service.{}", service.name));
            }
        }
        for (service, plan) in plans {
            service.replace(plan);
        }
        *current = config.clone();
        Ok(restart)
    }
}

/// The keys outside of policies that differ.
fn restart_keys(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    if old.workers != new.workers {
        keys.push("gateway.workers".to_owned());
    }
    if old.drain != new.drain {
        keys.push("gateway.drain".to_owned());
    }
    if format!("{:?}", old.limits) != format!("{:?}", new.limits) {
        keys.push("gateway.limits".to_owned());
    }
    for service in &new.services {
        let before = old.services.iter().find(|one| one.name == service.name);
        if before.is_some_and(|before| before.listen != service.listen) {
            keys.push(format!("service.{}.listen", service.name));
        }
    }
    keys
}

impl StatusSource for Handle {
    fn services(&self) -> Vec<ServiceStatus> {
        self.0
            .services
            .iter()
            .map(|service| service.status())
            .collect()
    }
}
