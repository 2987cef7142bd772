//! The `mainstay` binary: run a service so that it keeps answering, and prove that it does.
//!
//! Exit codes: 0 ok, 1 negative verdict, 2 usage or configuration, 3 failed at run time or a drill
//! whose verdict is INVALID. stdout is data, stderr is progress and logs.

use std::process::ExitCode;

mod command;

/// Requests allocate; this allocator costs the least and gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::run()
}
