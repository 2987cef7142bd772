//! The registers' history as the search sees it: questions, answers and times, no zxids.

use std::num::NonZeroUsize;

use mainstay_check::history::{History, Operation, Reply};
use mainstay_check::model::znode::{Action, Input, Output, Znode};
use mainstay_check::wgl::{self, Limits, Verdict};
use mainstay_zk_proto::Code;

use crate::keeper::history::{Answer, Asked, Entry};
use crate::keeper::subject::Subject;

/// Ten seconds or so: what is not found by then is unknown.
const STEPS_MAX: u64 = 50_000_000;

/// Searches an order for all writes of registers and all reads behind a sync.
pub(super) fn check(entries: &[Entry], subject: &Subject) -> Verdict {
    let operations = entries.iter().filter_map(|entry| operation(entry, subject));
    // Each has a client of its own: a session has several questions under way, and what is
    // promised of its order is checked elsewhere.
    let operations = (0..).zip(operations).map(|(client, operation)| Operation {
        client,
        ..operation
    });
    let limits = Limits {
        steps_max: STEPS_MAX,
        threads: NonZeroUsize::MIN,
        ..Limits::default()
    };
    match History::of(operations.collect()) {
        Ok(history) => wgl::check(&Znode, &history, &limits, &|| true),
        // Replies come after their questions; only too many of them are impossible.
        Err(_) => Verdict::Unknown {
            why: wgl::Why::Stopped,
        },
    }
}

fn operation(entry: &Entry, subject: &Subject) -> Option<Operation<Input, Output>> {
    let (path, action) = match &entry.asked {
        Asked::Set {
            path,
            value,
            expected,
        } => {
            let expected = expected.map(i32::cast_unsigned);
            let value = *value;
            (path, Action::Set { value, expected })
        },
        Asked::Get {
            path, synced: true, ..
        } if subject.promises_linearizable_sync() => (path, Action::Get),
        Asked::Create { .. }
        | Asked::Append { .. }
        | Asked::Delete { .. }
        | Asked::Get { .. }
        | Asked::Exists { .. }
        | Asked::Children { .. }
        | Asked::Sync
        | Asked::Close
        | Asked::Event { .. } => return None,
    };
    let output = match entry.reply.as_ref().map(|reply| &reply.answer) {
        Some(Answer::Version { version, .. }) => Some(Output::Version(version.cast_unsigned())),
        Some(Answer::Data { value, version, .. }) => Some(Output::Data {
            value: value.unwrap_or(u64::MAX),
            version: version.cast_unsigned(),
        }),
        Some(Answer::Refused(Code::BadVersion)) => Some(Output::BadVersion),
        // Refused for another reason: it changed nothing.
        Some(_) => return None,
        None if action == Action::Get => return None,
        None => None,
    };
    let at = entry.reply.as_ref().map(|reply| reply.at);
    let reply = match (output, at) {
        (Some(output), Some(at)) => Reply::Returned { at, output },
        _ => Reply::Crashed,
    };
    Some(Operation {
        client: 0,
        invoked: entry.invoked,
        input: Input {
            path: (**path).into(),
            action,
        },
        reply,
    })
}
