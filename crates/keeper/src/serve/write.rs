//! The answer to a write, made of what it did.
//!
//! Prevents an answer that guesses: it is made where the write is applied, from the state that the
//! write left.

use mainstay_zk_proto::mode::{CreateMode, Life};
use mainstay_zk_proto::multi::{Part, Results};
use mainstay_zk_proto::opcode::Opcode;
use mainstay_zk_proto::{Code, Reply, Request};

use super::line::answer;
use crate::proposal::Action;
use crate::state::{Effect, Told};
use crate::tree::{self, Done};

/// Appends the answer to an operation that was told.
pub(super) fn answer_to(told: &Told<'_>, xid: i32, out: &mut Vec<u8>) {
    let effect = match &told.result {
        Ok(effect) => effect,
        Err(code) => return answer(out, xid, told.zxid, Err(*code)),
    };
    let Effect::Tree(done) = effect else {
        return answer(out, xid, told.zxid, Ok(Reply::Done));
    };
    let Action::Request { opcode, body } = &told.operation.action else {
        return answer(out, xid, told.zxid, Ok(Reply::Done));
    };
    // It was read when it was applied.
    let Ok(request) = Request::read(*opcode, body) else {
        return answer(out, xid, told.zxid, Err(Code::Marshalling));
    };
    if let (Done::Multi(parts), Request::Multi(operations)) = (done, &request) {
        let pairs = || operations.0.iter().zip(parts);
        let names: Vec<Option<String>> = pairs()
            .map(|(operation, part)| match part {
                tree::Part::Done(done) => numbered(operation, done),
                tree::Part::Failed(_) | tree::Part::RolledBack => None,
            })
            .collect();
        let results = pairs()
            .zip(&names)
            .map(|((operation, part), name)| match part {
                tree::Part::Done(done) => {
                    let opcode = within_multi(operation);
                    let reply = reply((operation, opcode), done, name.as_deref());
                    Part::Done { opcode, reply }
                },
                tree::Part::Failed(code) => Part::Failed(*code),
                tree::Part::RolledBack => Part::RolledBack,
            });
        let results = Reply::Results(Results(results.collect()));
        return answer(out, xid, told.zxid, Ok(results));
    }
    let name = numbered(&request, done);
    answer(
        out,
        xid,
        told.zxid,
        Ok(reply((&request, *opcode), done, name.as_deref())),
    );
}

/// What an operation of a multi is answered as: for ZooKeeper, what makes a node is there what its
/// flags say.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only these make nodes; others are what they are"
)]
fn within_multi(operation: &Request<'_>) -> Opcode {
    let flags = match operation {
        Request::Create(create) | Request::Create2(create) | Request::CreateContainer(create) => {
            create.flags
        },
        Request::CreateTtl(create) => create.flags,
        other => return other.opcode(),
    };
    match CreateMode::from_wire(flags).map(|mode| mode.life) {
        Ok(Life::Container) => Opcode::CreateContainer,
        Ok(Life::Ttl) => Opcode::CreateTtl,
        Ok(Life::Persistent | Life::Ephemeral) | Err(_) => Opcode::Create,
    }
}

/// The path of a node whose name got a number.
fn numbered(request: &Request<'_>, done: &Done) -> Option<String> {
    match done {
        Done::Created {
            number: Some(number),
            ..
        } => Some(format!("{}{number:010}", path(request))),
        Done::Created { number: None, .. } | Done::Nothing | Done::Changed(_) | Done::Multi(_) => {
            None
        },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only these make nodes, and only of these the path is asked"
)]
const fn path<'a>(request: &Request<'a>) -> &'a str {
    match request {
        Request::Create(create) | Request::Create2(create) | Request::CreateContainer(create) => {
            create.path
        },
        Request::CreateTtl(create) => create.path,
        _ => "",
    }
}

fn reply<'a>(
    (request, opcode): (&Request<'a>, Opcode),
    done: &Done,
    name: Option<&'a str>,
) -> Reply<'a> {
    match done {
        Done::Created { stat, .. } => {
            let path = name.unwrap_or_else(|| path(request));
            if opcode == Opcode::Create {
                Reply::Path(path)
            } else {
                Reply::Created { path, stat: *stat }
            }
        },
        Done::Changed(stat) => Reply::Stat(*stat),
        // A multi holds no multi.
        Done::Nothing | Done::Multi(_) => Reply::Done,
    }
}
