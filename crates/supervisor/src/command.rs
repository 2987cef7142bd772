//! The command of a replica: filled in, checked, and ready to be started.
//!
//! Prevents a typo from becoming a crash loop: whatever can be known of a command before it runs
//! is checked when the supervisor is made, and the error names the command and what to do.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::Arc;

use rustix::fs::{Access, access};

use crate::config::Service;
use crate::replica::Plan;

/// Why a supervisor does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The service has no program.
    #[error("service {service}: the command is empty; name the program to run")]
    CommandEmpty {
        /// The service.
        service: Arc<str>,
    },
    /// No directory of `PATH` has the program.
    #[error(
        "service {service}: command `{program}` was not found in PATH; install it, or give its path"
    )]
    CommandNotInPath {
        /// The service.
        service: Arc<str>,
        /// The program as configured.
        program: String,
    },
    /// The program's path leads nowhere.
    #[error("service {service}: command `{}` does not exist; correct its path", path.display())]
    CommandMissing {
        /// The service.
        service: Arc<str>,
        /// Where the program should be.
        path: PathBuf,
    },
    /// The program is there, but not a file that may be executed.
    #[error(
        "service {service}: command `{}` is not an executable file; name a program, or chmod +x it",
        path.display()
    )]
    CommandNotExecutable {
        /// The service.
        service: Arc<str>,
        /// The file.
        path: PathBuf,
    },
    /// The working directory is not one.
    #[error("service {service}: `{}` is not a directory; create it, or correct `dir`", dir.display())]
    NotADirectory {
        /// The service.
        service: Arc<str>,
        /// The directory as configured.
        dir: PathBuf,
    },
    /// The leash or the warden is configured without a program: a mistake of the caller.
    #[error("the {what} has no command; give the program that offers it")]
    LeashEmpty {
        /// `leash` or `warden`.
        what: &'static str,
    },
    /// The warden could not be started.
    #[error("the warden `{program}` could not be started: {source}")]
    Warden {
        /// Its program.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The thread that starts replicas could not be started.
    #[error("the thread that starts replicas could not be started: {source}")]
    Thread {
        /// What the operating system said.
        source: io::Error,
    },
}

/// What is run for one replica, already filled in.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    service: Arc<str>,
    program: String,
    args: Vec<String>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    leash: Vec<String>,
}

impl Command {
    /// The command of the replica that `plan` describes.
    ///
    /// # Errors
    /// When `service` or `leash` names no program.
    pub(crate) fn new(
        service: &Service,
        plan: &Plan,
        leash: &[String],
    ) -> Result<Self, StartError> {
        let fill = |part: &String| {
            part.replace("{port}", &plan.port.to_string())
                .replace("{replica}", &plan.replica)
        };
        let mut parts = service.command.iter().map(fill);
        let program = parts.next().filter(|program| !program.trim().is_empty());
        let program = program.ok_or_else(|| StartError::CommandEmpty {
            service: Arc::clone(&service.name),
        })?;
        if leash.is_empty() {
            return Err(StartError::LeashEmpty { what: "leash" });
        }
        let own = [
            ("MAINSTAY_SERVICE", service.name.to_string()),
            ("MAINSTAY_REPLICA", plan.replica.to_string()),
            ("PORT", plan.port.to_string()),
        ];
        let own = own.map(|(key, value)| (key.into(), value.into()));
        let configured = service.env.iter().map(|(k, v)| (k.into(), v.into()));
        Ok(Self {
            service: Arc::clone(&service.name),
            program,
            args: parts.collect(),
            env: own.into_iter().chain(configured).collect(),
            dir: service.dir.clone(),
            leash: leash.to_vec(),
        })
    }

    /// Whether the program and the working directory are there, right now.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        if let Some(dir) = self.dir.as_ref().filter(|dir| !dir.is_dir()) {
            return Err(StartError::NotADirectory {
                service: Arc::clone(&self.service),
                dir: dir.clone(),
            });
        }
        if self.program.contains('/') {
            return self.check_path();
        }
        let path = self.path_variable();
        let found = env::split_paths(&path).any(|dir| is_executable(&self.within(&dir)));
        found
            .then_some(())
            .ok_or_else(|| StartError::CommandNotInPath {
                service: Arc::clone(&self.service),
                program: self.program.clone(),
            })
    }

    /// The process to start: the leash, which becomes the program.
    pub(crate) fn leashed(&self) -> process::Command {
        let (leash, leash_args) = self.leash.split_first().map_or_else(
            || ("", [].as_slice()),
            |(leash, args)| (leash.as_str(), args),
        );
        let mut command = process::Command::new(leash);
        command
            .args(leash_args)
            .arg(process::id().to_string())
            .arg(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    fn check_path(&self) -> Result<(), StartError> {
        let path = self.within(Path::new(&self.program));
        let service = Arc::clone(&self.service);
        if !path.exists() {
            return Err(StartError::CommandMissing { service, path });
        }
        if path.is_dir() || access(&path, Access::EXEC_OK).is_err() {
            return Err(StartError::CommandNotExecutable { service, path });
        }
        Ok(())
    }

    /// Where `path` leads for the replica, whose relative paths start in its own directory.
    fn within(&self, path: &Path) -> PathBuf {
        let path = self
            .dir
            .as_ref()
            .map_or_else(|| path.to_path_buf(), |dir| dir.join(path));
        if self.program.contains('/') {
            path
        } else {
            path.join(&self.program)
        }
    }

    /// The `PATH` that the replica will see.
    fn path_variable(&self) -> OsString {
        let configured = self.env.iter().rev().find(|(key, _)| key == "PATH");
        configured
            .map(|(_, value)| value.clone())
            .or_else(|| env::var_os("PATH"))
            .unwrap_or_default()
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}
