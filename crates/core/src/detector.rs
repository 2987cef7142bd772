//! Failure detectors: how much a silent peer is suspected.
//!
//! Prevents a dead peer from being believed alive, and a late one from being believed dead.
