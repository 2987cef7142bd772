//! The JSON API, and metrics.
//!
//! Prevents scrapers of HTML: everything on the page is here too, in documents that name their
//! schema and keep it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay_core::event::Event;
use mainstay_observe::{Exposition, HISTORY_MAX, Record};
use serde::{Deserialize, Serialize};

use crate::server::Shared;

/// Records in an answer when the client does not say.
const LIMIT_DEFAULT: usize = 100;

const PATHS: &[(&str, &str)] = &[
    ("/", "the dashboard"),
    ("/api/v1/status", "node and services as they are now"),
    (
        "/api/v1/events?after=SEQ&limit=N&event=NAME,NAME",
        "past events in order: with `after` the first ones after that number, else the latest",
    ),
    (
        "/api/v1/stream?after=SEQ",
        "server-sent events: `record` for each event, `status` once a second; resumes by \
         Last-Event-ID",
    ),
    ("/metrics", "metrics for Prometheus"),
    ("/livez", "200 while the node answers"),
    ("/readyz", "200 while the node takes requests, else 503"),
    ("/startupz", "200 once the node has started, else 503"),
];

#[derive(Serialize)]
struct Problem {
    error: String,
}

pub(crate) fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    let error = error.into();
    (status, Json(Problem { error })).into_response()
}

pub(crate) async fn not_found() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "no such page; /api/v1 lists what there is",
    )
}

pub(crate) async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let asked = |value: &header::HeaderValue| {
        let value = value.to_str().unwrap_or_default();
        value.contains("application/openmetrics-text")
    };
    let exposition = if headers.get_all(header::ACCEPT).iter().any(asked) {
        Exposition::OpenMetrics
    } else {
        Exposition::Prometheus
    };
    let content_type = [(header::CONTENT_TYPE, exposition.content_type())];
    (content_type, shared.observer.encode_metrics(exposition)).into_response()
}

pub(crate) async fn index(State(shared): State<Shared>) -> Response {
    #[derive(Serialize)]
    struct Path {
        path: &'static str,
        about: &'static str,
    }
    #[derive(Serialize)]
    struct Index<'a> {
        schema: &'static str,
        node: &'a str,
        version: &'static str,
        paths: Vec<Path>,
    }
    let paths = PATHS.iter().map(|&(path, about)| Path { path, about });
    Json(Index {
        schema: "mainstay.api/v1",
        node: shared.observer.node(),
        version: env!("CARGO_PKG_VERSION"),
        paths: paths.collect(),
    })
    .into_response()
}

pub(crate) async fn status(State(shared): State<Shared>) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, shared.snapshots.latest().json.clone()).into_response()
}

/// The query of `/api/v1/events`.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    after: Option<u64>,
    limit: Option<usize>,
    event: Option<String>,
}

pub(crate) async fn events(
    State(shared): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    #[derive(Serialize)]
    struct Page<'a> {
        schema: &'static str,
        node: &'a str,
        events: Vec<Arc<Record>>,
    }
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, rejection.body_text()),
    };
    match select(&shared, &asked) {
        Ok(events) => Json(Page {
            schema: "mainstay.events/v1",
            node: shared.observer.node(),
            events,
        })
        .into_response(),
        Err(error) => problem(StatusCode::BAD_REQUEST, error),
    }
}

fn select(shared: &Shared, asked: &Asked) -> Result<Vec<Arc<Record>>, String> {
    let names: Option<Vec<&str>> = asked
        .event
        .as_deref()
        .map(|names| names.split(',').collect());
    for name in names.iter().flatten() {
        if !Event::KINDS.iter().any(|kind| kind.name == *name) {
            return Err(format!("no event is called {name:?}"));
        }
    }
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT).min(HISTORY_MAX);
    let mut records = shared
        .observer
        .recent(asked.after.unwrap_or(0), HISTORY_MAX);
    if let Some(names) = names {
        records.retain(|record| names.contains(&record.event.kind().name));
    }
    if asked.after.is_some() {
        // From there on, so that a client can read page by page and miss nothing.
        records.truncate(limit);
    } else {
        records.drain(..records.len().saturating_sub(limit));
    }
    Ok(records)
}
