//! Batch.
pub struct Batch;
