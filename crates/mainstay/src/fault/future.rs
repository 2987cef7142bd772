//! A call that may be broken.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::{Fault, Faults, Forge};
use crate::error::{Error, Flat, Rejection};

pin_project! {
    /// The answer of a [`FaultService`](super::FaultService).
    pub struct FaultFuture<F, G> {
        // `None` where it is not made.
        #[pin]
        call: Option<F>,
        #[pin]
        delay: Option<Sleep>,
        // Made only for a call that is turned away: the others count no references.
        rejection: Option<Rejection>,
        fault: Option<Fault>,
        forge: G,
    }
}

impl<F, G> FaultFuture<F, G> {
    /// `call` makes the call, if it is to be made.
    pub(super) fn new(
        call: impl FnOnce() -> F,
        faults: &Faults,
        fault: Option<Fault>,
        forge: G,
    ) -> Self {
        let made = match fault {
            Some(Fault::Error | Fault::Hang | Fault::Reject) => false,
            Some(Fault::Latency(_) | Fault::Wrong) | None => true,
        };
        let delay = match fault {
            Some(Fault::Latency(delay)) => Some(sleep(delay)),
            Some(Fault::Error | Fault::Hang | Fault::Reject | Fault::Wrong) | None => None,
        };
        Self {
            call: made.then(call),
            delay,
            rejection: (fault == Some(Fault::Reject)).then(|| faults.rejection()),
            fault,
            forge,
        }
    }
}

impl<F, G, T, E> Future for FaultFuture<F, G>
where
    F: Future<Output = Result<T, E>>,
    E: Flat,
    G: Forge<T, E::Inner>,
{
    type Output = Result<T, Error<E::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.fault {
            Some(Fault::Error) => return Poll::Ready(Err(Error::Inner(this.forge.error()))),
            Some(Fault::Reject) => {
                let rejection = this.rejection.take().map(Error::Rejected);
                return rejection.map_or(Poll::Pending, |rejection| Poll::Ready(Err(rejection)));
            },
            // Ends when it is dropped: a timeout does that.
            Some(Fault::Hang) => return Poll::Pending,
            Some(Fault::Latency(_) | Fault::Wrong) | None => {},
        }
        if let Some(delay) = this.delay.as_mut().as_pin_mut() {
            ready!(delay.poll(cx));
            this.delay.set(None);
        }
        let Some(call) = this.call.as_pin_mut() else {
            return Poll::Pending;
        };
        let answer = ready!(call.poll(cx)).map_err(Flat::into_error)?;
        Poll::Ready(Ok(if *this.fault == Some(Fault::Wrong) {
            this.forge.wrong(answer)
        } else {
            answer
        }))
    }
}

impl<F, G> fmt::Debug for FaultFuture<F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFuture")
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}
