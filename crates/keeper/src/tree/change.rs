//! What each write does to the tree.
//!
//! Prevents half-done writes: everything that can refuse one is asked before anything changes.

use mainstay_zk_proto::acl::{Id, perms};
use mainstay_zk_proto::mode::{CreateMode, Life, Owner, TTL_MS_MAX};
use mainstay_zk_proto::request::{Check, Create, CreateTtl, Delete, Request, SetAcl, SetData};
use mainstay_zk_proto::watch::EventKind;
use mainstay_zk_proto::{Code, Stat};

use super::multi::{Journal, Part};
use super::nodes::{Facts, NodeId};
use super::{Event, Stamp, Tree, access, path, quota};

/// Any version will do.
const ANY: i32 = -1;

/// A write as it stands in the log.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The session that asks.
    pub session: i64,
    /// Who that is.
    pub identities: &'a [Id<'a>],
    /// What it asks.
    pub request: &'a Request<'a>,
}

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A node was made.
    Created {
        /// The number that was appended to its name.
        number: Option<i32>,
        /// Its stat.
        stat: Stat,
    },
    /// A node was removed, or checked.
    Nothing,
    /// A node was changed.
    Changed(Stat),
    /// Several operations were done, or none of them.
    Multi(Vec<Part>),
}

/// Who asks, when, and what happened so far.
pub(super) struct Context<'a> {
    pub(super) session: i64,
    pub(super) identities: &'a [Id<'a>],
    pub(super) stamp: Stamp,
    pub(super) journal: Journal,
}

impl Tree {
    /// Applies one write. The events are those that watchers hear of, in order.
    ///
    /// # Errors
    ///
    /// Why it was refused; then nothing changed. [`Code::Unimplemented`] for what is no write of
    /// the tree. A multi is never an error: its parts tell.
    pub fn apply(
        &mut self,
        change: Change<'_>,
        stamp: Stamp,
        events: &mut Vec<Event>,
    ) -> Result<Done, Code> {
        let mut cx = Context {
            session: change.session,
            identities: change.identities,
            stamp,
            journal: Journal::default(),
        };
        let done = if let Request::Multi(operations) = change.request {
            Ok(Done::Multi(self.multi(&mut cx, &operations.0)))
        } else {
            self.one(&mut cx, change.request)
        };
        events.append(&mut self.settle(cx.journal));
        done
    }

    /// Ends a session: the nodes that it made go with it.
    pub fn end_session(&mut self, session: i64, stamp: Stamp, events: &mut Vec<Event>) {
        let nodes = self.ephemerals.remove(&session).unwrap_or_default();
        // By path, so that every member tells its watchers in the same order.
        let mut nodes: Vec<(String, NodeId)> = nodes
            .into_iter()
            .map(|id| (self.nodes.path(id), id))
            .collect();
        nodes.sort_unstable();
        let mut journal = Journal::default();
        for (path, id) in nodes {
            self.remove(&mut journal, stamp, &path, id);
        }
        events.append(&mut self.settle(journal));
    }

    /// Removes a container or a node whose time is up, if it still has no children and, when
    /// `mzxid` is given, was not changed since.
    ///
    /// # Errors
    ///
    /// [`Code::NoNode`], [`Code::NotEmpty`], [`Code::BadVersion`]: then nothing changed.
    pub fn expire(
        &mut self,
        path: &str,
        mzxid: Option<i64>,
        stamp: Stamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Code> {
        let id = self.nodes.find(path).ok_or(Code::NoNode)?;
        let node = self.nodes.at(id);
        match Owner::from_wire(node.facts.owner) {
            Owner::Container | Owner::Ttl { .. } => {},
            Owner::Nobody | Owner::Session(_) => return Err(Code::BadArguments),
        }
        if node.children() > 0 {
            return Err(Code::NotEmpty);
        }
        if mzxid.is_some_and(|mzxid| mzxid != node.facts.mzxid) {
            return Err(Code::BadVersion);
        }
        let mut journal = Journal::default();
        self.remove(&mut journal, stamp, path, id);
        events.append(&mut self.settle(journal));
        Ok(())
    }

    /// Writes the node of the members, which no client writes: its version stays what it is in
    /// ZooKeeper, -1, and its transaction is the version of the list.
    pub(crate) fn set_config(&mut self, text: &str, stamp: Stamp, events: &mut Vec<Event>) {
        let Some(id) = self.nodes.find(path::CONFIG) else {
            return;
        };
        drop(self.set(id, Some(text.as_bytes())));
        let facts = &mut self.nodes.at_mut(id).facts;
        facts.version = -1;
        facts.mzxid = stamp.zxid;
        facts.mtime_ms = stamp.time_ms;
        self.restamp(id);
        let mut journal = Journal::default();
        journal.event(EventKind::DataChanged, path::CONFIG, self.acl_of(id));
        events.append(&mut self.settle(journal));
    }

    /// The text of the node of the members.
    pub fn config(&self) -> &str {
        let node = self.nodes.find(path::CONFIG).map(|id| self.nodes.at(id));
        let data = node.and_then(|node| node.data());
        std::str::from_utf8(data.unwrap_or_default()).unwrap_or_default()
    }

    /// Whether `identities` may change who belongs to the ensemble.
    pub(crate) fn may_change_members(&self, identities: &[Id<'_>]) -> bool {
        let id = self.nodes.find(path::CONFIG);
        id.is_some_and(|id| self.allows(id, perms::WRITE, identities).is_ok())
    }

    pub(super) fn one(
        &mut self,
        cx: &mut Context<'_>,
        request: &Request<'_>,
    ) -> Result<Done, Code> {
        match request {
            Request::Create(create) | Request::Create2(create) => {
                self.create(cx, create, (mode(create)?, None))
            },
            Request::CreateContainer(create) => {
                let CreateMode { life, sequential } = mode(create)?;
                // Flags of a time to live need one; others say at most that it is sequential.
                owner(CreateMode { life, sequential }, None, cx.session)?;
                let life = Life::Container;
                self.create(cx, create, (CreateMode { life, sequential }, None))
            },
            Request::CreateTtl(create) => {
                let CreateTtl {
                    path,
                    data,
                    acl,
                    flags,
                    ttl_ms,
                } = create;
                let create = Create {
                    path,
                    data: *data,
                    acl: acl.clone(),
                    flags: *flags,
                };
                self.create(cx, &create, (mode(&create)?, Some(*ttl_ms)))
            },
            Request::Delete(delete) => self.delete(cx, *delete),
            Request::SetData(set) => self.set_data(cx, *set),
            Request::SetAcl(set) => self.set_acl(cx, set),
            Request::Check(check) => self.check(cx, *check),
            Request::Exists(_)
            | Request::GetData(_)
            | Request::GetAcl(_)
            | Request::GetChildren(_)
            | Request::GetChildren2(_)
            | Request::Sync(_)
            | Request::Ping
            | Request::Multi(_)
            | Request::MultiRead(_)
            | Request::Reconfig(_)
            | Request::CheckWatches(_)
            | Request::RemoveWatches(_)
            | Request::Auth(_)
            | Request::Sasl(_)
            | Request::SetWatches(_)
            | Request::SetWatches2(_)
            | Request::GetEphemerals(_)
            | Request::GetAllChildrenNumber(_)
            | Request::AddWatch(_)
            | Request::WhoAmI
            | Request::CloseSession => Err(Code::Unimplemented),
        }
    }

    fn create(
        &mut self,
        cx: &mut Context<'_>,
        create: &Create<'_>,
        (mode, ttl_ms): (CreateMode, Option<i64>),
    ) -> Result<Done, Code> {
        let owner = owner(mode, ttl_ms, cx.session)?;
        let (above, name) = path::split(create.path)?;
        let list = access::resolve(&create.acl, cx.identities)?;
        let parent = self.nodes.find(above).ok_or(Code::NoNode)?;
        self.allows(parent, perms::CREATE, cx.identities)?;
        let creates = self.nodes.at(parent).facts.creates;
        let number = mode.sequential.then_some(creates);
        let numbered = number.map(|number| format!("{name}{number:010}"));
        let name = numbered.as_deref().unwrap_or(name);
        let path = join(above, name);
        path::validate(&path)?;
        // Only the root's name is empty, and the root is there.
        if name.is_empty() || self.nodes.child(parent, name).is_some() {
            return Err(Code::NodeExists);
        }
        let of_parent = Owner::from_wire(self.nodes.at(parent).facts.owner);
        if matches!(of_parent, Owner::Session(_)) {
            return Err(Code::NoChildrenForEphemerals);
        }
        self.within_quota(&path, 1, quota::bytes_of(create.data))?;
        let Stamp { zxid, time_ms } = cx.stamp;
        let facts = Facts {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime_ms: time_ms,
            mtime_ms: time_ms,
            owner: owner.to_wire(),
            version: 0,
            creates: 0,
            aversion: 0,
            acl: self.lists.take(list),
        };
        cx.journal.facts(parent, self.nodes.at(parent).facts);
        let id = self.add(parent, name, create.data, facts);
        cx.journal.created(id);
        let above_facts = &mut self.nodes.at_mut(parent).facts;
        above_facts.creates = creates.wrapping_add(1);
        above_facts.pzxid = zxid;
        self.restamp(parent);
        cx.journal.event(EventKind::Created, &path, self.acl_of(id));
        cx.journal.event(
            EventKind::ChildrenChanged,
            root_or(above),
            self.acl_of(parent),
        );
        self.quota_created(id);
        let stat = self.nodes.at(id).stat();
        Ok(Done::Created { number, stat })
    }

    fn delete(&mut self, cx: &mut Context<'_>, delete: Delete<'_>) -> Result<Done, Code> {
        let (above, name) = path::split(delete.path)?;
        if path::is_special(delete.path) {
            return Err(Code::BadArguments);
        }
        let parent = self.nodes.find(above).ok_or(Code::NoNode)?;
        self.allows(parent, perms::DELETE, cx.identities)?;
        let id = self.nodes.child(parent, name).ok_or(Code::NoNode)?;
        let node = self.nodes.at(id);
        expect(delete.version, node.facts.version)?;
        if node.children() > 0 {
            return Err(Code::NotEmpty);
        }
        self.remove(&mut cx.journal, cx.stamp, delete.path, id);
        Ok(Done::Nothing)
    }

    /// Removes a node without children, and tells.
    fn remove(&mut self, journal: &mut Journal, stamp: Stamp, path: &str, id: NodeId) {
        if let Some(parent) = self.nodes.parent(id) {
            journal.facts(parent, self.nodes.at(parent).facts);
            self.nodes.at_mut(parent).facts.pzxid = stamp.zxid;
            self.restamp(parent);
        }
        let acl = self.acl_of(id);
        let (parent, node) = self.take(id);
        journal.removed(parent, node);
        journal.event(EventKind::Deleted, path, acl);
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        let acl = self.acl_of(parent);
        journal.event(EventKind::ChildrenChanged, root_or(above), acl);
    }

    fn set_data(&mut self, cx: &mut Context<'_>, set: SetData<'_>) -> Result<Done, Code> {
        path::validate(set.path)?;
        let id = self.nodes.find(set.path).ok_or(Code::NoNode)?;
        self.allows(id, perms::WRITE, cx.identities)?;
        let node = self.nodes.at(id);
        let more = quota::bytes_of(set.data) - quota::bytes_of(node.data());
        let facts = node.facts;
        self.within_quota(set.path, 0, more)?;
        expect(set.version, facts.version)?;
        let old = self.set(id, set.data);
        cx.journal.content(id, old);
        cx.journal.facts(id, facts);
        let new = &mut self.nodes.at_mut(id).facts;
        new.version = facts.version.wrapping_add(1);
        new.mzxid = cx.stamp.zxid;
        new.mtime_ms = cx.stamp.time_ms;
        self.restamp(id);
        cx.journal
            .event(EventKind::DataChanged, set.path, self.acl_of(id));
        Ok(Done::Changed(self.nodes.at(id).stat()))
    }

    fn set_acl(&mut self, cx: &mut Context<'_>, set: &SetAcl<'_>) -> Result<Done, Code> {
        path::validate(set.path)?;
        let list = access::resolve(&set.acl, cx.identities)?;
        let id = self.nodes.find(set.path).ok_or(Code::NoNode)?;
        self.allows(id, perms::ADMIN, cx.identities)?;
        let facts = self.nodes.at(id).facts;
        expect(set.version, facts.aversion)?;
        cx.journal.list(facts.acl);
        cx.journal.facts(id, facts);
        let acl = self.lists.take(list);
        let new = &mut self.nodes.at_mut(id).facts;
        new.acl = acl;
        new.aversion = facts.aversion.wrapping_add(1);
        self.restamp(id);
        Ok(Done::Changed(self.nodes.at(id).stat()))
    }

    fn check(&self, cx: &Context<'_>, check: Check<'_>) -> Result<Done, Code> {
        path::validate(check.path)?;
        let id = self.nodes.find(check.path).ok_or(Code::NoNode)?;
        self.allows(id, perms::READ, cx.identities)?;
        expect(check.version, self.nodes.at(id).facts.version)?;
        Ok(Done::Nothing)
    }
}

fn mode(create: &Create<'_>) -> Result<CreateMode, Code> {
    CreateMode::from_wire(create.flags).map_err(|_| Code::BadArguments)
}

/// Whom the life of a new node hangs on.
fn owner(mode: CreateMode, ttl_ms: Option<i64>, session: i64) -> Result<Owner, Code> {
    match (mode.life, ttl_ms) {
        (Life::Ttl, Some(ms @ 1..=TTL_MS_MAX)) => Ok(Owner::Ttl { ms }),
        // A time to live without a mode that has one, and the other way round.
        (Life::Ttl, _) | (_, Some(0..)) => Err(Code::BadArguments),
        (Life::Persistent, _) => Ok(Owner::Nobody),
        (Life::Ephemeral, _) => Ok(Owner::Session(session)),
        (Life::Container, _) => Ok(Owner::Container),
    }
}

const fn expect(wanted: i32, version: i32) -> Result<(), Code> {
    if wanted == ANY || wanted == version {
        Ok(())
    } else {
        Err(Code::BadVersion)
    }
}

fn join(above: &str, name: &str) -> String {
    format!("{above}/{name}")
}

/// The path of the node whose path before a slash is `above`.
const fn root_or(above: &str) -> &str {
    if above.is_empty() { "/" } else { above }
}
