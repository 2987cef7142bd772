//! Gathers single calls into one.
