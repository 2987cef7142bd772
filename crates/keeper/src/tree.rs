//! The tree of nodes, and what each operation does to it.
//!
//! Prevents members that drift apart: an operation is evaluated here and nowhere else, from the
//! tree, the operation and its [`Stamp`] alone; no clock, no randomness, no order of hashing. So
//! every member that applies the same log has the same tree, and [`Tree::digest`] proves it.
//!
//! A failed operation changes nothing. What an operation means, which of several errors is
//! reported, and which events it causes are ZooKeeper's, from `PrepRequestProcessor` and
//! `DataTree` of 3.8.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_zk_proto::acl::{Acl, Id, perms};
use mainstay_zk_proto::mode::Owner;
use mainstay_zk_proto::watch::EventKind;
use mainstay_zk_proto::{Code, Stat};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

mod access;
mod change;
mod content;
mod frozen;
mod multi;
mod nodes;
mod path;
mod quota;
mod read;
mod transfer;

pub use access::Entry;
pub use change::{Change, Done};
pub(crate) use frozen::{FrozenTree, TreeLoader};
pub use multi::Part;
pub use nodes::NodeId;
pub use path::CONFIG;
pub use read::{Data, Listed};
pub(crate) use transfer::ForeignNode;

use access::Lists;
use content::Content;
use nodes::{Facts, Node, Nodes};
use quota::Quotas;

/// What the log says about an entry: nobody who applies it looks at a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The transaction's number, larger than all before.
    pub zxid: i64,
    /// Wall time at the leader, milliseconds since 1970.
    pub time_ms: i64,
}

/// Something that watchers hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which node.
    pub path: Box<str>,
    /// Who may do what to that node: only who may read it hears of it.
    acl: access::List,
}

impl Event {
    /// Whether somebody may hear of it. Who sets a watch need not be allowed to read: what was not
    /// there yet can be watched by all (CVE-2024-23944).
    pub fn is_for(&self, identities: &[Id<'_>]) -> bool {
        access::check(&self.acl, perms::READ, identities).is_ok()
    }
}

/// The tree.
#[derive(Debug)]
pub struct Tree {
    nodes: Nodes,
    lists: Lists,
    /// Nodes that go with a session.
    ephemerals: BTreeMap<i64, BTreeSet<NodeId>>,
    /// Nodes that go with their last child.
    containers: BTreeSet<NodeId>,
    /// Nodes that go when nobody touched them for a time.
    mortal: BTreeSet<NodeId>,
    digest: u64,
    /// Bytes of all names and data.
    bytes: u64,
    quotas: Quotas,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// The tree that every ensemble begins with: the root and the keeper's own nodes.
    pub fn new() -> Self {
        let mut tree = Self::bare();
        let facts = tree.nodes.at(NodeId::ROOT).facts;
        let mut keep = |parent, name| {
            tree.lists.keep(facts.acl);
            tree.add(parent, name, Some(b""), facts)
        };
        let proc = keep(NodeId::ROOT, "zookeeper");
        keep(proc, "quota");
        // Members are not changed by writing there.
        let read = Acl {
            perms: perms::READ,
            ..Acl::OPEN
        };
        let read = access::resolve(&[read], &[]).unwrap_or_else(|_| [].into());
        let acl = tree.lists.take(read);
        let config = Facts {
            acl,
            // ZooKeeper begins to count there, and clients see it.
            aversion: -1,
            ..facts
        };
        tree.add(proc, "config", Some(b""), config);
        tree.count_quotas();
        tree
    }

    /// Nothing but an open root.
    fn bare() -> Self {
        let mut lists = Lists::default();
        let open = access::resolve(&[Acl::OPEN], &[]).unwrap_or_else(|_| [].into());
        let facts = Facts {
            czxid: 0,
            mzxid: 0,
            pzxid: 0,
            ctime_ms: 0,
            mtime_ms: 0,
            owner: 0,
            version: 0,
            creates: 0,
            aversion: 0,
            acl: lists.take(open),
        };
        let root = Node::new("", Some(b""), facts, xxh3_64_with_seed(b"/", 0));
        let mut tree = Self {
            nodes: Nodes::new(root),
            lists,
            ephemerals: BTreeMap::new(),
            containers: BTreeSet::new(),
            mortal: BTreeSet::new(),
            digest: 0,
            bytes: 0,
            quotas: Quotas::default(),
        };
        tree.restamp(NodeId::ROOT);
        tree
    }

    /// Gives the root other data and facts.
    fn replace_root(&mut self, data: Option<&[u8]>, facts: Facts) -> NodeId {
        let old = std::mem::replace(&mut self.nodes.at_mut(NodeId::ROOT).facts, facts);
        self.lists.release(old.acl);
        drop(self.set(NodeId::ROOT, data));
        self.restamp(NodeId::ROOT);
        NodeId::ROOT
    }

    /// A number for the whole content, the same on every member that applied the same log.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Nodes, the root included.
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node: never, for there is a root.
    pub const fn is_empty(&self) -> bool {
        self.nodes.len() == 0
    }

    /// Bytes of all names and data.
    pub const fn data_bytes(&self) -> u64 {
        self.bytes
    }

    /// How many nodes go with sessions.
    pub fn ephemerals_len(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// The stat of the node at `path`, if it is there.
    pub fn stat(&self, path: &str) -> Option<Stat> {
        self.nodes.find(path).map(|id| self.nodes.at(id).stat())
    }

    /// Adds a node whose name is free; its parent's facts are the caller's to change.
    fn add(&mut self, parent: NodeId, name: &str, data: Option<&[u8]>, facts: Facts) -> NodeId {
        let above = self.nodes.at(parent).path_hash;
        let path_hash = xxh3_64_with_seed(name.as_bytes(), above);
        self.put(parent, Node::new(name, data, facts, path_hash))
    }

    /// Links `node` and counts it in.
    fn put(&mut self, parent: NodeId, mut node: Node) -> NodeId {
        node.digest = 0;
        self.bytes += weight(&node);
        let owner = Owner::from_wire(node.facts.owner);
        let id = self.nodes.insert(parent, node);
        match owner {
            Owner::Nobody => {},
            Owner::Session(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
            },
            Owner::Container => {
                self.containers.insert(id);
            },
            Owner::Ttl { .. } => {
                self.mortal.insert(id);
            },
        }
        self.restamp(id);
        self.quota_put(id);
        id
    }

    /// Unlinks a node without children and counts it out; its access list is still in use.
    fn take(&mut self, id: NodeId) -> (NodeId, Node) {
        self.quota_take(id);
        let (parent, node) = self.nodes.remove(id);
        self.bytes -= weight(&node);
        self.digest = self.digest.wrapping_sub(node.digest);
        match Owner::from_wire(node.facts.owner) {
            Owner::Nobody => {},
            Owner::Session(session) => self.forget_ephemeral(session, id),
            Owner::Container => {
                self.containers.remove(&id);
            },
            Owner::Ttl { .. } => {
                self.mortal.remove(&id);
            },
        }
        (parent, node)
    }

    fn forget_ephemeral(&mut self, session: i64, id: NodeId) {
        let Some(of_session) = self.ephemerals.get_mut(&session) else {
            return;
        };
        of_session.remove(&id);
        if of_session.is_empty() {
            self.ephemerals.remove(&session);
        }
    }

    /// Gives a node other data; what it was is returned.
    fn set(&mut self, id: NodeId, data: Option<&[u8]>) -> Content {
        self.replace(id, self.nodes.at(id).with_data(data))
    }

    /// Replaces what a node holds; what it was is returned.
    fn replace(&mut self, id: NodeId, content: Content) -> Content {
        let after = quota::bytes_of(content.data());
        let old = self.swap(id, content);
        self.quota_replace(id, after - quota::bytes_of(old.data()));
        old
    }

    fn swap(&mut self, id: NodeId, content: Content) -> Content {
        let node = self.nodes.at_mut(id);
        let before = weight(node);
        let old = node.replace(content);
        self.bytes = self.bytes - before + weight(node);
        old
    }

    /// Brings the digest up to date with a node that was changed.
    fn restamp(&mut self, id: NodeId) {
        let digest = self.digest_of(id);
        let node = self.nodes.at_mut(id);
        let before = std::mem::replace(&mut node.digest, digest);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(digest);
    }

    fn digest_of(&self, id: NodeId) -> u64 {
        let node = self.nodes.at(id);
        let facts = &node.facts;
        let mut hasher = Xxh3::with_seed(node.path_hash);
        for number in [
            facts.czxid,
            facts.mzxid,
            facts.pzxid,
            facts.ctime_ms,
            facts.mtime_ms,
            facts.owner,
            i64::from(facts.version),
            i64::from(facts.creates),
            i64::from(facts.aversion),
        ] {
            hasher.update(&number.to_be_bytes());
        }
        hasher.update(&self.lists.digest(facts.acl).to_be_bytes());
        let data = node.data();
        hasher.update(&[u8::from(data.is_some())]);
        hasher.update(data.unwrap_or_default());
        hasher.digest()
    }

    /// Who may do what to a node.
    fn acl_of(&self, id: NodeId) -> access::List {
        self.lists.shared(self.nodes.at(id).facts.acl)
    }

    /// Whether `identities` may do `perm` to a node.
    fn allows(&self, id: NodeId, perm: i32, identities: &[Id<'_>]) -> Result<(), Code> {
        let list = self.lists.list(self.nodes.at(id).facts.acl);
        access::check(list, perm, identities)
    }
}

fn weight(node: &Node) -> u64 {
    (node.name().len() + node.data().map_or(0, <[u8]>::len)) as u64
}

#[cfg(test)]
mod tests;
