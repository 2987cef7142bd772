//! The warden: a process that outlives a killed supervisor just long enough to clean up.
//!
//! Prevents what the leash cannot: the kernel kills the replicas of a supervisor that was killed
//! with SIGKILL, but not what those replicas had started. The supervisor writes `+<group>` and
//! `-<group>` lines to the warden's standard input; the kernel closes it when the supervisor ends
//! for whatever reason, and the warden then kills the groups that are still on its list.
//!
//! It lives in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it.

pub(crate) mod watch;

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};

use rustix::process::setsid;
use rustix::thread::set_name;

use crate::group::Group;

/// The name in process lists; differs from the node's, so that `killall` of that spares it.
const NAME: &std::ffi::CStr = c"mainstay-warden";
/// The longest line: a sign and the digits of a pid, with room to spare.
const LINE_MAX: u64 = 32;

/// Runs the warden in this process until standard input ends; returns how many groups it killed.
pub fn run() -> usize {
    // Fails only for a process that leads its group already, and is then as far from the terminal.
    let _session = setsid();
    let _named = set_name(NAME);
    let left = groups_at_end(io::stdin().lock());
    for group in &left {
        if let Some(group) = Group::led_by(*group) {
            group.kill();
        }
    }
    if !left.is_empty() {
        // Standard error may be closed or full by now; the work is done either way.
        let _told = writeln!(
            io::stderr(),
            "mainstay warden: the supervisor is gone; killed {} process group(s) it left behind",
            left.len()
        );
    }
    left.len()
}

/// Reads `input` to its end; returns the groups that are on the list then.
fn groups_at_end(mut input: impl BufRead) -> BTreeSet<u32> {
    let mut groups = BTreeSet::new();
    let mut line = String::new();
    loop {
        line.clear();
        match input.by_ref().take(LINE_MAX).read_line(&mut line) {
            Ok(0) | Err(_) => return groups,
            Ok(_) => note(&line, &mut groups),
        }
    }
}

/// A line that makes no sense changes nothing: only the supervisor writes here.
fn note(line: &str, groups: &mut BTreeSet<u32>) {
    let line = line.trim_end();
    if let Some(group) = line.strip_prefix('+').and_then(|id| id.parse().ok()) {
        groups.insert(group);
    }
    if let Some(group) = line.strip_prefix('-').and_then(|id| id.parse().ok()) {
        groups.remove(&group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_that_were_not_taken_back_are_left() {
        let left = groups_at_end(&b"+10\n+11\n-10\n+12\n-12\n+12\n"[..]);
        assert_eq!(left, BTreeSet::from([11, 12]));
    }

    #[test]
    fn nonsense_is_not_taken_for_a_group() {
        let nonsense = format!("\n+\n+x\n10\n-+5\n+-7\n{}\n+8", "+1".repeat(40));
        assert_eq!(groups_at_end(nonsense.as_bytes()), BTreeSet::from([8]));
    }

    #[test]
    fn init_and_whole_sessions_are_never_killed() {
        assert_eq!(Group::led_by(0), None);
        assert_eq!(Group::led_by(1), None);
        assert_eq!(Group::led_by(u32::MAX), None);
    }
}
