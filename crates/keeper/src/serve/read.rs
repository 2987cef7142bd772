//! Reads: what clients ask without changing the tree, and the watches that they leave.
//!
//! Prevents an event that is lost between an answer and its watch: both are made while nothing can
//! be applied. Source of which error and which watch: `FinalRequestProcessor` of ZooKeeper 3.8.

use mainstay_zk_proto::acl::{Acl, Id};
use mainstay_zk_proto::header::{RequestHeader, XID_WATCH};
use mainstay_zk_proto::multi::{Part, Results};
use mainstay_zk_proto::watch::{AddWatchMode, EventKind, SetWatches2, WatcherKind};
use mainstay_zk_proto::{Code, Opcode, Reply, Request};

use super::desk::Desk;
use super::event;
use super::identity::Identities;
use super::line::answer;
use crate::planted::{self, Bug};
use crate::state::State;
use crate::tree::Entry;
use crate::watch::{Kind, Watcher, Watches};

/// Who asks, and of what.
pub(super) struct Reader<'a> {
    pub(super) state: &'a State,
    pub(super) desk: &'a Desk,
    pub(super) watcher: Watcher,
    pub(super) session: i64,
    pub(super) identities: &'a Identities,
}

impl Reader<'_> {
    /// Appends the answer to a request, and before it the events that it asks to make up for.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only of these two the answer borrows from what is made here"
    )]
    pub(super) fn answer(&self, header: RequestHeader, body: &[u8], out: &mut Vec<u8>) {
        let zxid = self.state.zxid();
        let request = Opcode::from_wire(header.opcode)
            .map_err(|_| Code::Unimplemented)
            .and_then(|opcode| {
                if matches!(opcode, Opcode::DeleteContainer | Opcode::CreateSession) {
                    return Err(Code::Unimplemented);
                }
                Request::read(opcode, body).map_err(|_| Code::Marshalling)
            });
        let request = match request {
            Ok(request) => request,
            Err(code) => return answer(out, header.xid, zxid, Err(code)),
        };
        let ids = self.identities.ids();
        match &request {
            Request::GetAcl(of) => match self.state.tree().acl(of.path, &ids) {
                Ok((list, stat)) => {
                    let acl = list.iter().map(acl).collect();
                    answer(out, header.xid, zxid, Ok(Reply::Acl { acl, stat }));
                },
                Err(code) => answer(out, header.xid, zxid, Err(code)),
            },
            Request::GetEphemerals(of) => {
                let prefix = match of.path.trim() {
                    "" | "/" => "",
                    _ => of.path,
                };
                let paths = self.state.tree().ephemerals(self.session, prefix);
                let names = paths.iter().map(String::as_str).collect();
                answer(out, header.xid, zxid, Ok(Reply::Names(names)));
            },
            request => {
                let result = self.result(request, &ids, out);
                answer(out, header.xid, zxid, result);
            },
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one arm per operation reads better whole"
    )]
    fn result<'s>(
        &'s self,
        request: &Request<'s>,
        ids: &[Id<'_>],
        out: &mut Vec<u8>,
    ) -> Result<Reply<'s>, Code> {
        let tree = self.state.tree();
        match request {
            Request::Ping => Ok(Reply::Done),
            // The one path that ZooKeeper looks at before it looks for the node.
            Request::Exists(read) if read.path.contains('\0') => Err(Code::BadArguments),
            Request::Exists(read) => {
                // Also of what is not there yet.
                self.watch(read.watch, Kind::Data, read.path);
                tree.stat(read.path).map(Reply::Stat).ok_or(Code::NoNode)
            },
            Request::GetData(read) => {
                let found = tree.data(read.path, ids)?;
                self.watch(read.watch, Kind::Data, read.path);
                let (data, stat) = (found.data, found.stat);
                Ok(Reply::Data { data, stat })
            },
            Request::GetChildren(read) => {
                let listed = tree.children(read.path, ids)?;
                self.watch(read.watch, Kind::Children, read.path);
                Ok(Reply::Names(listed.names))
            },
            Request::GetChildren2(read) => {
                let listed = tree.children(read.path, ids)?;
                self.watch(read.watch, Kind::Children, read.path);
                let (names, stat) = (listed.names, listed.stat);
                Ok(Reply::Children { names, stat })
            },
            Request::GetAllChildrenNumber(of) => {
                let below = tree.below(of.path, ids)?;
                Ok(Reply::Number(i32::try_from(below).unwrap_or(i32::MAX)))
            },
            Request::MultiRead(operations) => {
                let parts = operations.0.iter().map(|read| self.part(read, ids));
                Ok(Reply::Results(Results(parts.collect::<Result<_, _>>()?)))
            },
            Request::CheckWatches(of) => {
                let kind = WatcherKind::from_wire(of.kind).map_err(|_| Code::Marshalling)?;
                let has = self.watches(|watches| watches.has(self.watcher, kind, of.path));
                has.then_some(Reply::Done).ok_or(Code::NoWatcher)
            },
            Request::RemoveWatches(of) => {
                let kind = WatcherKind::from_wire(of.kind).map_err(|_| Code::Marshalling)?;
                let removed = self.watches(|watches| watches.remove(self.watcher, kind, of.path));
                removed.then_some(Reply::Done).ok_or(Code::NoWatcher)
            },
            Request::AddWatch(of) => {
                let mode = AddWatchMode::from_wire(of.mode).map_err(|_| Code::Marshalling)?;
                self.watch(true, mode.into(), of.path);
                // ZooKeeper answers with an error that is none, and clients read it.
                Ok(Reply::Number(0))
            },
            Request::SetWatches(again) => {
                let again = SetWatches2 {
                    relative_zxid: again.relative_zxid,
                    data: again.data.clone(),
                    exist: again.exist.clone(),
                    children: again.children.clone(),
                    persistent: Vec::new(),
                    persistent_recursive: Vec::new(),
                };
                self.watch_again(&again, out);
                Ok(Reply::Done)
            },
            Request::SetWatches2(again) => {
                self.watch_again(again, out);
                Ok(Reply::Done)
            },
            Request::WhoAmI => Ok(Reply::Identities(self.identities.names())),
            Request::GetAcl(_)
            | Request::GetEphemerals(_)
            | Request::Create(_)
            | Request::Create2(_)
            | Request::CreateContainer(_)
            | Request::CreateTtl(_)
            | Request::Delete(_)
            | Request::SetData(_)
            | Request::SetAcl(_)
            | Request::Sync(_)
            | Request::Check(_)
            | Request::Multi(_)
            | Request::Reconfig(_)
            | Request::Auth(_)
            | Request::Sasl(_)
            | Request::CloseSession => Err(Code::Unimplemented),
        }
    }

    /// One read of several; each has its own result.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other operation can be among several reads"
    )]
    fn part<'s>(&'s self, request: &Request<'s>, ids: &[Id<'_>]) -> Result<Part<'s>, Code> {
        let tree = self.state.tree();
        let (opcode, reply) = match request {
            Request::GetData(read) => {
                let reply = tree.data(read.path, ids).map(|found| Reply::Data {
                    data: found.data,
                    stat: found.stat,
                });
                (Opcode::GetData, reply)
            },
            Request::GetChildren(read) => {
                let listed = tree.children(read.path, ids);
                (
                    Opcode::GetChildren,
                    listed.map(|listed| Reply::Names(listed.names)),
                )
            },
            // Writes are not read.
            _ => return Err(Code::Marshalling),
        };
        Ok(match reply {
            Ok(reply) => Part::Done { opcode, reply },
            Err(code) => Part::Failed(code),
        })
    }

    fn watches<T>(&self, ask: impl FnOnce(&mut Watches) -> T) -> T {
        ask(&mut self.desk.watches())
    }

    fn watch(&self, is_wanted: bool, kind: Kind, path: &str) {
        if is_wanted {
            self.watches(|watches| watches.add(self.watcher, kind, path));
        }
    }

    fn watch_again(&self, again: &SetWatches2<'_>, out: &mut Vec<u8>) {
        if planted::is(Bug::WatchLostOnReconnect) {
            return;
        }
        let stat = |path: &str| self.state.tree().stat(path);
        let missed: Vec<(EventKind, &str)> =
            self.watches(|watches| watches.set_again(self.watcher, again, stat));
        for (kind, path) in missed {
            event(out, XID_WATCH, kind, path);
        }
    }
}

fn acl(entry: &Entry) -> Acl<'_> {
    Acl {
        perms: entry.perms,
        id: Id {
            scheme: &entry.scheme,
            id: &entry.id,
        },
    }
}
