//! Limits: by rate, by concurrency that adapts, by what the callee refuses, by priority.
//!
//! Prevents more calls than can be served in time.
