//! What ends with a request: its place in the bulkhead and its count in flight.
//!
//! Prevents leaks on any way out: it is dropped with the answer's body, whether that was sent,
//! broke, or was never asked for because the client left.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use mainstay::bulkhead::BulkheadPermit;
use mainstay_observe::Observer;
use tokio::time::Instant;

use crate::downstream::Downstream;
use crate::front::Front;

/// Held from a request's head to the end of its answer.
#[derive(Debug)]
pub(crate) struct Finish {
    front: Rc<Front>,
    downstream: Rc<Downstream>,
    place: Option<BulkheadPermit<Observer>>,
}

impl Finish {
    /// A request begins.
    pub(crate) fn begin(front: &Rc<Front>, downstream: &Rc<Downstream>) -> Self {
        let in_flight = &front.tally().in_flight;
        in_flight.store(in_flight.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Self {
            front: Rc::clone(front),
            downstream: Rc::clone(downstream),
            place: None,
        }
    }

    /// The request has a place in the bulkhead.
    pub(crate) fn hold(&mut self, place: BulkheadPermit<Observer>) {
        self.place = Some(place);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let in_flight = &self.front.tally().in_flight;
        let left = in_flight.load(Ordering::Relaxed).saturating_sub(1);
        in_flight.store(left, Ordering::Relaxed);
        self.downstream.finish(Instant::now());
    }
}
