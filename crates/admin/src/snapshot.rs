//! What the node looks like, taken once a second for everybody who asks.
//!
//! Prevents watchers from slowing down what they watch: a hundred open pages cost the services
//! one question a second, as one page does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::vector_clock::VectorClock;
use mainstay_observe::clock::Timestamp;
use mainstay_observe::status::{ServiceStatus, StatusSource};
use mainstay_observe::{Observer, ReplicationState};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::Readiness;
use crate::page;

/// Between two snapshots.
const EVERY: Duration = Duration::from_secs(1);
/// Points of a trend: two minutes.
pub(crate) const TREND_POINTS: usize = 120;
/// Services whose trend is kept.
const TRENDS_MAX: usize = 1_024;

/// The document behind `/api/v1/status`. It holds the replication state
/// (`{"node":…,"clock":{…}}`) field for field.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    schema: &'static str,
    pub(crate) node: Arc<str>,
    clock: VectorClock,
    pub(crate) version: &'static str,
    time: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) uptime_ms: u64,
    pub(crate) ready: bool,
    /// Why not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_ready: Option<&'static str>,
    pub(crate) services: Vec<ServiceStatus>,
}

/// One second of a service's traffic.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Point {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Failed requests per second.
    pub(crate) failed: f64,
}

/// The latest points of a service, oldest first.
pub(crate) type Trend = VecDeque<Point>;

/// A snapshot, rendered in the forms that are sent.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The status document.
    pub(crate) json: String,
    /// The live part of the page.
    pub(crate) html: String,
    /// The page's title.
    pub(crate) title: String,
}

/// The latest snapshot, and how to take the next.
pub(crate) struct Snapshots {
    observer: Observer,
    sources: Arc<dyn StatusSource>,
    readiness: Readiness,
    started: (Instant, Timestamp),
    trends: Mutex<BTreeMap<Arc<str>, Trend>>,
    latest: watch::Sender<Arc<Snapshot>>,
}

impl Snapshots {
    /// Takes the first snapshot at once.
    pub(crate) fn new(
        observer: Observer,
        sources: Arc<dyn StatusSource>,
        readiness: Readiness,
    ) -> Self {
        let nothing = Snapshot {
            json: String::new(),
            html: String::new(),
            title: String::new(),
        };
        let snapshots = Self {
            observer,
            sources,
            readiness,
            started: (Instant::now(), Timestamp::now()),
            trends: Mutex::default(),
            latest: watch::Sender::new(Arc::new(nothing)),
        };
        snapshots.take();
        snapshots
    }

    pub(crate) fn latest(&self) -> Arc<Snapshot> {
        Arc::clone(&self.latest.borrow())
    }

    /// The latest snapshot and those to come; who is slow sees the latest only.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        let mut receiver = self.latest.subscribe();
        receiver.mark_changed();
        receiver
    }

    /// Takes a snapshot a second until `shutdown`.
    pub(crate) async fn keep_up_to_date(&self, shutdown: &CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        // After a pause of the machine one snapshot is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.take();
        }
    }

    fn take(&self) {
        let status = self.status();
        let mut trends = self.trends.lock().unwrap_or_else(PoisonError::into_inner);
        for service in &status.services {
            follow(&mut trends, service);
        }
        let snapshot = Snapshot {
            json: serde_json::to_string(&status).unwrap_or_default(),
            html: page::live(&status, &trends),
            title: page::title(&status),
        };
        drop(trends);
        drop(self.latest.send_replace(Arc::new(snapshot)));
    }

    fn status(&self) -> Status {
        let ReplicationState { node, clock } = self.observer.replication_state();
        let not_ready = self.readiness.not_ready();
        let uptime = self.started.0.elapsed().as_millis();
        Status {
            schema: "mainstay.status/v1",
            node,
            clock,
            version: env!("CARGO_PKG_VERSION"),
            time: Timestamp::now(),
            started: self.started.1,
            uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
            ready: not_ready.is_none(),
            not_ready,
            services: self.sources.services(),
        }
    }
}

fn follow(trends: &mut BTreeMap<Arc<str>, Trend>, service: &ServiceStatus) {
    if !trends.contains_key(&service.name) && trends.len() >= TRENDS_MAX {
        return;
    }
    let trend = trends.entry(Arc::clone(&service.name)).or_default();
    if trend.len() == TREND_POINTS {
        trend.pop_front();
    }
    let failed_share = 1.0 - service.success.unwrap_or(1.0).clamp(0.0, 1.0);
    trend.push_back(Point {
        rate: service.rate,
        failed: service.rate * failed_share,
    });
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots")
            .field("node", self.observer.node())
            .finish_non_exhaustive()
    }
}
