//! A session that is heard is not over.
//!
//! Source: Hunt et al., 2.3.4: the leader ends a session when nobody heard of it for its timeout.
//! Whoever ends it was not told by anybody: neither by its own clients nor, while nothing is wrong,
//! by other members. A clock that jumps and a leader that slept are no reasons. What was heard since
//! members told the leader last does not count yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_keeper::proposal::Action;
use mainstay_keeper::state::Told;
use tokio::time::Instant;

use super::MemberId;
use crate::facts::Findings;

/// Members say whom they heard this often; who was heard since is not known yet.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// The end of a session that was silent may be agreed on so late.
const AGREED_MAX: Duration = Duration::from_secs(15);

const NAME: &str = "a session that is heard is not over";

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// When something was sent that was answered since.
    last: Instant,
    /// When it was heard again after a silence that was too long.
    again: Option<Instant>,
    by: MemberId,
    timeout: Duration,
}

/// Who was heard when.
#[derive(Debug, Default)]
pub struct Expiry {
    heard: BTreeMap<i64, Heard>,
    ended: BTreeSet<i64>,
    /// Since when nothing has been wrong.
    calm: Option<Instant>,
}

impl Expiry {
    /// A client has an answer to what it sent then.
    pub fn heard(&mut self, session: i64, sent: Instant, (by, timeout): (MemberId, Duration)) {
        let heard = self.heard.entry(session).or_insert(Heard {
            last: sent,
            again: None,
            by,
            timeout,
        });
        if heard.is_silent(sent) {
            heard.again = Some(sent);
        }
        // A session may come back with another timeout.
        (heard.last, heard.by, heard.timeout) = (sent, by, timeout);
    }

    /// Something went wrong, or nothing is wrong any more.
    pub const fn calm(&mut self, since: Option<Instant>) {
        self.calm = since;
    }

    pub(super) fn applied(&mut self, told: &Told<'_>, findings: &mut Findings) {
        let Action::Expire { .. } = told.operation.action else {
            return;
        };
        let session = told.operation.session;
        // Each member applies it; the first one is as early as it gets.
        if told.result.is_err() || !self.ended.insert(session) {
            return;
        }
        let Some(heard) = self.heard.get(&session) else {
            return;
        };
        let now = Instant::now();
        let itself = told.origin.member.cast_unsigned() == heard.by;
        let calm = self.calm.is_some_and(|calm| calm + heard.timeout <= now);
        // It may have been heard again after its end was asked for.
        let was_silent = heard.again.is_some_and(|again| again + AGREED_MAX >= now);
        if (itself || calm) && !heard.is_silent(now) && !was_silent {
            let detail = format!(
                "session {session:x} was ended by member {} after {:?}, may be silent for {:?}, and \
                 had been heard at member {}",
                told.origin.member,
                now.duration_since(heard.last),
                heard.timeout,
                heard.by
            );
            findings.add(NAME, detail);
        }
    }
}

impl Heard {
    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) + TOLD_EVERY >= self.timeout
    }
}
