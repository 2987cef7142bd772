//! How a pipeline waits: with the runtime's timers, or by blocking the thread.
//!
//! Prevents a second implementation for blocking code. A blocking call runs the same futures; in
//! it, each wait blocks inside of `poll`, so that they are ready when polled once.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// What a wait does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It lets other tasks of the runtime run.
    Runtime,
    /// It blocks the thread.
    Thread,
}

impl Wait {
    pub(super) async fn sleep(self, after: Duration) {
        match self {
            Self::Runtime => tokio::time::sleep(after).await,
            Self::Thread => sleep_thread(after),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller asked for the blocking form"
)]
fn sleep_thread(after: Duration) {
    thread::sleep(after);
}

/// Runs `future` on this thread. Free of allocations when it is ready at once.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    if let Poll::Ready(output) = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        return output;
    }
    // A stage waits for something else than time: for another thread's wake-up.
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
