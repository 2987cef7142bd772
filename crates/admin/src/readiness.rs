//! Whether the node is up and takes requests, as probes ask it.
//!
//! Prevents restarts that help nobody: liveness says only that the runtime answers; what a
//! balancer has to know is readiness, which turns false before anything else on shutdown.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Cheap to clone; all clones are one handle.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    started: AtomicBool,
    ready: AtomicBool,
    was_ready: AtomicBool,
}

impl Readiness {
    /// A node that is neither started nor ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// The start is complete; there is no way back.
    pub fn set_started(&self) {
        self.0.started.store(true, Ordering::Release);
    }

    /// Whether the node takes requests. Nobody is ready before the start is complete.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
        if ready {
            self.0.was_ready.store(true, Ordering::Release);
        }
    }

    /// Whether the node takes requests.
    pub fn is_ready(&self) -> bool {
        self.not_ready().is_none()
    }

    fn not_started(&self) -> Option<&'static str> {
        (!self.0.started.load(Ordering::Acquire)).then_some("the node is still starting")
    }

    /// Why the node takes no requests; `None` when it does.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        if let Some(reason) = self.not_started() {
            Some(reason)
        } else if self.0.ready.load(Ordering::Acquire) {
            None
        } else if self.0.was_ready.load(Ordering::Acquire) {
            Some("the node takes no new requests")
        } else {
            Some("the node does not take requests yet")
        }
    }
}

/// `/livez`: always well while the runtime answers. Never depends on anything else.
pub(crate) async fn livez(RawQuery(query): RawQuery) -> Response {
    answer("livez", &[("ping", None)], query.as_deref())
}

/// `/readyz`: whether requests should be sent here.
pub(crate) async fn readyz(
    State(readiness): State<Readiness>,
    RawQuery(query): RawQuery,
) -> Response {
    let checks = [
        ("ping", None),
        ("started", readiness.not_started()),
        ("ready", readiness.not_ready()),
    ];
    answer("readyz", &checks, query.as_deref())
}

/// `/startupz`: whether the start is complete.
pub(crate) async fn startupz(
    State(readiness): State<Readiness>,
    RawQuery(query): RawQuery,
) -> Response {
    let checks = [("ping", None), ("started", readiness.not_started())];
    answer("startupz", &checks, query.as_deref())
}

/// Answers as Kubernetes does: the status says it all, `?verbose` lists the checks for people.
fn answer(probe: &str, checks: &[(&str, Option<&str>)], query: Option<&str>) -> Response {
    let failed = checks.iter().find_map(|(_, reason)| *reason);
    let verbose = query
        .unwrap_or_default()
        .split('&')
        .any(|pair| pair.split('=').next() == Some("verbose"));
    let mut text = String::new();
    if verbose {
        for (check, reason) in checks {
            match reason {
                None => writeln!(text, "[+]{check} ok"),
                Some(reason) => writeln!(text, "[-]{check} failed: {reason}"),
            }
            .unwrap_or_default();
        }
        let end = if failed.is_none() { "passed" } else { "failed" };
        writeln!(text, "{probe} check {end}").unwrap_or_default();
    } else {
        text.push_str(failed.unwrap_or("ok"));
        text.push('\n');
    }
    let status = match failed {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, text).into_response()
}
