//! One timer that is used over and over, and is only moved when it must be.
//!
//! Prevents a timer registration per request, which costs more than parsing one: deadlines only
//! move forward, so an armed timer is left alone, wakes too early once, and is armed again then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// A lazily armed timer.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `deadline` has passed; else the task is woken no later than then.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_at_its_deadline_wherever_it_was_armed_before() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        for millis in [50, 10, 80] {
            let deadline = Instant::now() + Duration::from_millis(millis);
            let armed = deadline + Duration::from_secs(1);
            assert!(
                poll_fn(|cx| Poll::Ready(alarm.poll_at(cx, armed)))
                    .await
                    .is_pending()
            );
            poll_fn(|cx| alarm.poll_at(cx, deadline)).await;
            assert_eq!(Instant::now(), deadline);
        }
        assert_eq!(start.elapsed(), Duration::from_millis(140));
    }
}
