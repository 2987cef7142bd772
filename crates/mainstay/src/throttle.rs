//! Refuses locally what the callee would refuse.
