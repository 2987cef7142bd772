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

/// A process on one core that dies with this tool.
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
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = pinned(core)
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

/// A command that runs on one core and ends with this tool; the program is its next argument.
pub(crate) fn pinned(core: usize) -> Command {
    // Both become the program: the process id is the program's own. SIGTERM, because an nginx
    // master that is killed leaves its worker behind.
    let mut command = Command::new("taskset");
    command.args([
        "--cpu-list",
        &core.to_string(),
        "setpriv",
        "--pdeathsig",
        "TERM",
    ]);
    command
}

/// A folder that goes away with its owner.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder of this name; what an interrupted run left in it is removed.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let folder = workspace::root().join("target/xtask").join(name);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {},
        }
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
    fn a_scratch_folder_starts_empty_and_goes_away() {
        let left_behind = Scratch::new("scratch").expect("a scratch folder");
        fs::write(left_behind.path().join("old"), "old").expect("a file");
        let scratch = Scratch::new("scratch").expect("the same folder again");
        assert_eq!(
            fs::read_dir(scratch.path()).expect("it is there").count(),
            0
        );
        let path = scratch.path().to_path_buf();
        drop(scratch);
        assert!(!path.exists());
        // The first owner has nothing left to remove.
        fs::create_dir(path).expect("its place is free");
        drop(left_behind);
    }
}
