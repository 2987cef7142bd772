//! How a policy is made that has a name, a configuration, a clock and an observer.
//!
//! Prevents the same setters from being written a dozen times, each a little different. Each
//! policy's module gives its own builder a name, and says how it is built.

use std::fmt;

use mainstay_core::event::Observe;

use crate::clock::Clock;
use crate::name::Name;
use crate::told::Told;

/// Makes a policy with the configuration `C`, which tells the observer `O` of itself. `X` is what
/// this kind of policy is told besides.
///
/// The observer is part of the policy's type. With `()`, which is the default, nothing of it is
/// left in the program; with `Arc<dyn Observe>` it is chosen at run time.
#[must_use = "ends with build()"]
pub struct Builder<C, X = (), O = ()> {
    pub(crate) name: Name,
    pub(crate) config: C,
    pub(crate) extra: X,
    pub(crate) clock: Option<Clock>,
    pub(crate) observer: O,
}

impl<C: Default, X> Builder<C, X> {
    pub(crate) fn new(name: Name, extra: X) -> Self {
        Self {
            name,
            config: C::default(),
            extra,
            clock: None,
            observer: (),
        }
    }
}

impl<C, X, O> Builder<C, X, O> {
    /// The whole configuration, in place of the default one and of what was set before.
    pub fn config(mut self, config: C) -> Self {
        self.config = config;
        self
    }

    /// The clock to read. One for all policies is best; callers that pass an instant must have it
    /// of the same one. A new one, unless set.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Who hears what the policy tells of itself. Called under no lock, by the thread whose call
    /// changed something; refusals in a row are told once, and their end once. Nobody, unless set.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use mainstay::{Bulkhead, Event, Observe};
    ///
    /// struct Printer;
    ///
    /// impl Observe for Printer {
    ///     fn observe(&self, event: Event) {
    ///         println!("{}", event.kind().name);
    ///     }
    /// }
    ///
    /// let bulkhead: Bulkhead<Printer> = Bulkhead::builder("payment").observer(Printer).build().unwrap();
    ///
    /// // One type, whoever listens:
    /// let observer: Arc<dyn Observe> = Arc::new(Printer);
    /// let bulkhead: Bulkhead<Arc<dyn Observe>> =
    ///     Bulkhead::builder("payment").observer(observer).build().unwrap();
    /// ```
    pub fn observer<P: Observe>(self, observer: P) -> Builder<C, X, P> {
        Builder {
            name: self.name,
            config: self.config,
            extra: self.extra,
            clock: self.clock,
            observer,
        }
    }

    /// What the policy is made of.
    pub(crate) fn into_parts(self) -> (C, X, Told<O>) {
        let clock = self.clock.unwrap_or_default();
        let told = Told::new(self.name, clock, self.observer);
        (self.config, self.extra, told)
    }
}

impl<C: fmt::Debug, X, O> fmt::Debug for Builder<C, X, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
