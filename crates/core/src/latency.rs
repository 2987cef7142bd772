//! A live quantile of latency, lock-free and of constant size.
//!
//! Prevents hedges and limits that wait for the latency of yesterday.
