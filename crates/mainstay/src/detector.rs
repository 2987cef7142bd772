//! Failure detectors over the clock: who is silent for too long, and whether that is their fault.
//!
//! Prevents a dead peer from being believed alive, and a late one from being believed dead. The
//! decisions are those of [`mainstay_core::detector`]: phi accrual (Hayashibara et al., "The φ
//! Accrual Failure Detector", SRDS 2004) or a timeout, both with the local health of Lifeguard
//! (Dadgar et al., DSN 2018). Always holds: each change of a verdict is told once, under no lock;
//! and a process that stood still accuses nobody when it runs again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::detector::{LocalHealth, Peer};
use mainstay_core::event::{Event, Observe};
use mainstay_core::outcome::Reason;

use crate::builder;
use crate::name::Name;
use crate::told::Told;

pub use mainstay_core::detector::{
    Config, ConfigError, LocalHealthConfig, Method, PhiConfig, Suspicion,
};
pub use mainstay_core::health::{Hysteresis, Verdict};

/// Most peers of one detector: with a window of 200 heartbeats each, 8 MiB.
pub const PEERS_MAX: usize = 4_096;

/// Watches peers by their heartbeats. Cheap to clone; all clones watch the same peers.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::time::Duration;
/// use mainstay::Detector;
/// use mainstay::detector::Verdict;
///
/// let detector = Detector::builder("replicas").build().unwrap();
/// let watching = tokio::spawn({
///     let detector = detector.clone();
///     async move { detector.run().await }
/// });
/// for _ in 0..30 {
///     detector.heartbeat("replica-1");
///     tokio::time::sleep(Duration::from_secs(1)).await;
/// }
/// assert_eq!(detector.verdict("replica-1"), Some(Verdict::Healthy));
///
/// tokio::time::sleep(Duration::from_secs(10)).await;
/// assert_eq!(detector.verdict("replica-1"), Some(Verdict::Unhealthy));
/// # watching.abort();
/// # });
/// ```
#[derive_where(Clone)]
pub struct Detector<O = ()>(Arc<Watch<O>>);

struct Watch<O> {
    config: Config,
    interval: Duration,
    peers: Mutex<Peers>,
    told: Told<O>,
}

struct Peers {
    local: LocalHealth,
    by_name: BTreeMap<Arc<str>, Peer>,
}

/// There are [`PEERS_MAX`] peers already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{PEERS_MAX} peers are watched already; forget those that are gone")]
pub struct TooManyPeers;

/// Makes a [`Detector`]. Its observer hears of changed verdicts, as `endpoint_healthy` and
/// `endpoint_unhealthy`.
pub type Builder<O = ()> = builder::Builder<Config, LocalHealthConfig, O>;

impl Detector {
    /// A detector called `name`: what the peers are replicas of.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder::new(name.into(), LocalHealthConfig::default())
    }
}

impl<O: Observe> Detector<O> {
    /// Watches a peer from now on, before its first heartbeat. One that is watched stays as it is.
    ///
    /// # Errors
    ///
    /// [`TooManyPeers`] when [`PEERS_MAX`] are watched already.
    pub fn watch(&self, peer: impl Into<Arc<str>>) -> Result<(), TooManyPeers> {
        let now = self.0.told.clock.now();
        let mut peers = self.lock();
        peers.local.woke(now);
        let peer = peer.into();
        if peers.by_name.contains_key(&peer) {
            return Ok(());
        }
        if peers.by_name.len() >= PEERS_MAX {
            return Err(TooManyPeers);
        }
        // Checked when the detector was built, so that it cannot fail.
        if let Ok(watched) = Peer::new(&self.0.config, &peers.local, now) {
            peers.by_name.insert(peer, watched);
        }
        Ok(())
    }

    /// Watches a peer no more.
    pub fn forget(&self, peer: &str) {
        self.lock().by_name.remove(peer);
    }

    /// A heartbeat of this peer has arrived. A peer that is not watched is watched from now on,
    /// unless there are [`PEERS_MAX`]: then `false`.
    pub fn heartbeat(&self, peer: &str) -> bool {
        if self.beat(peer) {
            return true;
        }
        self.watch(peer).is_ok() && self.beat(peer)
    }

    fn beat(&self, peer: &str) -> bool {
        let now = self.0.told.clock.now();
        let mut peers = self.lock();
        let Peers { local, by_name } = &mut *peers;
        match by_name.get_mut(peer) {
            Some(peer) => {
                peer.heartbeat(local, now);
                true
            },
            None => false,
        }
    }

    /// A probe of this process had this result, to whomever: many that fail say that the fault is
    /// on this side, and all peers are given more time.
    pub fn probed(&self, ok: bool) {
        self.lock().local.probed(ok);
    }

    /// The regular check, once in [`LocalHealthConfig::interval`]: tells the observer which
    /// verdicts changed. [`run`](Self::run) does so for asynchronous code; a thread may call it
    /// between two waits.
    pub fn check(&self) {
        for (peer, verdict, suspicion) in self.changed() {
            self.tell(peer, verdict, suspicion);
        }
    }

    fn changed(&self) -> Vec<(Arc<str>, Verdict, Suspicion)> {
        let now = self.0.told.clock.now();
        let mut peers = self.lock();
        peers.local.ticked(now);
        let Peers { local, by_name } = &mut *peers;
        let changed = by_name.iter_mut().filter_map(|(name, peer)| {
            let verdict = peer.check(local, now)?;
            Some((Arc::clone(name), verdict, peer.suspicion(local, now)))
        });
        changed.collect()
    }

    /// Checks at every interval, for ever. Cancel it by dropping.
    pub async fn run(&self) -> Infallible {
        #[expect(clippy::infinite_loop, reason = "the type says so: there is no end")]
        loop {
            tokio::time::sleep(self.0.interval).await;
            self.check();
        }
    }

    /// How much this peer is suspected; `None` when it is not watched.
    pub fn suspicion(&self, peer: &str) -> Option<Suspicion> {
        let now = self.0.told.clock.now();
        let peers = self.lock();
        let watched = peers.by_name.get(peer)?;
        Some(watched.suspicion(&peers.local, now))
    }

    /// The verdict as of the last check; `None` when the peer is not watched.
    pub fn verdict(&self, peer: &str) -> Option<Verdict> {
        self.lock().by_name.get(peer).map(Peer::verdict)
    }

    /// All peers and their verdicts, in the order of their names.
    pub fn verdicts(&self) -> Vec<(Arc<str>, Verdict)> {
        let peers = self.lock();
        let by_name = peers.by_name.iter();
        by_name
            .map(|(name, peer)| (Arc::clone(name), peer.verdict()))
            .collect()
    }

    /// How late and lossy this process itself is: 0 when all is well, at most
    /// [`LocalHealthConfig::score_max`].
    pub fn local_score(&self) -> u32 {
        self.lock().local.score()
    }

    fn tell(&self, endpoint: Arc<str>, verdict: Verdict, suspicion: Suspicion) {
        let Suspicion { level, threshold } = suspicion;
        match verdict {
            Verdict::Healthy => {
                self.0
                    .told
                    .tell(|service| Event::EndpointHealthy { service, endpoint });
            },
            Verdict::Unhealthy => self.0.told.tell(|service| Event::EndpointUnhealthy {
                service,
                endpoint,
                reason: Reason::Timeout,
                detail: format!("suspicion {level:.1}, threshold {threshold}"),
            }),
            // A change never leads back there.
            Verdict::Unknown => {},
        }
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        // Nothing panics under the lock; if it did, the peers would still be whole.
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> Builder<O> {
    /// What is expected of this process, and how often peers are checked.
    pub fn local(mut self, local: LocalHealthConfig) -> Self {
        self.extra = local;
        self
    }

    /// The detector, with no peers.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies to the method or to the local health.
    pub fn build(self) -> Result<Detector<O>, ConfigError> {
        let (config, local, told) = self.into_parts();
        let interval = local.interval;
        let now = told.clock.now();
        let local = LocalHealth::new(&local, now)?;
        // All peers are made as this one, which proves that they can be.
        Peer::new(&config, &local, now)?;
        Ok(Detector(Arc::new(Watch {
            config,
            interval,
            peers: Mutex::new(Peers {
                local,
                by_name: BTreeMap::new(),
            }),
            told,
        })))
    }
}

impl<O: Observe> fmt::Debug for Detector<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector")
            .field("name", &self.0.told.name)
            .field("config", &self.0.config)
            .field("verdicts", &self.verdicts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
