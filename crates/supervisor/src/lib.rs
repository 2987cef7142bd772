//! Starts replicas, probes them, restarts them, and never leaves one behind.

pub mod config;
