//! Claims about the binary as a user meets it: real processes, real sockets, exit codes.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and shows the node's log"
)]

mod config;
mod drill;
mod help;
mod keeper;
mod lifecycle;
mod node;
