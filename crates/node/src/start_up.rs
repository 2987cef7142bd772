//! The time between the first process and the last one that is ready.
//!
//! Prevents a node that calls itself started while replicas are still on their way, and one that
//! says nothing because a single replica never gets ready.

use std::sync::Arc;
use std::time::Duration;

use mainstay_admin::Readiness;
use mainstay_core::event::{Event, Observe};
use mainstay_observe::Observer;
use mainstay_supervisor::Handle;
use tokio::sync::Notify;

use crate::node::Summary;

/// After this time the node is announced even if replicas are still starting.
pub const ANNOUNCE_MAX: Duration = Duration::from_secs(5);

/// Waits for the replicas, and says when the node is up.
pub(crate) struct StartUp {
    pub(crate) summary: Summary,
    pub(crate) replicas: Handle,
    /// Told of every change of a replica.
    pub(crate) changed: Arc<Notify>,
    pub(crate) readiness: Readiness,
    pub(crate) observer: Observer,
    pub(crate) version: &'static str,
}

impl StartUp {
    /// Ends when every replica has been ready once.
    pub(crate) async fn run(mut self, announce: impl FnOnce(&Summary)) {
        let in_time = tokio::time::timeout(ANNOUNCE_MAX, self.all_ready()).await;
        self.summary.replicas = self.replicas.replicas();
        announce(&self.summary);
        if in_time.is_err() {
            self.all_ready().await;
        }
        self.readiness.set_started();
        self.readiness.set_ready(true);
        self.observer.observe(Event::NodeStarted {
            version: Arc::from(self.version),
            admin: Arc::from(self.summary.admin.to_string()),
        });
    }

    async fn all_ready(&self) {
        while !self.replicas.replicas().iter().all(|replica| replica.ready) {
            self.changed.notified().await;
        }
    }
}
