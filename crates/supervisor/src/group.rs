//! The process group of one replica: the replica itself and everything that it started.
//!
//! Prevents descendants that hold on to a port after their replica died. A signal to the group
//! reaches all members at once: the kernel lets no fork slip through a SIGKILL in between.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time;

/// How long a killed group may take to disappear. Members end at once; what remains longer is
/// stuck in the kernel, or a zombie that nobody reaps, and holds nothing that a restart needs.
const GONE_WAIT_MAX: Duration = Duration::from_secs(2);
/// The first look after a kill; most groups are gone by then.
const GONE_CHECK_MIN: Duration = Duration::from_micros(200);
/// The longest time between looks.
const GONE_CHECK_MAX: Duration = Duration::from_millis(20);

/// A process group, named by its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group(Pid);

impl Group {
    /// The group led by process `pid`; `None` for 0 and 1, which are nobody's replicas.
    pub(crate) fn led_by(pid: u32) -> Option<Self> {
        let raw = i32::try_from(pid).ok().filter(|raw| *raw > 1)?;
        Pid::from_raw(raw).map(Self)
    }

    /// Its number.
    pub(crate) const fn id(self) -> u32 {
        self.0.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its leader.
    pub(crate) const fn leader(self) -> Pid {
        self.0
    }

    /// Asks all members to end. A stopped member is woken, else it could not hear.
    pub(crate) fn terminate(self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Ends all members. To be called only while the leader is not reaped: until then the
    /// number cannot belong to anybody else.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Waits until no member is left, at most `GONE_WAIT_MAX`.
    pub(crate) async fn gone(self) {
        let mut pause = GONE_CHECK_MIN;
        let looks = async {
            while test_kill_process_group(self.0) != Err(Errno::SRCH) {
                time::sleep(pause).await;
                pause = (pause * 2).min(GONE_CHECK_MAX);
            }
        };
        // Either way the group has been killed, and nothing more can be done about it.
        let _in_time = time::timeout(GONE_WAIT_MAX, looks).await;
    }

    /// The group may have ended by itself, which is as good.
    fn signal(self, signal: Signal) {
        let _sent = kill_process_group(self.0, signal);
    }
}
