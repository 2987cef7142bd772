//! From configured services to the replicas that the supervisor runs and the endpoints that the
//! gateway calls: the place where both get the same names and ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mainstay_gateway::config as gateway;
use mainstay_supervisor::config as supervisor;

use crate::config::Config;
use crate::config::service::{Run, Service, Source};
use crate::node::Program;
use crate::port::Ports;

/// What the gateway is told.
pub(crate) fn gateway(config: &Config, ports: &Ports) -> gateway::Config {
    gateway::Config {
        workers: config.workers,
        limits: config.limits,
        drain: config.drain,
        services: config
            .services
            .iter()
            .map(|service| gateway_service(service, ports))
            .collect(),
    }
}

fn gateway_service(service: &Service, ports: &Ports) -> gateway::Service {
    let (endpoints, probe) = match &service.source {
        Source::Endpoints(addresses) => {
            let endpoint = |&address: &SocketAddr| gateway::Endpoint {
                name: Arc::from(address.to_string()),
                address,
            };
            (
                addresses.iter().map(endpoint).collect(),
                service.health.clone(),
            )
        },
        // The supervisor's readiness probe decides; a second prober would only double the load.
        Source::Run(_) => (replicas(service, ports).collect(), None),
    };
    gateway::Service {
        name: Arc::clone(&service.name),
        listen: service.listen,
        endpoints,
        supervised: matches!(service.source, Source::Run(_)),
        probe,
        breaker: service.breaker.clone(),
        retry: service.retry.clone(),
        timeout: service.timeout,
        bulkhead: service.bulkhead,
        fallback: service.fallback.clone(),
    }
}

/// The endpoints that are replicas of `service`.
pub(crate) fn replicas<'a>(
    service: &'a Service,
    ports: &'a Ports,
) -> impl Iterator<Item = gateway::Endpoint> + 'a {
    ports
        .of(&service.name)
        .iter()
        .zip(1_u32..)
        .map(|(&port, number)| gateway::Endpoint {
            name: Arc::from(format!("{}-{number}", service.name)),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
}

/// What the supervisor is told.
pub(crate) fn supervised(
    config: &Config,
    ports: &Ports,
    program: &Program,
) -> Vec<supervisor::Service> {
    let service = |service: &Service| match &service.source {
        Source::Endpoints(_) => None,
        Source::Run(run) => Some(supervised_service(config, service, run, (ports, program))),
    };
    config.services.iter().filter_map(service).collect()
}

fn supervised_service(
    config: &Config,
    service: &Service,
    run: &Run,
    (ports, program): (&Ports, &Program),
) -> supervisor::Service {
    let exe = program.exe.display().to_string();
    let data_dir = config.data_dir.display().to_string();
    let fill = |word: &String| {
        word.replace("{mainstay}", &exe)
            .replace("{data_dir}", &data_dir)
    };
    supervisor::Service {
        name: Arc::clone(&service.name),
        command: run.command.iter().map(fill).collect(),
        ports: ports.of(&service.name).to_vec(),
        env: run.env.iter().cloned().collect(),
        dir: run.dir.clone().map(Into::into),
        grace: run.grace,
        restart: run.restart,
        startup: service.health.clone().map(|probe| supervisor::Startup {
            probe,
            within: run.startup,
        }),
        readiness: service.health.clone(),
        liveness: run.liveness.clone(),
    }
}
