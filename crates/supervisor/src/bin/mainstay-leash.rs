//! Leash, warden and a bare supervisor as a program of their own.
//!
//! Prevents tests that need the whole product to start one process, and lets them kill a
//! supervisor without killing themselves.
//!
//! - `mainstay-leash exec <parent pid> <program> <args…>` becomes the program, on a leash
//! - `mainstay-leash warden` kills the groups that are on its list when standard input ends
//! - `mainstay-leash supervise <replicas> <program> <args…>` keeps replicas running until
//!   standard input ends, and says what happens to them on standard output

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mainstay_core::restart;
use mainstay_observe::Observer;
use mainstay_supervisor::config::{Leash, Service};
use mainstay_supervisor::{Supervisor, leash, warden};
use tokio_util::sync::CancellationToken;

const USAGE: &str = "usage: mainstay-leash exec <parent pid> <program> <args…> | warden | \
                     supervise <replicas> <program> <args…>";

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let verb = args.next().unwrap_or_default();
    match verb.to_str() {
        Some("exec") => {
            let error = leash::exec(args);
            complain(&error);
            ExitCode::from(error.exit_code())
        },
        Some("warden") => {
            warden::run();
            ExitCode::SUCCESS
        },
        Some("supervise") => supervise(args).map_or_else(
            |error| {
                complain(&error);
                ExitCode::from(2)
            },
            |()| ExitCode::SUCCESS,
        ),
        Some(_) | None => {
            complain(&USAGE);
            ExitCode::from(2)
        },
    }
}

/// Standard error may be closed; then there is nobody to tell.
fn complain(what: &dyn std::fmt::Display) {
    let _told = writeln!(io::stderr(), "mainstay: {what}");
}

fn supervise(args: impl Iterator<Item = OsString>) -> Result<(), Box<dyn Error>> {
    let text = |arg: OsString| arg.into_string().map_err(|_| "arguments must be UTF-8");
    let mut args = args.map(text);
    let replicas: u16 = args.next().ok_or(USAGE)??.parse()?;
    let service = Service {
        name: "replica".into(),
        command: args.collect::<Result<_, _>>()?,
        ports: (1..=replicas).collect(),
        env: BTreeMap::new(),
        dir: None,
        grace: Duration::from_secs(5),
        restart: restart::Policy::default(),
        startup: None,
        readiness: None,
        liveness: None,
    };
    let leash = Leash::of_this_program("exec", "warden");
    let listener = Arc::new(|change| {
        let _told = writeln!(io::stdout(), "{change:?}");
    });
    let supervisor = Supervisor::start(vec![service], leash, Observer::new("n1"), listener)?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    thread::spawn(move || {
        let _end = io::stdin().read_to_end(&mut Vec::new());
        stop.cancel();
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let stopped = runtime.block_on(supervisor.run(shutdown));
    writeln!(io::stdout(), "{stopped:?}")?;
    Ok(())
}
