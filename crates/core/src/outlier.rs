//! Which endpoint stands out among its equals.
//!
//! Prevents one bad endpoint from keeping its share of the calls.
