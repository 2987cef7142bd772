//! The hub: events come in, log lines, metrics and frames go out.
//!
//! Prevents observing from doing harm: taking an event is a short critical section and never
//! waits for a disk, a terminal or a listener. What cannot keep up loses records, and says so.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::event::{Event, Observe};
use mainstay_core::vector_clock::VectorClock;
use prometheus_client::registry::Registry;

use crate::history::History;
use crate::log::{Line, Log, Queue};
use crate::metrics::{Exposition, Metrics, encode};
use crate::record::{Record, ReplicationState};
use crate::subscription::Subscription;

/// Cheap to clone; all clones are one hub.
#[derive(Clone)]
pub struct Observer(Arc<Hub>);

pub(crate) struct Hub {
    node: Arc<str>,
    history: History,
    metrics: Metrics,
    registry: Mutex<Registry>,
    log: Option<Queue>,
}

impl Observer {
    /// The hub of the node called `node`, with no log.
    pub fn new(node: &str) -> Self {
        Self(Arc::new(Hub::new(node, |_| None)))
    }

    /// The hub of the node called `node`, with a log. Starts the log's writer, a thread that ends
    /// after the last clone of the hub.
    ///
    /// # Errors
    /// When the system gives no further thread.
    pub fn with_log(node: &str, log: Log) -> io::Result<Self> {
        let hub = Arc::new(Hub::new(node, |metrics| Some(Queue::new(&log, metrics))));
        if let Some(queue) = &hub.log {
            log.start(queue.clone(), Arc::downgrade(&hub))?;
        }
        Ok(Self(hub))
    }

    /// The node's name.
    pub fn node(&self) -> &Arc<str> {
        &self.0.node
    }

    /// Lets a crate register its metrics, once at start.
    pub fn register(&self, with: impl FnOnce(&mut Registry)) {
        with(
            &mut self
                .0
                .registry
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// All metrics, for a scrape.
    pub fn encode_metrics(&self, exposition: Exposition) -> String {
        let registry = self
            .0
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        encode(&registry, exposition)
    }

    /// Passes one line of a replica's output on to the log; never blocks, drops when it must.
    pub fn replica_line(&self, replica: &str, stream: &'static str, line: &[u8]) {
        if let Some(log) = &self.0.log {
            log.push(Line::replica(replica, stream, line));
        }
    }

    /// Learns what another node knows; later events of this node are stamped as after that.
    pub fn merge(&self, clock: &VectorClock) {
        self.0.history.merge(clock);
    }

    /// What this node knows of the events of all nodes.
    pub fn replication_state(&self) -> ReplicationState {
        ReplicationState {
            node: Arc::clone(&self.0.node),
            clock: self.0.history.clock(),
        }
    }

    /// The latest records after number `after`, at most `limit`, in order. Heartbeats are not
    /// kept.
    pub fn recent(&self, after: u64, limit: usize) -> Vec<Arc<Record>> {
        self.0.history.recent(after, limit)
    }

    /// Listens: with `after`, first to the records kept since that number, then to new ones;
    /// with `None` to new ones only.
    pub fn subscribe(&self, after: Option<u64>) -> Subscription {
        self.0.history.subscribe(after)
    }

    /// Waits until all log lines so far are written, at most for `timeout`; says whether they
    /// are. Blocks the thread: for the end of a program, after its runtime.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.log.as_ref().is_none_or(|log| log.flush(timeout))
    }
}

impl Observe for Observer {
    fn observe(&self, event: Event) {
        let record = self.0.stamp(event);
        if let Some(log) = &self.0.log {
            log.push_record(record);
        }
    }
}

impl Hub {
    fn new(node: &str, log: impl FnOnce(&Metrics) -> Option<Queue>) -> Self {
        let node: Arc<str> = Arc::from(node);
        let mut registry = Registry::default();
        let metrics = Metrics::new(&node, &mut registry);
        Self {
            history: History::new(Arc::clone(&node)),
            log: log(&metrics),
            metrics,
            registry: Mutex::new(registry),
            node,
        }
    }

    /// Stamps, counts and sends an event, but does not log it.
    pub(crate) fn stamp(&self, event: Event) -> Arc<Record> {
        self.metrics.count(&event);
        self.history.push(event)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer")
            .field("node", &self.0.node)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
