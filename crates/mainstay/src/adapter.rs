//! Observers that hand events on to what a service already has: `tracing`, `metrics`, or both.
//!
//! Prevents a failure that only this library knows of. Each is an [`Observe`]: give it to the
//! policies' builders in an `Arc`. `Tracing` and `Metrics` are there with the features of those
//! names.

use mainstay_core::event::{Event, Observe};

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::{CIRCUITS_MAX, METRICS, Metrics};
#[cfg(feature = "tracing")]
pub use self::tracing::Tracing;

/// Two observers: both hear everything, the first one first.
///
/// ```
/// use std::sync::Arc;
/// use mainstay::adapter::Tee;
/// use mainstay::{Breaker, Observe};
///
/// let (log, alarm) = ((), ());
/// let observer: Arc<dyn Observe> = Arc::new(Tee(log, alarm));
/// let breaker = Breaker::builder("payment").observer(observer).build().unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tee<A, B>(pub A, pub B);

impl<A: Observe, B: Observe> Observe for Tee<A, B> {
    fn observe(&self, event: Event) {
        self.0.observe(event.clone());
        self.1.observe(event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::heard::Heard;

    #[test]
    fn both_sides_of_a_tee_hear_everything() {
        let (first, second) = (Heard::new(), Heard::new());
        let tee = Tee(Arc::clone(&first), Arc::clone(&second));
        tee.observe(Event::NodeStopped { cut_off: 3 });
        let heard = first.take();
        assert_eq!(heard, [Event::NodeStopped { cut_off: 3 }]);
        assert_eq!(heard, second.take());
    }
}
