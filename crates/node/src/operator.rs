//! What the operator asks for while the node runs, and the order in which it stops.
//!
//! Prevents a stop that cuts requests off: readiness first, then the gateway, then the replicas,
//! each only when nobody needs it any more. A second request to stop waits for nothing.

use std::pin::pin;

use mainstay_admin::Readiness;
use mainstay_core::event::{Event, Observe};
use mainstay_gateway::Drained;
use mainstay_observe::Observer;
use mainstay_supervisor::Handle;
use tokio_util::sync::CancellationToken;

use crate::node::Stopped;
use crate::reload::Reloader;
use crate::signal::{Request, Signals};

/// What is told to stop, in this order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    pub(crate) gateway: CancellationToken,
    pub(crate) replicas: CancellationToken,
    pub(crate) background: CancellationToken,
}

/// Follows the operator's requests.
pub(crate) struct Operator {
    pub(crate) signals: Signals,
    pub(crate) replicas: Handle,
    pub(crate) reloader: Reloader,
    pub(crate) observer: Observer,
    pub(crate) readiness: Readiness,
    pub(crate) stop: Stop,
}

impl Operator {
    /// Ends when the replicas have stopped; `draining` ends when the gateway has.
    pub(crate) async fn serve(
        mut self,
        draining: impl Future<Output = Drained>,
        stopping: impl Future<Output = mainstay_supervisor::Stopped>,
    ) -> Stopped {
        let (mut draining, mut stopping) = (pin!(draining), pin!(stopping));
        let mut cut_off = None;
        loop {
            tokio::select! {
                biased;
                request = self.signals.next() => self.follow(request),
                drained = &mut draining, if cut_off.is_none() => {
                    cut_off = Some(drained.cut_off);
                    self.stop.replicas.cancel();
                },
                stopped = &mut stopping => {
                    return Stopped { cut_off: cut_off.unwrap_or(0), killed: stopped.killed };
                },
            }
        }
    }

    fn follow(&mut self, request: Request) {
        match request {
            Request::Reload => self.reloader.reload(),
            Request::Stop(_) if self.stop.gateway.is_cancelled() => {
                self.replicas.kill_now();
                self.stop.replicas.cancel();
            },
            Request::Stop(signal) => {
                self.observer.observe(Event::NodeDraining {
                    detail: signal.to_owned(),
                });
                self.readiness.set_ready(false);
                self.stop.gateway.cancel();
            },
        }
    }
}
