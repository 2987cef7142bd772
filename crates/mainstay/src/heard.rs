//! An observer for tests: remembers what it heard.

use std::sync::{Arc, Mutex, PoisonError};

use mainstay_core::event::{Event, Observe};

#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<Event>>);

impl Heard {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The events since the last time.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.take().iter().map(|event| event.kind().name).collect()
    }
}

impl Observe for Heard {
    fn observe(&self, event: Event) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    }
}
