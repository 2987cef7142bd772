//! Hidden commands: what the binary starts of itself.

use std::process::ExitCode;

use mainstay_node::{leash, warden};
use mainstay_payment::Options;

use super::{FAILED, NEGATIVE, USAGE, complain, runtime};

/// The example service.
pub(super) fn payment(arguments: Vec<String>) -> ExitCode {
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(error) => return complain(USAGE, &error),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &error),
    };
    match runtime.block_on(mainstay_payment::run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(NEGATIVE, &error),
    }
}

/// Ties the program to its parent's life, then becomes it.
pub(super) fn leash(arguments: Vec<String>) -> ExitCode {
    // Returns only when it failed: otherwise this process is another program by now.
    let error = leash::exec(arguments.into_iter().map(Into::into));
    complain(error.exit_code(), &error)
}

/// Kills what is left once the supervisor is gone.
pub(super) fn warden() -> ExitCode {
    warden::run();
    ExitCode::SUCCESS
}
