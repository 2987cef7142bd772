//! Composes gateway, supervisor and admin from one configuration file.

pub mod config;
