//! The process group of one replica: the replica itself and everything that it started.
//!
//! Prevents descendants that hold on to a port after their replica died. A signal to the group
//! reaches all members at once: the kernel lets no fork slip through a SIGKILL in between.

use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time;

/// How long a killed group may take to end. Members end at once; what remains longer is stuck in
/// the kernel, and no wait will help.
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

    /// Waits until no member is alive, at most `GONE_WAIT_MAX`.
    pub(crate) async fn gone(self) {
        let mut pause = GONE_CHECK_MIN;
        let looks = async {
            while self.is_alive() {
                time::sleep(pause).await;
                pause = (pause * 2).min(GONE_CHECK_MAX);
            }
        };
        // Either way the group has been killed, and nothing more can be done about it.
        let _in_time = time::timeout(GONE_WAIT_MAX, looks).await;
    }

    /// The kernel's answer comes first: it is cheap, and says all for a replica that started
    /// nothing. It counts zombies, though, and whoever inherits them may take seconds to reap.
    fn is_alive(self) -> bool {
        test_kill_process_group(self.0) != Err(Errno::SRCH)
            && group_of_each_process().any(|group| group == self.id())
    }

    /// The group may have ended by itself, which is as good.
    fn signal(self, signal: Signal) {
        let _sent = kill_process_group(self.0, signal);
    }
}

/// The group of each process of this machine that is not a zombie.
fn group_of_each_process() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| group_in(&stat))
}

/// Reads `pid (name) state ppid group …`; the name may hold anything. `None` for a zombie.
fn group_in(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    let _parent = fields.next()?;
    let group = fields.next()?.parse().ok()?;
    (state != "Z" && state != "X").then_some(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        assert_eq!(group_in("12 (sh) S 1 10 10 0 -1 4194304"), Some(10));
        assert_eq!(group_in("12 (a) Z 1 (b) R 1 10 10 0 -1"), Some(10));
        assert_eq!(group_in("12 (sh) Z 1 10 10 0 -1"), None);
        assert_eq!(group_in("nonsense"), None);
    }

    #[test]
    fn this_process_is_found_in_its_group() {
        let own = rustix::process::getpgrp().as_raw_nonzero().get();
        assert!(group_of_each_process().any(|group| i32::try_from(group) == Ok(own)));
    }
}
