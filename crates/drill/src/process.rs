//! Processes of a drill: started on a leash, watched through /proc, signalled without mistaking
//! one for another.
//!
//! Prevents a drill that leaves something behind or hits a bystander. Every child is started
//! through `mainstay leash`, which makes the kernel kill it when this process ends, however it
//! ends; the kernel ties that to the thread that started it, so children are started on the thread
//! that runs the drill, never on a helper thread. Signals go through a pidfd: a process id that
//! was used again cannot be hit.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use tokio::process::{Child, Command};

/// Lines of a child's output that are shown when it failed.
const TAIL_LINES: usize = 12;

/// Starts `mainstay <args…>` on a leash. Its output goes to `log`; dropping the child kills it.
///
/// # Errors
/// The log cannot be opened, or the program not be started.
pub(crate) fn spawn(mainstay: &Path, args: &[String], log: &Path) -> anyhow::Result<Child> {
    let mut command = vec![mainstay.to_string_lossy().into_owned()];
    command.extend_from_slice(args);
    spawn_leashed(mainstay, &[], &command, log)
}

/// Starts any `command` on a leash. The words of `launch` go before, for programs that change where
/// a command runs and then become it.
///
/// # Errors
/// The log cannot be opened, or the program not be started.
pub(crate) fn spawn_leashed(
    mainstay: &Path,
    launch: &[String],
    command: &[String],
    log: &Path,
) -> anyhow::Result<Child> {
    let output = File::options().create(true).append(true).open(log);
    let output = output.with_context(|| format!("cannot write {}", log.display()))?;
    let errors = output.try_clone()?;
    // The leash waits for one byte before it becomes the program. The kernel binds the child to
    // us before it reads, and there is no warden to wait for, so the byte is there already.
    let (go, mut say_go) = io::pipe()?;
    say_go.write_all(b"!")?;
    let leash = ["leash".to_owned(), std::process::id().to_string()];
    let mut words = launch.to_vec();
    words.push(mainstay.to_string_lossy().into_owned());
    words.extend(leash);
    words.extend_from_slice(command);
    let (program, args) = words.split_first().context("there is always a leash")?;
    Command::new(program)
        .args(args)
        .stdin(go)
        .stdout(output)
        .stderr(errors)
        // Ctrl-C on the terminal is for the drill, which then stops its children in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {program}"))
}

/// Stops `child`: SIGTERM, then SIGKILL after `grace`. Returns once it is gone.
pub(crate) async fn stop(child: &mut Child, grace: Duration) {
    // A child that was waited for has no id any more, so nobody else can be hit.
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM).ok();
    }
    if tokio::time::timeout(grace, child.wait()).await.is_err() {
        child.kill().await.ok();
    }
}

/// The last lines that a child wrote to `log`.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let skip = lines.len().saturating_sub(TAIL_LINES);
    lines[skip..].join("\n")
}

/// One process, never mistaken for a later one with the same id.
#[derive(Debug)]
pub(crate) struct Process {
    id: u32,
    handle: OwnedFd,
    /// When it was started, in the kernel's ticks: tells it from a successor with its id.
    started: u64,
}

/// What /proc says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is running or can run.
    Alive,
    /// It is stopped (`T`).
    Stopped,
    /// It ended; at most its parent has not noticed yet.
    Gone,
}

impl Process {
    /// The process with this id, as long as it lives.
    ///
    /// # Errors
    /// There is no such process.
    pub(crate) fn open(id: u32) -> io::Result<Self> {
        let pid = Pid::from_raw(id.cast_signed())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        let (_, started) = read_stat(id)?;
        Ok(Self {
            id,
            handle,
            started,
        })
    }

    /// Its id.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone, or not ours.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.handle, signal)?)
    }

    /// How it is.
    pub(crate) fn state(&self) -> State {
        match read_stat(self.id) {
            Ok((_, started)) if started != self.started => State::Gone,
            Ok(('Z' | 'X' | 'x', _)) | Err(_) => State::Gone,
            Ok(('T' | 't', _)) => State::Stopped,
            Ok(_) => State::Alive,
        }
    }
}

/// State and start time of a process.
fn read_stat(id: u32) -> io::Result<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    parse_stat(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Reads proc(5)'s fields 3 and 22. The second field is the program's name, which may hold
/// anything, closing parentheses included.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// Asks `condition` again and again until it holds, for at most `limit`; whether it held.
pub(crate) async fn comes_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    const EVERY: Duration = Duration::from_millis(2);
    let asking = async {
        while !condition() {
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::time::timeout(limit, asking).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("1000").kill_on_drop(true);
        command.spawn().expect("sleep is there")
    }

    fn process(child: &Child) -> Process {
        Process::open(child.id().expect("it runs")).expect("it lives")
    }

    #[test]
    fn a_programs_name_may_hold_anything() {
        let fields: Vec<_> = (4..=30).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) T (b) S {}", fields.join(" "));
        assert_eq!(parse_stat(&stat), Some(('S', 22)));
        assert_eq!(parse_stat("7 (a) S 4"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[tokio::test]
    async fn stopped_and_gone_are_told_from_alive() {
        let mut child = sleeper();
        let process = process(&child);
        assert_eq!(process.state(), State::Alive);
        process.signal(Signal::STOP).expect("ours");
        assert!(comes_true(LIMIT, || process.state() == State::Stopped).await);
        process.signal(Signal::CONT).expect("ours");
        assert!(comes_true(LIMIT, || process.state() == State::Alive).await);
        process.signal(Signal::KILL).expect("ours");
        assert!(comes_true(LIMIT, || process.state() == State::Gone).await);
        child.wait().await.expect("it is ours");
        assert_eq!(process.state(), State::Gone);
        assert!(process.signal(Signal::KILL).is_err());
    }

    #[tokio::test]
    async fn stop_ends_a_child_that_ignores_sigterm() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; exec sleep 1000"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("sh is there");
        let process = process(&child);
        let mut ready = [0; 5];
        let mut output = child.stdout.take().expect("piped");
        tokio::io::AsyncReadExt::read_exact(&mut output, &mut ready)
            .await
            .expect("it says so");
        stop(&mut child, Duration::from_millis(50)).await;
        assert_eq!(process.state(), State::Gone);
    }
}
