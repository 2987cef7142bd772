//! The leash and the warden as a program of their own, for those who do not ship `mainstay`.
//!
//! Prevents tests that need the whole product to start one process.
//!
//! `mainstay-leash exec <parent pid> <program> <args…>` · `mainstay-leash warden`

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use mainstay_supervisor::{leash, warden};

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let verb = args.next().unwrap_or_default();
    match verb.to_str() {
        Some("exec") => {
            let error = leash::exec(args);
            let _told = writeln!(io::stderr(), "mainstay: {error}");
            ExitCode::from(error.exit_code())
        },
        Some("warden") => {
            warden::run();
            ExitCode::SUCCESS
        },
        Some(_) | None => {
            let usage = "usage: mainstay-leash exec <parent pid> <program> <args…> | warden";
            let _told = writeln!(io::stderr(), "{usage}");
            ExitCode::from(2)
        },
    }
}
