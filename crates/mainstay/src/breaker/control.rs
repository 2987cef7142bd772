//! The hands on a breaker: for operators, and for a first day in production.
//!
//! Prevents a restart to stop a circuit that is wrong.

use std::sync::Arc;

use mainstay_core::event::Observe;

use super::{Breaker, Config, ConfigError, Mode};
use crate::registry::Forgettable;

impl<O: Observe> Breaker<O> {
    /// Who decides whether calls pass: [`Mode::Auto`] unless one of the methods below was called.
    pub fn mode(&self) -> Mode {
        self.0.engine.mode()
    }

    /// Rejects all calls until [`auto`](Self::auto), [`shadow`](Self::shadow) or
    /// [`disable`](Self::disable). No timer ends it.
    pub fn force_open(&self) {
        self.tell(self.0.engine.force_open());
    }

    /// Lets all calls pass and counts nothing, until [`auto`](Self::auto),
    /// [`shadow`](Self::shadow) or [`force_open`](Self::force_open).
    pub fn disable(&self) {
        self.tell(self.0.engine.disable());
    }

    /// The circuit counts, changes its state and tells of it, but rejects nothing; what it would
    /// have rejected is [`shadowed_total`](Self::shadowed_total). To try limits on live traffic.
    pub fn shadow(&self) {
        self.tell(self.0.engine.shadow(self.now()));
    }

    /// The circuit decides: back from every other mode.
    pub fn auto(&self) {
        self.tell(self.0.engine.auto(self.now()));
    }

    /// Closes the circuit and forgets what it knows: there is another callee behind it now. The
    /// mode stays.
    pub fn reset(&self) {
        self.tell(self.0.engine.reset(self.now()));
    }

    /// Takes other limits; state, cooldowns and counts stay. Only a window of another kind or
    /// length begins anew, see [`mainstay_core::breaker::Breaker::reconfigure`].
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies to `config`; nothing changed then.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        self.0.engine.reconfigure(config)
    }

    /// Calls that would have been rejected in the shadow, modulo 2^32.
    pub fn shadowed_total(&self) -> u32 {
        self.0.engine.shadowed_total()
    }
}

/// A breaker may be forgotten when nobody else holds it or a permit of it, and it knows nothing
/// that a new one would not.
impl<O: Observe> Forgettable for Breaker<O> {
    fn is_forgettable(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && self.0.engine.is_forgettable(self.now())
    }
}
