//! What a policy tells of itself: under which name, by which clock, and to whom.
//!
//! Prevents each policy from telling its refusals in a way of its own: they are told as one pair of
//! edges, see [`mainstay_core::edge`]. Always holds: where nobody listens, nothing is counted and no
//! event is made; with `()` as the observer that is known when the policy is compiled.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::edge::Edge;
use mainstay_core::event::{Event, Observe};

use crate::clock::Clock;
use crate::error::{Cause, Policy, Rejection};
use crate::name::Name;

/// The teller of one policy.
pub(crate) struct Told<O> {
    pub(crate) name: Name,
    pub(crate) clock: Clock,
    observer: O,
    edge: Edge,
}

impl<O> Told<O> {
    pub(crate) fn new(name: Name, clock: Clock, observer: O) -> Self {
        Self {
            name,
            clock,
            observer,
            edge: Edge::new(),
        }
    }

    /// A call is turned away under this name.
    pub(crate) fn rejection(
        &self,
        policy: Policy,
        cause: Cause,
        retry_after: Option<Duration>,
    ) -> Rejection {
        Rejection {
            policy,
            name: self.name.clone(),
            cause,
            retry_after,
        }
    }
}

impl<O: Observe> Told<O> {
    /// Tells one event.
    pub(crate) fn tell(&self, event: impl FnOnce(Arc<str>) -> Event) {
        self.observer.observe_with(|| event(Arc::from(&self.name)));
    }

    /// A call was refused; `event` is told when it is the first.
    pub(crate) fn refused(&self, event: impl FnOnce(Arc<str>) -> Event) {
        if self.observer.listens() && self.edge.refused(self.clock.coarse()) {
            self.tell(event);
        }
    }

    /// A call passed; `event` is told, with the number of refusals, when they are over.
    #[inline]
    pub(crate) fn passed(&self, event: impl FnOnce(Arc<str>, u64) -> Event) {
        if self.is_refusing() {
            self.recovered(event);
        }
    }

    /// A call passed; the end of refusals is not told, and the next one is the first again.
    pub(crate) fn rest(&self) {
        if self.is_refusing() {
            self.edge.passed(self.clock.now());
        }
    }

    /// Whether an end of refusals would be told.
    #[inline]
    pub(crate) fn is_refusing(&self) -> bool {
        self.observer.listens() && self.edge.is_active()
    }

    #[cold]
    fn recovered(&self, event: impl FnOnce(Arc<str>, u64) -> Event) {
        if let Some(refused) = self.edge.passed(self.clock.now()) {
            self.tell(|name| event(name, refused));
        }
    }
}
