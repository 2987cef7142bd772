//! Failure detectors over the clock.
