//! Composes gateway, supervisor and admin from one configuration file.
//!
//! Prevents the glue that operators write today: one file says what runs where, one process
//! starts it, keeps it answering, tells about it, and stops it without a trace.
//!
//! Start reading at [`node`]; the file's format is [`config`].

pub mod config;
pub mod example;
pub mod keeper;
pub mod node;
mod operator;
mod port;
mod reload;
mod replicas;
mod signal;
pub mod start_up;

pub use mainstay_supervisor::config::Leash;
pub use mainstay_supervisor::{leash, warden};
pub use node::{Node, NodeError, Program, Stopped};
