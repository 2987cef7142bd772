//! Server-sent events: records as they happen and a snapshot a second.
//!
//! Prevents a slow or hostile watcher from costing more than a socket: nothing is queued per
//! client, who is slow loses records and is told, and there are never more than
//! [`STREAMS_MAX`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use mainstay_observe::{Delivery, Record, Subscription};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::api::problem;
use crate::page;
use crate::server::Shared;
use crate::snapshot::Snapshot;

/// Streams at a time.
pub(crate) const STREAMS_MAX: usize = 64;
/// A sign of life for proxies between.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);

/// The query of `/api/v1/stream`.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    after: Option<u64>,
    /// `view=page` gives frames of HTML for the dashboard.
    view: Option<String>,
}

/// The form of the frames.
#[derive(Clone, Copy, Debug)]
enum View {
    Json,
    Page,
}

pub(crate) async fn stream(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let asked = match asked {
        Ok(Query(asked)) => asked,
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, rejection.body_text()),
    };
    let view = match asked.view.as_deref() {
        None => View::Json,
        Some("page") => View::Page,
        Some(_) => return problem(StatusCode::BAD_REQUEST, "the only `view` is `page`"),
    };
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let full = format!("{STREAMS_MAX} streams are open already; close one and come back");
        let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, full);
        let retry_after = header::HeaderValue::from_static("10");
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, retry_after);
        return response;
    };
    // A browser that comes back says where it stopped; a page says where its rendering ended.
    let resumed = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let watcher = Watcher {
        records: shared.observer.subscribe(resumed.or(asked.after)),
        snapshots: shared.snapshots.subscribe(),
        shutdown: shared.shutdown.clone(),
        view,
        greeted: false,
        _permit: permit,
    };
    let frames = stream::unfold(watcher, async |mut watcher| {
        let frame = watcher.next().await?;
        Some((Ok::<_, Infallible>(frame), watcher))
    });
    Sse::new(frames)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

/// One client's place in the stream.
struct Watcher {
    records: Subscription,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    shutdown: CancellationToken,
    view: View,
    greeted: bool,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next frame; `None` when the node stops.
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(Event::default().retry(RETRY).comment("mainstay"));
        }
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => None,
            // Once a second; before records, which could otherwise keep it back.
            changed = self.snapshots.changed() => {
                changed.ok()?;
                let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
                Some(self.view.snapshot(&snapshot))
            },
            delivery = self.records.next() => Some(match delivery? {
                Delivery::Record(record) => self.view.record(&record),
                Delivery::Lagged(lost) => self.view.lagged(lost),
            }),
        }
    }
}

impl View {
    fn snapshot(self, snapshot: &Snapshot) -> Event {
        match self {
            Self::Json => Event::default().event("status").data(&snapshot.json),
            Self::Page => Event::default().event("page").data(&snapshot.html),
        }
    }

    fn record(self, record: &Record) -> Event {
        let frame = Event::default().id(record.seq.to_string());
        match self {
            Self::Json => {
                let json = serde_json::to_string(record).unwrap_or_default();
                frame.event("record").data(json)
            },
            Self::Page => match page::row(record) {
                Some(row) => frame.event("row").data(row),
                None => frame.event("beat").data(""),
            },
        }
    }

    fn lagged(self, lost: u64) -> Event {
        let frame = Event::default();
        match self {
            Self::Json => frame
                .event("lagged")
                .data(json!({"lost_max": lost}).to_string()),
            Self::Page => frame.event("row").data(page::gap(lost)),
        }
    }
}
