//! What one worker keeps of one service: its pools, its dice, its counts.
//!
//! Prevents locks on the request path: everything here belongs to one thread, and the shared plan
//! is looked at through a version number, one load per request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use mainstay_core::breaker::At;
use mainstay_core::lane::Lane;
use mainstay_core::random::Random;
use mainstay_core::time::Instant;

use crate::config::Limits;
use crate::replay::ReplayMemory;
use crate::service::{Plan, Service};
use crate::tally::{Tally, add};
use crate::upstream::pool::Pool;

/// Slots of the filter that keeps the cache from storing the same answer again and again.
const RECENT_SLOTS: usize = 1_024;

/// One service on one worker.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) service: Arc<Service>,
    pub(crate) limits: Limits,
    pub(crate) memory: ReplayMemory,
    pub(crate) random: RefCell<Random>,
    worker: usize,
    version: Cell<u64>,
    local: RefCell<Rc<Local>>,
    /// What was stored last, by hash, and in which second.
    recent: RefCell<Vec<(u64, u64)>>,
}

/// The plan in force and this worker's pools for its endpoints, in the same order.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) plan: Arc<Plan>,
    pub(crate) pools: Vec<Rc<Pool>>,
}

impl Front {
    /// `service` as the worker number `worker` serves it.
    pub(crate) fn new(
        service: Arc<Service>,
        worker: usize,
        limits: Limits,
        memory: ReplayMemory,
    ) -> Self {
        let version = Cell::new(service.version());
        let local = Local::new(service.plan(), None);
        let seed = u64::from(std::process::id()) << 16 | worker as u64;
        Self {
            limits,
            memory,
            random: RefCell::new(Random::seeded(seed).fork(&service.name)),
            worker,
            version,
            local: RefCell::new(Rc::new(local)),
            recent: RefCell::new(vec![(0, 0); RECENT_SLOTS]),
            service,
        }
    }

    /// This worker's counts.
    pub(crate) fn tally(&self) -> &Tally {
        &self.service.tallies[self.worker]
    }

    /// `now` on this worker, for counts that all workers share.
    pub(crate) fn at(&self, now: Instant) -> At {
        // There are never so many workers.
        let lane = Lane(u32::try_from(self.worker).unwrap_or_default());
        At { now, lane }
    }

    /// The plan in force with this worker's pools.
    pub(crate) fn local(&self) -> Rc<Local> {
        let version = self.service.version();
        if self.version.replace(version) != version {
            let next = Local::new(self.service.plan(), Some(&self.local.borrow()));
            *self.local.borrow_mut() = Rc::new(next);
        }
        Rc::clone(&self.local.borrow())
    }

    /// Whether the answer with this hash was not stored within this second; notes that it is.
    pub(crate) fn is_due(&self, hash: u64, now: Instant) -> bool {
        let second = now.as_nanos() >> 30;
        let mut recent = self.recent.borrow_mut();
        let slot = &mut recent[usize::try_from(hash % RECENT_SLOTS as u64).unwrap_or_default()];
        std::mem::replace(slot, (hash, second)) != (hash, second)
    }

    /// Closes idle connections that are too old, and counts the others.
    pub(crate) fn sweep(&self) {
        let (mut open, mut idle) = (0, 0);
        for pool in &self.local().pools {
            pool.sweep(tokio::time::Instant::now());
            let counts = pool.counts();
            open += counts.0 as u64;
            idle += counts.1 as u64;
        }
        let tally = self.tally();
        tally
            .pool_open
            .store(open, std::sync::atomic::Ordering::Relaxed);
        tally
            .pool_idle
            .store(idle, std::sync::atomic::Ordering::Relaxed);
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        for pool in &self.local().pools {
            pool.clear();
        }
    }

    /// Counts one attempt, `number` 1 for the request's first.
    pub(crate) fn count_attempt(&self, number: u32) {
        add(&self.tally().attempts, 1);
        if number > 1 {
            add(&self.tally().retries, 1);
        }
    }
}

impl Local {
    fn new(plan: Arc<Plan>, old: Option<&Self>) -> Self {
        let pools = plan
            .endpoints
            .iter()
            .map(|endpoint| {
                let old = old.and_then(|old| {
                    let same = |known| Arc::ptr_eq(known, endpoint);
                    let index = old.plan.endpoints.iter().position(same)?;
                    old.pools.get(index).cloned()
                });
                old.unwrap_or_else(|| Rc::new(Pool::new(endpoint.address)))
            })
            .collect();
        Self { plan, pools }
    }
}
