//! A place of its own for a suite and everything that it starts.
//!
//! Suites start servers on fixed ports and leave some behind when they are interrupted. Here they
//! get namespaces for processes and for the network: their ports collide with nobody's, nothing
//! leaves the loopback, and when the suite or this tool ends, however it ends, the kernel ends every
//! process inside.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::wait;

/// Lets the loopback begin and puts a folder in place of `/tmp`, where suites write under fixed
/// names, then runs the program that follows.
///
/// The shell stays: as the first process it inherits what lost its parent, and somebody has to take
/// note of those ends. A server that is a zombie for good looks as if it ran.
const BEGIN: &str = r#"ip link set lo up && mount --bind "$0" /tmp && "$@"; exit $?"#;

/// A program inside, with everything that it starts; ended when dropped.
#[derive(Debug)]
pub(super) struct Sandboxed {
    child: Child,
}

/// A command whose program, given as its next arguments, runs inside; `temporary` is its `/tmp`.
pub(super) fn command(temporary: &Path) -> Result<Command> {
    ensure!(
        !temporary.starts_with("/tmp"),
        "the build folder is in /tmp, which a suite gets one of its own of"
    );
    let mut options = vec!["--pid", "--fork", "--kill-child", "--mount-proc", "--net"];
    if !rustix::process::geteuid().is_root() {
        // A user's own namespaces: no privilege outside of them.
        options.extend(["--map-root-user"]);
    }
    let probe = Command::new("unshare")
        .args(&options)
        .args(["ip", "link", "set", "lo", "up"])
        .output()
        .context("unshare does not start")?;
    ensure!(
        probe.status.success(),
        "this machine gives no namespaces: {}",
        String::from_utf8_lossy(&probe.stderr).trim()
    );
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(&options)
        .args(["sh", "-c", BEGIN])
        .arg(temporary)
        .stdin(Stdio::null());
    Ok(command)
}

impl Sandboxed {
    /// Starts a command made by [`command`]; what it prints goes to `log`.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("setpriv does not start")?;
        Ok(Self { child })
    }

    /// Waits for its end at most so long, and looks in now and then.
    pub(super) fn ended(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(),
    ) -> Result<ExitStatus> {
        wait::until(what, limit, || {
            look();
            self.child.try_wait()?.context("it still runs")
        })
    }
}

impl Drop for Sandboxed {
    fn drop(&mut self) {
        // The namespace's first process dies with `unshare`, and everything in it with that one.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("warning: a suite may still run: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::Scratch;

    #[test]
    fn what_a_suite_left_behind_ends_with_it() {
        let scratch = Scratch::new("sandbox").expect("a scratch folder");
        let fifo = scratch.path().join("alive");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success());
        let mut command = command(scratch.path()).expect("namespaces");
        // The child holds the pipe open for as long as it lives.
        let script = format!("setsid sleep 600 > '{}' & sleep 600", fifo.display());
        command.args(["sh", "-c", &script]);
        let log = scratch.path().join("log");
        let suite = Sandboxed::start(command, &log).expect("it starts");
        let pipe = File::open(&fifo).expect("the child opened its end");
        drop(suite);
        assert_eq!(std::io::read_to_string(pipe).expect("its end"), "");
        assert_eq!(fs::read_to_string(log).expect("the log"), "");
    }
}
