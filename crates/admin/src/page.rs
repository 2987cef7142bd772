//! The dashboard: rendered here, whole, so that it can be read without a script.
//!
//! Prevents a page that shows something else than the node knows: the live update is the same
//! markup from the same functions, sent again; the script only puts it in place.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{Html as HtmlResponse, IntoResponse, Response};
use serde::Deserialize;

use crate::server::Shared;
use crate::snapshot::{Status, Trend};

mod endpoint;
mod event;
mod figure;
mod html;
mod service;
mod state;
mod trend;

pub(crate) use event::{gap, row};
use html::Html;
use state::State as Condition;

/// Events on the page.
const EVENTS_MAX: usize = 200;
/// Bytes of the filter that are used.
const FILTER_BYTES_MAX: usize = 200;

/// The query of the page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    /// Shows only events with these words.
    q: Option<String>,
}

pub(crate) async fn page(
    State(shared): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    // A link with a broken query still shows the page.
    let Query(asked) = asked.unwrap_or_default();
    let mut filter = asked.q.unwrap_or_default();
    filter.truncate(filter.floor_char_boundary(FILTER_BYTES_MAX));
    HtmlResponse(document(&shared, filter.trim())).into_response()
}

fn document(shared: &Shared, filter: &str) -> String {
    let snapshot = shared.snapshots.latest();
    let records = shared.observer.recent(0, EVENTS_MAX);
    let after = records.last().map_or(0, |record| record.seq);
    let mut html = Html::new();
    html.raw(HEAD).text(&snapshot.title).raw(BODY);
    html.rendered(&snapshot.html).raw(EVENTS).text(filter);
    html.raw(EVENTS_TABLE).text(&after.to_string()).raw("\">\n");
    for record in records.iter().rev() {
        event::write(&mut html, record, filter);
    }
    html.raw(END);
    html.finish()
}

const HEAD: &str = r#"<!doctype html>
<html lang="en" class="no-js">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="5"></noscript>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/app.css">
<script src="/assets/theme.js"></script>
<script type="module" src="/assets/app.js"></script>
<title>"#;

const BODY: &str = r##"</title>
</head>
<body>
<a class="skip" href="#events">Skip to the events</a>
<header class="top">
<p class="brand"><img src="/assets/icon.svg" alt="" width="22" height="22"> Mainstay</p>
<p class="link" id="link" role="status"><span aria-hidden="true">○</span> not live</p>
<button class="theme" id="theme" type="button">Theme: <span>auto</span></button>
</header>
<p class="stale" id="stale" role="alert" hidden>▲ Stale<span id="age" aria-hidden="true"></span>: the node does not answer. What follows is its last word.</p>
<main>
<div id="live">
"##;

const EVENTS: &str = r#"</div>
<section class="events" id="events" aria-labelledby="events-title">
<div class="bar">
<h2 id="events-title">Events</h2>
<p class="quiet">newest first, times in UTC</p>
<form role="search" method="get" action="/">
<label for="q">Filter</label>
<input id="q" name="q" type="search" autocomplete="off" spellcheck="false" maxlength="200" placeholder="service, event, reason …" value=""#;

const EVENTS_TABLE: &str = r#"">
<noscript><button>Show</button></noscript>
</form>
</div>
<table>
<caption class="hidden">Events, newest first</caption>
<thead><tr><th scope="col">Time</th><th scope="col">Severity</th><th scope="col">Event</th><th scope="col">Where</th><th scope="col">What</th></tr></thead>
<tbody id="rows" data-after=""#;

const END: &str = r#"</tbody>
</table>
<p class="none">No event to show.</p>
</section>
</main>
<footer>
<nav aria-label="Data"><a href="/api/v1">API</a> <a href="/api/v1/status">status</a> <a href="/api/v1/events">events</a> <a href="/metrics">metrics</a> <a href="/readyz?verbose">readiness</a></nav>
</footer>
</body>
</html>
"#;

/// What the browser's tab says.
pub(crate) fn title(status: &Status) -> String {
    let condition = Condition::of_node(status);
    format!("{} {} · Mainstay", condition.symbol(), status.node)
}

/// The live part: node and services.
pub(crate) fn live(status: &Status, trends: &BTreeMap<Arc<str>, Trend>) -> String {
    let mut html = Html::new();
    node(&mut html, status);
    let none = Trend::new();
    for (index, service) in status.services.iter().enumerate() {
        let trend = trends.get(&service.name).unwrap_or(&none);
        service::write(&mut html, index, service, trend);
    }
    if status.services.is_empty() {
        html.raw("<p class=\"none\">No service is configured.</p>\n");
    }
    html.finish()
}

fn node(html: &mut Html, status: &Status) {
    let condition = Condition::of_node(status);
    html.raw("<section class=\"node\" aria-label=\"Node\" data-title=\"")
        .text(&title(status))
        .raw("\" data-started=\"")
        .text(&status.started.to_string())
        .raw("\">\n<h1 class=\"")
        .raw(condition.class())
        .raw("\"><span class=\"symbol\" aria-hidden=\"true\">")
        .raw(condition.symbol())
        .raw("</span> ")
        .text(&state::headline(status))
        .raw("</h1>\n<dl class=\"facts\">");
    fact(html, "Node", &status.node);
    fact(html, "Version", status.version);
    fact(html, "Up", &figure::span(status.uptime_ms));
    fact(html, "Requests", status.not_ready.unwrap_or("✓ accepted"));
    html.raw("</dl>\n</section>\n");
}

fn fact(html: &mut Html, name: &'static str, value: &str) {
    html.raw("<div><dt>")
        .raw(name)
        .raw("</dt><dd>")
        .text(value)
        .raw("</dd></div>");
}
