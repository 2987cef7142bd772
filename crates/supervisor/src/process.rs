//! One running replica: its process, its group, its pipes, and the moment it ends.
//!
//! Prevents an exit that is noticed late, and processes that are left over: the pidfd becomes
//! readable the moment the leader ends, and the group is killed before the leader is reaped, so
//! that its number cannot have been given to anybody else. Dropping a process kills its group.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child, ExitStatus};
use std::sync::Arc;
use std::thread;

use rustix::process::{
    PidfdFlags, WaitId, WaitIdOptions, WaitOptions, pidfd_open, waitid, waitpid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::driver::Shared;
use crate::group::Group;
use crate::output::Output;
use crate::warden::watch::Warden;

/// A replica's process that was not reaped yet.
#[derive(Debug)]
pub(crate) struct Process {
    leader: Leader,
    exit: Exit,
    outputs: JoinSet<()>,
    ended: CancellationToken,
}

impl Process {
    /// Starts `command`, a leash, as `replica`.
    pub(crate) async fn spawn(
        shared: &Shared,
        command: process::Command,
        replica: &Arc<str>,
    ) -> io::Result<Self> {
        let child = shared.spawner.spawn(command).await?;
        let mut leader = Leader::new(child, shared.warden.clone())?;
        let exit = Exit::of(leader.group)?;
        let ended = CancellationToken::new();
        let mut outputs = JoinSet::new();
        let stdout = leader.child.stdout.take().map(OwnedFd::from);
        let stderr = leader.child.stderr.take().map(OwnedFd::from);
        for (pipe, stream) in [(stdout, "stdout"), (stderr, "stderr")] {
            let Some(pipe) = pipe else { continue };
            let output = Output {
                observer: shared.observer.clone(),
                replica: Arc::clone(replica),
                stream,
            };
            outputs.spawn(output.read(pipe, ended.clone()));
        }
        leader.go();
        Ok(Self {
            leader,
            exit,
            outputs,
            ended,
        })
    }

    /// Its pid, which is also the number of its group.
    pub(crate) const fn pid(&self) -> u32 {
        self.leader.group.id()
    }

    /// Its group, for signals.
    pub(crate) const fn group(&self) -> Group {
        self.leader.group
    }

    /// Waits until the leader ended; says how, in words.
    pub(crate) async fn exited(&self) -> String {
        self.exit.noticed().await
    }

    /// Kills what is left of the group, reaps the leader, and waits until nothing remains.
    pub(crate) async fn clear(mut self) {
        let group = self.leader.group;
        self.leader.end();
        group.gone().await;
        self.ended.cancel();
        while self.outputs.join_next().await.is_some() {}
    }
}

/// The leader of a group, tied to the warden's list.
#[derive(Debug)]
struct Leader {
    child: Child,
    group: Group,
    warden: Warden,
    reaped: bool,
}

impl Leader {
    fn new(mut child: Child, warden: Warden) -> io::Result<Self> {
        let Some(group) = Group::led_by(child.id()) else {
            child.kill()?;
            return Err(io::Error::other("the process has no usable pid"));
        };
        warden.register(group);
        Ok(Self {
            child,
            group,
            warden,
            reaped: false,
        })
    }

    /// The warden knows the group: the leash may become the program.
    fn go(&mut self) {
        if let Some(mut stdin) = self.child.stdin.take() {
            // A leash that cannot hear it any more has ended, which is noticed as any exit.
            let _heard = io::Write::write_all(&mut stdin, b"\n");
        }
    }

    /// The order matters. Killed first: then no member can live on, whatever happens next.
    /// Forgotten by the warden second, reaped last: the number stays ours until nobody uses it.
    fn end(&mut self) {
        self.group.kill();
        self.warden.unregister(self.group);
        self.reaped = matches!(self.child.try_wait(), Ok(Some(_)));
    }
}

impl Drop for Leader {
    /// Dropped in the middle of its life, the leader needs a moment to die, and nobody may block
    /// here: a thread of its own reaps it. Should that fail, a zombie remains until we end, too.
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.end();
        let leader = self.group.leader();
        if !self.reaped {
            let _reaper = thread::Builder::new()
                .name("replica-reaper".to_owned())
                .spawn(move || waitpid(Some(leader), WaitOptions::empty()));
        }
    }
}

/// Tells when a process ends, at once: the kernel's own notice, no polling.
#[derive(Debug)]
pub(crate) struct Exit(AsyncFd<OwnedFd>);

impl Exit {
    /// Watches the leader of `group`, a child of this process that is not reaped.
    pub(crate) fn of(group: Group) -> io::Result<Self> {
        let pidfd = pidfd_open(group.leader(), PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "the replacement is unsafe because a type may change its descriptor while it \
                      is registered; `OwnedFd`, which we never take out, cannot"
        )]
        AsyncFd::with_interest(pidfd, Interest::READABLE).map(Self)
    }

    /// Waits for the end; says how it came, in words. Does not reap.
    pub(crate) async fn noticed(&self) -> String {
        if let Err(error) = self.0.readable().await {
            return format!("out of sight: {error}");
        }
        self.how().unwrap_or_else(|| "unknown".to_owned())
    }

    fn how(&self) -> Option<String> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::PidFd(self.0.get_ref().as_fd()), options).ok()??;
        let signal = status.terminating_signal();
        let code = status.exit_status().map(|code| code << 8);
        signal
            .or(code)
            .map(|raw| ExitStatus::from_raw(raw).to_string())
    }
}
