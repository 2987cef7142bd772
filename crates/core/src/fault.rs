//! Which calls are broken on purpose, and how.
//!
//! Prevents protections that are first tried in an outage.
