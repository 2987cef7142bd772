//! The hub: events come in, log lines, metrics and frames go out.

use std::sync::{Arc, Mutex, PoisonError};

use mainstay_core::event::{Event, Observe};
use prometheus_client::registry::Registry;

/// Cheap to clone; all clones are one hub.
#[derive(Clone)]
pub struct Observer(Arc<Hub>);

struct Hub {
    node: Arc<str>,
    registry: Mutex<Registry>,
}

impl Observer {
    /// The hub of the node called `node`, with no log.
    pub fn new(node: &str) -> Self {
        Self(Arc::new(Hub {
            node: Arc::from(node),
            registry: Mutex::new(Registry::default()),
        }))
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

    /// Passes one line of a replica's output on to the log; never blocks, drops when it must.
    pub fn replica_line(&self, replica: &str, stream: &'static str, line: &[u8]) {
        let _ = (replica, stream, line);
    }
}

impl Observe for Observer {
    fn observe(&self, event: Event) {
        let _ = event;
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer")
            .field("node", &self.0.node)
            .finish_non_exhaustive()
    }
}
