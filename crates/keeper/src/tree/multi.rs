//! Several writes, all or none: each is applied, and taken back when a later one fails.
//!
//! Prevents a multi that is half done. The journal restores what was, byte for byte: also the
//! digest, which is how tests know.

use mainstay_zk_proto::Code;
use mainstay_zk_proto::mode::{CreateMode, Life};
use mainstay_zk_proto::request::{Create, CreateTtl, Request};
use mainstay_zk_proto::watch::EventKind;

use super::access::{List, ListId};
use super::change::{Context, Done};
use super::content::Content;
use super::nodes::{Facts, Node, NodeId};
use super::{Event, Tree};

/// What became of one operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It was done.
    Done(Done),
    /// It failed, and all with it.
    Failed(Code),
    /// It could have been done.
    RolledBack,
}

/// How to take back what was done, and whom to tell if it is not.
#[derive(Debug, Default)]
pub(super) struct Journal {
    undo: Vec<Undo>,
    events: Vec<Event>,
}

#[derive(Debug)]
enum Undo {
    Created(NodeId),
    Removed(NodeId, Box<Node>),
    Content(NodeId, Content),
    Facts(NodeId, Facts),
    /// A list that is not in use any more, unless it is taken back.
    List(ListId),
}

impl Journal {
    pub(super) fn created(&mut self, id: NodeId) {
        self.undo.push(Undo::Created(id));
    }

    pub(super) fn removed(&mut self, parent: NodeId, node: Node) {
        self.undo.push(Undo::Removed(parent, Box::new(node)));
    }

    pub(super) fn content(&mut self, id: NodeId, old: Content) {
        self.undo.push(Undo::Content(id, old));
    }

    pub(super) fn facts(&mut self, id: NodeId, old: Facts) {
        self.undo.push(Undo::Facts(id, old));
    }

    pub(super) fn list(&mut self, old: ListId) {
        self.undo.push(Undo::List(old));
    }

    pub(super) fn event(&mut self, kind: EventKind, path: &str, acl: List) {
        let path = path.into();
        self.events.push(Event { kind, path, acl });
    }
}

impl Tree {
    pub(super) fn multi(&mut self, cx: &mut Context<'_>, operations: &[Request<'_>]) -> Vec<Part> {
        let mut parts = Vec::with_capacity(operations.len());
        for operation in operations {
            match self.part(cx, operation) {
                Ok(done) => parts.push(Part::Done(done)),
                Err(code) => {
                    self.roll_back(std::mem::take(&mut cx.journal));
                    return failed(parts.len(), code, operations.len());
                },
            }
        }
        parts
    }

    /// One operation of a multi. What makes a node is known by its flags alone there, as ZooKeeper
    /// does it; clients rely on that for containers.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all others are what they are outside of a multi"
    )]
    fn part(&mut self, cx: &mut Context<'_>, operation: &Request<'_>) -> Result<Done, Code> {
        match operation {
            Request::CreateContainer(create) => self.one(cx, &Request::Create(create.clone())),
            Request::CreateTtl(create) if !has_ttl(create.flags) => {
                let CreateTtl {
                    path, data, flags, ..
                } = *create;
                let acl = create.acl.clone();
                let create = Create {
                    path,
                    data,
                    acl,
                    flags,
                };
                self.one(cx, &Request::Create(create))
            },
            other => self.one(cx, other),
        }
    }

    /// Makes what was done final; the events are for the watchers.
    pub(super) fn settle(&mut self, journal: Journal) -> Vec<Event> {
        for undo in journal.undo {
            match undo {
                Undo::Removed(_, node) => self.lists.release(node.facts.acl),
                Undo::List(list) => self.lists.release(list),
                Undo::Created(_) | Undo::Content(..) | Undo::Facts(..) => {},
            }
        }
        journal.events
    }

    fn roll_back(&mut self, journal: Journal) {
        for undo in journal.undo.into_iter().rev() {
            match undo {
                Undo::Created(id) => {
                    let (_, node) = self.take(id);
                    self.lists.release(node.facts.acl);
                },
                Undo::Removed(parent, node) => {
                    self.put(parent, *node);
                },
                Undo::Content(id, old) => {
                    drop(self.replace(id, old));
                    self.restamp(id);
                },
                Undo::Facts(id, old) => self.restore(id, old),
                Undo::List(_) => {},
            }
        }
    }

    fn restore(&mut self, id: NodeId, old: Facts) {
        let facts = std::mem::replace(&mut self.nodes.at_mut(id).facts, old);
        if facts.acl != old.acl {
            self.lists.release(facts.acl);
        }
        self.restamp(id);
    }
}

fn has_ttl(flags: i32) -> bool {
    CreateMode::from_wire(flags).is_ok_and(|mode| mode.life == Life::Ttl)
}

/// The answer when the operation at `index` fails: those before could have been done, those after
/// were not tried.
fn failed(index: usize, code: Code, len: usize) -> Vec<Part> {
    let before = std::iter::repeat_n(Part::RolledBack, index);
    let after = std::iter::repeat_n(Part::Failed(Code::RuntimeInconsistency), len - index - 1);
    before.chain([Part::Failed(code)]).chain(after).collect()
}
