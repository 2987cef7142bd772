//! Fault injection: breaks calls on purpose, in tests and in drills.
//!
//! Prevents protections that are first tried in an outage. Which calls are broken, and how, is
//! decided by [`mainstay_core::fault`]: the same seed breaks the same calls. Switched on and off
//! at run time, for all calls or for some keys; off, which it is at first, it costs one load.
//!
//! Put it innermost, where the fault would come from: then every policy is tried.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use mainstay_core::fault::{Injector, LATENCY_MAX};

use crate::error::{Cause, Error, Policy, Rejection};
use crate::name::Name;

mod forge;
mod future;
mod layer;
mod service;
mod stage;

pub use forge::{Falsify, Forge, falsify};
pub use future::FaultFuture;
pub use layer::FaultLayer;
pub use mainstay_core::fault::{Config, ConfigError, Fault};
pub use service::FaultService;

/// Breaks calls on purpose. Cheap to clone; all clones share the switch and the seed.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay::{Error, Faults, fault::Config};
///
/// let config = Config { error: 1.0, ..Config::default() };
/// let faults = Faults::builder("payment").config(config).build().unwrap();
/// let pay = || faults.call(async { Ok("paid") }, || "reset");
/// assert_eq!(pay().await, Ok("paid"), "off at first");
///
/// faults.enable();
/// assert_eq!(pay().await, Err(Error::Inner("reset")));
/// # });
/// ```
#[derive(Clone)]
pub struct Faults(Arc<Drill>);

struct Drill {
    injector: Injector,
    /// The keys that are broken; all when `None`.
    keys: RwLock<Option<BTreeSet<Arc<str>>>>,
    name: Name,
}

/// Makes a [`Faults`].
#[derive(Debug)]
#[must_use = "ends with build()"]
pub struct Builder {
    name: Name,
    config: Config,
    seed: Option<u64>,
}

impl Faults {
    /// Faults of the service called `name`.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder {
            name: name.into(),
            config: Config::default(),
            seed: None,
        }
    }

    /// Breaks calls from now on, whatever their key.
    pub fn enable(&self) {
        self.0.scope(None);
    }

    /// Breaks calls with one of these keys from now on, and no others: one endpoint of several, one
    /// tenant. Calls without a key are left alone.
    pub fn enable_for<S: Into<Arc<str>>>(&self, keys: impl IntoIterator<Item = S>) {
        let keys = keys.into_iter().map(Into::into).collect();
        self.0.scope(Some(keys));
    }

    /// Breaks no further call. Those that hang keep hanging.
    pub fn disable(&self) {
        self.0.injector.disable();
    }

    /// Whether calls are being broken.
    pub fn is_enabled(&self) -> bool {
        self.0.injector.is_enabled()
    }

    /// What to do to the next call with `key`. For code that has no future to wrap. `None` while it
    /// is off, and for a call that is spared.
    pub fn decide(&self, key: Option<&str>) -> Option<Fault> {
        // The first load is all that an unused injection costs.
        if !self.is_enabled() || !self.0.in_scope(key) {
            return None;
        }
        self.0.injector.decide()
    }

    /// Runs `future`, or breaks it. `forge` makes the error, and the wrong answers if it can.
    ///
    /// # Errors
    ///
    /// [`Error::Inner`] when the call failed or was made to, [`Error::Rejected`] with
    /// [`Cause::Injected`] when it was turned away on purpose.
    pub async fn call<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
        forge: impl Forge<T, E>,
    ) -> Result<T, Error<E>> {
        self.call_for(None, future, forge).await
    }

    /// As [`call`](Self::call), for a call with a key, see [`enable_for`](Self::enable_for).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_for<T, E>(
        &self,
        key: Option<&str>,
        future: impl Future<Output = Result<T, E>>,
        forge: impl Forge<T, E>,
    ) -> Result<T, Error<E>> {
        let fault = self.decide(key);
        if fault.is_none() {
            return future.await.map_err(Error::Inner);
        }
        let future = async { future.await.map_err(Error::Inner) };
        FaultFuture::new(|| future, self, fault, forge).await
    }

    /// The blocking form of [`call_for`](Self::call_for). A latency blocks the thread, and a hang
    /// does for [`LATENCY_MAX`], an hour: nothing could end it. Then the call is made.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    #[expect(
        clippy::disallowed_methods,
        reason = "a blocking call is late by blocking"
    )]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "given as in the asynchronous form"
    )]
    pub fn call_blocking<T, E>(
        &self,
        key: Option<&str>,
        work: impl FnOnce() -> Result<T, E>,
        forge: impl Forge<T, E>,
    ) -> Result<T, Error<E>> {
        let fault = self.decide(key);
        match fault {
            Some(Fault::Error) => return Err(Error::Inner(forge.error())),
            Some(Fault::Reject) => return Err(Error::Rejected(self.rejection())),
            Some(Fault::Latency(delay)) => std::thread::sleep(delay),
            Some(Fault::Hang) => std::thread::sleep(LATENCY_MAX),
            Some(Fault::Wrong) | None => {},
        }
        let answer = work().map_err(Error::Inner)?;
        Ok(match fault {
            Some(Fault::Wrong) => forge.wrong(answer),
            Some(Fault::Error | Fault::Reject | Fault::Latency(_) | Fault::Hang) | None => answer,
        })
    }

    fn rejection(&self) -> Rejection {
        Rejection {
            policy: Policy::Fault,
            name: self.0.name.clone(),
            cause: Cause::Injected,
            retry_after: None,
        }
    }
}

impl Drill {
    fn scope(&self, keys: Option<BTreeSet<Arc<str>>>) {
        // Off in between, so that no call of another key is broken by the new scope's switch.
        self.injector.disable();
        let mut scope = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *scope, keys);
        drop(scope);
        drop(old);
        self.injector.enable();
    }

    fn in_scope(&self, key: Option<&str>) -> bool {
        let scope = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        match (&*scope, key) {
            (None, _) => true,
            (Some(keys), Some(key)) => keys.contains(key),
            (Some(_), None) => false,
        }
    }
}

impl Builder {
    /// Which share of calls gets which fault.
    pub const fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The seed: the same one breaks the same calls. Without one, each has its own.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The faults, switched off.
    ///
    /// # Errors
    ///
    /// As [`Config::validate`].
    pub fn build(self) -> Result<Faults, ConfigError> {
        let seed = self
            .seed
            .unwrap_or_else(|| RandomState::new().hash_one(&*self.name));
        Ok(Faults(Arc::new(Drill {
            injector: Injector::new(self.config, seed)?,
            keys: RwLock::new(None),
            name: self.name,
        })))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("name", &self.0.name)
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
