//! Signs of life: which sessions were heard, on their way to the leader.
//!
//! Prevents a session that ends because its client speaks to a member that does not lead: every
//! member tells the leader whom it heard. A sign of life is kept nowhere but in memory, and one
//! that is lost is followed by another.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Mutex, PoisonError};

use mainstay_zk_proto::jute::Malformed;

/// Sessions in one message: a few bytes each, since those of one member are near each other.
pub(crate) const MESSAGE_SESSIONS_MAX: usize = 4_096;

/// Most sessions that wait for the leader's next look at them. Who is left out is heard again
/// before its time is up, for clients speak three times as often as they must.
const WAITING_MAX: usize = 1_000_000;

/// Sessions that were heard, until somebody takes them.
#[derive(Debug, Default)]
pub(crate) struct Touches(Mutex<BTreeSet<i64>>);

impl Touches {
    /// They were heard.
    pub(crate) fn add(&self, sessions: impl IntoIterator<Item = i64>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WAITING_MAX.saturating_sub(waiting.len());
        waiting.extend(sessions.into_iter().take(room));
    }

    /// All that were heard since this was last asked.
    pub(crate) fn take(&self) -> BTreeSet<i64> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Says sessions, which ascend, as differences: seven bits a byte, the lowest first.
pub(crate) fn write(sessions: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before = 0;
    for session in sessions {
        let mut rest = session.wrapping_sub(before).cast_unsigned();
        before = session;
        while rest >= 0x80 {
            out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.push((rest & 0x7f) as u8);
    }
    out
}

/// Reads what [`write()`] said.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<i64>, Malformed> {
    let mut sessions = Vec::new();
    let (mut before, mut difference, mut shift) = (0_i64, 0_u64, 0);
    for &byte in bytes {
        if shift > 63 {
            return Err(Malformed::Short);
        }
        difference |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            before = before.wrapping_add(difference.cast_signed());
            sessions.push(before);
            (difference, shift) = (0, 0);
        }
    }
    if shift == 0 {
        Ok(sessions)
    } else {
        Err(Malformed::Short)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sessions_of_one_member_take_few_bytes() {
        let first = 3 << 56 | 0x0190_0000_0000;
        let all: Vec<i64> = (first..).step_by(3).take(1_000).collect();
        let bytes = write(all.iter().copied());
        assert!(bytes.len() < 1_010, "{} bytes", bytes.len());
        assert_eq!(read(&bytes), Ok(all));
    }

    #[test]
    fn what_was_heard_is_taken_once() {
        let touches = Touches::default();
        touches.add([2, 1]);
        touches.add([2]);
        assert_eq!(touches.take(), [1, 2].into());
        assert_eq!(touches.take(), [].into());
    }

    proptest! {
        #[test]
        fn what_was_said_is_read_whatever_the_numbers(sessions: BTreeSet<i64>) {
            let all: Vec<i64> = sessions.into_iter().collect();
            prop_assert_eq!(read(&write(all.iter().copied())), Ok(all));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let read = read(&bytes);
            prop_assert!(read.is_err() || read.is_ok_and(|all| all.len() <= bytes.len()));
        }
    }
}
