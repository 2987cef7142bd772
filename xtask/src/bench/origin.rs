//! The origin behind all subjects: one nginx with two endpoints that answer from memory.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::http;
use crate::process::{Owned, Scratch};
use crate::{debian, wait};

/// 66 bytes, the size of a small JSON answer.
pub(super) const BODY: &str =
    "{\"status\":\"paid\",\"order\":\"0123456789abcdef\",\"amount_cents\":123456}";
/// How long a program may take until it answers.
pub(super) const START_MAX: Duration = Duration::from_secs(10);

/// Lines that keep an nginx to itself: no system folders, no log per request, no daemon.
pub(super) const NGINX_MAIN: &str = "\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
";

/// Lines of its `http` block that do the same. Connections live long: the default of 1,000 requests
/// would measure reconnecting.
pub(super) const NGINX_HTTP: &str = "
  access_log off;
  client_body_temp_path temp-body;
  proxy_temp_path temp-proxy;
  fastcgi_temp_path temp-fastcgi;
  uwsgi_temp_path temp-uwsgi;
  scgi_temp_path temp-scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
";

/// A running origin.
#[derive(Debug)]
pub(super) struct Origin {
    /// Its two endpoints.
    pub endpoints: [SocketAddr; 2],
    /// Ends it when dropped.
    pub process: Owned,
    _folder: Scratch,
}

impl Origin {
    /// Starts it on `core` and waits until both endpoints answer.
    pub(super) fn start(core: usize) -> Result<Self> {
        let folder = Scratch::new("bench-origin")?;
        let endpoints = http::free_addresses::<2>()?;
        fs::write(folder.path().join("nginx.conf"), config(endpoints))?;
        let mut process = start_nginx("origin", core, &folder)?;
        for endpoint in endpoints {
            wait::until("the origin", START_MAX, || {
                process.runs()?;
                http::expect(endpoint, "/", BODY)
            })?;
        }
        Ok(Self {
            endpoints,
            process,
            _folder: folder,
        })
    }
}

/// Starts nginx on the `nginx.conf` of the folder.
pub(super) fn start_nginx(name: &str, core: usize, folder: &Scratch) -> Result<Owned> {
    let nginx = debian::find("nginx").context("nginx is not installed")?;
    let path = folder.path();
    let prefix = path.as_os_str();
    let config = path.join("nginx.conf");
    let arguments = [
        nginx.as_os_str(),
        "-p".as_ref(),
        prefix,
        "-e".as_ref(),
        "stderr".as_ref(),
    ];
    let program = [&arguments[..], &["-c".as_ref(), config.as_os_str()]].concat();
    Owned::start(name, core, path, &program)
}

fn config(endpoints: [SocketAddr; 2]) -> String {
    let server = |endpoint: SocketAddr| {
        format!(
            "  server {{\n    listen {endpoint} backlog=1024;\n    \
             location / {{ default_type application/json; return 200 '{BODY}'; }}\n  }}\n"
        )
    };
    let servers: String = endpoints.into_iter().map(server).collect();
    format!("{NGINX_MAIN}http {{{NGINX_HTTP}{servers}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_stated_size() {
        assert_eq!(BODY.len(), 66);
    }

    #[test]
    fn both_endpoints_are_configured() {
        let endpoints =
            ["127.0.0.1:4001", "127.0.0.1:4002"].map(|text| text.parse().expect("it is one"));
        let text = config(endpoints);
        assert!(text.contains("listen 127.0.0.1:4001 ") && text.contains("listen 127.0.0.1:4002 "));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
