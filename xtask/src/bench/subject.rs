//! The proxies that are compared, and how each is told to do the same work.
//!
//! Prevents an unfair race: one worker on one core, active health checks, bounded retries on another
//! endpoint for safe methods, timeouts, keep-alive on both sides, and no log line per request. What
//! a peer cannot do is left out there and said in [`Subject::note`].

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::http;
use super::origin::{BODY, NGINX_HTTP, NGINX_MAIN, START_MAX, start_nginx};
use crate::debian::{self, Program};
use crate::process::{Owned, Scratch};
use crate::{wait, workspace};

/// One proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Subject {
    /// Ours.
    Mainstay,
    /// Debian's.
    Haproxy,
    /// Debian's.
    Nginx,
}

impl Subject {
    /// All of them, ours first.
    pub(super) const ALL: &'static [Self] = &[Self::Mainstay, Self::Haproxy, Self::Nginx];

    /// Its name in the report.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mainstay => "mainstay",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// What has to be installed for it.
    pub(super) const fn program(self) -> Option<Program> {
        match self {
            Self::Mainstay => None,
            Self::Haproxy => Some(Program {
                name: "haproxy",
                package: "haproxy",
            }),
            Self::Nginx => Some(Program {
                name: "nginx",
                package: "nginx-light",
            }),
        }
    }

    /// What the reader of a ratio has to know.
    pub(super) const fn note(self) -> &'static str {
        match self {
            Self::Mainstay => {
                "mainstay: probes, breaker per endpoint, budgeted retries, \
                 bulkhead; no fallback, as the peers have none"
            },
            Self::Haproxy => {
                "haproxy: httpchk, observe layer7 with mark-down, retries with redispatch for safe \
                 methods, maxconn per server; it has no breaker with probes and no retry budget"
            },
            Self::Nginx => {
                "nginx: max_fails and proxy_next_upstream; the open source edition has no active \
                 health checks, so it does less work than the others"
            },
        }
    }

    /// Starts it on `core` in front of the endpoints and waits until it answers well.
    pub(super) fn start(self, core: usize, endpoints: [SocketAddr; 2]) -> Result<Running> {
        let folder = Scratch::new(&format!("bench-{}", self.name()))?;
        let [free] = http::free_addresses::<1>()?;
        let mut process = match self {
            Self::Mainstay => start_mainstay(core, &folder, endpoints)?,
            Self::Haproxy => start_haproxy(core, &folder, free, endpoints)?,
            Self::Nginx => {
                fs::write(
                    folder.path().join("nginx.conf"),
                    nginx_config(free, endpoints),
                )?;
                start_nginx(self.name(), core, &folder)?
            },
        };
        let what = format!("{} to answer", self.name());
        let address = wait::until(&what, START_MAX, || {
            process.runs()?;
            let address = match self {
                Self::Mainstay => mainstay_address(folder.path())?,
                Self::Haproxy | Self::Nginx => free,
            };
            http::expect(address, "/", BODY)?;
            Ok(address)
        });
        let address = address.with_context(|| process.log_end())?;
        Ok(Running {
            subject: self,
            address,
            process,
            _folder: folder,
        })
    }
}

/// A proxy that answers; ended when dropped.
#[derive(Debug)]
pub(super) struct Running {
    /// Which one.
    pub subject: Subject,
    /// Where it listens.
    pub address: SocketAddr,
    process: Owned,
    _folder: Scratch,
}

impl Running {
    /// An error unless it still runs and answers well.
    pub(super) fn check(&mut self) -> Result<()> {
        self.process.runs()?;
        http::expect(self.address, "/", BODY).with_context(|| self.process.log_end())
    }
}

fn start_mainstay(core: usize, folder: &Scratch, endpoints: [SocketAddr; 2]) -> Result<Owned> {
    let path = folder.path();
    let config = path.join("bench.toml");
    fs::write(&config, mainstay_config(endpoints))?;
    let binary = workspace::metadata()?
        .target_directory
        .join("dist/mainstay");
    let program = [binary.as_os_str(), OsStr::new("run"), config.as_os_str()];
    Owned::start("mainstay", core, path, &program)
}

fn mainstay_config([first, second]: [SocketAddr; 2]) -> String {
    format!(
        r#"version = 1

[node]
name     = "bench"
data_dir = "./data"
admin    = "127.0.0.1:0"

[gateway]
workers = 1

[service.origin]
listen    = "127.0.0.1:0"
endpoints = ["{first}", "{second}"]
health    = {{ http = "/healthz", every = "1s" }}
breaker   = {{ error_rate = "50%", reopen = "5s" }}
retry     = {{ attempts = 3 }}
timeout   = {{ total = "3s", attempt = "1s" }}
bulkhead  = {{ in_flight = 512, queue = 64, queue_wait = "200ms" }}
"#
    )
}

/// What `mainstay run` writes down once it is up; further fields are not ours to know.
#[derive(Deserialize)]
struct NodeFile {
    services: Vec<NodeService>,
}

#[derive(Deserialize)]
struct NodeService {
    listen: SocketAddr,
}

fn mainstay_address(folder: &Path) -> Result<SocketAddr> {
    let text = fs::read_to_string(folder.join("data/node.json")).context("data/node.json")?;
    let node: NodeFile = serde_json::from_str(&text).context("data/node.json")?;
    Ok(node
        .services
        .first()
        .context("data/node.json has no service")?
        .listen)
}

fn start_haproxy(
    core: usize,
    folder: &Scratch,
    listen: SocketAddr,
    endpoints: [SocketAddr; 2],
) -> Result<Owned> {
    let path = folder.path();
    let config = path.join("haproxy.cfg");
    fs::write(&config, haproxy_config(listen, endpoints))?;
    let haproxy = debian::find("haproxy").context("haproxy is not installed")?;
    // -db: stay in the foreground, as one process.
    let program = [
        haproxy.as_os_str(),
        "-db".as_ref(),
        "-f".as_ref(),
        config.as_os_str(),
    ];
    Owned::start("haproxy", core, path, &program)
}

fn haproxy_config(listen: SocketAddr, [first, second]: [SocketAddr; 2]) -> String {
    let server = "check inter 1s fall 3 rise 2 observe layer7 error-limit 10 on-error mark-down \
                  maxconn 512";
    // `random` picks the less loaded of two, as we do.
    format!(
        "global
  nbthread 1
  maxconn 4096

defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 1s
  timeout queue 200ms
  timeout http-request 10s
  timeout http-keep-alive 75s
  timeout check 1s
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response response-timeout 502 503 504
  http-reuse always

frontend web
  bind {listen} backlog 1024
  option forwardfor
  http-request disable-l7-retry unless METH_GET or {{ method HEAD OPTIONS }}
  default_backend origin

backend origin
  balance random
  option httpchk GET /healthz
  server first {first} {server}
  server second {second} {server}
"
    )
}

fn nginx_config(listen: SocketAddr, [first, second]: [SocketAddr; 2]) -> String {
    // 256 idle connections: as many as the highest load uses, so that none is ever closed.
    format!(
        "{NGINX_MAIN}http {{{NGINX_HTTP}
  upstream origin {{
    zone origin 64k;
    random two least_conn;
    server {first} max_fails=5 fail_timeout=10s max_conns=512;
    server {second} max_fails=5 fail_timeout=10s max_conns=512;
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {listen} backlog=1024;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_next_upstream error timeout http_502 http_503 http_504;
      proxy_next_upstream_tries 3;
      proxy_next_upstream_timeout 3s;
      proxy_connect_timeout 1s;
      proxy_read_timeout 1s;
      proxy_send_timeout 1s;
    }}
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTEN: &str = "127.0.0.1:4000";
    const ENDPOINTS: [&str; 2] = ["127.0.0.1:4001", "127.0.0.1:4002"];

    #[test]
    fn every_configuration_names_both_endpoints() {
        let listen = LISTEN.parse().expect("an address");
        let endpoints = ENDPOINTS.map(|endpoint| endpoint.parse().expect("an address"));
        for config in [
            mainstay_config(endpoints),
            haproxy_config(listen, endpoints),
            nginx_config(listen, endpoints),
        ] {
            for endpoint in ENDPOINTS {
                assert_eq!(config.matches(endpoint).count(), 1, "{config}");
            }
            assert_eq!(
                config.matches('{').count(),
                config.matches('}').count(),
                "{config}"
            );
        }
    }

    #[test]
    fn the_address_of_a_node_is_read_once_it_is_up() {
        let folder = Scratch::new("node-file").expect("a scratch folder");
        assert!(mainstay_address(folder.path()).is_err());
        fs::create_dir(folder.path().join("data")).expect("a folder");
        let text = r#"{"admin": "127.0.0.1:9", "services":
            [{"name": "origin", "listen": "127.0.0.1:4000"}]}"#;
        fs::write(folder.path().join("data/node.json"), text).expect("a file");
        let address = mainstay_address(folder.path()).expect("a node that is up");
        assert_eq!(address.to_string(), LISTEN);
    }
}
