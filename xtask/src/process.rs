//! Processes and folders that never outlive their owner.
//!
//! Prevents benchmarks that leave a proxy running or a folder behind: an [`Owned`] process is ended
//! by its id when it is dropped, and by the kernel when this tool is killed. A [`Scratch`] folder
//! lies in the build folder, so that even what `kill -9` leaves is swept by the next run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{wait, workspace};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// How much of a log an error quotes.
const LOG_LINES: usize = 12;

/// A process that dies with this tool.
#[derive(Debug)]
pub(crate) struct Owned {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Owned {
    /// Starts `program` on `core`; what it prints goes to `<folder>/<name>.log`.
    pub(crate) fn start(
        name: &str,
        core: usize,
        folder: &Path,
        program: &[&std::ffi::OsStr],
    ) -> Result<Self> {
        Self::spawn(name, pinned(core), folder, program)
    }

    /// As [`start`](Self::start), on all cores.
    pub(crate) fn start_on_all_cores(
        name: &str,
        folder: &Path,
        program: &[&std::ffi::OsStr],
    ) -> Result<Self> {
        Self::spawn(name, tied(), folder, program)
    }

    fn spawn(
        name: &str,
        mut command: Command,
        folder: &Path,
        program: &[&std::ffi::OsStr],
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = command
            .args(program)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error with the end of its log, unless it still runs.
    pub(crate) fn runs(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        bail!("{} ended: {status}\n{}", self.name, self.log_end());
    }

    /// The last lines that it printed.
    pub(crate) fn log_end(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Kills it, as a machine does that loses its power; returns when it is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        // Not reaped yet, so the id is still this child's.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process id is positive")?, Signal::TERM)?;
        let ended = wait::until("a process to end", GRACE, || {
            self.child.try_wait()?.context("it still runs")
        });
        if ended.is_err() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!(
                "warning: {} (process {}) may still run: {error:#}",
                self.name,
                self.id()
            );
        }
    }
}

/// What becomes a program that ends with this tool, and keeps the process id. SIGTERM, because an
/// nginx master that is killed leaves its worker behind.
const TIED: [&str; 3] = ["setpriv", "--pdeathsig", "TERM"];

/// A command that runs on one core and ends with this tool; the program is its next argument.
pub(crate) fn pinned(core: usize) -> Command {
    // It becomes the program as well.
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]);
    command.args(TIED);
    command
}

/// As [`pinned`], on all cores.
pub(crate) fn tied() -> Command {
    let mut command = Command::new(TIED[0]);
    command.args(&TIED[1..]);
    command
}

/// A folder that goes away with its owner.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder of this process; sweeps what killed processes left behind.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let all = workspace::root().join("target/xtask");
        sweep(&all)?;
        let folder = all.join(format!("{name}.{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("warning: {} stays: {error}", self.0.display());
        }
    }
}

/// Removes folders `<name>.<process id>` whose process is gone.
fn sweep(all: &Path) -> Result<()> {
    fs::create_dir_all(all).with_context(|| all.display().to_string())?;
    for entry in fs::read_dir(all)? {
        let folder = entry?.path();
        let owner = folder.extension().unwrap_or_default();
        if owner.is_empty() || Path::new("/proc").join(owner).exists() {
            continue;
        }
        match fs::remove_dir_all(&folder) {
            // Somebody else swept it at the same time.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {},
            swept => swept.with_context(|| folder.display().to_string())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::test_kill_process;

    use super::*;

    fn start(scratch: &Scratch, script: &str) -> Owned {
        let program = ["sh", "-c", script].map(std::ffi::OsStr::new);
        Owned::start("script", 0, scratch.path(), &program).expect("sh starts")
    }

    #[test]
    fn a_dropped_process_has_ended() {
        let scratch = Scratch::new("dropped-process").expect("a scratch folder");
        let mut sleeper = start(&scratch, "exec sleep 600");
        sleeper.runs().expect("it sleeps");
        let pid = Pid::from_raw(i32::try_from(sleeper.id()).expect("a small id")).expect("an id");
        drop(sleeper);
        assert!(
            test_kill_process(pid).is_err(),
            "process {pid:?} is still there"
        );
    }

    #[test]
    fn a_process_that_ended_early_is_quoted() {
        let scratch = Scratch::new("early-end").expect("a scratch folder");
        let mut failing = start(&scratch, "echo the port is taken; exit 7");
        let error = wait::until("its end", Duration::from_secs(10), || {
            match failing.runs() {
                Ok(()) => bail!("it runs"),
                Err(error) => Ok(error.to_string()),
            }
        });
        let error = error.expect("it ends");
        assert!(error.contains("exit status: 7"), "{error}");
        assert!(error.ends_with("the port is taken"), "{error}");
    }

    #[test]
    fn a_scratch_folder_goes_away_with_its_owner() {
        let scratch = Scratch::new("scratch").expect("a scratch folder");
        let path = scratch.path().to_path_buf();
        fs::write(path.join("file"), "text").expect("a file");
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let scratch = Scratch::new("sweep").expect("a scratch folder");
        let gone = i32::MAX;
        let live = std::process::id();
        let folders = [format!("a.{gone}"), format!("a.{live}"), "plain".into()];
        for folder in &folders {
            fs::create_dir(scratch.path().join(folder)).expect("a folder");
        }
        sweep(scratch.path()).expect("it is ours");
        let left = folders.map(|folder| scratch.path().join(folder).exists());
        assert_eq!(left, [false, true, true]);
    }
}
