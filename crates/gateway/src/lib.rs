//! HTTP reverse proxy that keeps answering while endpoints fail.

pub mod config;
