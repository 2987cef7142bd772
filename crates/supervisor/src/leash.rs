//! The leash: a process that binds itself to its parent's life, then becomes the replica.
//!
//! Prevents replicas that run on after their supervisor was killed with SIGKILL and had no
//! chance to stop them. The kernel is told to kill this process when its parent ends
//! (`PR_SET_PDEATHSIG`), and that survives the exec into the program, which keeps the pid.
//!
//! Before it becomes the program, the leash waits for one byte on its standard input. The parent
//! sends it once the warden knows the process group, so nothing that the program starts can
//! escape a parent that is killed right now; end of file instead of the byte means that it was.
//!
//! The kernel forgets the signal when a set-uid program is executed; those have the warden only.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Why the leash did not become the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeashError {
    /// The arguments are not `<parent pid> <program> <args…>`.
    #[error("the leash is started by the supervisor as `<parent pid> <program> <args…>`")]
    Usage,
    /// The supervisor ended before the program ran.
    #[error("the supervisor ended before its replica started")]
    Orphaned,
    /// The kernel does not bind the process to its parent.
    #[error("this process cannot be bound to the life of its supervisor: {source}")]
    Unbound {
        /// What the kernel said.
        source: io::Error,
    },
    /// The program could not be executed.
    #[error("command `{program}` could not be executed: {source}")]
    Exec {
        /// The program.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl LeashError {
    /// The exit status that says the same, as shells have it: 127 for a command that was not
    /// found, 126 for one that could not be run.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exec { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Usage | Self::Orphaned | Self::Unbound { .. } | Self::Exec { .. } => 126,
        }
    }
}

/// Becomes the program that `args` name: `<parent pid> <program> <args…>`. Returns only when
/// that failed.
pub fn exec(args: impl IntoIterator<Item = OsString>) -> LeashError {
    let mut args = args.into_iter();
    let parent = args.next().and_then(|pid| pid.to_str()?.parse().ok());
    let (Some(parent), Some(program)) = (parent, args.next()) else {
        return LeashError::Usage;
    };
    if let Err(error) = bind(parent) {
        return error;
    }
    let source = Command::new(&program)
        .args(args)
        .stdin(Stdio::null())
        .exec();
    LeashError::Exec {
        program: program.to_string_lossy().into_owned(),
        source,
    }
}

fn bind(parent: i32) -> Result<(), LeashError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| LeashError::Unbound {
        source: error.into(),
    })?;
    // A parent that ended before the line above sends no signal; its child has another parent.
    if getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
        return Err(LeashError::Orphaned);
    }
    io::stdin()
        .lock()
        .read_exact(&mut [0])
        .map_err(|_| LeashError::Orphaned)
}
